"""Tree of thoughts: thoughts are proposed, valued or voted on, and the best are gone on with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Final, Literal

from motet.errors import ConfigError
from motet.search.algorithm import Found, rng
from motet.search.partials import Candidate, Partial, Step
from motet.search.selection import best, ranked
from motet.search.settings import number, one_of, whole
from motet.search.thoughts import ThoughtTools
from motet.search.tree import Tree

Generate = Literal["propose", "sample"]
Combine = Literal["mean", "sum", "least", "product"]
_COMBINED: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "mean": lambda values: sum(values) / len(values),
    "sum": sum,
    "least": min,
    "product": prod,
}
Values = tuple[tuple[str, float], ...]
"""What partial solutions are known to be worth, by what evaluators see of them."""


def text_of(partial: Partial) -> str:
    """Return the text, which is what evaluators see."""
    return partial.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """How thoughts are made and valued, at any order of the search.

    With several evaluators each values a thought `num_evaluations` times; its values add up, and
    what the evaluators say is combined.

    Source: Tree of Thoughts (Yao et al. 2023, arXiv:2305.10601) and princeton-nlp's code for it;
    several evaluators after QM-ToT, of which only the idea is known: how they are combined is ours.
    """

    generate: Generate = "propose"
    """Whether one reply lists thoughts, or each sample is one."""
    n: int = 64
    """Thoughts behind each partial solution, at most."""
    num_evaluations: int = 3
    """Values that are added up, or votes."""
    combine: Combine = "mean"
    """Of what several evaluators say."""
    key: Callable[[Partial], str] = text_of
    """What evaluators see of a partial solution; equal ones are valued once in a search."""

    def __post_init__(self) -> None:
        one_of("generate", self.generate, ("propose", "sample"))
        whole("n", self.n)
        whole("num_evaluations", self.num_evaluations)
        one_of("combine", self.combine, tuple(_COMBINED))

    async def children(
        self, tree: Tree, parents: Sequence[int], tools: ThoughtTools
    ) -> list[tuple[int, Step, Partial]]:
        """Return the thoughts behind `parents`, in order."""
        partials = [tree.partial(node) for node in parents]
        found = await tools.think(partials, self.n, is_list=self.generate == "propose")
        return [
            (node, step, partial.then(step))
            for node, partial, steps in zip(parents, partials, found, strict=True)
            for step in steps
        ]

    async def valued(
        self, partials: Sequence[Partial], known: Values, tools: ThoughtTools
    ) -> tuple[list[float | None], Values]:
        """Return the value of each, and what is known now; a text that was there before has 0."""
        if not tools.has_evaluators:
            raise ConfigError("evaluators is (), and this search values thoughts by them")
        values = dict(known)
        fresh: dict[str, Partial] = {}
        for partial in partials:
            key = self.key(partial)
            if key not in values:
                fresh.setdefault(key, partial)
        times = self.num_evaluations
        found = await tools.value([each for each in fresh.values() for _ in range(times)])
        for i, key in enumerate(fresh):
            said = [
                [each for each in column if each is not None]
                for column in zip(*found[i * times : (i + 1) * times], strict=True)
            ]
            if all(said):
                values[key] = _COMBINED[self.combine]([sum(each) for each in said])
        seen: set[str] = set()
        results: list[float | None] = []
        for partial in partials:
            results.append(0.0 if partial.text in seen else values.get(self.key(partial)))
            seen.add(partial.text)
        return results, tuple(values.items())


@dataclass(frozen=True, slots=True)
class ThoughtState:
    tree: Tree
    seed: int
    kept: tuple[int, ...] = (0,)
    """Nodes that the last level left, best first where the selection is greedy."""
    values: tuple[float, ...] = (0.0,)
    """What each of them was worth in that level."""
    known: Values = ()
    num_levels: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeOfThoughts(Thinking):
    """Go breadth-first: of all thoughts of a level keep `num_kept`, by value or by vote.

    Finished ones stay and compete with the value they have. Among equals the first is kept.

    Source: as above. Departures: the drawn selection puts nothing back; a ballot holds each text
    once.
    """

    levels: int = 4
    num_kept: int = 5
    evaluate: Literal["value", "vote"] = "value"
    select: Literal["greedy", "sample"] = "greedy"
    """`sample` draws in proportion to the values."""

    def __post_init__(self) -> None:
        # A slotted dataclass is a new class, which super() without arguments does not know.
        Thinking.__post_init__(self)
        whole("levels", self.levels)
        whole("num_kept", self.num_kept)
        one_of("evaluate", self.evaluate, ("value", "vote"))
        one_of("select", self.select, ("greedy", "sample"))

    def init(self, seed: int) -> ThoughtState:
        return ThoughtState(Tree(), seed)

    async def step(self, state: ThoughtState, tools: ThoughtTools) -> ThoughtState:
        """Think one level further."""
        ended = [
            (node, value)
            for node, value in zip(state.kept, state.values, strict=True)
            if state.tree.partial(node).is_finished
        ]
        places = {node for node, _ in ended}
        parents = [node for node in state.kept if node not in places]
        children = await self.children(state.tree, parents, tools)
        known = state.known
        if self.evaluate == "value":
            values, known = await self.valued([each for *_, each in children], known, tools)
        else:
            finished = [state.tree.partial(node) for node, _ in ended]
            votes = await self._voted([*finished, *(each for *_, each in children)], tools)
            ended = [
                (node, value if new is None else new)
                for (node, value), new in zip(ended, votes, strict=False)
            ]
            values = votes[len(ended) :]
        scored = [
            (node, step, value)
            for (node, step, _), value in zip(children, values, strict=True)
            if value is not None
        ]
        tree, ids = state.tree.grown(scored)
        pool = [*ended, *((i, value) for i, (*_, value) in zip(ids, scored, strict=True))]
        # Where nothing came of a level, what there was is still the best.
        kept = self._selected(pool, state) or list(zip(state.kept, state.values, strict=True))
        return replace(
            state,
            tree=tree,
            kept=tuple(node for node, _ in kept),
            values=tuple(value for _, value in kept),
            known=known,
            num_levels=state.num_levels + 1,
        )

    async def _voted(self, partials: Sequence[Partial], tools: ThoughtTools) -> list[float | None]:
        """Return the votes of each; a text that was there before has none."""
        ballot: dict[str, Partial] = {}
        for partial in partials:
            ballot.setdefault(partial.text, partial)
        counts = await tools.vote(list(ballot.values()), self.num_evaluations)
        if counts is None:
            return [None] * len(partials)
        votes = {text: float(count) for text, count in zip(ballot, counts, strict=True)}
        return [votes.pop(partial.text, 0.0) for partial in partials]

    def _selected(
        self, pool: list[tuple[int, float]], state: ThoughtState
    ) -> list[tuple[int, float]]:
        if self.select == "greedy":
            return sorted(pool, key=lambda each: -each[1])[: self.num_kept]
        chance, left = rng(state.seed, state.num_levels), list(pool)
        kept: list[tuple[int, float]] = []
        while left and len(kept) < self.num_kept:
            weights = [value for _, value in left]
            if not any(weights):
                weights = [1.0] * len(left)
            [place] = chance.choices(range(len(left)), weights)
            kept.append(left.pop(place))
        return kept

    def is_done(self, state: ThoughtState) -> bool:
        is_whole = all(state.tree.partial(node).is_finished for node in state.kept)
        return state.num_levels >= self.levels or is_whole

    def found(self, state: ThoughtState) -> Found:
        candidates = ranked(
            Candidate(state.tree.partial(node), value, node)
            for node, value in zip(state.kept, state.values, strict=True)
            if node
        )
        # Values of different levels do not compare: the last level decides.
        chosen = candidates[0] if candidates else None
        return Found(best=chosen, is_elected=True, candidates=candidates, tree=state.tree)


@dataclass(frozen=True, slots=True)
class DepthFirstState:
    tree: Tree
    stack: tuple[int, ...] = (0,)
    """Nodes that wait, the next one last."""
    visited: tuple[int, ...] = ()
    """Nodes that were gone into, in this order."""
    known: Values = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthFirstThoughts(Thinking):
    """Go deep along the best thought; give up what is judged impossible, and go back.

    Ends with the first finished solution that it comes to.

    Source: as above, the search of the crosswords. Departures: the thoughts of a state are valued
    in one batch before the first is gone into; what prunes is the mean value, not a count of words.
    """

    num_kept: int = 3
    """Thoughts of one state that are gone into, at most."""
    max_visits: int = 100
    max_depth: int = 40
    prune: float = 0.001
    """A thought whose value for each evaluation is this or less is given up; so is one whose text
    its state has already."""

    def __post_init__(self) -> None:
        Thinking.__post_init__(self)
        whole("num_kept", self.num_kept)
        whole("max_visits", self.max_visits)
        whole("max_depth", self.max_depth)
        number("prune", self.prune, 0.0)

    def init(self, seed: int) -> DepthFirstState:
        return DepthFirstState(Tree())

    async def step(self, state: DepthFirstState, tools: ThoughtTools) -> DepthFirstState:
        """Go into the next one, and put its thoughts in front of what waits."""
        *rest, node = state.stack
        visited = (*state.visited, node)
        partial = state.tree.partial(node)
        if partial.is_finished or partial.depth >= self.max_depth:
            return replace(state, stack=tuple(rest), visited=visited)
        children = await self.children(state.tree, [node], tools)
        values, known = await self.valued([each for *_, each in children], state.known, tools)
        scored = [
            (parent, step, value)
            for (parent, step, _), value in zip(children, values, strict=True)
            if value is not None
        ]
        tree, ids = state.tree.grown(scored)
        least = self.prune * self.num_evaluations
        going = [(i, value) for i, (*_, value) in zip(ids, scored, strict=True) if value > least]
        going.sort(key=lambda each: -each[1])
        ahead = [i for i, _ in going[: self.num_kept]]
        return DepthFirstState(tree, (*rest, *reversed(ahead)), visited, known)

    def is_done(self, state: DepthFirstState) -> bool:
        is_found = bool(state.visited) and state.tree.partial(state.visited[-1]).is_finished
        return is_found or not state.stack or len(state.visited) >= self.max_visits

    def found(self, state: DepthFirstState) -> Found:
        candidates = [
            Candidate(state.tree.partial(node), state.tree[node].score, node)
            for node in state.visited
            if node
        ]
        finished = [each for each in candidates if each.partial.is_finished]
        deepest = max((each.partial.depth for each in candidates), default=0)
        chosen = best(finished) or best(c for c in candidates if c.partial.depth == deepest)
        return Found(
            best=chosen,
            is_elected=True,
            candidates=ranked(candidates),
            tree=state.tree,
            notes={"visits": len(state.visited)},
        )
