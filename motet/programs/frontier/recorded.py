"""Files of recorded solutions: samples with their scores, and logs of trees of thoughts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from motet.errors import ConfigError, MotetError
from motet.programs.frontier.rows import BadRowError, cut, id_of, read_row, read_rows
from motet.programs.scorers import logistic
from motet.search.answers import canonical, maths_answer
from motet.search.driver import search
from motet.search.numbers_game import NumbersGame
from motet.search.partials import Partial, Step
from motet.search.settings import one_of
from motet.search.step_scores import Aggregate, aggregated
from motet.search.thoughts import ThoughtProblem
from motet.search.tools import Ask
from motet.search.tree_of_thoughts import TreeOfThoughts

SAMPLED, DIRECT, TREE = "sampled", "direct", "tree-of-thoughts"
DEPTH_FIRST, UNPRUNED = "depth-first", "depth-first without pruning"
_TREE_OF_THOUGHTS: Final = TreeOfThoughts(levels=4, num_kept=5, num_evaluations=1)
"""Settings of the published run of the Game of 24; its values are sums over three answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A recorded solution."""

    text: str
    is_right: bool
    answer: str | None = None
    score: float | None = None
    weight: float | None = None
    """The score as a share, for votes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem with its solutions, by the way in which they were made."""

    id: str
    solutions: Mapping[str, Sequence[Given]]
    """`SAMPLED`; `DIRECT`, without steps; `TREE`, what a tree of thoughts ended with, best first;
    `DEPTH_FIRST` and `UNPRUNED`, the states that a search in depth visited, in their order."""
    num_scores: int = 0
    """Values that a recorded search asked for."""


UNNAMED: Final = "no evaluator is named"
"""Told of a row with scores of several, where none was asked for."""


@dataclass(frozen=True, slots=True)
class _Scoring:
    """How a solution's step scores become its score."""

    evaluator: str | None
    aggregate: Aggregate

    def score(self, given: Any) -> float:
        """Return the score of step scores, or of those of the evaluator among several.

        Raises:
            BadRowError: They are none.
        """
        if isinstance(given, dict):
            if self.evaluator not in given:
                named = UNNAMED if self.evaluator is None else (
                    f"the evaluator {self.evaluator!r} is not there"
                )  # fmt: skip
                raise BadRowError(f"{named}; there are {', '.join(map(str, given))}")
            given = given[self.evaluator]
        if not isinstance(given, list) or not given:
            raise BadRowError("the scores are no list of numbers")
        scores = [_step_score(each) for each in given]
        try:
            return _number(aggregated(scores, self.aggregate))
        except OverflowError:
            raise BadRowError(f"the scores have no {self.aggregate}: they are too large") from None


def read_recorded(
    path: str | Path,
    *,
    limit: int | None = None,
    evaluator: str | None = None,
    aggregate: Aggregate = "min",
    on_bad_row: Callable[[str], None],
) -> list[Problem]:
    """Read the first `limit` problems of a file of JSON lines, `.gz` or plain.

    A row is one of these:

    - several solutions: `solutions`, a list of objects with `text` or `answer`, `correct`, and
      `score` or `scores`, one for each step; or the lists `responses`, `correct`, `rm_score`;
    - one solution of a `question`: `steps`, their `scores` and `solution_correct`; rows of the same
      question are one problem; `reference_steps` and `reference_scores` are a right one beside it;
    - a log of a tree of thoughts: of the Game of 24, `x`, `steps` and samples' results; of
      crosswords, the states that were visited, `dfs_prune` and `dfs_no_prune`.

    Votes are weighted by scores; where one is no share, as of a reward model's logits, all are put
    onto 0 to 1 for that. Not for use inside a running event loop.

    Raises:
        ConfigError: The file cannot be read, or holds no problem.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; it must be at least 1")
    one_of("aggregate", aggregate, ("last", "min", "prod", "mean"))
    scoring = _Scoring(evaluator, aggregate)
    found: dict[str, Problem] = {}
    parts: set[str] = set()
    bad: list[str] = []
    for number, line in read_rows(path):
        try:
            row = read_row(line)
            problem = _problem(row, f"line {number}", scoring)
            before = found.get(problem.id)
            if before is not None and not (_is_part(row) and problem.id in parts):
                raise BadRowError(f"the id {problem.id!r} stands there twice")
        except BadRowError as exc:
            bad.append(f"{path}, line {number}: {exc}")
            continue
        except KeyError as exc:
            bad.append(f"{path}, line {number}: the row has no {exc.args[0]}")
            continue
        except (TypeError, ValueError, IndexError, AttributeError, MotetError) as exc:
            bad.append(f"{path}, line {number}: no recorded solutions ({exc})")
            continue
        if before is None and len(found) == limit:
            break
        found[problem.id] = problem if before is None else _joined(before, problem)
        if _is_part(row):
            parts.add(problem.id)
    if not found:
        raise ConfigError(f"{path} holds no recorded solutions" + (f"; {bad[0]}" if bad else ""))
    for each in bad:
        on_bad_row(each)
    return _weighted(list(found.values()))


def _is_part(row: Mapping[str, Any]) -> bool:
    """Whether a row is one solution of a question, of which other rows may hold more."""
    return not {"responses", "solutions", "dfs_prune"} & set(row) and not _is_log(row)


def _is_log(row: Mapping[str, Any]) -> bool:
    steps = row.get("steps")
    return isinstance(steps, list) and bool(steps) and isinstance(steps[0], dict)


def _problem(row: Mapping[str, Any], default_id: str, scoring: _Scoring) -> Problem:
    if _is_log(row):
        return _tree_log(row, default_id)
    if "dfs_prune" in row:
        return _crossword(row, default_id)
    if not _is_part(row):
        given = _responses(row) if "responses" in row else _solutions(row, scoring)
        if not given:
            raise BadRowError("there is no solution")
        return Problem(id=id_of(row, default_id), solutions={SAMPLED: given})
    if row.get("steps"):
        return Problem(id=str(row["question"]), solutions={SAMPLED: _steps(row, scoring)})
    raise BadRowError("a row has solutions, responses or steps")


def _joined(before: Problem, problem: Problem) -> Problem:
    """Put the solutions of a question together, each text once."""
    given = {each.text: each for each in (*before.solutions[SAMPLED], *problem.solutions[SAMPLED])}
    return Problem(id=problem.id, solutions={SAMPLED: list(given.values())})


def _responses(row: Mapping[str, Any]) -> list[Given]:
    texts, grades = row["responses"], row["correct"]
    answers = row.get("preds") or [maths_answer(text) for text in texts]
    scores = row.get("rm_score") or [None] * len(texts)
    return [
        Given(
            text=text,
            is_right=bool(grade),
            answer=canonical(str(answer)) if answer else None,
            score=None if score is None else _number(score),
        )
        for text, grade, answer, score in zip(texts, grades, answers, scores, strict=True)
    ]


def _solutions(row: Mapping[str, Any], scoring: _Scoring) -> list[Given]:
    listed = row["solutions"]
    return [
        _solution(each, row.get("gold"), scoring)
        for each in (listed.values() if isinstance(listed, dict) else listed)
    ]


def _solution(row: Mapping[str, Any], gold: Any, scoring: _Scoring) -> Given:
    stated = row["answer"] if row.get("answer") is not None else maths_answer(str(row["text"]))
    answer = canonical(str(stated)) if stated is not None else None
    if row.get("correct") is None and gold is None:
        raise BadRowError("a solution has no correct, and the row no gold")
    is_right = row.get("correct")
    score = row.get("score")
    if score is None and row.get("scores") is not None:
        score = scoring.score(row["scores"])
    return Given(
        text=str(row.get("text", stated)),
        is_right=bool(answer == canonical(str(gold)) if is_right is None else is_right),
        answer=answer,
        score=None if score is None else _number(score),
    )


def _steps(row: Mapping[str, Any], scoring: _Scoring) -> list[Given]:
    found = []
    if "reference_steps" in row:
        text, score = _text(row["reference_steps"]), scoring.score(row["reference_scores"])
        found.append(Given(text=text, is_right=True, score=score))
    is_right = bool(row["solution_correct"]) if "reference_steps" not in row else False
    text, score = _text(row["steps"]), scoring.score(row["scores"])
    return [*found, Given(text=text, is_right=is_right, score=score)]


def _text(steps: Any) -> str:
    return "\n".join("\n".join(each) if isinstance(each, list) else str(each) for each in steps)


def _step_score(value: Any) -> float:
    """A number; of the probabilities that a step is invalid, redundant and valid, what is not the
    first."""
    return sum(map(_number, value[1:])) if isinstance(value, list) else _number(value)


def _number(value: Any) -> float:
    try:
        is_finite = not isinstance(value, bool) and math.isfinite(value)
    except (TypeError, OverflowError):
        is_finite = False
    if not is_finite:
        raise BadRowError(f"the score is {cut(value)}; it must be a finite number")
    return float(value)


def _weighted(problems: list[Problem]) -> list[Problem]:
    """Give each sample its score as a weight; where one score is no share, all are squashed."""
    given = [each for problem in problems for each in problem.solutions.get(SAMPLED, ())]
    is_share = all(each.score is None or 0 <= each.score <= 1 for each in given)

    def weight(score: float | None) -> float | None:
        return score if score is None or is_share else logistic(score)

    return [
        replace(
            problem,
            solutions={
                kind: [replace(each, weight=weight(each.score)) for each in given]
                for kind, given in problem.solutions.items()
            },
        )
        for problem in problems
    ]


def _crossword(row: Mapping[str, Any], default_id: str) -> Problem:
    states = {
        kind: [
            Given(text="\n".join(state["actions"]), is_right=state["info"]["r_word"] == 1)
            for state in row[name]
        ]
        for kind, name in ((DEPTH_FIRST, "dfs_prune"), (UNPRUNED, "dfs_no_prune"))
        if row.get(name)
    }
    return Problem(id=id_of(row, default_id), solutions=states)


def _tree_log(row: Mapping[str, Any], default_id: str) -> Problem:
    """Run the search over the thoughts and values of the log; its finals are judged exactly."""
    levels: list[dict[str, Any]] = row["steps"]
    game = NumbersGame(tuple(map(int, str(row["x"]).split())))
    unused = [list(level["new_ys"]) for level in levels]

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        found = []
        for ask in asks:
            left, text = unused[ask.partial.depth], ask.partial.text
            mine = [each for each in left if each.startswith(text)]
            for each in mine:
                left.remove(each)
            found.append([Step(each[len(text) :]) for each in mine])
        return found

    def value(partials: Sequence[Partial]) -> list[float]:
        logged = [levels[each.depth - 1] for each in partials]
        return [
            _number(level["values"][level["new_ys"].index(each.text)])
            for level, each in zip(logged, partials, strict=True)
        ]

    problem = ThoughtProblem(propose=propose, evaluators=(value,))
    result = asyncio.run(search(_TREE_OF_THOUGHTS, problem))
    if result.error is not None:
        raise BadRowError(f"the log cannot be replayed: {result.error}")
    if not result.candidates:
        raise BadRowError("the log cannot be replayed: it holds no thoughts")
    finals = [
        Given(text=each.text, is_right=game.verify(each.text), score=each.score)
        for each in result.candidates
    ]
    samples = {
        kind: [Given(text=f"{kind} {i}", is_right=bool(right)) for i, right in enumerate(row[name])]
        for kind, name in ((SAMPLED, "cot_r"), (DIRECT, "standard_r"))
        if row.get(name)
    }
    return Problem(
        id=id_of(row, default_id),
        solutions={**samples, TREE: finals},
        num_scores=result.spend.scores,
    )
