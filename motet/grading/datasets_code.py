"""Readers of public data sets of programs and their tests."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from motet.errors import DataError
from motet.grading.rows import CodeTests, Row, StoredAnswer
from motet.sandbox import Limits

_LIMITS: Final = Limits(wall_s=5.0, cpu_s=5, memory_mb=1024)
_LIMITS_OF_INPUTS: Final = Limits(wall_s=20.0, cpu_s=20, memory_mb=1024)
_LIMITS_OF_MANY: Final = Limits(wall_s=120.0, cpu_s=120, memory_mb=2048)
_MENDED: Final = {
    "HumanEval/32": """\
    begin, end = -1.0, 1.0
    while poly(xs, begin) * poly(xs, end) > 0:
        begin, end = 2 * begin, 2 * end
    for _ in range(200):
        centre = (begin + end) / 2
        if poly(xs, centre) * poly(xs, begin) > 0:
            begin = centre
        else:
            end = centre
    return begin
""",
    "HumanEval/39": """\
    def is_prime(p):
        d, r = p - 1, 0
        while d % 2 == 0:
            d, r = d // 2, r + 1
        for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
            if p == base:
                return True
            x = pow(base, d, p)
            if x not in (1, p - 1) and all((x := x * x % p) != p - 1 for _ in range(r - 1)):
                return False
        return True
    a, b = 1, 2
    while n > 1:
        a, b = b, a + b
        n -= is_prime(b)
    return b
""",
    "HumanEval/55": """\
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a
""",
    "HumanEval/64": """\
    return sum(c in "aeiouAEIOU" for c in s) + (s[-1:] in ("y", "Y"))
""",
    "HumanEval/127": """\
    length = min(interval1[1], interval2[1]) - max(interval1[0], interval2[0])
    is_prime = length > 1 and all(length % k for k in range(2, int(length**0.5) + 1))
    return "YES" if is_prime else "NO"
""",
}
"""Bodies for those canonical ones that are not exact enough for an extra input, fail at one, or
take too long; EvalPlus has others, too."""
_IS_ZERO: Final = """
def is_zero(xs, x):
    terms = sum(abs(coeff * x**i) for i, coeff in enumerate(xs))
    return abs(poly(xs, x)) <= {tolerance!r} + 1e-12 * terms

"""
"""Zeros differ by program, so EvalPlus asks whether the polynomial is 0; the second summand is
what floats cannot tell."""
_SPLITS: Final = ("few-shot", "test", "validation")


def read_code_rows(folder: Path, name: str) -> list[Row]:
    """Read a data set of programs below `folder`; `read_rows` says the names.

    Raises:
        DataError: A file cannot be read, or a line is not what the reader expects; names both.
    """
    rows = CODE_READERS[name](folder)
    if not rows:
        raise DataError(f"{folder} holds no rows of {name}")
    return rows


def records(path: Path) -> Iterator[tuple[int, Any]]:
    """Read gzip JSON lines, with their numbers from 1.

    Raises:
        DataError: The file cannot be read, or a line is no JSON.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for at, line in enumerate(lines, 1):
                try:
                    yield at, json.loads(line)
                except ValueError as exc:
                    raise DataError(f"line {at} of {path} is no JSON: {exc!r}") from exc
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as exc:
        raise DataError(f"{path} cannot be read: {exc}") from exc


def _each(path: Path, read: Callable[[Any], Row | None]) -> list[Row]:
    rows: list[Row] = []
    for at, record in records(path):
        try:
            row = read(record)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
            raise DataError(f"line {at} of {path} is no row: {exc!r}") from exc
        if row is not None:
            rows.append(row)
    return rows


def _humaneval(folder: Path) -> list[Row]:
    return _each(folder / "humaneval" / "problems.jsonl.gz", _humaneval_row)


def _humaneval_row(
    record: Any,
    inputs: Iterable[Any] = (),
    prompt: str | None = None,
    answers: Mapping[str, StoredAnswer] | None = None,
) -> Row:
    """Source: Chen et al. 2021, arXiv:2107.03374; EvalPlus: Liu et al. 2023, arXiv:2305.01210."""
    prefix, entry_point = _text(record["prompt"]), _text(record["entry_point"])
    given = tuple(tuple(arguments) for arguments in inputs)
    solution = _text(record["canonical_solution"])
    limits = _LIMITS
    if given:
        limits = _LIMITS_OF_MANY if len(given) > 100 else _LIMITS_OF_INPUTS
        solution = _MENDED.get(record["task_id"], solution)
    source = f"{_text(record['test'])}\n\ncheck({entry_point})\n"
    if entry_point == "find_zero":
        source += _IS_ZERO.format(tolerance=record["plus_atol"])
        # The prompt asks for a highest coefficient that is not 0.
        lists = [xs for (xs,) in given if xs[-1]]
        source += "".join(f"assert is_zero({xs!r}, find_zero({xs!r}))\n" for xs in lists)
        given = ()
    return Row(
        id=_text(record["task_id"]),
        prompt=prefix if prompt is None else prompt,
        golds=(solution,),
        kind="code",
        task="",
        tests=CodeTests(
            entry_point=entry_point,
            prefix=prefix,
            source=source,
            inputs=given,
            reference=prefix + solution,
            tolerance=float(record["plus_atol"]),
            limits=limits,
        ),
        answers=answers or {},
    )


def _humaneval_plus_mini(folder: Path) -> list[Row]:
    def read(record: Any) -> Row:
        return _humaneval_row(record, record["plus_input_mini"])

    return _each(folder / "humaneval" / "problems.jsonl.gz", read)


def _humaneval_plus(folder: Path) -> list[Row]:
    full = folder / "humaneval" / "plus_inputs_full.jsonl.gz"
    inputs = {record["task_id"]: record["plus_input"] for _, record in records(full)}

    def read(record: Any) -> Row:
        return _humaneval_row(record, inputs[record["task_id"]])

    return _each(folder / "humaneval" / "problems.jsonl.gz", read)


def _mbpp(folder: Path) -> list[Row]:
    return _each(folder / "mbpp" / "problems.jsonl.gz", _mbpp_row)


def _mbpp_row(record: Any) -> Row:
    """Source: Austin et al. 2021, arXiv:2108.07732; the prompt as in its section 3.1."""
    asserts = [_text(test) for test in record["test_list"]]
    if not asserts or record["split"] not in _SPLITS:
        raise ValueError(f"{len(asserts)} asserts of split {record['split']!r:.40}")
    shown, code = "\n".join(asserts), _text(record["code"])
    defined = re.findall(r"(?m)^def[ \t]+(\w+)", code)
    called = [name for name in defined if re.search(rf"\b{name}\s*\(", asserts[0])]
    if not called:
        raise ValueError(f"{asserts[0]!r:.80} calls nothing that the solution defines")
    return Row(
        id=str(record["task_id"]),
        prompt=f"{_text(record['text'])}\nYour code should pass these tests:\n\n{shown}",
        golds=(code,),
        kind="code",
        task=record["split"],
        tests=CodeTests(
            entry_point=called[-1],
            source=f"{_text(record['test_setup_code'])}\n{shown}\n",
            limits=_LIMITS,
        ),
    )


def _codet_samples(folder: Path) -> list[Row]:
    """Read prompts without their examples, with 100 samples a problem as stored answers."""
    problems = folder / "humaneval" / "problems.jsonl.gz"
    known = {record["task_id"]: record for _, record in records(problems)}

    def read(record: Any) -> Row:
        pairs = zip(record["solutions"], record["gold_pass"], strict=True)
        distinct = [StoredAnswer(text=text, is_right=bool(passes)) for text, passes in pairs]
        answers = {f"sample {at}": distinct[i] for at, i in enumerate(record["sample_index"])}
        problem = known[record["task_id"]]
        return _humaneval_row(problem, prompt=_text(record["prompt"]), answers=answers)

    return _each(folder / "codet_samples" / "samples.jsonl.gz", read)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is no text")
    return value


CODE_READERS: Final[Mapping[str, Callable[[Path], list[Row]]]] = {
    "humaneval": _humaneval,
    "humaneval_plus_mini": _humaneval_plus_mini,
    "humaneval_plus": _humaneval_plus,
    "mbpp": _mbpp,
    "codet_samples": _codet_samples,
}
