"""Best-of-N: draw N whole answers, score each, choose one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from motet.search.algorithm import Found
from motet.search.answers import extract_answer
from motet.search.partials import Candidate, Partial
from motet.search.selection import Extract, best, elected, ranked, votes
from motet.search.settings import at_once, function, one_of
from motet.search.tools import Ask, Tools
from motet.search.tree import Tree
from motet.types import JSON

Choice = Literal["best", "weighted", "majority", "verified"]


def final_answer(text: str) -> str | None:
    """Return the answer that `text` states as its final one."""
    return extract_answer(text, "final")


@dataclass(frozen=True, slots=True)
class BestOfNState:
    tree: Tree
    candidates: tuple[Candidate, ...] = ()
    accepted: int | None = None
    """Place of the first candidate that the verifier accepts."""
    is_drawn: bool = False
    is_cut: bool = False
    """Whether a limit left something out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfN:
    """Draw `n` whole answers in one batch; choose the best-scored, or an answer by votes.

    Source: best-of-N, weighted best-of-N and majority of huggingface/search-and-learn. Departures:
    an answer that is empty or states nothing has no vote, and where there is no vote at all the
    best-scored is chosen, of unscored ones the first; ties go to the first; unfinished answers
    compete only where none is finished. The choice by a verifier is ours.
    """

    n: int = 4
    choose: Choice = "best"
    """`majority` needs no scorer; `verified` takes the first that the verifier accepts, and where it
    accepts none the best-scored, or without a scorer that of most votes."""
    extract: Extract = final_answer

    @property
    def needs(self) -> frozenset[str]:
        """What a problem must have."""
        if self.choose == "verified":
            return frozenset({"verify"})
        return frozenset() if self.choose == "majority" else frozenset({"score"})

    def __post_init__(self) -> None:
        at_once("n", self.n)
        one_of("choose", self.choose, ("best", "weighted", "majority", "verified"))
        function("extract", self.extract)

    def init(self, seed: int) -> BestOfNState:
        return BestOfNState(Tree())

    async def step(self, state: BestOfNState, tools: Tools) -> BestOfNState:
        [steps] = await tools.propose([Ask(Partial(), n=self.n, is_whole=True)])
        partials = [Partial((step,)) for step in steps]
        scores: list[float | None] = [None] * len(partials)
        accepted: int | None = None
        if self.choose == "verified":
            accepted = await self._accepted(partials, tools)
        is_free = self.choose in {"majority", "verified"}
        if accepted is None and (tools.has_scorer or not is_free):
            scores = await tools.score(partials)
        added = [(0, step, score) for step, score in zip(steps, scores, strict=True)]
        tree, ids = state.tree.grown(added)
        candidates = tuple(Candidate(*each) for each in zip(partials, scores, ids, strict=True))
        return replace(
            state,
            tree=tree,
            candidates=candidates,
            accepted=accepted,
            is_drawn=True,
            is_cut=tools.is_spent,
        )

    async def _accepted(self, partials: list[Partial], tools: Tools) -> int | None:
        finished = [place for place, each in enumerate(partials) if each.is_finished]
        verdicts = await tools.verify([partials[place] for place in finished])
        return next(
            (place for place, is_right in zip(finished, verdicts, strict=True) if is_right), None
        )

    def is_done(self, state: BestOfNState) -> bool:
        return state.is_drawn

    def found(self, state: BestOfNState) -> Found:
        finished = [c for c in state.candidates if c.partial.is_finished]
        rivals = finished or list(state.candidates)
        chosen, counted, how = None, {}, self.choose
        if how == "verified":
            is_scored = any(c.score is not None for c in rivals)
            how = "best" if is_scored else "majority"
        if state.accepted is not None:
            chosen = state.candidates[state.accepted]
        elif how == "best":
            chosen = best(c for c in rivals if c.score is not None)
            if chosen is None and state.is_cut:
                chosen = best(rivals)  # unscored, and better than nothing
        else:
            is_weighted = how == "weighted"
            voters = [c for c in rivals if c.score is not None or not is_weighted]
            chosen = elected(voters, self.extract, is_weighted=is_weighted) or best(voters)
            counted = votes(voters, self.extract, is_weighted=is_weighted)
        notes: dict[str, JSON] = {"votes": dict(counted)} if counted else {}
        if self.choose == "verified":
            notes["is_verified"] = state.accepted is not None
        return Found(
            best=chosen,
            is_elected=self.choose != "best",
            candidates=ranked(state.candidates),
            tree=state.tree,
            notes=notes,
        )
