"""Diverse verifier tree search: independent subtrees, each of which follows its best step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from motet.errors import ConfigError
from motet.search.algorithm import Found
from motet.search.best_of_n import Choice, final_answer
from motet.search.lookahead import check_widths, score_ahead
from motet.search.partials import Candidate, Step
from motet.search.selection import Extract, best, elected, ranked, votes
from motet.search.settings import function, one_of, whole
from motet.search.tools import Ask, Tools
from motet.search.tree import Tree


@dataclass(frozen=True, slots=True)
class Subtree:
    """One of the independent searches."""

    trunk: int = 0
    """The node that it follows."""
    group: tuple[int, ...] = ()
    """What it proposed last, the trunk among it."""
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class DVTSState:
    tree: Tree
    subtrees: tuple[Subtree, ...]
    num_steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DVTS:
    """Follow the best-scored of `width` steps in each of `n / width` subtrees.

    A subtree ends where the step that it follows ends. All that it proposed last are candidates,
    so there are `n`; among the finished ones a score or a vote chooses. With a width of 1 the
    candidates are `n` independent samples.

    Source: DVTS of huggingface/search-and-learn (Beeching et al. 2024). Departures: a candidate is
    always the text that was scored; a subtree that gets fewer proposals goes on with those; a
    candidate that did not end is chosen only where none did.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"score"})

    n: int = 4
    """Proposals a step."""
    width: int = 4
    """Of which each subtree has so many."""
    max_steps: int = 40
    """The last of them runs to the end."""
    lookahead: int = 0
    """Greedy steps further at which a partial solution is scored; none in the last step."""
    max_tokens: int | None = None
    """Of a whole solution."""
    choose: Choice = "best"
    extract: Extract = final_answer

    def __post_init__(self) -> None:
        check_widths(self)
        one_of("choose", self.choose, ("best", "weighted", "majority"))
        function("extract", self.extract)

    def init(self, seed: int) -> DVTSState:
        return DVTSState(Tree(), (Subtree(),) * (self.n // self.width))

    async def step(self, state: DVTSState, tools: Tools) -> DVTSState:
        """Propose for all open subtrees, score, follow the best of each."""
        is_final = state.num_steps == self.max_steps - 1
        proposed = await self._proposed(state, tools, is_final=is_final)
        children = [
            (place, step, state.tree.partial(state.subtrees[place].trunk).then(step))
            for place, steps in proposed.items()
            for step in steps
        ]
        scores = await score_ahead(
            tools,
            [partial for *_, partial in children],
            0 if is_final else self.lookahead,
            max_tokens=self.max_tokens,
        )
        scored = [
            (place, step, score)
            for (place, step, _), score in zip(children, scores, strict=True)
            if score is not None
        ]
        tree, ids = state.tree.grown(
            [(state.subtrees[place].trunk, step, score) for place, step, score in scored]
        )
        subtrees = list(state.subtrees)
        for place in proposed:
            group = [
                (i, score) for i, (at, _, score) in zip(ids, scored, strict=True) if at == place
            ]
            subtrees[place] = self._followed(tree, subtrees[place], group, is_final=is_final)
        return DVTSState(tree, tuple(subtrees), state.num_steps + 1)

    async def _proposed(
        self, state: DVTSState, tools: Tools, *, is_final: bool
    ) -> dict[int, list[Step]]:
        """Return the steps of each open subtree.

        Subtrees with one text are one ask, whose steps are dealt out, so that no two of them get
        the same sample.
        """
        asked: dict[str, list[int]] = {}
        for place, subtree in enumerate(state.subtrees):
            if subtree.is_open:
                asked.setdefault(state.tree.partial(subtree.trunk).text, []).append(place)
        asks = []
        for places in asked.values():
            partial = state.tree.partial(state.subtrees[places[0]].trunk)
            left = None if self.max_tokens is None else self.max_tokens - partial.num_tokens
            n = self.width * len(places)
            asks.append(Ask(partial, n, is_whole=is_final, max_tokens=left))
        dealt: dict[int, list[Step]] = {}
        for places, steps in zip(asked.values(), await tools.propose(asks), strict=True):
            ended = [step if step.text else replace(step, is_last=True) for step in steps]
            for i, place in enumerate(places):
                dealt[place] = ended[i :: len(places)]
        return dict(sorted(dealt.items()))

    def _followed(
        self, tree: Tree, subtree: Subtree, group: list[tuple[int, float]], *, is_final: bool
    ) -> Subtree:
        if not group:
            return replace(subtree, is_open=False)
        trunk, _ = max(group, key=lambda each: each[1])
        is_open = not (is_final or tree.partial(trunk).is_finished)
        return Subtree(trunk, tuple(node for node, _ in group), is_open)

    def is_done(self, state: DVTSState) -> bool:
        return not any(subtree.is_open for subtree in state.subtrees)

    def found(self, state: DVTSState) -> Found:
        candidates = [
            Candidate(state.tree.partial(node), state.tree[node].score, node)
            for subtree in state.subtrees
            for node in subtree.group
        ]
        finished = [each for each in candidates if each.partial.is_finished]
        chosen, counted = None, {}
        if self.choose != "best":
            is_weighted = self.choose == "weighted"
            chosen = elected(finished, self.extract, is_weighted=is_weighted)
            counted = votes(finished, self.extract, is_weighted=is_weighted)
        return Found(
            best=chosen or best(finished) or best(candidates),
            # A candidate that its subtree did not follow must not outlive its group.
            is_elected=True,
            candidates=ranked(candidates),
            tree=state.tree,
            notes={
                "groups": [list(subtree.group) for subtree in state.subtrees],
                **({"votes": dict(counted)} if counted else {}),
            },
        )


def candidates_at(
    candidates: Sequence[Candidate], groups: Sequence[Sequence[int]], num_subtrees: int
) -> tuple[Candidate, ...]:
    """Return what a search with `num_subtrees` subtrees would have found: its groups, whole.

    Args:
        candidates: Those of a search.
        groups: `notes["groups"]` of that search.
        num_subtrees: How many of its subtrees count.

    Raises:
        ConfigError: The search had fewer subtrees.
    """
    whole("num_subtrees", num_subtrees)
    if num_subtrees > len(groups):
        raise ConfigError(f"num_subtrees is {num_subtrees}; the search had {len(groups)}")
    by_node = {each.node: each for each in candidates}
    return tuple(by_node[node] for group in groups[:num_subtrees] for node in group)
