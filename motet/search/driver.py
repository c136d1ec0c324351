"""One driver for all searches: limits, checkpoints, progress, the best so far."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from motet.errors import BudgetExhaustedError, ConfigError, MotetError, SearchError, StoreError
from motet.search.algorithm import Algorithm, Found, Searchable
from motet.search.checkpoints import Checkpoint, Saved, read_state, write_state
from motet.search.partials import Candidate
from motet.search.settings import whole
from motet.search.spending import NO_LIMITS, NOTHING, Limits, Spend
from motet.search.tools import Problem
from motet.search.tree import Tree
from motet.types import JSON

Why = Literal["done", "limit", "steps", "time", "stuck", "failed"]
"""Why a search ended: by itself, by a limit of its problem's use, of its steps or of its time,
because a step changed nothing, or because a callable failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What came of a search."""

    best: Candidate | None
    """None where there is not even a first step."""
    candidates: tuple[Candidate, ...] = ()
    """Finished ones first, best first."""
    tree: Tree = field(default_factory=Tree)
    spend: Spend = field(default_factory=Spend)
    num_steps: int = 0
    why: Why = "done"
    error: MotetError | None = None
    """What failed, where `why` is `failed`."""
    notes: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """How a search stands after a step."""

    num_steps: int
    spend: Spend
    best: Candidate | None


async def search(
    algorithm: Algorithm[Any, Any],
    problem: Searchable[Any],
    *,
    seed: int = 0,
    limits: Limits = NO_LIMITS,
    checkpoint: Checkpoint | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> SearchResult:
    """Step `algorithm` until it is done or a limit is reached.

    Searches of many problems run side by side as tasks of one loop; none waits for another.

    Args:
        algorithm: What to do.
        problem: What to do it with.
        seed: Of all chance.
        limits: What may be used.
        checkpoint: Written after every whole step; a search whose checkpoint holds something goes
            on from there. A step that a limit cut short is not kept, so that with higher limits
            the search goes on as if it had had them from the start.
        on_step: Told after every step.

    Returns:
        The best so far, whatever ended the search. What a callable raised is in `error`.

    Raises:
        ConfigError: Algorithm, problem and limits do not fit.
        SearchError: The checkpoint is another search's or damaged.
        StoreError: The checkpoint cannot be read.
    """
    if not isinstance(limits, Limits):
        raise ConfigError(f"limits is {limits!r}; it must be Limits(...)")
    _check_needs(algorithm, problem)
    saved = _start(algorithm, seed, checkpoint)
    tools = problem.tools(limits, saved.spend)
    end_s = None if limits.timeout_s is None else time.monotonic() + limits.timeout_s
    error: MotetError | None = None
    why: Why | None = None
    while why is None and not algorithm.is_done(saved.state):
        if limits.max_steps is not None and saved.num_steps >= limits.max_steps:
            why = "steps"
            break
        left_s = None if end_s is None else end_s - time.monotonic()
        if left_s is not None and left_s <= 0:
            why = "time"
            break
        clock = None if left_s is None else asyncio.timeout(left_s)
        try:
            if clock is None:
                state = await algorithm.step(saved.state, tools)
            else:
                async with clock:
                    state = await algorithm.step(saved.state, tools)
        except TimeoutError:
            if clock is None or not clock.expired():
                raise
            why = "time"
            break
        except BudgetExhaustedError:
            why = "limit"
            break
        except ConfigError:
            raise
        except MotetError as exc:
            why, error = "failed", exc
            break
        if tools.is_spent:
            why = "limit"
            if tools.spend == saved.spend:
                break
        elif state == saved.state:
            why = "stuck"
        try:
            best = _better(saved.best, algorithm.found(state))
        except SearchError as exc:
            why, error = "failed", exc
            break
        saved = Saved(state, tools.spend, saved.num_steps + 1, best)
        if checkpoint is not None and why is None:
            try:
                checkpoint.save(write_state(algorithm, seed, saved))
            except (StoreError, SearchError) as exc:
                why, error = "failed", exc
        if on_step is not None:
            on_step(Progress(saved.num_steps, saved.spend, best))
    found = algorithm.found(saved.state)
    return _result(found, replace(saved, spend=tools.spend), why or "done", error)


async def search_all(
    algorithm: Algorithm[Any, Any],
    problems: Iterable[Searchable[Any]],
    *,
    seed: int = 0,
    limits: Limits = NO_LIMITS,
    at_once: int | None = None,
    checkpoint_of: Callable[[int], Checkpoint] | None = None,
    on_result: Callable[[int, SearchResult], None] | None = None,
) -> list[SearchResult]:
    """Search for the answers of many problems side by side.

    Each is searched for as `search` would alone, with the same seed and limits of its own. One
    that fails costs itself: its result has no `best`, and says in `error` why. To join their calls
    into larger batches, give the problems callables of `motet.search.batching.Joined`.

    Args:
        algorithm: What to do.
        problems: Taken from the iterator when their turn comes.
        seed: Of all chance; every problem has the same.
        limits: Of each problem; its time runs from its own beginning.
        at_once: How many are under way together; None is all.
        checkpoint_of: Gives the checkpoint of a problem by its place.
        on_result: Told of each result with its problem's place, as soon as it is there.

    Returns:
        The results in the order of the problems.

    Raises:
        ConfigError: `at_once` is below 1.
    """
    if at_once is not None:
        whole("at_once", at_once)
    waiting = enumerate(problems)
    results: dict[int, SearchResult] = {}

    async def one(place: int, problem: Searchable[Any]) -> None:
        checkpoint = checkpoint_of(place) if checkpoint_of is not None else None
        try:
            result = await search(
                algorithm, problem, seed=seed, limits=limits, checkpoint=checkpoint
            )
        except MotetError as exc:
            result = SearchResult(best=None, why="failed", error=exc)
        except Exception as exc:
            error = SearchError(f"the search failed: {type(exc).__name__}: {exc}")
            error.__cause__ = exc
            result = SearchResult(best=None, why="failed", error=error)
        results[place] = result
        if on_result is not None:
            on_result(place, result)

    async def some() -> None:
        for place, problem in waiting:
            await one(place, problem)

    async with asyncio.TaskGroup() as group:
        if at_once is None:
            for place, problem in waiting:
                group.create_task(one(place, problem))
        else:
            for _ in range(at_once):
                group.create_task(some())
    return [results[place] for place in range(len(results))]


def _check_needs(algorithm: Algorithm[Any, Any], problem: Searchable[Any]) -> None:
    """Refuse a plain problem that lacks what the algorithm says that it needs."""
    if not isinstance(problem, Problem):
        return
    for name, called in (("score", "a scorer"), ("verify", "a verifier")):
        if name in getattr(algorithm, "needs", ()) and getattr(problem, name) is None:
            raise ConfigError(
                f"{type(algorithm).__name__} needs {called}, and the problem has none"
            )


def _start(algorithm: Algorithm[Any, Any], seed: int, checkpoint: Checkpoint | None) -> Saved:
    """Return where a search begins, or where its checkpoint goes on."""
    saved = Saved(algorithm.init(seed), NOTHING, 0)
    if checkpoint is None:
        return saved
    write_state(algorithm, seed, saved)  # what cannot be kept is refused before it is paid for
    held = checkpoint.load()
    return saved if held is None else read_state(algorithm, seed, type(saved.state), held)


def _better(so_far: Candidate | None, found: Found) -> Candidate | None:
    """Return the best so far: finished goes before unfinished, the elected before what was
    elected earlier, and else the score decides.
    """
    new = found.best
    if so_far is None or new is None:
        return so_far if new is None else new
    is_finished = new.partial.is_finished
    if is_finished != so_far.partial.is_finished:
        return new if is_finished else so_far
    if found.is_elected:
        return new
    if new.score is None or so_far.score is None:
        return new if so_far.score is None else so_far
    return new if new.score > so_far.score else so_far


def _result(found: Found, saved: Saved, why: Why, error: MotetError | None) -> SearchResult:
    return SearchResult(
        best=saved.best,
        candidates=found.candidates,
        tree=found.tree,
        spend=saved.spend,
        num_steps=saved.num_steps,
        why=why,
        error=error,
        notes=found.notes,
    )
