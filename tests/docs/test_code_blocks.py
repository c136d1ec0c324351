"""Every code block of the README and of the docs runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_PAGES = [_ROOT / "README.md", *sorted((_ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def _blocks(page: Path, *languages: str) -> list[str]:
    return [code for language, code in _BLOCK.findall(page.read_text()) if language in languages]


def _name(page: Path) -> str:
    return str(page.relative_to(_ROOT))


def _environment(folder: Path) -> dict[str, str]:
    binaries = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "XDG_DATA_HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
    }


@pytest.mark.model
@pytest.mark.parametrize("page", [p for p in _PAGES if _blocks(p, "python")], ids=_name)
def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
    """The blocks of a page run one after another, as a reader would type them."""
    script = tmp_path / "blocks.py"
    script.write_text("\n".join(_blocks(page, "python")))

    done = subprocess.run(
        [sys.executable, str(script)],
        env=_environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.model
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [p for p in _PAGES if _blocks(p, "sh")], ids=_name)
def test_shell_blocks_run(page: Path, tmp_path: Path) -> None:
    """Each `motet` command of a page exits with 0; each `make` target exists."""
    makefile = (_ROOT / "Makefile").read_text()
    for block in _blocks(page, "sh"):
        script = []
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["make"]:
                assert re.search(rf"^{re.escape(words[1])}:", makefile, re.MULTILINE), line
            else:
                script.append(line)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
            env=_environment(tmp_path),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"


@pytest.mark.model
@pytest.mark.parametrize("example", sorted((_ROOT / "examples").glob("*.py")), ids=_name)
def test_examples_run(example: Path, tmp_path: Path) -> None:
    """Every example runs from its own file."""
    done = subprocess.run(
        [sys.executable, str(example)],
        env=_environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
