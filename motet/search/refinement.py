"""Tree search over refinements: rewrite an answer until a judge finds that it obeys."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, TypeVar

from motet.errors import SearchError
from motet.search.algorithm import Found
from motet.search.metering import Meter
from motet.search.partials import Candidate, Partial, Step
from motet.search.selection import best, ranked
from motet.search.settings import at_once, called, function, number, one_of, whole
from motet.search.spending import Limits, Spend
from motet.search.tools import UNPAID, Lost
from motet.search.tree import Tree
from motet.types import JSON

ReplyT = TypeVar("ReplyT")
START: Final = "<<<"
END: Final = ">>>"
_VERDICT: Final = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


def read_verdict(reply: str) -> bool | None:
    """Return what the last "yes" or "no" that stands alone says; None where there is none."""
    found = _VERDICT.findall(reply)
    return found[-1].lower() == "yes" if found else None


def read_refinement(reply: str) -> str | None:
    """Return the text from the first start mark to the last end mark; None where it is missing."""
    _, start, rest = reply.partition(START)
    text, end, _ = rest.rpartition(END)
    return text.strip() or None if start and end else None


@dataclass(frozen=True, slots=True)
class Draft:
    """What to rewrite."""

    text: str
    critique: str
    n: int = 1
    """Rewritings."""


Refine: TypeAlias = Callable[
    [Sequence[Draft]], Awaitable[Sequence[Sequence[Step] | Lost]] | Sequence[Sequence[Step] | Lost]
]
"""Takes a batch, returns at most `n` replies for each, which hold the new text between marks."""
Judge: TypeAlias = Callable[
    [Sequence[str], int],
    Awaitable[Sequence[Sequence[str] | Lost]] | Sequence[Sequence[str] | Lost],
]
"""Takes a batch of texts and a number of votes, returns at most so many replies for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinementProblem:
    """What a search over refinements needs, as callables; sync or async."""

    response: str
    """The answer that fails."""
    critique: str
    """Why it fails."""
    refine: Refine
    judge: Judge
    read_refinement: Callable[[str], str | None] = read_refinement
    read_verdict: Callable[[str], bool | None] = read_verdict
    """Of a reply of the judge; None where it states none."""
    step_tokens: int | None = None
    """The most tokens of one reply; needed for `max_tokens`."""

    def __post_init__(self) -> None:
        for name in ("refine", "judge", "read_refinement", "read_verdict"):
            function(name, getattr(self, name))
        if self.step_tokens is not None:
            whole("step_tokens", self.step_tokens)

    def tools(self, limits: Limits, spend: Spend) -> RefinementTools:
        """Return the callables as a search sees them."""
        return RefinementTools(self, limits, spend)


class RefinementTools(Meter):
    """A problem's callables while a search runs; they keep its limits."""

    def __init__(self, problem: RefinementProblem, limits: Limits, spend: Spend) -> None:
        super().__init__(limits, spend, step_tokens=problem.step_tokens)
        self.problem = problem

    async def refine(self, drafts: Sequence[Draft]) -> list[list[Step]]:
        """Return the rewritings that can be read, with their text alone.

        Raises:
            SearchError: The refiner breaks its contract.
        """
        held = self.may_propose(sum(draft.n for draft in drafts))
        asked = []
        for draft in drafts:
            n = min(draft.n, held)
            held -= n
            if n:
                asked.append(replace(draft, n=n))
        results: list[list[Step]] = [[] for _ in drafts]
        found = await self.call("refine", self.problem.refine, asked) if asked else []
        for place, (draft, given) in enumerate(zip(asked, found, strict=True)):
            replies: list[Step] = self._replies("refine", given, draft.n, Step)
            if given is not UNPAID:
                self.count(proposals=draft.n, tokens=sum(each.num_tokens for each in replies))
            for each in replies:
                text = called("read_refinement", self.problem.read_refinement, each.text)
                if text is not None:
                    results[place].append(replace(each, text=text))
        return results

    async def judge(self, texts: Sequence[str], num_votes: int) -> list[list[str] | None]:
        """Return the judge's replies on each text; None where they failed or a limit was reached.

        Raises:
            SearchError: The judge breaks its contract.
        """
        asked = texts[: self.may_score(len(texts) * num_votes) // num_votes]

        def judge(batch: Sequence[str]) -> object:
            return self.problem.judge(batch, num_votes)

        found = await self.call("judge", judge, asked) if asked else []
        results: list[list[str] | None] = [None] * len(texts)
        for place, given in enumerate(found):
            replies = self._replies("judge", given, num_votes, str)
            if given is not UNPAID:
                self.count(scores=num_votes)
            results[place] = None if isinstance(given, Lost) else replies
        return results

    def verdict(self, reply: str) -> bool | None:
        """Return what a reply of the judge says.

        Raises:
            SearchError: `read_verdict` raised.
        """
        return called("read_verdict", self.problem.read_verdict, reply)

    def _replies(self, name: str, given: Any, most: int, kind: type[ReplyT]) -> list[ReplyT]:
        if self.is_lost(given):
            return []
        is_list = isinstance(given, Sequence) and not isinstance(given, str)
        if not is_list or len(given) > most or not all(isinstance(each, kind) for each in given):
            raise SearchError(f"{name} gave {given!r}; it must give at most {most} {kind.__name__}")
        return list(given)


@dataclass(frozen=True, slots=True)
class RefinementState:
    tree: Tree
    frontier: tuple[int, ...] = (0,)
    """Nodes to rewrite next; depth-first, those that wait, the next one last."""
    response: str = ""
    critique: str = ""
    critiques: tuple[str, ...] = ("",)
    """Of each node of the tree; the root's is the problem's."""
    is_passed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """Rewrite, judge by votes, and rewrite the best again, until one passes.

    A node's value is the share of "yes" among its judge's verdicts, 0 without any; it passes
    where its value is above `end_gate`. Where none does, the best is returned all the same: read
    `notes["is_passed"]`. Where one does, `notes["pair"]` holds it as `chosen` and the answer that
    failed as `rejected`.

    Source: SPaR (Cheng et al. 2024, arXiv:2412.11605) and thu-coai/SPaR. Departures: among equals
    the first is the best; a verdict is the last word of its kind, never a part of a word; the
    marks around a rewriting are ours.
    """

    order: Literal["breadth", "depth"] = "breadth"
    branch: int = 3
    """Rewritings of each."""
    num_kept: int = 2
    """Nodes that are rewritten again: of a level, or, depth-first, of one node's rewritings."""
    max_depth: int = 3
    max_nodes: int = 1000
    """Rewritings that are judged."""
    num_votes: int = 5
    num_tries: int = 3
    """Times that a tie is judged anew and a rewriting that cannot be read is asked for anew."""
    end_gate: float = 0.5

    def __post_init__(self) -> None:
        one_of("order", self.order, ("breadth", "depth"))
        at_once("branch", self.branch)
        whole("num_kept", self.num_kept)
        whole("max_depth", self.max_depth)
        whole("max_nodes", self.max_nodes)
        at_once("num_votes", self.num_votes)
        whole("num_tries", self.num_tries, 0)
        number("end_gate", self.end_gate, 0.0, 1.0)

    def init(self, seed: int) -> RefinementState:
        return RefinementState(Tree())

    async def step(self, state: RefinementState, tools: RefinementTools) -> RefinementState:
        """Rewrite and judge: a level, or the node that is next."""
        problem = tools.problem
        state = replace(
            state,
            response=problem.response,
            critique=problem.critique,
            critiques=(problem.critique, *state.critiques[1:]),
        )
        is_deep = self.order == "depth"
        parents = state.frontier[-1:] if is_deep else state.frontier
        children = await self._rewritten(state, parents, tools)
        judged = await self._judged([step.text for _, step in children], tools)
        scored = [
            (parent, step, *verdict)
            for (parent, step), verdict in zip(children, judged, strict=True)
            if verdict is not None
        ]
        tree, ids = state.tree.grown([(parent, step, value) for parent, step, value, _ in scored])
        order = sorted(zip(ids, scored, strict=True), key=lambda each: -each[1][2])
        ahead = [node for node, _ in order[: self.num_kept] if tree[node].depth < self.max_depth]
        waiting = (*state.frontier[:-1], *reversed(ahead)) if is_deep else tuple(ahead)
        return replace(
            state,
            tree=tree,
            frontier=waiting,
            critiques=(*state.critiques, *(critique for *_, critique in scored)),
            is_passed=any(value > self.end_gate for *_, value, _ in scored),
        )

    async def _rewritten(
        self, state: RefinementState, parents: Sequence[int], tools: RefinementTools
    ) -> list[tuple[int, Step]]:
        """Return the rewritings in the order of their parents, as many as may still be judged."""
        left = self.max_nodes - (len(state.tree) - 1)
        wanted = {}
        for node in parents:
            wanted[node] = min(self.branch, left)
            left -= wanted[node]
        got: dict[int, list[Step]] = {node: [] for node in parents}
        for _ in range(1 + self.num_tries):
            missing = [node for node in parents if len(got[node]) < wanted[node]]
            if not missing or tools.is_spent:
                break
            drafts = [
                Draft(_text(state, n), state.critiques[n], wanted[n] - len(got[n])) for n in missing
            ]
            for node, steps in zip(missing, await tools.refine(drafts), strict=True):
                got[node] += [replace(step, is_last=True) for step in steps]
        return [(node, step) for node in parents for step in got[node]]

    async def _judged(
        self, texts: Sequence[str], tools: RefinementTools
    ) -> list[tuple[float, str] | None]:
        """Return value and critique of each text; None where it could not be judged."""
        results: list[tuple[float, str] | None] = [None] * len(texts)
        places = list(range(len(texts)))
        for attempt in range(1 + self.num_tries):
            # What was written before a limit was met is judged once all the same.
            if not places or (attempt and tools.is_spent):
                break
            found = await tools.judge([texts[i] for i in places], self.num_votes)
            tied = []
            for i, replies in zip(places, found, strict=True):
                if replies is None:
                    continue
                verdicts = [(tools.verdict(each), each) for each in replies]
                yes = sum(verdict is True for verdict, _ in verdicts)
                no = sum(verdict is False for verdict, _ in verdicts)
                value = yes / (yes + no) if yes + no else 0.0
                agreeing = [text for verdict, text in verdicts if verdict is (yes > no)]
                results[i] = value, agreeing[0] if agreeing else ""
                if yes == no:
                    tied.append(i)
            places = tied
        return results

    def is_done(self, state: RefinementState) -> bool:
        num_judged = len(state.tree) - 1
        return state.is_passed or not state.frontier or num_judged >= self.max_nodes

    def found(self, state: RefinementState) -> Found:
        candidates = [
            Candidate(Partial((node.step,)), node.score, node.id)
            for node in state.tree
            if node.step is not None
        ]
        if state.response:
            root = Partial((Step(state.response, is_last=True),))
            candidates.insert(0, Candidate(root, 0.0, 0))
        chosen = best(candidates)
        pair: JSON = None
        if chosen is not None and state.is_passed:
            pair = {"chosen": chosen.text, "rejected": state.response}
        return Found(
            best=chosen,
            candidates=ranked(candidates),
            tree=state.tree,
            notes={"is_passed": state.is_passed, "pair": pair},
        )


def _text(state: RefinementState, node: int) -> str:
    step = state.tree[node].step
    return state.response if step is None else step.text
