"""Self-consistency that stops as soon as the leading answer is all but sure to stay ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import comb
from typing import Literal

from motet.search.algorithm import Found
from motet.search.best_of_n import final_answer
from motet.search.partials import Candidate, Partial
from motet.search.selection import Extract, best, elected, ranked, votes
from motet.search.settings import at_once, function, number, whole
from motet.search.tools import Ask, Tools
from motet.search.tree import Tree


def stays_ahead(first: int, second: int) -> float:
    """Return the probability that the answer with `first` votes is the more likely of two.

    It is P(p > 1/2) of a Beta(first + 1, second + 1), which whole numbers give exactly.
    """
    num = first + second + 1
    below = sum(comb(num, j) for j in range(first + 1, num + 1))
    return float(1 - Fraction(below, 2**num))


@dataclass(frozen=True, slots=True)
class ConsistencyState:
    tree: Tree
    candidates: tuple[Candidate, ...] = ()
    num_draws: int = 0
    """Answers that were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveConsistency:
    """Draw whole answers until the leading one is ahead for good, by a Beta posterior over it and
    the runner-up; choose it.

    It ends for one of three reasons, which stands in `notes["ended_by"]`: the leader is `ahead`,
    there were `max_draws`, or it is `silent`, for none of the first `max_silent` draws states an
    answer. Where nothing states one, the first finished solution is the answer all the same,
    without votes, and where nothing is finished the first unfinished one.

    Source: Adaptive-Consistency of Aggarwal et al. 2023, arXiv:2305.11860, with its Beta stopping
    rule. Departures: answers may come in batches; one that states nothing has no vote; ties go to
    the first; `max_silent`.
    """

    threshold: float = 0.95
    """Probability that the leader stays ahead of the second; 1 draws all."""
    max_draws: int = 40
    batch: int = 1
    """Answers a step; more waste some for fewer rounds."""
    max_silent: int = 8
    """Draws without any answer after which it gives up; `max_draws` or more never does."""
    extract: Extract = final_answer

    def __post_init__(self) -> None:
        number("threshold", self.threshold, 0, 1)
        whole("max_draws", self.max_draws)
        at_once("batch", self.batch)
        whole("max_silent", self.max_silent)
        function("extract", self.extract)

    def init(self, seed: int) -> ConsistencyState:
        return ConsistencyState(Tree())

    async def step(self, state: ConsistencyState, tools: Tools) -> ConsistencyState:
        num = min(self.batch, self.max_draws - state.num_draws)
        before = tools.spend.proposals
        [steps] = await tools.propose([Ask(Partial(), num, is_whole=True)])
        tree, ids = state.tree.grown([(0, step, None) for step in steps])
        new = [
            Candidate(Partial((step,)), None, node) for step, node in zip(steps, ids, strict=True)
        ]
        return replace(
            state,
            tree=tree,
            candidates=(*state.candidates, *new),
            num_draws=state.num_draws + tools.spend.proposals - before,
        )

    def is_done(self, state: ConsistencyState) -> bool:
        return self._ended_by(state) is not None

    def _ended_by(self, state: ConsistencyState) -> Literal["ahead", "max_draws", "silent"] | None:
        first, second = self._counts(state.candidates)
        if self.threshold < 1 and first > second and stays_ahead(first, second) >= self.threshold:
            return "ahead"
        if state.num_draws >= self.max_draws:
            return "max_draws"
        return "silent" if not first and state.num_draws >= self.max_silent else None

    def _counts(self, candidates: Sequence[Candidate]) -> tuple[int, int]:
        """Return the votes of the leading answer and of the second."""
        finished = [c for c in candidates if c.partial.is_finished]
        counted = sorted(votes(finished, self.extract, is_weighted=False).values(), reverse=True)
        first, second, *_ = (*map(int, counted), 0, 0)
        return first, second

    def found(self, state: ConsistencyState) -> Found:
        finished = [c for c in state.candidates if c.partial.is_finished]
        first, second = self._counts(finished)
        return Found(
            best=elected(finished, self.extract) or best(finished) or best(state.candidates),
            is_elected=True,
            candidates=ranked(state.candidates),
            tree=state.tree,
            notes={
                "votes": dict(votes(finished, self.extract, is_weighted=False)),
                "num_draws": state.num_draws,
                "ended_by": self._ended_by(state),
                "stays_ahead": stays_ahead(first, second),
            },
        )
