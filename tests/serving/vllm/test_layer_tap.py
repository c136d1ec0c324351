"""Hidden states inside vLLM: what is refused, and `dola` on a real engine against transformers."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from motet.decoding import dola
from motet.errors import ConfigError
from motet.serving.vllm import layer_tap
from tests.serving.vllm.layer_reference import DolaReference
from tests.serving.vllm.layer_runs import PROMPTS
from tests.serving.vllm.pair_runs import ENVIRONMENT

HIGH = [16, 18, 20, 22, 24, 26, 28]
FAKE_TRITON = Path(__file__).parent / "fake_triton"


def served_config(**changes: Any) -> Any:
    """What vLLM would hold of a model of 30 layers whose head is the embedding."""
    model = {"num_hidden_layers": 30, "tie_word_embeddings": True} | changes
    return SimpleNamespace(
        parallel_config=SimpleNamespace(pipeline_parallel_size=1),
        speculative_config=None,
        model_config=SimpleNamespace(hf_config=SimpleNamespace(**model)),
    )


@pytest.fixture(autouse=True)
def nothing_served(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(layer_tap._Served, "tapped", None)
    monkeypatch.setattr(layer_tap._Served, "model", None)
    yield


def test_importing_the_tap_loads_neither_torch_nor_vllm() -> None:
    code = "import sys, motet.serving.vllm.layer_tap; print({'torch', 'vllm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_vllm_finds_the_tap_among_its_plug_ins() -> None:
    found = importlib.metadata.entry_points(group="vllm.general_plugins")

    assert "motet.serving.vllm.layer_tap:register" in [point.value for point in found]


def test_registering_with_another_vllm_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace())

    layer_tap.register()

    assert not layer_tap.is_live()


def write_config(folder: Path, **changes: Any) -> str:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": 30,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")
    return str(folder)


def test_overrides_name_the_class_and_the_layers(tmp_path: Path) -> None:
    assert layer_tap.hf_overrides(write_config(tmp_path)) == {
        "architectures": ["MotetLayerTapLlamaForCausalLM"],
        "motet_layers": HIGH,
    }


def test_overrides_of_a_name_on_the_hub_leave_the_layers_to_the_server() -> None:
    assert layer_tap.hf_overrides("org/model") == {
        "architectures": ["MotetLayerTapLlamaForCausalLM"]
    }


def test_a_model_that_is_no_llama_is_refused(tmp_path: Path) -> None:
    folder = write_config(tmp_path, architectures=["GPT2LMHeadModel"])

    with pytest.raises(ConfigError, match="GPT2LMHeadModel; layers can be kept of LlamaFor"):
        layer_tap.hf_overrides(folder)


def test_a_layer_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="layers holds 30"):
        layer_tap.hf_overrides(write_config(tmp_path), [16, 30])


def test_a_server_keeps_the_upper_half_unless_told_otherwise() -> None:
    assert list(layer_tap.read_tapped(served_config().model_config.hf_config).layers) == HIGH


@pytest.mark.parametrize("layers", [[40], [], 7, "middle"])
def test_a_wrong_setting_of_the_server_is_refused_with_its_value(layers: Any) -> None:
    with pytest.raises(ConfigError, match="motet_layers of --hf-overrides is"):
        layer_tap.note_served(served_config(motet_layers=layers))


def test_pipelines_and_speculation_are_refused_at_the_start() -> None:
    config = served_config()
    config.parallel_config.pipeline_parallel_size = 2
    with pytest.raises(ConfigError, match="pipeline_parallel_size is 2"):
        layer_tap.note_served(config)
    config = served_config()
    config.speculative_config = object()
    with pytest.raises(ConfigError, match="speculative_config is set"):
        layer_tap.note_served(config)


def test_a_rule_is_refused_where_no_states_are_kept() -> None:
    assert layer_tap.served_layers() == ()
    with pytest.raises(ValueError, match="start it with --hf-overrides"):
        layer_tap.check(dola("high").parameters())


def test_a_rule_is_refused_where_its_layers_are_not_kept() -> None:
    layer_tap.note_served(served_config())

    assert list(layer_tap.served_layers()) == HIGH
    layer_tap.check(dola("high").parameters())
    layer_tap.check(dola([28, 16]).parameters())
    for layers in ("low", [15], [16, 29]):
        with pytest.raises(ValueError, match=r"the server keeps \[16, 18, .* not \["):
            layer_tap.check(dola(layers).parameters())
    with pytest.raises(ValueError, match="layers holds 30"):
        layer_tap.check(dola([30]).parameters())


class FakeModel:
    """A model whose early logits are given."""

    def __init__(self, early: Any, tapped: layer_tap.Tapped) -> None:
        self.early = early
        self.tapped = tapped

    def early_logits(self, rows: list[int], places: list[int], *, num_rows: int) -> Any:
        assert num_rows == len(self.early)
        return self.early[list(rows)][:, list(places)]


def test_only_the_named_rows_change_each_by_its_own_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    from motet.serving.decoding import layers

    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(5, 9, generator=generator)
    early = 3 * torch.randn(5, 7, 9, generator=generator)
    model = FakeModel(early, layer_tap.Tapped(tuple(HIGH), 30, is_tied=True))
    monkeypatch.setattr(layer_tap._Served, "model", lambda: model)
    before = logits.clone()
    rules = [dola(), dola([18, 28], relative_top=0.5), dola(divergence="reference")]

    after = layer_tap.contrasted(logits, [4, 0, 2], [rule.parameters() for rule in rules])

    def expected(row: int, places: list[int], top: float, divergence: str) -> Any:
        rows = before[row : row + 1], early[row : row + 1, places]
        return layers.contrasted(*rows, top, divergence)[0]

    every = list(range(7))
    torch.testing.assert_close(after[4], expected(4, every, 0.1, "jsd"))
    torch.testing.assert_close(after[0], expected(0, [1, 6], 0.5, "jsd"))
    torch.testing.assert_close(after[2], expected(2, every, 0.1, "reference"))
    assert torch.equal(after[[1, 3]], before[[1, 3]])


# ---- a real engine -------------------------------------------------------------------------------


def run_engine(folder: Path, num_prompts: int, num_tokens: int, **variables: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tests.serving.vllm.layer_runs"]
        + [str(folder), str(num_prompts), str(num_tokens)],
        env={**os.environ, **ENVIRONMENT, **variables},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    reports = [line for line in done.stdout.splitlines() if line.startswith("REPORT ")]
    assert len(reports) == 1, done.stdout + done.stderr
    return json.loads(reports[0].removeprefix("REPORT "))


def check_tokens(found: Any, reference: DolaReference, num_prompts: int, num_tokens: int) -> None:
    wanted: list[dict[str, Any]] = [
        {},
        {"layers": HIGH},
        {"layers": HIGH, "divergence": "reference"},
        {"layers": [2, 20], "relative_top": 0.3},
    ]
    mixed = [
        reference.greedy(prompt, num_tokens, guess=guess, **each)
        for (prompt, each), guess in zip(
            itertools.product(PROMPTS[:num_prompts], wanted), found["mixed"], strict=True
        )
    ]
    assert found["mixed"] == mixed
    assert found["plain"] == mixed[0::4]
    assert found["alone"] == mixed[1::4]
    assert found["plain"] != found["alone"]
    assert found["is_live"]
    assert "not [4]" in found["refused"]


@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_greedy_tokens_are_the_references_alone_and_among_other_requests(
    smollm2: Path, dola_reference: DolaReference
) -> None:
    found = run_engine(smollm2, 6, 24)

    assert found["runner"] == "vllm.v1.worker.cpu_model_runner"
    check_tokens(found, dola_reference, 6, 24)


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_greedy_tokens_are_the_references_on_the_newer_runner(
    smollm2: Path, dola_reference: DolaReference
) -> None:
    variables = {
        "TRITON_INTERPRET": "1",
        "VLLM_USE_V2_MODEL_RUNNER": "1",
        "PYTHONPATH": str(FAKE_TRITON),
    }

    found = run_engine(smollm2, 2, 6, **variables)

    assert found["runner"] == "vllm.v1.worker.cpu.model_runner"
    check_tokens(found, dola_reference, 2, 6)
