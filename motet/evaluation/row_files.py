"""Rows of a task from JSON objects, and which of their fields hold what."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any, Final, get_args

from motet.errors import ConfigError, DataError
from motet.evaluation.names import hint
from motet.grading.datasets import make_row
from motet.grading.instruction_following import Instruction
from motet.grading.rows import CodeTests, Kind, Row
from motet.programs.frontier.rows import BadRowError, cut
from motet.search.answers import extract_answer

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
FIELDS: Final = {
    "prompt": ("prompt", "question", "problem", "input"),
    "gold": ("gold", "golds", "answer", "target"),
    "id": ("id",),
    "options": ("options", "choices"),
    "part": ("part",),
    "tests": ("tests",),
    "entry_point": ("entry_point",),
    "prefix": ("prefix",),
    "cases": ("cases",),
    "instructions": ("instructions",),
}
"""What a row holds, and the names by which it is found where a task does not name its fields."""
MOST_GOLD: Final = 20_000
"""Characters of a right answer."""
MOST_PROMPT: Final = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How JSON objects hold rows.

    Raises:
        ConfigError: A field is unknown, or the kind.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    """What a row holds to the name of its JSON field."""
    kind: Kind | None = None
    """None tells it by what the rows hold."""
    extras: tuple[str, ...] = ()
    """JSON fields that programs take beside."""

    def __post_init__(self) -> None:
        for name, source in self.fields.items():
            if name not in FIELDS:
                raise ConfigError(f"fields has {name!r}, which no row holds; {hint(name, FIELDS)}")
            if not isinstance(source, str) or not source:
                raise ConfigError(f"fields says {name} = {cut(source)}; it must be a field's name")
        if self.kind is not None and self.kind not in KINDS:
            raise ConfigError(f"kind is {cut(self.kind)}; {hint(self.kind, KINDS)}")

    def find(self, record: Mapping[str, Any], name: str) -> Any:
        """Return what a record holds as `name`; None where it holds nothing.

        Raises:
            BadRowError: A field that the task names is not there, or several could be meant.
        """
        if name in self.fields:
            source = self.fields[name]
            if source not in record:
                raise BadRowError(f"it has no {source!r}, which is its {name}; {_has(record)}")
            return record[source]
        found = [each for each in FIELDS[name] if record.get(each) is not None]
        if len(found) > 1:
            raise BadRowError(
                f"its {name} could be {' or '.join(map(repr, found))}; say it by fields"
            )
        return record[found[0]] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows that were read."""

    rows: tuple[Row, ...]
    extras: Mapping[str, Mapping[str, Any]]
    """By row, the JSON fields that programs take beside."""
    left_out: tuple[str, ...]
    """What is wrong with each record that is no row."""


def rows_of(
    records: Iterable[tuple[str, Mapping[str, Any] | BadRowError]],
    form: Form,
    *,
    source: str,
    limit: int | None = None,
    on_bad_row: Callable[[str], None] | None = None,
    check: Callable[[Row], None] | None = None,
) -> Rows:
    """Make rows of records, each with its place, such as `line 3`.

    `check` refuses rows without a right answer, by a DataError, where they cannot be scored.

    Raises:
        DataError: There is no row; or one is bad and `on_bad_row` is None.
    """
    found: dict[str, Row] = {}
    extras: dict[str, Mapping[str, Any]] = {}
    bad: list[str] = []
    every = list(records)
    kind = form.kind or _guessed([each for _, each in every if isinstance(each, Mapping)], form)
    for place, record in every:
        try:
            row = _made(record, form, kind, place)
            if row.id in found:
                raise BadRowError(f"the id {cut(row.id)} stands there twice")
            beside = {name: _extra(record, name) for name in form.extras}
            if check is not None and not row.golds and row.kind not in ("code", "instructions"):
                _checked(row, check)
        except BadRowError as exc:
            bad.append(f"{source}, {place}: {exc}")
            if on_bad_row is None:
                raise DataError(bad[-1]) from None
            on_bad_row(bad[-1])
            continue
        found[row.id], extras[row.id] = row, beside
        if len(found) == limit:
            break
    if not found:
        raise DataError(f"{source} holds no rows" + (f"; {bad[0]}" if bad else ""))
    return Rows(rows=tuple(found.values()), extras=extras, left_out=tuple(bad))


def _checked(row: Row, check: Callable[[Row], None]) -> None:
    try:
        check(row)
    except DataError as exc:
        raise BadRowError(f"it {str(exc).removeprefix(f'row {row.id!r} ')}") from None


def _guessed(records: Sequence[Mapping[str, Any]], form: Form) -> Kind:
    """Return the kind of rows that say none: by what they hold, and by whether golds are numbers."""

    def have(name: str) -> bool:
        source = form.fields.get(name)
        names = FIELDS[name] if source is None else (source,)
        return any(record.get(each) is not None for record in records for each in names)

    if have("tests") or have("cases"):
        return "code"
    if have("instructions"):
        return "instructions"
    if have("options"):
        return "choice"
    golds: list[str] = []
    for record in records:
        try:
            golds += _golds(form.find(record, "gold"))
        except ValueError:  # a BadRowError, or a number that Python does not write
            continue
    numbers = [_is_number(gold) for gold in golds]
    return "number" if numbers and all(numbers) else "text"


def _is_number(gold: str) -> bool:
    try:
        return math.isfinite(float(gold.replace(",", "")))
    except ValueError:
        return False


def _made(record: Mapping[str, Any] | BadRowError, form: Form, kind: Kind, place: str) -> Row:
    if isinstance(record, BadRowError):
        raise record
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadRowError("it holds half of a surrogate pair, which is no character") from None
    except RecursionError:
        raise BadRowError("it is nested too deep") from None
    except ValueError as exc:  # a hexadecimal of TOML that Python does not write
        raise BadRowError(f"it holds what JSON cannot: {exc}") from None
    except TypeError:
        pass  # dates of TOML and the like, which are told where they stand
    prompt = form.find(record, "prompt")
    if prompt is None:
        names = ", ".join(FIELDS["prompt"])
        raise BadRowError(
            f"it has no prompt, by none of the names {names}; {_has(record)}: say which by fields"
        )
    if not isinstance(prompt, str) or not prompt.strip():
        raise BadRowError(f"its prompt is {cut(prompt)}; it must be some text")
    if len(prompt) > MOST_PROMPT:
        raise BadRowError(f"its prompt has {len(prompt)} characters; the most is {MOST_PROMPT}")
    given = form.find(record, "id")
    if given is not None and (isinstance(given, bool) or not isinstance(given, (str, int))):
        raise BadRowError(f"its id is {cut(given)}; it must be a text or a whole number")
    row_id = place if given is None or given == "" else str(given)
    part = form.find(record, "part")
    if part is not None and not isinstance(part, (str, int)):
        raise BadRowError(f"its part is {cut(part)}; it must be a text")
    part = "" if part is None else str(part)
    if kind in ("code", "instructions"):
        return Row(
            id=row_id,
            prompt=prompt,
            golds=(),
            kind=kind,
            task=part,
            tests=_tests(record, form) if kind == "code" else None,
            instructions=_instructions(record, form) if kind == "instructions" else (),
        )
    options = _options(form.find(record, "options")) if kind == "choice" else []
    golds = _golds(form.find(record, "gold"), options)
    if not golds and kind != "text":
        names = ", ".join(FIELDS["gold"])
        raise BadRowError(f"it has no right answer, by none of the names {names}; {_has(record)}")
    if kind == "number" and not all(extract_answer(gold, "number") for gold in golds):
        raise BadRowError(f"its right answer {cut(golds)} holds no number")
    if not golds:
        return Row(id=row_id, prompt=prompt, golds=(), kind=kind, task=part)
    try:
        return make_row(row_id, prompt, golds, kind, part, options)
    except (TypeError, ValueError) as exc:
        raise BadRowError(str(exc)) from None


def _has(record: Mapping[str, Any]) -> str:
    return f"it has {', '.join(map(repr, list(record)[:20])) or 'nothing'}"


def _extra(record: Any, name: str) -> Any:
    if name not in record:
        raise BadRowError(f"it has no {name!r}, which inputs names; {_has(record)}")
    return record[name]


def _options(given: Any) -> list[str]:
    if not isinstance(given, list) or not 2 <= len(given) <= 26:
        raise BadRowError(f"its options are {cut(given)}; they must be a list of 2 to 26 texts")
    options = [str(each) if isinstance(each, (int, float)) else each for each in given]
    if not all(isinstance(each, str) and each.strip() for each in options):
        raise BadRowError(f"its options are {cut(given)}; each must be some text")
    return options


def _golds(given: Any, options: Sequence[str] = ()) -> list[str]:
    """Return right answers as texts; of options, the letter of the one that is meant."""
    if given is None:
        return []
    golds = [_gold(each, options) for each in (given if isinstance(given, list) else [given])]
    if options and len(golds) > 1:
        raise BadRowError(f"its right answers are {cut(golds)}; of options there must be one")
    return golds


def _gold(given: Any, options: Sequence[str]) -> str:
    letters = ascii_uppercase[: len(options)]
    if options and isinstance(given, int) and not isinstance(given, bool):
        if not 0 <= given < len(options):
            raise BadRowError(f"its right answer is {given}; options are numbered from 0")
        return letters[given]
    if isinstance(given, float) and not math.isfinite(given):
        raise BadRowError(f"its right answer is {given}; it must be finite")
    if not isinstance(given, (str, int, float)):
        raise BadRowError(f"its right answer is {cut(given)}; it must be a text or a number")
    text = str(given).strip()
    if not text:
        raise BadRowError("its right answer is empty")
    if len(text) > MOST_GOLD:
        raise BadRowError(f"its right answer has {len(text)} characters; the most is {MOST_GOLD}")
    if options and (len(text) != 1 or text not in letters):
        meant = [place for place, option in enumerate(options) if option.strip() == text]
        if len(meant) != 1:
            raise BadRowError(f"its right answer is {cut(text)}, which is none of its options")
        return letters[meant[0]]
    return text


def _tests(record: Mapping[str, Any], form: Form) -> CodeTests:
    tests = form.find(record, "tests")
    if isinstance(tests, list) and all(isinstance(each, str) for each in tests):
        tests = "\n".join(tests)
    cases = form.find(record, "cases") or []
    entry_point = form.find(record, "entry_point") or ""
    prefix = form.find(record, "prefix") or ""
    texts = {"tests": tests or "", "entry_point": entry_point, "prefix": prefix}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise BadRowError(f"its {name} is {cut(text)}; it must be a text")
    is_paired = isinstance(cases, list) and all(
        isinstance(pair, list) and list(map(type, pair)) == [str, str] for pair in cases
    )
    if not is_paired:
        raise BadRowError(f"its cases are {cut(cases)}; they must be pairs of texts: read, print")
    if not tests and not cases:
        raise BadRowError(f"it has no tests; {_has(record)}")
    return CodeTests(
        entry_point=entry_point,
        prefix=prefix,
        source=tests or "",
        cases=tuple((read, printed) for read, printed in cases),
    )


def _instructions(record: Mapping[str, Any], form: Form) -> tuple[Instruction, ...]:
    given = form.find(record, "instructions")
    found = []
    for each in given if isinstance(given, list) else []:
        if not isinstance(each, dict) or not isinstance(each.get("id"), str):
            raise BadRowError(f"an instruction is {cut(each)}; it must have an id and settings")
        settings = each.get("settings", {})
        if not isinstance(settings, dict) or set(each) - {"id", "settings"}:
            raise BadRowError(f"an instruction is {cut(each)}; it must have an id and settings")
        found.append(Instruction(id=each["id"], settings=settings))
    if not found:
        raise BadRowError(f"its instructions are {cut(given)}; they must be a list, one at least")
    return tuple(found)
