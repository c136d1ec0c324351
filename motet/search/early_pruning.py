"""Write answers side by side, and give up the least promising ones at checkpoints of length."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

from motet.errors import ConfigError
from motet.search.algorithm import Found
from motet.search.partials import Candidate, Partial
from motet.search.selection import best, ranked
from motet.search.settings import at_once, number, several, whole
from motet.search.tools import Ask, Tools
from motet.search.tree import Tree


@dataclass(frozen=True, slots=True)
class PruningState:
    tree: Tree
    streams: tuple[int, ...] = ()
    """Nodes where the answers stand that are still written."""
    ended: tuple[int, ...] = ()
    """Nodes of whole answers."""
    dropped: tuple[int, ...] = ()
    num_rounds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyPruning:
    """Write `n` answers; at each checkpoint score those under way and drop the lowest of them.

    The proposer is asked for a whole answer of at most so many tokens; what it cuts short is gone
    on with, in tokens of the proposer's own count. The best-scored whole answer is chosen.

    So all requests up to a checkpoint have ended before an answer is dropped there: it holds
    nothing in the engine, is never asked for again, and needs no abort. Only where time or a
    cancellation ends the search between checkpoints are requests aborted.

    Source: mid-generation pruning of Manvi et al. 2024, arXiv:2410.02725. Departures: the
    checkpoints and the rate are ours; requests up to each checkpoint stand for one that is cut,
    which relies on the engine's prefix cache; an answer that ended is never dropped; one that has
    no score is dropped first.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"score"})

    n: int = 16
    checkpoints: tuple[int, ...] = (64, 256)
    """Tokens of an answer, ascending."""
    drop_rate: float = 0.5
    """Of the answers under way, at each checkpoint; rounded down, and one is kept."""

    def __post_init__(self) -> None:
        at_once("n", self.n)
        number("drop_rate", self.drop_rate, 0, 1)
        several("checkpoints", self.checkpoints)
        for checkpoint in self.checkpoints:
            whole("checkpoints", checkpoint)
        if any(a >= b for a, b in zip(self.checkpoints, self.checkpoints[1:], strict=False)):
            raise ConfigError(f"checkpoints is {self.checkpoints}; they must ascend")

    def init(self, seed: int) -> PruningState:
        return PruningState(Tree())

    async def step(self, state: PruningState, tools: Tools) -> PruningState:
        """Write on to the next checkpoint or to the end, score, drop."""
        is_last = state.num_rounds == len(self.checkpoints)
        goal = None if is_last else self.checkpoints[state.num_rounds]
        nodes = state.streams if state.num_rounds else (0,)
        parents = [(node, state.tree.partial(node)) for node in nodes]
        asked = [parent for parent in parents if self._is_short(parent[1], goal)]
        waiting = [node for node, partial in parents if not self._is_short(partial, goal)]
        found = await tools.propose([self._ask(partial, goal) for _, partial in asked])
        new = [
            (node, step, partial.then(step))
            for (node, partial), steps in zip(asked, found, strict=True)
            for step in steps
        ]
        scores = await tools.score([partial for *_, partial in new]) if new else []
        tree, ids = state.tree.grown(
            [(node, step, score) for (node, step, _), score in zip(new, scores, strict=True)]
        )
        reached = list(zip(ids, (partial for *_, partial in new), strict=True))
        ended = [node for node, partial in reached if is_last or partial.is_finished]
        going = [
            *waiting,
            *(node for node, partial in reached if not (is_last or partial.is_finished)),
        ]
        lost = [node for (node, _), steps in zip(asked, found, strict=True) if node and not steps]
        kept = self._kept(tree, going)
        return replace(
            state,
            tree=tree,
            streams=kept,
            ended=(*state.ended, *ended),
            dropped=(*state.dropped, *lost, *(node for node in going if node not in kept)),
            num_rounds=state.num_rounds + 1,
        )

    def _is_short(self, partial: Partial, goal: int | None) -> bool:
        return goal is None or partial.num_tokens < goal

    def _ask(self, partial: Partial, goal: int | None) -> Ask:
        left = None if goal is None else goal - partial.num_tokens
        return Ask(partial, 1 if partial.steps else self.n, is_whole=True, max_tokens=left)

    def _kept(self, tree: Tree, going: list[int]) -> tuple[int, ...]:
        """Return the best-scored of `going`, in their order."""
        num_dropped = int(Fraction(str(self.drop_rate)) * len(going))
        num_kept = max(len(going) - num_dropped, 1)

        def place(node: int) -> tuple[bool, float]:
            score = tree[node].score
            return score is None, -(score or 0.0)

        best_first = sorted(going, key=place)[:num_kept]
        return tuple(sorted(best_first))

    def is_done(self, state: PruningState) -> bool:
        is_over = state.num_rounds > len(self.checkpoints)
        return is_over or (state.num_rounds > 0 and not state.streams)

    def found(self, state: PruningState) -> Found:
        ended = [self._candidate(state.tree, node) for node in state.ended]
        going = [self._candidate(state.tree, node) for node in (*state.streams, *state.dropped)]
        finished = [candidate for candidate in ended if candidate.partial.is_finished]
        return Found(
            best=best(finished) or best([*ended, *going]),
            candidates=ranked([*ended, *going]),
            tree=state.tree,
            notes={"num_dropped": len(state.dropped)},
        )

    def _candidate(self, tree: Tree, node: int) -> Candidate:
        return Candidate(tree.partial(node), tree[node].score, node)
