"""Grade a program that a model wrote, by running tests against it in the sandbox.

What a program can do to look right, and why it does not help: the tests run in another process,
which alone holds them and the pipe out, and sees values only. Three things remain. A program can
know the arguments of its calls and answer those by heart. Tests that compare the program with
itself (`f(g(x)) == x`) hold for any pair that fits. And tests of a program's own classes ask its
objects, so a test such as `stack.is_empty()` is answered by the program, as it must be.
"""

from __future__ import annotations

import marshal
import secrets
from functools import cache
from importlib.util import MAGIC_NUMBER, find_spec
from typing import Any, Final

from motet.errors import DataError, SandboxError
from motet.grading.code_blocks import program_candidates
from motet.grading.grade import Grade, answered, no_answer
from motet.grading.inside.plain import UnsendableError, decode, encode
from motet.grading.rows import CodeTests, Row
from motet.sandbox import Outcome, run_code

_INSIDE: Final = {
    "main": "motet.grading.inside.tester",
    **{f"{package}/__init__": "" for package in ("motet", "motet/grading", "motet/grading/inside")},
    **{
        f"motet/grading/inside/{name}": f"motet.grading.inside.{name}"
        for name in ("pipes", "plain", "program", "worker")
    },
}
"""Modules by their place in the sandbox."""


async def grade_code(row: Row, text: str | None, *, is_cut_off: bool = False) -> Grade:
    """Run the program in a reply to `row` against the row's tests.

    As many run at once as there are cores; further calls wait. The grade's `answer` is the
    program, and `reason` says why it is wrong: `assert: ...`, `exception: ...`, `time: ...`,
    `memory: ...`, `output: ...` or `ended: ...`. Call `motet.sandbox.check_sandbox()` before
    tokens are spent: it raises what this would.

    Raises:
        DataError: The row has no tests, or they cannot be run whatever the program is.
        SandboxError: There is no sandbox here.
    """
    tests = row.tests
    if tests is None or not (tests.source or tests.inputs or tests.cases):
        raise DataError(f"row {row.id!r} has no tests of code")
    if text is None or not text.strip():
        return no_answer("empty")
    if is_cut_off:
        return no_answer("cut off")
    programs = program_candidates(text, entry_point=tests.entry_point, prefix=tests.prefix)
    if not programs:
        return no_answer("unreadable")
    program = programs[0]
    if tests.source or tests.inputs:
        verdict, reason, number = await _tested(row, tests, programs)
        if verdict == "broken":
            raise DataError(f"tests of row {row.id!r} cannot be run: {reason}")
        if verdict == "unreadable":
            return no_answer("unreadable")
        program = programs[number]
        if verdict == "wrong":
            return answered(program, is_right=False, reason=reason)
    for given, wanted in tests.cases:
        reason = await _case(tests, program, given, wanted)
        if reason:
            return answered(program, is_right=False, reason=reason)
    return answered(program, is_right=True)


async def _tested(row: Row, tests: CodeTests, programs: tuple[str, ...]) -> tuple[str, str, int]:
    """Return the verdict of the tests, its reason, and which of the programs parsed."""
    token = secrets.token_hex(16)
    try:
        sent = _block(encode(programs)) + _block(encode((token, _fields(tests))))
    except UnsendableError as exc:
        raise DataError(f"tests of row {row.id!r} cannot be sent: {exc}") from exc
    # Without /proc a program cannot look into the process of the tests.
    outcome = await run_code(
        ("python3", "-S", "-s", "main.pyc"),
        files=_modules(),
        stdin=sent,
        limits=tests.limits,
        has_proc=False,
    )
    try:
        found, verdict, reason, number = decode(outcome.stdout[_HEAD:])
        if found == token:
            return str(verdict), str(reason), number
    except (UnsendableError, TypeError, ValueError):
        pass
    return "wrong", _why(outcome, tests), 0


_HEAD: Final = 16


def _block(data: bytes) -> bytes:
    return b"%016d" % len(data) + data


def _fields(tests: CodeTests) -> dict[str, Any]:
    return {
        "entry_point": tests.entry_point,
        "prefix": tests.prefix,
        "source": tests.source,
        "inputs": tests.inputs,
        "reference": tests.reference,
        "tolerance": tests.tolerance,
    }


def _why(outcome: Outcome, tests: CodeTests) -> str:
    """Say why a program came to no verdict."""
    limits = tests.limits
    said = {
        "time": f"time: over {limits.wall_s:g} s",
        "cpu": f"time: over {limits.cpu_s} s of a processor",
        "memory": f"memory: over {limits.memory_mb} MB",
        "output": f"output: over {limits.max_output_bytes} bytes",
    }
    return said.get(outcome.ended, f"ended: the tests were ended with code {outcome.exit_code}")


async def _case(tests: CodeTests, program: str, given: str, wanted: str) -> str:
    """Run a whole program on one input; return why what it prints is wrong, empty if it is not."""
    outcome = await run_code(program, stdin=given, limits=tests.limits)
    if outcome.ended != "done":
        return _why(outcome, tests)
    if outcome.exit_code:
        said = outcome.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return f"exception: {said or f'exit code {outcome.exit_code}'}"[:500]
    printed = outcome.stdout.decode("utf-8", "replace")
    if _lines(printed) == _lines(wanted):
        return ""
    return f"assert: of {given!r:.120} it prints {printed!r:.80}, not {wanted!r:.80}"


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


@cache
def _modules() -> dict[str, bytes]:
    """Compile what runs inside, so that no start pays for it again."""
    head = MAGIC_NUMBER + bytes(12)
    return {
        f"{place}.pyc": head + marshal.dumps(compile(_source(name), f"{place}.py", "exec"))
        for place, name in _INSIDE.items()
    }


def _source(name: str) -> str:
    if not name:
        return ""
    spec = find_spec(name)
    loader: Any = None if spec is None else spec.loader
    source = None if loader is None else loader.get_source(name)
    if source is None:
        raise SandboxError(f"the source of {name} is not installed, which runs in the sandbox")
    return str(source)
