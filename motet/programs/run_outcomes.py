"""Outcomes from motet's own journal: what models answered in runs, and what that was worth."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from motet.errors import DataError
from motet.programs.choices import routed_text
from motet.prompts import load_reply
from motet.routing.outcomes import Outcomes
from motet.routing.score_files import Scores
from motet.search.settings import number, several
from motet.types import Message, Price, ToolCall

if TYPE_CHECKING:
    from motet.store import CallRecord, Store

SCORED_BY: Final = ("verify", "grade")
_VERDICTS: Final = {"right": 1.0, "wrong": 0.0, "no answer": 0.0}
_NOT_ASKED: Final = ("candidates", "is_rewarded", "is_embedded", "next_tokens")
"""Fields of requests that generate nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvest:
    """What runs taught, and what they did not."""

    outcomes: Outcomes
    num_answers: int
    """Answers that have a score. Several of a model to one prompt are one cell, their mean."""
    left_out: Mapping[str, int]
    """Answers without a place in the table, by reason."""


@dataclass(slots=True)
class _Cell:
    scores: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)


async def outcomes_from_store(
    store: Store,
    run_ids: Sequence[str],
    *,
    scores: Scores | None = None,
    scored_by: Sequence[str] = SCORED_BY,
    score_range: tuple[float, float] = (0.0, 1.0),
    prices: Mapping[str, Price] | None = None,
) -> Harvest:
    """Make a table of the answers of runs: prompt, model, score, cost.

    A score is that of `scores`; else that of the one call of `scored_by` which was given the
    answer by reference, directly or through steps. The same prompt by several models is one row.
    A prompt of several turns is the text that routers at work embed, without the system turn.

    Args:
        run_ids: Whole ids.
        scores: By the ids of calls, or by prompt.
        scored_by: Operations whose value is a score, by name: a number, true or false, a `Grade`,
            or anything with a `score` or a `value`.
        score_range: What of such a value is 0, and what is 1.
        prices: By model: costs are computed of these. Of others the cost is what the run paid; it
            is unknown where it paid nothing, as without a price or from the cache.

    Raises:
        DataError: A run does not exist, no answer has a score, or all are of one model; tells why
            answers were left out.
        ConfigError: A setting is out of range.
        StoreError: The store cannot be read.
    """
    low, high = score_range
    several("scored_by", scored_by)
    number("score_range", low)
    number("score_range", high)
    if low >= high:
        raise DataError(f"score_range is {score_range!r}; it must rise")
    cells: dict[tuple[str, str], _Cell] = {}
    left_out: Counter[str] = Counter()
    num_answers = 0
    for run_id in run_ids:
        if await store.load_run(run_id) is None:
            raise DataError(f"there is no run {run_id!r} in the store")
        run = _Run(await store.load_calls(run_id), frozenset(scored_by))
        await run.load(store)
        verdicts = run.verdicts(low, high)
        for call in run.calls:
            asked = run.asked(call)
            if asked is None or call.model is None:
                continue
            score = None if scores is None else scores.find(call.call_id, asked, call.model)
            if score is None:
                found = verdicts.get(call.call_id, "no score")
                if isinstance(found, str):
                    left_out[found if run.has_answered(call) else "no answer"] += 1
                    continue
                score = found
            cell = cells.setdefault((asked, call.model), _Cell())
            cell.scores.append(score)
            cell.costs.append(run.cost(call, (prices or {}).get(call.model)))
            num_answers += 1
    return Harvest(
        outcomes=_table(cells, left_out, len(run_ids)),
        num_answers=num_answers,
        left_out=dict(left_out),
    )


class _Run:
    """The calls of one run."""

    def __init__(self, calls: list[CallRecord], scored_by: frozenset[str]) -> None:
        self.calls = calls
        self._by_id = {call.call_id: call for call in calls}
        self._children: dict[str | None, list[CallRecord]] = {}
        for call in calls:
            self._children.setdefault(call.parent_id, []).append(call)
        self._scored_by = scored_by
        self._artifacts: dict[str, bytes] = {}

    async def load(self, store: Store) -> None:
        wanted = [call.request_digest for call in self.calls if call.kind == "prompt"]
        wanted += [call.value_digest for call in self.calls]
        self._artifacts = await store.artifacts({digest for digest in wanted if digest})

    def asked(self, call: CallRecord) -> str | None:
        """Return the prompt's text, where the call is a prompt that was to be answered."""
        data = self._artifacts.get(call.request_digest or "")
        if call.kind != "prompt" or data is None:
            return None
        request = json.loads(data)
        if any(request.get(name) is not None for name in _NOT_ASKED):
            return None
        prompt = request["prompt"]
        if isinstance(prompt, str):
            return prompt
        if not prompt or not isinstance(prompt[0], list):
            return None
        return routed_text(tuple(_message(turn) for turn in prompt))

    def has_answered(self, call: CallRecord) -> bool:
        data = self._artifacts.get(call.value_digest or "")
        if call.status == "failed" or data is None:
            return False
        return any(completion.text.strip() for completion in load_reply(data).completions)

    def cost(self, call: CallRecord, price: Price | None) -> float:
        """Return what the answer costs, wherever it came from; NaN where that is unknown."""
        if price is None:
            return call.cost if call.source == "engine" and call.cost > 0 else math.nan
        data = self._artifacts.get(call.value_digest or "")
        usage = call.usage if data is None else load_reply(data).usage
        if not usage.tokens:
            return math.nan
        from motet.model import Model
        from motet.runtime.metering import cost_of

        return cost_of(Model("local:priced", price=price), usage)

    def verdicts(self, low: float, high: float) -> dict[str, float | str]:
        """Return the score of each answer that was scored, or why it has none that counts."""
        told: dict[str, list[float | str]] = {}
        for call in self.calls:
            if not self._is_scoring(call) or any(map(self._is_scoring, self._above(call))):
                continue
            answers = self._answers(call)
            if len(answers) > 1:
                for answer in answers:
                    told.setdefault(answer, []).append("scored with others")
            elif answers and call.status == "finished":
                told.setdefault(answers.pop(), []).append(_score(self._value(call), low, high))
        return {answer: _mean(found) for answer, found in told.items()}

    def _is_scoring(self, call: CallRecord) -> bool:
        names = (call.operation, call.operation.rpartition(":")[2].rpartition(".")[2])
        return call.kind != "prompt" and not self._scored_by.isdisjoint(names)

    def _above(self, call: CallRecord) -> Iterable[CallRecord]:
        parent = self._by_id.get(call.parent_id or "")
        while parent is not None:
            yield parent
            parent = self._by_id.get(parent.parent_id or "")

    def _answers(self, scoring: CallRecord) -> set[str]:
        """Return the prompts outside of a scoring call whose values reached it."""
        inside = {scoring.call_id}
        open_ids, inputs = [scoring.call_id], list(scoring.inputs)
        while open_ids:
            for child in self._children.get(open_ids.pop(), ()):
                inside.add(child.call_id)
                open_ids.append(child.call_id)
                inputs.extend(child.inputs)
        found: set[str] = set()
        seen = set(inside)
        while inputs:
            call = self._by_id.get(inputs.pop())
            if call is None or call.call_id in seen:
                continue
            seen.add(call.call_id)
            if call.kind == "prompt":
                found.add(call.call_id)
            elif call.kind == "step" or call.value_digest is None:
                inputs.extend(call.inputs)
        return found

    def _value(self, call: CallRecord) -> Any:
        """Return a value as JSON; that of a plain program is its result's."""
        seen: set[str] = set()
        while call.value_digest is None and len(call.inputs) == 1 and call.call_id not in seen:
            seen.add(call.call_id)
            below = self._by_id.get(call.inputs[0])
            if below is None:
                return None
            call = below
        data = self._artifacts.get(call.value_digest or "")
        if data is None or call.kind == "prompt":
            return None
        return json.loads(data)


def _message(turn: list[Any]) -> Message:
    role, content, *more = turn
    calls, call_id = more or ([], None)
    return Message(role, content, tuple(ToolCall(*call) for call in calls), call_id)


def _score(value: Any, low: float, high: float) -> float | str:
    """Return a score of 0 to 1, or why the value is none."""
    if isinstance(value, dict):
        verdict = value.get("verdict")
        if isinstance(verdict, str) and verdict in _VERDICTS:
            return _VERDICTS[verdict]
        value = value.get("score", value.get("value"))
    if isinstance(value, bool):
        return float(value)
    if not isinstance(value, (int, float)):
        return "no readable score"
    return (value - low) / (high - low) if low <= value <= high else "score out of range"


def _mean(found: Sequence[float | str]) -> float | str:
    scores = [each for each in found if not isinstance(each, str)]
    if scores:
        return math.fsum(scores) / len(scores)
    return str(found[0])


def _table(
    cells: Mapping[tuple[str, str], _Cell], left_out: Mapping[str, int], num_runs: int
) -> Outcomes:
    import numpy as np

    prompts = {prompt: row for row, prompt in enumerate(dict.fromkeys(p for p, _ in cells))}
    models = {model: column for column, model in enumerate(sorted({m for _, m in cells}))}
    if len(models) < 2:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        found = f"only {next(iter(models))!r} has scores" if models else "no answer has a score"
        raise DataError(
            f"{found} in {num_runs} runs, and routing needs two models"
            + (f"; answers left out: {reasons}" if reasons else "")
        )
    scores = np.full((len(prompts), len(models)), np.nan)
    costs = scores.copy()
    for (prompt, model), cell in cells.items():
        place = prompts[prompt], models[model]
        scores[place] = np.mean(cell.scores)
        known = [cost for cost in cell.costs if not math.isnan(cost)]
        if known:
            costs[place] = np.mean(known)
    return Outcomes(prompts=tuple(prompts), models=tuple(models), scores=scores, costs=costs)
