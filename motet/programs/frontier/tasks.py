"""Tasks with exact graders: how their files are read, and when an answer is right."""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from pydantic import JsonValue

from motet.errors import ConfigError
from motet.programs.frontier.expressions import can_still_win, game_answer, makes_target, value_of
from motet.programs.frontier.rows import BadRowError, cut, id_of, read_row, read_rows
from motet.programs.solution_calls import INSTRUCTION
from motet.search.answers import canonical, extract_answer, maths_answer

_GAME_INSTRUCTION = (
    "Try combinations step by step. Write one step a paragraph, with an empty line between steps. "
    "End with a line of the form: The answer is <expression>."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One problem of a task."""

    id: str
    text: str
    gold: JsonValue
    """The right answer; of a number game its numbers, target, and whether all are to be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A kind of problem."""

    name: str
    read: Callable[[Mapping[str, Any]], tuple[str, JsonValue]]
    """Text and gold of a row of the task's file; KeyError names a missing field."""
    answer_of: Callable[[str], str | None]
    """The answer that a solution states, in a form in which equal answers vote together."""
    is_right: Callable[[str, JsonValue], bool]
    """Whether an answer, as `answer_of` returns it, is right."""
    instruction: str = INSTRUCTION
    is_checkable: bool = False
    """Whether an answer can be checked without knowing a right one."""


def find_task(name: str) -> Task:
    """Return the task of that name.

    Raises:
        ConfigError: There is none.
    """
    if name not in TASKS:
        close = difflib.get_close_matches(name, TASKS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(TASKS)}"
        raise ConfigError(f"task is {name!r}; {hint}")
    return TASKS[name]


def read_questions(
    path: str | Path,
    task: Task,
    *,
    limit: int | None = None,
    on_bad_row: Callable[[str], None] | None = None,
) -> tuple[Question, ...]:
    """Read the first `limit` questions of a file of JSON lines, `.gz` or plain.

    Args:
        path: The file.
        task: Says what a row holds.
        limit: Most questions; None for all.
        on_bad_row: Told of each line that is no question, which is left out; None refuses the
            file for the first.

    Raises:
        ConfigError: The file cannot be read, holds no question, or a line is none of the task.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; it must be at least 1")
    found: dict[str, Question] = {}
    bad: list[str] = []
    for number, row in read_rows(path):
        try:
            question = _question(task, row, f"line {number}")
            if question.id in found:
                raise BadRowError(f"the id {question.id!r} stands there twice")
        except BadRowError as exc:
            bad.append(f"{path}, line {number}: {exc}")
            if on_bad_row is None:
                raise ConfigError(bad[-1]) from None
            continue
        found[question.id] = question
        if len(found) == limit:
            break
    if not found:
        raise ConfigError(f"{path} holds no questions" + (f"; {bad[0]}" if bad else ""))
    if on_bad_row is not None:
        for each in bad:
            on_bad_row(each)
    return tuple(found.values())


def _question(task: Task, line: str, default_id: str) -> Question:
    row = read_row(line)
    try:
        text, gold = task.read(row)
    except KeyError as exc:
        raise BadRowError(f"a row of {task.name} needs {exc.args[0]}") from None
    except (TypeError, OverflowError) as exc:
        raise BadRowError(str(exc)) from None
    if not text.strip():
        raise BadRowError("the question is empty")
    return Question(id=id_of(row, default_id), text=text, gold=gold)


def _field(row: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise KeyError(" or ".join(names))


def _word_problem(row: Mapping[str, Any]) -> tuple[str, JsonValue]:
    gold = extract_answer(str(_field(row, "gold", "answer")), "number")
    if gold is None:
        raise BadRowError(f"the answer {_field(row, 'gold', 'answer')!r} holds no number")
    return _text(row, "question"), gold


def _maths_problem(row: Mapping[str, Any]) -> tuple[str, JsonValue]:
    return _text(row, "problem", "question"), _answer(row, "answer", "gold")


def _any_problem(row: Mapping[str, Any]) -> tuple[str, JsonValue]:
    return _text(row, "question"), _answer(row, "answer")


def _answer(row: Mapping[str, Any], *names: str) -> str:
    found = str(_field(row, *names))
    if canonical(found) is None:
        raise BadRowError(f"the answer {cut(found)} is empty")
    return found


def _text(row: Mapping[str, Any], *names: str) -> str:
    found = _field(row, *names)
    if not isinstance(found, str):
        raise BadRowError(f"the {names[0]} is {cut(found)}; it must be a text")
    return found


def _whole(name: str, value: Any) -> int:
    """Return a whole number that is one, or a text of one."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,12}\s*", value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRowError(f"the {name} is {cut(value)}; it must be a whole number")
    return value


def _numbers(value: Any) -> list[int]:
    if isinstance(value, str):
        value = re.split(r"[\s,]+", value.strip())
    if not isinstance(value, list):
        raise BadRowError(f"the numbers are {cut(value)}; they must be a list")
    numbers = [_whole("number", each) for each in value]
    if not 2 <= len(numbers) <= 10 or any(not 0 <= n < 10**9 for n in numbers):
        raise BadRowError(f"the numbers are {numbers}; a game has 2 to 10, none negative")
    return numbers


def _game24(row: Mapping[str, Any]) -> tuple[str, JsonValue]:
    numbers = _numbers(_field(row, "numbers", "x", "question"))
    text = (
        f"Use each of the numbers {', '.join(map(str, numbers))} exactly once, with +, -, * and / "
        "and brackets, to make 24."
    )
    return text, {"numbers": list(numbers), "target": 24, "is_all": True}


def _countdown(row: Mapping[str, Any]) -> tuple[str, JsonValue]:
    numbers, target = (
        _numbers(_field(row, "numbers", "nums")),
        _whole("target", _field(row, "target")),
    )
    if not 0 <= target < 10**9:
        raise BadRowError(f"the target is {target}; it must be from 0 to 999999999")
    text = (
        f"Use some or all of the numbers {', '.join(map(str, numbers))}, each at most once, with "
        f"+, -, * and / and brackets, to make {target}."
    )
    return text, {"numbers": list(numbers), "target": target, "is_all": False}


def _number_of(text: str) -> str | None:
    return extract_answer(text, "number")


def _is_equal_number(answer: str, gold: JsonValue) -> bool:
    try:
        values = [_value(each) for each in (answer, str(gold))]
    except (ValueError, ZeroDivisionError):
        return answer == gold
    return values[0] == values[1] if None not in values else answer == gold


def _value(text: str) -> Fraction | None:
    """Return a number's value; None where it has an exponent, which may take any time."""
    return None if re.search("[eE]", text) else Fraction(text)


def _is_equal_maths(answer: str, gold: JsonValue) -> bool:
    return answer == canonical(str(gold))


def _wins_game(answer: str, gold: JsonValue) -> bool:
    return isinstance(gold, dict) and makes_target(answer, gold)


TASKS: Final[Mapping[str, Task]] = {
    task.name: task
    for task in (
        Task(name="gsm8k", read=_word_problem, answer_of=_number_of, is_right=_is_equal_number),
        Task(name="math", read=_maths_problem, answer_of=maths_answer, is_right=_is_equal_maths),
        Task(
            name="game24",
            read=_game24,
            answer_of=game_answer,
            is_right=_wins_game,
            instruction=_GAME_INSTRUCTION,
            is_checkable=True,
        ),
        Task(
            name="countdown",
            read=_countdown,
            answer_of=game_answer,
            is_right=_wins_game,
            instruction=_GAME_INSTRUCTION,
            is_checkable=True,
        ),
        Task(name="jsonl", read=_any_problem, answer_of=maths_answer, is_right=_is_equal_maths),
    )
}


@dataclass(frozen=True, slots=True)
class IsRight:
    """Whether a text's answer wins a number game: a verifier that knows no solution."""

    task: str
    gold: JsonValue

    def __call__(self, text: str) -> bool:
        task = TASKS[self.task]
        answer = task.answer_of(text)
        return answer is not None and task.is_right(answer, self.gold)


@dataclass(frozen=True, slots=True)
class GameValue:
    """The exact value of a game's text, whole or partial.

    1 where its answer wins; 0 where it states an answer that does not, or where the target can no
    longer be reached with what its steps have left; else a half.
    """

    task: str
    gold: JsonValue

    def __call__(self, text: str) -> float:
        if IsRight(self.task, self.gold)(text):
            return 1.0
        assert isinstance(self.gold, dict)
        return 0.5 if can_still_win(text, self.gold) else 0.0


def countdown_rows(num: int, *, seed: int = 0, num_numbers: int = 4) -> Iterator[dict[str, Any]]:
    """Yield rows of Countdown that have a solution: numbers to 99, a target from 10 to 100."""
    chance = random.Random(f"countdown {seed}")
    made = 0
    while made < num:
        numbers = [chance.randint(1, 99) for _ in range(num_numbers)]
        text = _random_expression(numbers, chance)
        target = value_of(text)
        if target is not None and target.denominator == 1 and 10 <= target <= 100:
            made += 1
            yield {"id": f"countdown/{seed}/{made}", "numbers": numbers, "target": int(target)}


def _random_expression(numbers: Sequence[int], chance: random.Random) -> str:
    parts = list(map(str, numbers))
    while len(parts) > 1:
        left = parts.pop(chance.randrange(len(parts)))
        right = parts.pop(chance.randrange(len(parts)))
        parts.append(f"({left} {chance.choice('+-*/')} {right})")
    return parts[0]
