"""Programs by name, by file, or from a graph file."""

from __future__ import annotations

import difflib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from motet.cli.failures import CommandError
from motet.errors import MotetError
from motet.operations import FunctionOperation, Operation


@dataclass(frozen=True, slots=True)
class Found:
    """A program and where it was found."""

    text: str
    """What was typed, with the file's path made absolute."""
    operation: FunctionOperation | None
    """None for a graph file, which has no inputs left."""
    graph_text: str | None = None

    @property
    def name(self) -> str:
        return self.operation.short_name if self.operation is not None else Path(self.text).name


def built_in() -> dict[str, FunctionOperation]:
    """Programs that come with motet, by name."""
    import motet.programs

    return {name: getattr(motet.programs, name) for name in motet.programs.__all__}


def looks_like_program(text: str) -> bool:
    """Say whether `text` is surely meant as a program."""
    if text.replace("-", "_") in _built_in_names():
        return True
    path, separator, _ = text.rpartition(":")
    return text.endswith((".py", ".json")) or (bool(separator) and path.endswith(".py"))


def _built_in_names() -> list[str]:
    import motet.programs

    return list(motet.programs.__all__)


def find_program(text: str) -> Found:
    """Return the program that `text` names.

    Raises:
        CommandError: There is none; lists what there is.
    """
    name = text.replace("-", "_")
    known = built_in()
    if name in known:
        return Found(name, known[name])
    path, separator, attribute = text.rpartition(":")
    if separator and path.endswith(".py"):
        return _find_in_file(path, attribute)
    if text.endswith(".py"):
        module = load_file(text)
        raise CommandError(f"{text} does not say which program to run", _contents(text, module))
    if text.endswith(".json"):
        return Found(str(Path(text).resolve()), None, _read(text))
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    raise CommandError(
        f"there is no program {text!r}",
        f"{hint}built in are {', '.join(known)}; a file's is written file.py:name",
    )


def _find_in_file(path: str, attribute: str) -> Found:
    module = load_file(path)
    found = getattr(module, attribute, None)
    if isinstance(found, FunctionOperation):
        return Found(f"{Path(path).resolve()}:{attribute}", found)
    if found is None:
        close = difflib.get_close_matches(attribute, _operations(module), n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise CommandError(f"{path} has no {attribute!r}", hint + _contents(path, module))
    if callable(found):
        raise CommandError(
            f"{attribute} in {path} is a plain function",
            "decorate it: @motet.program where it makes calls, @motet.step where it does not",
        )
    raise CommandError(
        f"{attribute} in {path} is a {type(found).__name__}, no program", _contents(path, module)
    )


def find_function(text: str) -> Any:
    """Return the function that `file.py:name` names.

    Raises:
        CommandError: There is none.
    """
    path, separator, attribute = text.rpartition(":")
    if not separator or not path.endswith(".py"):
        raise CommandError(f"{text!r} is no function", "write it as file.py:name")
    found = getattr(load_file(path), attribute, None)
    if isinstance(found, Operation):
        raise CommandError(
            f"{text} is a {found.kind}, and a plain function is needed here",
            "name a function that is not decorated",
        )
    if not callable(found):
        raise CommandError(f"{path} has no function {attribute!r}")
    return found


def operations_in(modules: Iterable[ModuleType]) -> list[Operation]:
    """Every operation that stands at the top of one of `modules`."""
    return [v for m in modules for v in vars(m).values() if isinstance(v, Operation)]


def built_in_operations() -> list[Operation]:
    """Every operation of motet's own programs, for graph files."""
    import motet.programs

    names = [m for m in sys.modules if m.startswith(f"{motet.programs.__name__}.")]
    return operations_in(sys.modules[name] for name in names)


def load_file(path: str) -> ModuleType:
    """Import a file under its stem, so that its operations are named as when it runs as a script.

    Raises:
        CommandError: It cannot be read, or failed; names the line.
    """
    file = Path(path).resolve()
    name = file.stem
    loaded = sys.modules.get(name)
    if loaded is not None:
        if getattr(loaded, "__file__", None) == str(file):
            return loaded
        raise CommandError(f"{path} has the name of another module", "rename the file")
    _read(path)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except BaseException as exc:
        del sys.modules[name]
        if isinstance(exc, KeyboardInterrupt):
            raise
        raise CommandError(_describe(file, exc), code=2) from exc
    return module


def _describe(file: Path, exc: BaseException) -> str:
    if isinstance(exc, SyntaxError) and exc.filename:
        text = (exc.text or "").strip()
        return f"{exc.filename}:{exc.lineno}: {exc.msg}" + (f"\n    {text}" if text else "")
    if isinstance(exc, SystemExit):
        return (
            f"{file} ended the process while it was loaded; "
            'put what runs it under `if __name__ == "__main__":`'
        )
    frames = [f for f in traceback.extract_tb(exc.__traceback__) if f.filename == str(file)]
    where = f"{file}:{frames[-1].lineno}" if frames else str(file)
    line = f"\n    {frames[-1].line}" if frames and frames[-1].line else ""
    if isinstance(exc, MotetError):
        return f"{where}: {exc}{line}"
    return f"{where}: {type(exc).__name__}: {exc}{line}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CommandError(f"there is no file {path!r}") from None
    except OSError as exc:
        raise CommandError(f"{path} cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError as exc:
        raise CommandError(f"{path} is no UTF-8 text: {exc}") from None


def _operations(module: ModuleType) -> dict[str, FunctionOperation]:
    return {k: v for k, v in vars(module).items() if isinstance(v, FunctionOperation)}


def _contents(path: str, module: ModuleType) -> str:
    ours = {k: v for k, v in _operations(module).items() if not k.startswith("_")}
    if not ours:
        return f"{path} has no program; decorate a function with @motet.program"
    listed = ", ".join(f"{name} ({operation.kind})" for name, operation in ours.items())
    return f"{path} has {listed}"
