"""The laws of searches: what keeps them passes, and each planted breach is found."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from motet.search.algorithm import Found, rng
from motet.search.best_of_n import BestOfN
from motet.search.partials import Candidate, Partial, Step
from motet.search.registry import ALGORITHMS, find_algorithm
from motet.search.spending import Limits
from motet.search.tools import Ask, Problem, Tools
from motet.search.tree import Tree
from motet.testing import check_search
from motet.testing.search import planted_problem

OTHER_SETTINGS = [
    "beam(n=4, width=2)",
    "beam(n=6, width=3, max_steps=3, lookahead=1, is_distinct=True)",
    "best-of-n(n=7, choose='weighted')",
    "best-of-n(choose='majority')",
]
"""Besides the defaults of all that can be named."""


IN_PLACE = {"mcts", "mcts-alpha"}
"""Those whose step takes its state over."""


@pytest.mark.parametrize("text", [*ALGORITHMS, *OTHER_SETTINGS])
def test_every_algorithm_keeps_the_laws(text):
    """With the defaults, and with the settings above."""
    asyncio.run(check_search(find_algorithm(text), steps_in_place=text in IN_PLACE))


@dataclass(frozen=True, slots=True)
class WalkState:
    tree: Tree
    node: int = 0
    num_steps: int = 0
    extra: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Draw `n` steps, go on from one of the best-scored by chance; the planted breaches change it."""

    n: int = 3
    max_steps: int = 6

    def init(self, seed: int) -> Any:
        return WalkState(Tree(), extra=seed)

    async def step(self, state: Any, tools: Tools) -> Any:
        partial = state.tree.partial(state.node)
        [steps] = await tools.propose([Ask(partial, n=self.n)])
        scores = await tools.score([partial.then(step) for step in steps])
        tree, ids = state.tree.grown(
            [(state.node, step, score) for step, score in zip(steps, scores, strict=True)]
        )
        return self.moved(replace(state, tree=tree, num_steps=state.num_steps + 1), ids)

    def moved(self, state: Any, ids: list[int]) -> Any:
        scored = [node for node in ids if state.tree[node].score is not None]
        best = [
            n for n in scored if state.tree[n].score == max(state.tree[m].score for m in scored)
        ]
        return replace(state, node=self.pick(state, best)) if best else state

    def pick(self, state: Any, nodes: list[int]) -> int:
        return rng(state.extra, state.num_steps).choice(nodes)

    def is_done(self, state: Any) -> bool:
        is_finished = state.tree.partial(state.node).is_finished
        return is_finished or state.num_steps >= self.max_steps

    def found(self, state: Any) -> Found:
        if not state.node:
            return Found(best=None, tree=state.tree)
        candidate = Candidate(
            state.tree.partial(state.node), state.tree[state.node].score, state.node
        )
        return Found(best=candidate, candidates=(candidate,), tree=state.tree, is_elected=True)


def test_the_sound_one_passes():
    """So what is found below is the planted breach and nothing else."""
    asyncio.run(check_search(Walk()))


class UsesGlobalChance(Walk):
    def moved(self, state, ids):
        return replace(super().moved(state, ids), extra=random.getrandbits(60))


COUNTS: list[int] = []
TORN: list[int] = []


class Remembers(Walk):
    """Keeps what it knows outside the state."""

    def pick(self, state, nodes):
        COUNTS.append(1)
        return nodes[len(COUNTS) % len(nodes)]


class UsesHash(Walk):
    def found(self, state):
        return replace(super().found(state), notes={"order": hash("motet")})


class OrdersBySet(Walk):
    def found(self, state):
        return replace(super().found(state), notes={"order": list(set("abcdefgh"))})


class TakesTheFirstToCome(Walk):
    async def step(self, state, tools):
        partial = state.tree.partial(state.node)
        tasks = [asyncio.ensure_future(tools.propose([Ask(partial, max_tokens=m)])) for m in (3, 2)]
        found = [(await task)[0] for task in asyncio.as_completed(tasks)]
        steps = [step for each in found for step in each]
        tree, ids = state.tree.grown([(state.node, step, 0.5) for step in steps])
        return self.moved(replace(state, tree=tree, num_steps=state.num_steps + 1), ids[:1])


class GoesRoundTheTools(Walk):
    async def step(self, state, tools):
        after = await super().step(state, tools)
        if tools.is_spent:
            found = tools._problem.propose([Ask(Partial(), n=9)])
            await found if asyncio.iscoroutine(found) else found
        return after


class HidesItsSpend(Walk):
    """Its end is that of the problem, which may have none."""

    def is_done(self, state):
        return state.tree.partial(state.node).is_finished

    async def step(self, state, tools):
        after = await super().step(state, tools)
        tools.is_spent = False
        return after


class ComparesLostScores(Walk):
    def moved(self, state, ids):
        best = max(ids, key=lambda node: state.tree[node].score, default=state.node)
        return replace(state, node=best)


class NeedsAStep(Walk):
    def moved(self, state, ids):
        return replace(state, node=ids[0])


class AsksForEver(Walk):
    async def step(self, state, tools):
        while True:
            after = await super().step(state, tools)
            if after.node != state.node:
                return after


class HidesErrors(Walk):
    async def step(self, state, tools):
        try:
            return await super().step(state, tools)
        except Exception:
            return replace(state, num_steps=self.max_steps)


class HidesCancellation(Walk):
    async def step(self, state, tools):
        try:
            return await super().step(state, tools)
        except asyncio.CancelledError:
            return replace(state, num_steps=self.max_steps)


class DoesNotEnd(Walk):
    def is_done(self, state):
        return False

    async def step(self, state, tools):
        return replace(state, num_steps=state.num_steps + 1)


class LosesItsTypes(Walk):
    """What is typed as Any comes back as JSON has it."""

    def init(self, seed):
        return WalkState(Tree(), extra=(seed,))

    def pick(self, state, nodes):
        return nodes[0]


class NeedsWholeSteps(Walk):
    """Shows a state that a broken step has left behind."""

    async def step(self, state, tools):
        TORN.append(1)
        after = await super().step(state, tools)
        TORN.clear()
        return after

    def found(self, state):
        if TORN:
            raise ValueError("half a step")
        return super().found(state)


class CannotBeWritten(Walk):
    def init(self, seed):
        return WalkState(Tree(), extra=object())


class ChangesItsState(Walk):
    def init(self, seed):
        return WalkState(Tree(), extra=[])

    def pick(self, state, nodes):
        state.extra.append(len(nodes))
        return nodes[0]


@dataclass
class LooseState:
    num_steps: int = 0


class HasALooseState(Walk):
    def init(self, seed):
        return LooseState()


class ShowsAnotherNode(Walk):
    def found(self, state):
        found = super().found(state)
        return replace(found, best=found.best and replace(found.best, node=0))


class SortsUpsideDown(Walk):
    def found(self, state):
        ends = [Candidate(Partial((Step("x", is_last=is_last),))) for is_last in (False, True)]
        return Found(best=None, candidates=tuple(ends), tree=state.tree)


class ChangesItsSettings(Walk):
    def pick(self, state, nodes):
        object.__setattr__(self, "max_steps", 7)
        return nodes[0]


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (UsesGlobalChance, "taken twice, gives two states"),
        (Remembers, "taken twice, gives two states"),
        (UsesHash, "PYTHONHASHSEED=[12] it ends otherwise"),
        (OrdersBySet, "PYTHONHASHSEED=[12] it ends otherwise"),
        (TakesTheFirstToCome, "one by one gives another end"),
        (GoesRoundTheTools, "max_proposals is .* reached the problem"),
        (HidesItsSpend, "max_.* does not end it"),
        (ComparesLostScores, "it raises TypeError"),
        (NeedsAStep, "it raises IndexError"),
        (AsksForEver, "asked 10000 times for what no limit holds"),
        (HidesErrors, "it hides the error of a callable"),
        (HidesCancellation, "it goes on though its time is over"),
        (DoesNotEnd, "it does not end"),
        (LosesItsTypes, "a state that is read back is another"),
        (NeedsWholeSteps, "it raises ValueError: half a step"),
        (CannotBeWritten, "a state cannot be written"),
        (ChangesItsState, "taken twice, gives two|a step changes the state"),
        (HasALooseState, "a state is not frozen"),
        (ShowsAnotherNode, "node 0 is another solution"),
        (SortsUpsideDown, "an unfinished candidate stands before"),
        (ChangesItsSettings, "changes the settings"),
    ],
)
def test_a_planted_breach_is_found(kind, law):
    """The error names the law."""
    with pytest.raises(AssertionError, match=law):
        asyncio.run(check_search(kind()))


def even_problem(scale: float) -> Problem:
    return replace(planted_problem(), score=lambda batch: [scale] * len(batch))


def test_a_problem_of_ones_own_is_checked_with():
    """Any function that makes one; one without a scorer will do where none is needed."""
    asyncio.run(check_search(Walk(), partial(even_problem, 0.5), max_resumes=2))
    asyncio.run(
        check_search(
            BestOfN(choose="majority"),
            lambda: Problem(propose=planted_problem().propose),
            limits=Limits(max_proposals=3),
            in_other_process=False,
        )
    )


def test_a_problem_without_the_callables_that_are_named_is_no_check():
    """Nothing is said to hold that was not looked at."""
    with pytest.raises(AssertionError, match="no callable of judge"):
        asyncio.run(check_search(Walk(), batched=("judge",)))
