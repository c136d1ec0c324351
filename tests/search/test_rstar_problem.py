"""What rStar asks of a problem: legal actions, and callables that are checked and limited."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import SearchError
from motet.search.partials import Partial, Step
from motet.search.rstar_problem import ACTIONS, LEGAL, Move, RStarProblem
from motet.search.spending import NO_LIMITS, NOTHING, Limits, Spend
from motet.search.tools import FAILED, UNPAID


def tools_of(limits=NO_LIMITS, **changes):
    given = {
        "propose": lambda moves: [[Step(str(i)) for i in range(move.n)] for move in moves],
        "complete": lambda partials: ["rest"] * len(partials),
    }
    return RStarProblem(**(given | changes)).tools(limits, NOTHING)


def test_the_table_of_legal_actions():
    """The question may be put in other words only at the root, a sub-question answered anew only
    after one; a direct answer ends it."""
    assert set(LEGAL) == {None, *ACTIONS}
    assert [before for before in LEGAL if "A5" in LEGAL[before]] == [None]
    assert [before for before in LEGAL if "A4" in LEGAL[before]] == ["A3"]
    assert LEGAL["A2"] == ()
    assert all("A2" in after for before, after in LEGAL.items() if before != "A2")


def test_limits_cut_moves_and_votes():
    """Of 2 + 3 with 4 left, the second move has 2."""
    asked = []

    def propose(moves):
        asked.extend(moves)
        return [[Step("x")] * move.n for move in moves]

    tools = tools_of(Limits(max_proposals=4), propose=propose)
    found = asyncio.run(tools.propose([Move(Partial(), "A1", 2), Move(Partial(), "A2", 3)]))

    assert [len(steps) for steps in found] == [2, 2]
    assert [move.n for move in asked] == [2, 2]
    assert (tools.spend, tools.is_spent) == (Spend(proposals=4), True)


def test_what_fails_costs_itself():
    """In both callables."""
    tools = tools_of(
        propose=lambda moves: [FAILED, [Step("x")]], complete=lambda partials: [FAILED, "y"]
    )

    assert asyncio.run(tools.propose([Move(Partial(), "A1")] * 2)) == [[], [Step("x")]]
    assert asyncio.run(tools.complete([Partial()] * 2)) == [None, "y"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"propose": lambda moves: [[Step("x")] * 2]}, "2 steps where 1"),
        ({"propose": lambda moves: [["x"]]}, "propose gave 'x'"),
        ({"propose": lambda moves: [None]}, "propose gave None"),
        ({"propose": lambda moves: [5]}, "propose gave 5"),
        ({"is_same": lambda one, other: None}, "is_same gave None"),
        ({"is_same": lambda one, other: 1 / 0}, "is_same failed: ZeroDivisionError"),
        ({"extract": lambda text: 5}, "extract gave 5"),
        ({"extract": lambda text: 1 / 0}, "extract failed: ZeroDivisionError"),
        ({"propose": lambda moves: [[Step("x", prior=1.5)]]}, "prior 1.5"),
        ({"complete": lambda partials: [1]}, "complete gave 1"),
    ],
)
def test_a_broken_contract_is_named(changes, message):
    """The message says which callable gave what."""

    async def run():
        tools = tools_of(**changes)
        await tools.propose([Move(Partial(), "A1")])
        await tools.complete([Partial()])
        tools.is_same("1", "2")
        tools.answer("1")

    with pytest.raises(SearchError, match=message):
        asyncio.run(run())


answers = st.one_of(st.none(), st.sampled_from(["1", "2", "4", "one"]))


@given(answers, answers, st.booleans())
def test_equality_of_answers_is_symmetric(one, other, has_own):
    """Also where the problem's own comparison is not; no answer is like none."""
    lopsided = (lambda a, b: a < b) if has_own else None
    tools = tools_of(is_same=lopsided)

    assert tools.is_same(one, other) == tools.is_same(other, one)
    assert tools.is_same(one, one) == (one is not None)


def test_steps_that_were_lost_may_stand_among_a_moves():
    """What failed was paid for, what was not paid for ends the search."""
    tools = tools_of(propose=lambda moves: [[Step("x"), FAILED, UNPAID, UNPAID]])

    assert asyncio.run(tools.propose([Move(Partial(), "A2", 4)])) == [[Step("x")]]
    assert (tools.spend, tools.is_spent) == (Spend(proposals=2), True)
    with pytest.raises(SearchError, match="2 steps where 1 were"):
        asyncio.run(
            tools_of(propose=lambda moves: [[Step("x"), Step("y"), UNPAID]]).propose(
                [Move(Partial(), "A2", 2)]
            )
        )
