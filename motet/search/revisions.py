"""Sequential revisions in parallel chains: each answer is written with the earlier ones at hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from motet.search.algorithm import Found
from motet.search.best_of_n import final_answer
from motet.search.partials import Candidate, Partial
from motet.search.selection import Extract, best, elected, ranked, votes
from motet.search.settings import at_once, function, one_of, whole
from motet.search.tools import Ask, Tools
from motet.search.tree import Tree
from motet.types import JSON


@dataclass(frozen=True, slots=True)
class RevisionsState:
    tree: Tree
    chains: tuple[tuple[int, ...], ...] = ()
    """Nodes of each chain's attempts, oldest first."""
    num_rounds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """Draw `num_chains` answers side by side, and revise each `length - 1` times.

    The proposer is asked for a whole answer behind a partial solution whose steps are the last
    `memory` attempts of the chain, oldest first: `Partial()` for a first one. The choice is made
    within each chain and then across the chains' choices, over all attempts, because a revision
    can spoil what was right.

    Source: sequential revisions of Snell et al. 2024, arXiv:2408.03314, section 6. Departures: any
    proposer may revise, no trained one is needed; a chain that gets no attempt in a round goes on
    in the next; where nothing states an answer the best-scored is chosen, of unscored ones the
    first; unfinished attempts compete only where none is finished. One chain is pure revision,
    length 1 is best-of-N.
    """

    num_chains: int = 4
    length: int = 4
    memory: int = 4
    """Earlier attempts that the proposer sees."""
    choose: Literal["best", "weighted", "majority"] = "weighted"
    """How within a chain and across them; `majority` needs no scorer."""
    extract: Extract = final_answer

    @property
    def needs(self) -> frozenset[str]:
        """What a problem must have."""
        return frozenset() if self.choose == "majority" else frozenset({"score"})

    def __post_init__(self) -> None:
        at_once("num_chains", self.num_chains)
        whole("length", self.length)
        whole("memory", self.memory)
        one_of("choose", self.choose, ("best", "weighted", "majority"))
        function("extract", self.extract)

    def init(self, seed: int) -> RevisionsState:
        return RevisionsState(Tree())

    async def step(self, state: RevisionsState, tools: Tools) -> RevisionsState:
        """Add an attempt to every chain."""
        if state.num_rounds:
            found = await tools.propose(
                [Ask(self._memory(state.tree, chain), is_whole=True) for chain in state.chains]
            )
            chains = list(state.chains)
        else:
            [first] = await tools.propose([Ask(Partial(), self.num_chains, is_whole=True)])
            found, chains = [[step] for step in first], [() for _ in first]
        new = [(place, step) for place, steps in enumerate(found) for step in steps]
        scores: list[float | None] = [None] * len(new)
        if self.choose != "majority" or tools.has_scorer:
            scores = await tools.score([Partial((step,)) for _, step in new])
        tree, ids = state.tree.grown(
            [
                (chains[place][-1] if chains[place] else 0, step, score)
                for (place, step), score in zip(new, scores, strict=True)
            ]
        )
        for (place, _), node in zip(new, ids, strict=True):
            chains[place] = (*chains[place], node)
        return replace(state, tree=tree, chains=tuple(chains), num_rounds=state.num_rounds + 1)

    def _memory(self, tree: Tree, chain: tuple[int, ...]) -> Partial:
        attempts = (tree[node].step for node in chain[-self.memory :])
        return Partial(tuple(step for step in attempts if step is not None))

    def is_done(self, state: RevisionsState) -> bool:
        return state.num_rounds >= self.length or (state.num_rounds > 0 and not state.chains)

    def found(self, state: RevisionsState) -> Found:
        chains = [[self._candidate(state.tree, node) for node in chain] for chain in state.chains]
        finished = [[c for c in chain if c.partial.is_finished] for chain in chains]
        rivals = finished if any(finished) else chains
        winners = [winner for chain in rivals if (winner := self._chosen(chain)) is not None]
        return Found(
            best=self._chosen(winners),
            is_elected=True,
            candidates=ranked(candidate for chain in chains for candidate in chain),
            tree=state.tree,
            notes={"chains": [len(chain) for chain in state.chains], **self._votes(winners)},
        )

    def _chosen(self, candidates: list[Candidate]) -> Candidate | None:
        if self.choose == "best":
            return best(c for c in candidates if c.score is not None)
        is_weighted = self.choose == "weighted"
        voters = [c for c in candidates if c.score is not None or not is_weighted]
        return elected(voters, self.extract, is_weighted=is_weighted) or best(voters)

    def _votes(self, winners: list[Candidate]) -> dict[str, JSON]:
        if self.choose == "best":
            return {}
        counted = votes(winners, self.extract, is_weighted=self.choose == "weighted")
        return {"votes": dict(counted)} if counted else {}

    def _candidate(self, tree: Tree, node: int) -> Candidate:
        step = tree[node].step
        return Candidate(Partial((step,) if step is not None else ()), tree[node].score, node)
