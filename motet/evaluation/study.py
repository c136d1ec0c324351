"""A study: every contender on every row with every seed, as one run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from motet.errors import ConfigError, MotetError
from motet.evaluation.attempts import attempt
from motet.evaluation.contenders import check_contenders, inputs_of, model_of
from motet.evaluation.figures import Figure
from motet.evaluation.given import Given, given
from motet.evaluation.matching import Match, Matching
from motet.evaluation.metrics import check_metric
from motet.evaluation.task import Contender, Metric, Task
from motet.grading.rows import Row
from motet.model import Model
from motet.operations import Program
from motet.refs import Ref, parts_of
from motet.search.settings import whole

ATTEMPT = attempt.name
"""Operation of an attempt, by which a run's progress is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A contender on a row, with a seed."""

    contender: Contender
    row: Row
    seed: int

    @property
    def key(self) -> tuple[int, str, str]:
        return self.seed, self.row.id, self.contender.name


def cells_of(task: Task, contenders: Sequence[Contender], num_seeds: int) -> list[Cell]:
    """Return every attempt of a study, by contender, seed and row."""
    return [
        Cell(contender=contender, row=row, seed=seed)
        for contender in contenders
        for seed in range(num_seeds)
        for row in task.rows
    ]


def study_call(
    task: Task,
    contenders: Sequence[Contender],
    *,
    num_seeds: int = 1,
    match: Match = "tokens",
    concurrency: int = 64,
    max_tokens: int | None = None,
    temperature: float = 0.7,
    max_samples: int = 64,
    sample_tokens: int = 1024,
) -> Ref[list[Figure]]:
    """Return the call that makes every attempt, each with self-consistency of the same compute.

    Its value has a contender's figure and, where there is a model for it, that of self-consistency
    behind it, in the order of `cells_of`. The figures do not depend on the order of rows and
    contenders. Run it without the cache across runs: an answer from there costs nothing, so that
    spends would not be those of the contenders.

    Args:
        task: What is asked, and how it is scored.
        contenders: What is compared.
        num_seeds: Attempts of each contender on each row.
        match: What self-consistency spends as much of: `tokens` or `cost`.
        concurrency: Most attempts at once.
        max_tokens: The most of an attempt; None for no limit. Attempts that it ends have failed.
        temperature: Of the samples of self-consistency.
        max_samples: The most of them for one row.
        sample_tokens: The most tokens of each.

    Raises:
        ConfigError: A setting is wrong, or a contender cannot answer the rows.
        DataError: The metric cannot score a row.
        MotetError: A program refuses its inputs.
    """
    whole("num_seeds", num_seeds)
    whole("concurrency", concurrency)
    if max_tokens is not None:
        whole("max_tokens", max_tokens)
    matching = Matching(
        match=match, temperature=temperature, max_samples=max_samples, sample_tokens=sample_tokens
    )
    check_contenders(contenders, task)
    check_metric(task.metric, task.rows)
    if match == "cost":
        _check_prices(contenders)
    cells = cells_of(task, contenders, num_seeds)
    asked = {row.id: given(row) for row in task.rows}

    async def attempts(
        contenders: Sequence[Contender],
        rows: Sequence[Given],
        metric: Metric,
        instruction: str,
        inputs: Mapping[str, str],
        matching: Matching,
        num_seeds: int,
        max_tokens: int | None,
    ) -> list[Figure]:
        gate = asyncio.Semaphore(concurrency)
        failures: list[MotetError] = []

        async def one(cell: Cell) -> list[Figure]:
            async with gate:
                # What began behind a failure would be built on it, and make it part of the path.
                if failures:
                    return []
                try:
                    return await attempt(
                        cell.contender,
                        asked[cell.row.id],
                        _inputs(cell, task),
                        task.prompt_of(cell.row),
                        metric=task.metric,
                        model=model_of(cell.contender),
                        matching=matching,
                        seed=cell.seed,
                        max_tokens=max_tokens,
                    )
                except MotetError as exc:
                    failures.append(exc)
                    return []

        # One order for every order of rows and contenders: ids of calls, and with them the seeds of
        # samples, depend on it.
        ordered = sorted(cells, key=lambda cell: cell.key)
        async with asyncio.TaskGroup() as group:
            tasks = {cell.key: group.create_task(one(cell)) for cell in ordered}
        if failures:
            raise failures[0]
        return [figure for cell in cells for figure in tasks[cell.key].result()]

    # A closure, so that the number of attempts at once is no part of the call's identity.
    made: Ref[list[Figure]] = Program(attempts, {}, "motet.evaluation:study")(
        sorted(contenders, key=lambda contender: contender.name),
        [asked[row_id] for row_id in sorted(asked)],
        task.metric,
        task.instruction,
        dict(sorted(task.inputs.items())),
        matching,
        num_seeds,
        max_tokens,
    )
    return made


def _inputs(cell: Cell, task: Task) -> dict[str, Any]:
    """Return a program's inputs; one that takes a `seed` that is not given has the attempt's."""
    inputs = inputs_of(cell.contender, task, cell.row)
    parameters = cell.contender.program.parameters.signature.parameters
    if "seed" in parameters and "seed" not in inputs:
        inputs["seed"] = cell.seed
    return inputs


def _check_prices(contenders: Sequence[Contender]) -> None:
    for contender in contenders:
        for model in _models_in([contender.model, contender.settings]):
            if model.price is None and model.program is None:
                raise ConfigError(
                    f"match is 'cost', but model {model.label} of {contender.name} has no price; "
                    "give Model(..., price=motet.Price(prompt=..., completion=...)), 0 where it is "
                    "free"
                )


def _models_in(value: Any) -> Iterator[Model]:
    """Yield the models that a value holds, those that a program asks as a model too."""
    if isinstance(value, Model):
        yield value
        value = value.bound
    for part in (parts_of(value) or {}).values():
        yield from _models_in(part)
