"""Test a program that nobody trusts. Runs inside the sandbox.

Two processes: the program's, which loads it and answers calls, and the tests', which alone has
the tests and the pipe out. The program's process is forked before the tests are read, so it
never holds them; it gets arguments and sends values, which arrive as plain data (`plain.py`). So
nothing that it defines, patches, prints or ends with is a verdict.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Final, NoReturn

from motet.grading.inside.pipes import receive, send
from motet.grading.inside.plain import UnsendableError, decode, encode
from motet.grading.inside.program import Names, Program, ProgramEndedError, Remote
from motet.grading.inside.worker import Worker

_TESTS: Final = "<tests>"


def main() -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A module that the program writes must not be one that the tests import.
    sys.path[:] = [folder for folder in sys.path if folder.startswith(sys.base_prefix)]
    candidates = decode(receive(0))
    from_tests, to_program = os.pipe()
    from_program, to_tests = os.pipe()
    child = os.fork()
    if not child:
        os.close(to_program)
        os.close(from_program)
        _silence(0, 1, 2)
        Worker(from_tests, to_tests).live(candidates)
        os._exit(0)
    os.close(from_tests)
    os.close(to_tests)
    token, tests = decode(receive(0))
    out = os.dup(1)
    _silence(0, 1)
    sys.stdout = None
    verdict = _verdict(Program(to_program, from_program, child), tests)
    send(out, encode((token, *verdict)))
    os._exit(0)


def _silence(*descriptors: int) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for fd in descriptors:
        os.dup2(null, fd)
    os.close(null)


def _verdict(program: Program, tests: Any) -> tuple[str, str, int]:
    number: int | None = 0
    try:
        number = program.loaded()
        if number is None:
            return "unreadable", "", 0
        reason = _reason(program, tests)
    except _BrokenTestsError as exc:
        return "broken", str(exc), 0
    except UnsendableError as exc:
        return "broken", str(exc), 0
    except AssertionError as exc:
        reason = _said(exc) or f"assert: {_line(exc, tests['source'])}"
    except MemoryError:
        reason = "memory: MemoryError"
    except ProgramEndedError as exc:
        reason = str(exc)
    except BaseException as exc:
        reason = _said(exc) or f"exception: {type(exc).__name__}: {exc}"
    return ("wrong" if reason else "right"), reason[:500], number or 0


def _said(exc: BaseException) -> str:
    """Return what the program raised, where it is that which ended the tests."""
    notes = getattr(exc, "__notes__", [])
    return f"exception: {notes[0]}" if notes and isinstance(notes[0], str) else ""


def _line(exc: BaseException, source: str) -> str:
    number, trace = 0, exc.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _TESTS:
            number = trace.tb_lineno
        trace = trace.tb_next
    lines = source.splitlines()
    line = lines[number - 1].strip() if 0 < number <= len(lines) else "in the tests"
    return f"{line} ({exc})" if str(exc) else line


class _BrokenTestsError(Exception):
    """The tests cannot be run, whatever the program is."""


def _reason(program: Program, tests: Any) -> str:
    """Run the tests; return why the program is wrong, empty where it is right."""
    names: dict[str, Any] = {"__name__": "tests", "__builtins__": Names(program)}
    _define(tests["prefix"], names)
    candidate = None
    if tests["entry_point"]:
        candidate = program.ask("global", tests["entry_point"])
        names[tests["entry_point"]] = _callable(program, candidate, tests["entry_point"])
    try:
        code = compile(tests["source"], _TESTS, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as exc:
        raise _BrokenTestsError(f"the tests do not parse: {exc}") from exc
    exec(code, names)  # noqa: S102
    if not tests["inputs"]:
        return ""
    known: dict[str, Any] = {"__name__": "reference"}
    try:
        exec(compile(tests["reference"], "<reference>", "exec", dont_inherit=True), known)  # noqa: S102
        reference = known[tests["entry_point"]]
    except Exception as exc:
        raise _BrokenTestsError(f"the reference does not run: {exc!r}") from exc
    for arguments in tests["inputs"]:
        try:
            expected = reference(*decode(encode(arguments)))
        except Exception as exc:
            raise _BrokenTestsError(f"the reference fails at {arguments!r:.80}: {exc!r}") from exc
        found = program.ask("call", candidate, *decode(encode(arguments)))
        if not _is_same(found, expected, tests["tolerance"]):
            return f"assert: of {arguments!r:.120} it is {expected!r:.80}, not {_shown(found)}"
    return ""


def _define(prefix: str, names: dict[str, Any]) -> None:
    """Define the helpers of a prompt; one that ends amid a function has none to offer."""
    try:
        code = compile(prefix, "<prefix>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return
    try:
        exec(code, names)  # noqa: S102
    except Exception as exc:
        raise _BrokenTestsError(f"the prefix does not run: {exc!r}") from exc


def _callable(program: Program, candidate: Any, name: str) -> Any:
    if not isinstance(candidate, Remote):
        return candidate
    if name[:1].isupper():
        program.has_objects = True
        return candidate

    def call(*arguments: Any, **settings: Any) -> Any:
        return program.ask("call", candidate, *arguments, **settings)

    call.__name__ = name
    return call


def _shown(value: Any) -> str:
    return "an object" if isinstance(value, Remote) else f"{value!r:.80}"


def _is_same(found: Any, expected: Any, tolerance: float) -> bool:
    """Compare as EvalPlus does: exactly, or floats within a tolerance.

    Source: evalplus/evaluate.py (Liu et al. 2023, arXiv:2305.01210).
    """
    if isinstance(found, Remote):
        return False
    if found == expected:
        return True
    is_list = isinstance(expected, (list, tuple))
    floats = list(expected) if is_list else [expected]
    if not tolerance and not (floats and all(isinstance(value, float) for value in floats)):
        return False
    if type(found) is not type(expected) or (is_list and len(found) != len(expected)):
        return False
    others = list(found) if is_list else [found]
    return all(map(_is_close, others, floats, [tolerance or 1e-6] * len(floats)))


def _is_close(found: Any, expected: Any, tolerance: float) -> bool:
    if not isinstance(found, (int, float)) or not isinstance(expected, (int, float)):
        return bool(found == expected)
    return abs(found - expected) <= tolerance + 1e-7 * abs(expected)


if __name__ == "__main__":
    main()
