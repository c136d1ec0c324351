"""A*: extend the partial solution whose path has cost least and whose score promises most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final, Literal, TypeAlias

from motet.errors import SearchError
from motet.search.algorithm import Found
from motet.search.partials import Candidate, Partial, Step
from motet.search.selection import best, ranked
from motet.search.settings import at_once, called, function, number, one_of, whole
from motet.search.tools import Ask, Tools, checked_number
from motet.search.tree import Tree

StepCost: TypeAlias = Callable[[float, float], float]
"""Takes h before and behind a step, returns what the step costs, at least 0."""


def drop(h: float, next_h: float) -> float:
    """Charge what a step loses of the score."""
    return max(0.0, next_h - h)


def consistent(h: float, next_h: float) -> float:
    """Charge what a step gains of the score, so that h <= cost + next_h and f never falls."""
    return max(0.0, h - next_h)


COSTS: Final[dict[str, StepCost]] = {"drop": drop, "consistent": consistent}


def text_of(partial: Partial) -> str:
    """Return the text, as which partial solutions are told apart."""
    return partial.text


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node of the tree stands."""

    score: float
    g: float
    """Cost of its path."""
    key: str
    """Digest of what it is told apart by."""

    @property
    def h(self) -> float:
        return 1.0 - self.score


@dataclass(frozen=True, slots=True)
class AStarState:
    tree: Tree
    places: tuple[Place, ...]
    """One for each node of the tree."""
    frontier: tuple[int, ...]
    """Nodes that wait, the next one first."""
    expanded: tuple[int, ...] = ()
    """Nodes that were extended, in this order."""
    goal: int | None = None
    """The first finished one that came to the head of the frontier."""
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AStar:
    """Extend the partial solution of least f = g + h by `k` steps; end at the first finished one.

    h is 1 - score and g the cost of the steps, so the solution found is the one of least g + h
    where the cost is consistent. With "drop" f can fall along a path, and the search is a
    best-first search that holds lost score against a path. Among equals the deeper one is next,
    then the one that came first.

    Source: A*-Decoding (Chatziveroglou 2025, arXiv:2505.13672), of which the step cost is known at
    second hand only and the settings are not: the defaults are ours. Departures: the statement
    alone counts as fully promising, as step scorers do not score it; partial solutions with the
    same text are one; where there is nothing finished at the end, the next in line is completed
    in one go.
    """

    k: int = 4
    """Proposals for each partial solution."""
    cost: Literal["drop", "consistent"] | StepCost = "drop"
    heuristic: Literal["score", "zero"] = "score"
    """`zero` orders by the cost of the path alone; needs no scorer where the cost needs none."""
    expand: int = 1
    """Partial solutions that are extended at once; more than 1 gives up the strict order."""
    max_expansions: int = 64
    max_depth: int = 40
    """Steps of a solution; the last of them runs to the end."""
    max_frontier: int | None = None
    """Partial solutions that wait; the worst are dropped."""
    root_score: float | None = 1.0
    """Score of the statement alone; None asks the scorer for it."""
    key: Callable[[Partial], str] = text_of
    """Partial solutions with the same key are one, and only the first is scored; a later one takes
    its place in the frontier where its path is cheaper."""

    @property
    def needs(self) -> frozenset[str]:
        """What a problem must have."""
        return frozenset({"score"}) if self.heuristic == "score" else frozenset()

    def __post_init__(self) -> None:
        at_once("k", self.k)
        if not callable(self.cost):
            one_of("cost", self.cost, tuple(COSTS))
        one_of("heuristic", self.heuristic, ("score", "zero"))
        at_once("expand", self.expand)
        whole("max_expansions", self.max_expansions)
        whole("max_depth", self.max_depth)
        if self.max_frontier is not None:
            whole("max_frontier", self.max_frontier)
        if self.root_score is not None:
            number("root_score", self.root_score)
        function("key", self.key)

    def init(self, seed: int) -> AStarState:
        score = 1.0 if self.root_score is None else self.root_score
        return AStarState(Tree(), (Place(score, 0.0, self._digest(Partial())),), (0,))

    async def step(self, state: AStarState, tools: Tools) -> AStarState:
        """Take the next in line, extend them, and put what came of it in line."""
        if not state.expanded and self.root_score is None:
            [score] = await tools.score([Partial()])
            root = replace(state.places[0], score=1.0 if score is None else score)
            state = replace(state, places=(root,))
        head = self._head(state)
        if head and state.tree.partial(head[0]).is_finished:
            return replace(state, goal=head[0], is_over=True)
        if not head or len(state.expanded) >= self.max_expansions:
            return await self._completed(state, tools)
        after = await self._extended(state, tools, head)
        return await self._completed(after, tools) if tools.is_spent else after

    def _head(self, state: AStarState) -> tuple[int, ...]:
        """Return those to extend now, or the finished one that is next."""
        most = min(self.expand, max(1, self.max_expansions - len(state.expanded)))
        head = state.frontier[:most]
        finished = [node for node in head if _is_finished(state.tree, node)]
        return head[: max(1, head.index(finished[0]))] if finished else head

    async def _extended(self, state: AStarState, tools: Tools, head: tuple[int, ...]) -> AStarState:
        partials = {node: state.tree.partial(node) for node in head}
        last = self.max_depth - 1
        found = await tools.propose(
            [Ask(each, self.k, is_whole=each.depth == last) for each in partials.values()]
        )
        children = [
            (node, step, partial.then(step))
            for (node, partial), steps in zip(partials.items(), found, strict=True)
            for step in steps
        ]
        return await self._placed(state, tools, head, children)

    async def _placed(
        self,
        state: AStarState,
        tools: Tools,
        head: tuple[int, ...],
        children: list[tuple[int, Step, Partial]],
    ) -> AStarState:
        """Score the new ones, and put each in line that is not known at a lower cost."""
        known = {place.key: place.score for place in state.places}
        keys = [self._digest(partial) for *_, partial in children]
        new: dict[str, Partial] = {}
        for key, (*_, partial) in zip(keys, children, strict=True):
            if key not in known:
                new.setdefault(key, partial)
        scores = zip(new, await self._scores(tools, list(new.values())), strict=True)
        known |= {key: score for key, score in scores if score is not None}
        if tools.is_spent:
            # Those of which a limit left nothing stay in line.
            parents = {node for key, (node, *_) in zip(keys, children, strict=True) if key in known}
            head = tuple(node for node in head if node in parents)
        places, frontier = list(state.places), [n for n in state.frontier if n not in head]
        waiting = {places[node].key: node for node in frontier}
        closed = {places[node].key for node in (*state.expanded, *head)}
        added = []
        for key, (parent, step, partial) in zip(keys, children, strict=True):
            if key not in known or key in closed:
                continue
            score = known[key]
            place = Place(score, self._path_cost(places[parent], 1.0 - score), key)
            rival = waiting.get(key)
            if rival is not None and places[rival].g <= place.g:
                continue
            if rival in frontier:
                frontier.remove(rival)
            added.append((parent, step, score if self._is_scored(tools) else None))
            places.append(place)
            waiting[key] = len(places) - 1
            if partial.is_finished or partial.depth < self.max_depth:
                frontier.append(len(places) - 1)
            else:
                closed.add(key)
        tree, _ = state.tree.grown(added)
        frontier.sort(key=lambda node: (self._f(places[node]), -tree[node].depth, node))
        return replace(
            state,
            tree=tree,
            places=tuple(places),
            frontier=tuple(frontier[: self.max_frontier]),
            expanded=(*state.expanded, *head),
        )

    def _is_scored(self, tools: Tools) -> bool:
        return self.heuristic == "score" or tools.has_scorer

    async def _scores(self, tools: Tools, partials: list[Partial]) -> list[float | None]:
        return await tools.score(partials) if self._is_scored(tools) else [1.0] * len(partials)

    def _path_cost(self, parent: Place, h: float) -> float:
        cost = self.cost if callable(self.cost) else COSTS[self.cost]
        return parent.g + checked_number(called("cost", cost, parent.h, h), "cost", 0.0)

    def _f(self, place: Place) -> float:
        # Sums of the same costs in another order must tie.
        return round(place.g + (place.h if self.heuristic == "score" else 0.0), 12)

    def _digest(self, partial: Partial) -> str:
        key: object = called("key", self.key, partial)
        if not isinstance(key, str):
            raise SearchError(f"key gave {key!r}; it must give a text")
        # A step without text that ends a solution makes another one of it.
        told_apart = f"{int(partial.is_finished)}{key}"
        return blake2b(told_apart.encode(), digest_size=12).hexdigest()

    async def _completed(self, state: AStarState, tools: Tools) -> AStarState:
        """Finish the next in line greedily where nothing is finished yet."""
        over = replace(state, is_over=True)
        line = state.frontier
        if not line or any(_is_finished(state.tree, node.id) for node in state.tree):
            return over
        partial = state.tree.partial(line[0])
        [steps] = await tools.propose([Ask(partial, is_whole=True, temperature=0.0)])
        if not steps:
            return over
        whole_one = partial.then(steps[0])
        score = None
        if self._is_scored(tools):
            [score] = await tools.score([whole_one])
        parent = state.places[line[0]]
        held = parent.score if score is None else score
        g = self._path_cost(parent, 1.0 - held)
        place = Place(held, g, self._digest(whole_one))
        tree, _ = state.tree.grown([(line[0], steps[0], score)])
        return replace(over, tree=tree, places=(*state.places, place))

    def is_done(self, state: AStarState) -> bool:
        return state.is_over

    def found(self, state: AStarState) -> Found:
        nodes = [node.id for node in state.tree if node.step is not None]
        finished = [_candidate(state, node) for node in nodes if _is_finished(state.tree, node)]
        waiting = [node for node in state.frontier if node and not _is_finished(state.tree, node)]
        parents = {node.parent for node in state.tree}
        leaves = [node for node in nodes if node not in parents]
        unfinished = [_candidate(state, node) for node in waiting or leaves]
        depths = Counter(state.tree[node].depth for node in state.expanded)
        if state.goal is not None:
            chosen: Candidate | None = _candidate(state, state.goal)
        else:
            chosen = best(finished) or (unfinished[0] if waiting else best(unfinished))
        return Found(
            best=chosen,
            # The least f is not the highest score, and the tree holds all there ever was.
            is_elected=True,
            candidates=ranked([*finished, *(unfinished if waiting else [])]),
            tree=state.tree,
            notes={
                "expanded": len(state.expanded),
                "expanded_by_depth": [depths[d] for d in range(max(depths, default=-1) + 1)],
            },
        )


def _is_finished(tree: Tree, node: int) -> bool:
    step = tree[node].step
    return step is not None and step.is_last


def _candidate(state: AStarState, node: int) -> Candidate:
    return Candidate(state.tree.partial(node), state.tree[node].score, node)
