"""Refinement: verdicts, votes, orders, budgets and the pair that comes out."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, SearchError
from motet.search.checkpoints import FileCheckpoint
from motet.search.driver import SearchResult, search
from motet.search.partials import Step
from motet.search.refinement import (
    Draft,
    Refinement,
    RefinementProblem,
    read_refinement,
    read_verdict,
)
from motet.search.spending import Limits, Spend
from motet.search.tools import FAILED


class World:
    """Rewrites `x` to `xa`, `xb`, ...; each text has its share of "Yes" among five votes."""

    def __init__(self, shares: Any, default: float = 0.0) -> None:
        self.shares, self.default = shares, default
        self.drafts: list[list[Draft]] = []
        self.judged: list[list[str]] = []

    def refine(self, drafts: Sequence[Draft]) -> Any:
        self.drafts.append(list(drafts))
        return [
            [Step(f"Hm. <<<{draft.text}{'abcdef'[i]}>>>", num_tokens=3) for i in range(draft.n)]
            for draft in drafts
        ]

    def judge(self, texts: Sequence[str], num: int) -> Any:
        self.judged.append(list(texts))
        return [self.replies(text, num) for text in texts]

    def replies(self, text: str, num: int) -> list[str]:
        yes = round(self.shares.get(text, self.default) * num)
        return [f"{text} is fine: Yes"] * yes + [f"{text} lacks it: No"] * (num - yes)

    @property
    def problem(self) -> RefinementProblem:
        return RefinementProblem(
            response="y", critique="too long", refine=self.refine, judge=self.judge, step_tokens=3
        )


def solve(world: World, algorithm: Refinement, **options: Any) -> SearchResult:
    return asyncio.run(search(algorithm, world.problem, **options))


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("Final Judgement: Yes", True),
        ("There is no doubt. Final Judgement: [[Yes]]", True),
        ("Yes, the words fit, but the tone does not. NO.", False),
        ("Nothing is wrong in this, yesterday or now", None),
        ("Note that it cannot be known", None),
        ("yes", True),
        ("", None),
    ],
)
def test_the_last_verdict_that_stands_alone_counts(reply: str, verdict: bool | None) -> None:
    """A "no" in another word, or before the verdict, is none."""
    assert read_verdict(reply) is verdict


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("Sure.\n<<<\nnew\n>>> done", "new"),
        ("<<<use << and >>> and <<<here>>>", "use << and >>> and <<<here"),
        ("<<<no end", None),
        ("no start>>>", None),
        (">>>wrong<<<", None),
        ("<<< >>>", None),
    ],
)
def test_a_rewriting_stands_between_the_first_and_the_last_mark(
    reply: str, text: str | None
) -> None:
    """Marks inside the text belong to it."""
    assert read_refinement(reply) == text


@pytest.mark.parametrize("order", ["breadth", "depth"])
def test_the_first_depth_with_a_valid_child_is_returned(order: Any) -> None:
    """A judge that knows finds it where it is, and the search ends there."""
    world = World({"y": 0.0, "ya": 0.4, "yb": 0.2, "yab": 1.0, "yaba": 1.0})
    result = solve(world, Refinement(order=order))

    assert result.best is not None
    assert (result.best.text, result.best.score) == ("yab", 1.0)
    assert result.notes == {"is_passed": True, "pair": {"chosen": "yab", "rejected": "y"}}
    assert result.num_steps == 2


def test_one_branch_of_depth_one_is_a_single_rewriting() -> None:
    """One refinement, five votes, and the critique of the problem is what it sees."""
    world = World({"ya": 0.6})
    result = solve(world, Refinement(branch=1, max_depth=1))

    assert world.drafts == [[Draft("y", "too long", 1)]]
    assert result.spend == Spend(proposals=1, tokens=3, scores=5)
    assert result.notes["is_passed"]


@given(st.lists(st.integers(0, 5), min_size=3, max_size=3))
def test_values_are_shares_of_five(votes: list[int]) -> None:
    """Where every verdict can be read, a value is one of 0, 0.2, ..., 1."""
    world = World({f"y{name}": n / 5 for name, n in zip("abc", votes, strict=True)})
    result = solve(world, Refinement(max_depth=1))

    values = {each.text: each.score for each in result.candidates}
    assert values == {"y": 0.0, **{f"y{n}": v / 5 for n, v in zip("abc", votes, strict=True)}}


def test_a_gate_of_one_never_ends_early() -> None:
    """The value must be above the gate, not at it."""
    world = World({}, default=1.0)
    result = solve(world, Refinement(end_gate=1.0, branch=2, num_kept=1, max_depth=3))

    assert result.num_steps == 3
    assert result.notes == {"is_passed": False, "pair": None}


@pytest.mark.parametrize(("share", "is_passed"), [(0.6, True), (0.4, False)])
def test_it_passes_with_three_votes_of_five(share: float, *, is_passed: bool) -> None:
    """Above 0.5 with five votes means three."""
    result = solve(World({"ya": share}), Refinement(max_depth=1))

    assert result.notes["is_passed"] is is_passed
    assert (result.notes["pair"] is not None) is is_passed


@pytest.mark.parametrize("order", ["breadth", "depth"])
def test_without_a_pass_the_best_valued_is_returned(order: Any) -> None:
    """The highest value of the whole tree, the first of equals, and no pair."""
    world = World({"ya": 0.2, "yb": 0.4, "ybb": 0.4, "ybc": 0.4})
    result = solve(world, Refinement(order=order))

    assert result.best is not None
    assert (result.best.text, result.best.score) == ("yb", 0.4)
    assert result.notes == {"is_passed": False, "pair": None}


def test_where_nothing_is_better_the_answer_stays_as_it_was() -> None:
    """Rewritings of value 0 do not replace the answer."""
    result = solve(World({}), Refinement(max_depth=1))

    assert result.best is not None
    assert result.best.text == "y"


def test_breadth_first_keeps_the_best_of_a_level() -> None:
    """Both levels are one batch of rewritings and one of judgements; the level's best two go on,
    each with a critique that agrees with its verdict."""
    world = World({"ya": 0.2, "yb": 0.4, "yc": 0.2})
    solve(world, Refinement(max_depth=2))

    assert world.judged == [["ya", "yb", "yc"], ["yba", "ybb", "ybc", "yaa", "yab", "yac"]]
    assert world.drafts[1] == [Draft("yb", "yb lacks it: No", 3), Draft("ya", "ya lacks it: No", 3)]


def test_depth_first_goes_into_the_best_and_comes_back() -> None:
    """Children are gone into in the order of their values; the next one follows when the branch
    is at its end."""
    world = World({"ya": 0.2, "yb": 0.4, "ybc": 0.2})
    solve(world, Refinement(order="depth", max_depth=2, num_kept=2))

    assert [[draft.text for draft in batch] for batch in world.drafts] == [["y"], ["yb"], ["ya"]]


def test_every_judged_node_costs_one_rewriting_and_five_votes() -> None:
    """The counts are those of the whole tree."""
    world = World({})
    result = solve(world, Refinement(branch=3, num_kept=2, max_depth=3))

    num_nodes = len(result.tree) - 1
    assert num_nodes == 3 + 6 + 6
    assert result.spend == Spend(proposals=num_nodes, tokens=3 * num_nodes, scores=5 * num_nodes)


@given(st.integers(1, 30), st.sampled_from(["breadth", "depth"]))
def test_no_more_nodes_are_judged_than_the_budget(max_nodes: int, order: Any) -> None:
    """The budget is used up where the tree is larger, and never passed."""
    result = solve(World({}), Refinement(order=order, max_nodes=max_nodes))

    whole = len(solve(World({}), Refinement(order=order)).tree) - 1
    assert len(result.tree) - 1 == min(max_nodes, whole)


def test_a_tie_is_judged_anew() -> None:
    """Two votes against two are no verdict; the text is judged again, up to three times."""
    rounds = iter([["Yes", "No", "Yes", "No", "?"]] * 3 + [["Yes"] * 3 + ["No", "No"]])

    world = World({})
    world.replies = lambda text, num: next(rounds)  # type: ignore[method-assign]
    result = solve(world, Refinement(branch=1, max_depth=1))

    assert [len(batch) for batch in world.judged] == [1, 1, 1, 1]
    assert result.best is not None
    assert result.best.score == 0.6


@pytest.mark.parametrize(
    ("replies", "value"), [(["Yes", "No", "", "", ""], 0.5), (["what?"] * 5, 0.0)]
)
def test_a_tie_that_stays_has_the_value_of_its_last_votes(replies: Any, value: float) -> None:
    """A half with as many for as against, 0 where no verdict can be read; neither passes."""
    world = World({})
    world.replies = lambda text, num: replies  # type: ignore[method-assign]
    result = solve(world, Refinement(branch=1, max_depth=1, num_tries=2))

    assert len(world.judged) == 3
    assert result.tree[1].score == value
    assert not result.notes["is_passed"]


def test_only_the_tied_ones_are_judged_anew() -> None:
    """A text with a verdict is judged once."""
    world = World({})
    world.replies = lambda text, num: ["No"] * 5 if text != "yb" else ["No", "Yes"]  # type: ignore[method-assign]
    solve(world, Refinement(max_depth=1, num_tries=1))

    assert world.judged == [["ya", "yb", "yc"], ["yb"]]


def test_a_rewriting_that_cannot_be_read_is_asked_for_anew() -> None:
    """Only what is missing is asked for again, and after the last try it is left out."""
    world = World({})
    plain = world.refine

    def refine(drafts: Sequence[Draft]) -> Any:
        found = plain(drafts)
        return [[Step("no marks"), *steps[1:]] for steps in found]

    world.refine = refine  # type: ignore[method-assign]
    result = solve(world, Refinement(branch=3, max_depth=1, num_tries=3))

    assert [batch[0].n for batch in world.drafts] == [3, 1, 1, 1]
    assert [node.step.text for node in result.tree if node.step] == ["yb", "yc"]
    assert result.spend.proposals == 6


def test_a_failed_judgement_removes_its_node() -> None:
    """What could not be judged is no candidate; the others are."""
    world = World({"yb": 1.0})
    plain = world.judge
    world.judge = lambda texts, num: [  # type: ignore[method-assign]
        FAILED if text == "ya" else each
        for text, each in zip(texts, plain(texts, num), strict=True)
    ]
    result = solve(world, Refinement(max_depth=1))

    assert [node.step.text for node in result.tree if node.step] == ["yb", "yc"]
    assert result.best is not None
    assert result.best.text == "yb"


@pytest.mark.parametrize(
    "limits", [{"max_proposals": 5}, {"max_scores": 22}, {"max_tokens": 14}], ids=str
)
@pytest.mark.parametrize("order", ["breadth", "depth"])
def test_limits_are_kept(order: Any, limits: Any) -> None:
    """No limit is passed, and the best so far is returned."""
    result = solve(World({"ya": 0.4}), Refinement(order=order), limits=Limits(**limits))

    assert result.why == "limit"
    assert result.best is not None
    assert result.best.text == "ya"
    for name, most in limits.items():
        assert 0 < getattr(result.spend, name.removeprefix("max_")) <= most


def test_a_limit_of_proposals_that_cuts_a_level_leaves_its_first_rewritings() -> None:
    """Of the second level's six the two that are left go to the best parent, are judged once, and
    may be the answer; nothing is asked for behind them."""
    world = World({"yb": 0.4, "yba": 0.2, "ybb": 0.6})
    result = solve(world, Refinement(), limits=Limits(max_proposals=5))

    assert [[(draft.text, draft.n) for draft in batch] for batch in world.drafts] == [
        [("y", 3)],
        [("yb", 2)],
    ]
    assert world.judged == [["ya", "yb", "yc"], ["yba", "ybb"]]
    assert (result.why, result.num_steps) == ("limit", 2)
    assert result.best is not None
    assert (result.best.text, result.notes["is_passed"]) == ("ybb", True)


def test_a_limit_of_scores_that_cuts_a_level_judges_whole_nodes_only() -> None:
    """22 scores are four judgements of five votes; the two that are left are not asked for."""
    world = World({"yb": 0.4})
    result = solve(world, Refinement(), limits=Limits(max_scores=22))

    assert world.judged == [["ya", "yb", "yc"], ["yba"]]
    assert (result.why, result.spend.scores) == ("limit", 20)


def test_limits_are_kept_by_calls_side_by_side() -> None:
    """Two batches that are asked for at once share what the limits hold."""
    world, asked = World({}), {"refine": 0, "judge": 0}
    plain_refine, plain_judge = world.refine, world.judge

    async def refine(drafts: Sequence[Draft]) -> Any:
        asked["refine"] += sum(draft.n for draft in drafts)
        await asyncio.sleep(0)
        return plain_refine(drafts)

    async def judge(texts: Sequence[str], num: int) -> Any:
        asked["judge"] += num * len(texts)
        await asyncio.sleep(0)
        return plain_judge(texts, num)

    async def both() -> Any:
        problem = replace(world.problem, refine=refine, judge=judge)
        tools = problem.tools(Limits(max_proposals=5, max_scores=14), Spend())
        drafts = [[Draft("y", "why", 3)], [Draft("z", "why", 3)]]
        written = await asyncio.gather(*map(tools.refine, drafts))
        judged = await asyncio.gather(*(tools.judge(["y", "z"], 5) for _ in range(2)))
        return written, judged, tools.spend

    written, judged, spend = asyncio.run(both())

    assert [len(steps) for [steps] in written] == [3, 2]
    assert [[each is not None for each in texts] for texts in judged] == [
        [True, True],
        [False, False],
    ]
    assert asked == {"refine": 5, "judge": 10} == {"refine": spend.proposals, "judge": spend.scores}


@pytest.mark.parametrize("broken", ["refine", "judge"])
def test_replies_that_are_none_are_refused(broken: str) -> None:
    """Too many replies, or ones of another kind, end the search with an error."""
    world = World({})
    given: Any = {
        "refine": lambda drafts: [[Step("<<<a>>>")] * 9],
        "judge": lambda t, n: ["Yes"] * 3,
    }
    setattr(world, broken, given[broken])
    result = solve(world, Refinement())

    assert isinstance(result.error, SearchError)
    assert f"{broken} gave" in str(result.error)


@pytest.mark.parametrize("order", ["breadth", "depth"])
def test_a_resumed_search_is_the_uninterrupted_one(order: Any, tmp_path: Any) -> None:
    """A search cut after one step goes on from its checkpoint to the same result."""
    algorithm = Refinement(order=order)
    shares = {"ya": 0.4, "yb": 0.2, "yab": 0.4}
    whole = solve(World(shares), algorithm)
    checkpoint = FileCheckpoint(tmp_path / "state")
    solve(World(shares), algorithm, checkpoint=checkpoint, limits=Limits(max_steps=1))

    assert solve(World(shares), algorithm, checkpoint=checkpoint) == whole
    assert whole.num_steps > 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("order", "best"), ("branch", 0), ("num_kept", 0), ("max_depth", 0), ("max_nodes", 0)]
    + [("num_votes", 0), ("num_tries", -1), ("end_gate", 1.5)],
)
def test_settings_out_of_range_are_named(name: str, value: Any) -> None:
    """The error says which setting is wrong, and its value."""
    with pytest.raises(ConfigError, match=f"{name} is .*{value}"):
        Refinement(**{name: value})
