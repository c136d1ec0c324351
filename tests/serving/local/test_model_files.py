from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from motet.errors import ConfigError, ModelNotFoundError
from motet.serving.local import dequantise, model_files
from motet.serving.local.model_files import unpacked_folder


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    path = tmp_path / "a.gguf"
    path.write_bytes(b"weights")
    return path


def _write(gguf_file: Path, folder: Path) -> None:
    (folder / "config.json").write_text("{}")


def test_a_model_is_unpacked_once(
    gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dequantise, "write_model", _write)
    folder = unpacked_folder(gguf_file, tmp_path / "cache")
    monkeypatch.setattr(dequantise, "write_model", None)

    assert unpacked_folder(gguf_file, tmp_path / "cache") == folder
    assert (folder / "config.json").is_file()
    assert list((tmp_path / "cache").iterdir()) == [folder]


def test_a_write_that_breaks_leaves_nothing(
    gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(gguf_file: Path, folder: Path) -> None:
        _write(gguf_file, folder)
        raise OSError("disk full")

    monkeypatch.setattr(dequantise, "write_model", broken)
    with pytest.raises(ConfigError, match="disk full"):
        unpacked_folder(gguf_file, tmp_path / "cache")

    assert list((tmp_path / "cache").iterdir()) == []


def test_the_second_of_two_writers_uses_what_the_first_wrote(
    gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(gguf_file: Path, folder: Path) -> None:
        _write(gguf_file, folder)
        monkeypatch.setattr(dequantise, "write_model", _write)
        (unpacked_folder(gguf_file, tmp_path / "cache") / "first").touch()

    monkeypatch.setattr(dequantise, "write_model", late)
    folder = unpacked_folder(gguf_file, tmp_path / "cache")

    assert (folder / "first").is_file()
    assert list((tmp_path / "cache").iterdir()) == [folder]


def test_a_file_that_is_no_gguf_is_a_typed_error(gguf_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"a\.gguf"):
        unpacked_folder(gguf_file, tmp_path / "cache")

    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(gguf_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match="cache_dir"):
        unpacked_folder(gguf_file, tmp_path / "file" / "cache")


@pytest.mark.model
def test_two_processes_unpack_the_model_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from motet.serving.local import model_files\n"
        "print(model_files.model_folder('smollm2', Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]

    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0].strip() for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1]
    [folder] = tmp_path.iterdir()
    assert str(folder) == outputs[0]
    config = json.loads((folder / "config.json").read_text())
    assert config["num_hidden_layers"] == 30
    assert model_files.context_of(config) == 8192
