from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from motet.errors import ConfigError
from motet.serving.local import model as models
from motet.serving.local import probe
from motet.serving.local.model import LoadedModel


@pytest.fixture
def unknown(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(probe, "KNOWN_TYPES", frozenset())
    return tiny_folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_of_an_unknown_type_is_tried_and_taken(unknown: Path, dtype: str) -> None:
    assert models.load(unknown, dtype=dtype).context_tokens == 512


def test_a_model_that_comes_out_wrong_is_refused(
    unknown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = LoadedModel.step

    def wrong(self: LoadedModel, *args: Any) -> Any:
        found = step(self, *args)
        return replace(found, last=found.last.flip(-1))

    monkeypatch.setattr(LoadedModel, "step", wrong)

    with pytest.raises(ConfigError, match="'llama' models exactly"):
        models.load(unknown, dtype="float32")


def test_a_model_that_cannot_be_computed_is_refused(
    unknown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> Any:
        raise RuntimeError("shapes")

    monkeypatch.setattr(LoadedModel, "step", broken)

    with pytest.raises(ConfigError, match="shapes"):
        models.load(unknown, dtype="float32")


@pytest.mark.parametrize(
    "settings",
    [
        {"attn_logit_softcapping": 50.0},
        {"layer_types": ["full_attention", "linear_attention"]},
        {"text_config": {"model_type": "llama"}},
    ],
)
def test_other_kinds_of_attention_are_refused_by_name(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    import json

    (tmp_path / "config.json").write_text(json.dumps(settings))

    with pytest.raises(ConfigError, match="local engine does not compute"):
        models.load(tmp_path, dtype="float32")
