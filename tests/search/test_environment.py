"""An environment's callables: checked, counted, limited."""

import asyncio
import math

import pytest

from motet.errors import SearchError
from motet.search.environment import EnvironmentProblem, Outcome
from motet.search.partials import Step
from motet.search.spending import NO_LIMITS, NOTHING, Limits, Spend
from motet.search.tools import FAILED, UNPAID
from tests.search.mdp import World


def tools_of(limits=NO_LIMITS, **changes):
    world = World(0)
    given = {"start": "", "list_actions": world.list_actions, "advance": world.advance} | changes
    return EnvironmentProblem(**given).tools(limits, NOTHING)


def test_states_and_actions_are_counted():
    """Listing counts as proposals, acting as scores."""
    tools = tools_of()

    [steps, _] = asyncio.run(tools.list_actions(["", "a"]))
    [outcome] = asyncio.run(tools.advance([("", steps[0])]))

    assert outcome.state == "a"
    assert tools.spend == Spend(proposals=2, scores=1)


def test_limits_cut_the_batch():
    """What is beyond them is None, and is not asked for."""
    tools = tools_of(Limits(max_proposals=1, max_scores=1))

    assert asyncio.run(tools.list_actions(["", "a"]))[1] is None
    assert asyncio.run(tools.advance([("", Step("a")), ("", Step("b"))]))[1] is None
    assert tools.spend == Spend(proposals=1, scores=1)
    assert tools.is_spent
    assert asyncio.run(tools.list_actions([""])) == [None]


def test_a_failed_member_costs_itself():
    """The others have their results."""
    tools = tools_of(
        list_actions=lambda states: [FAILED, [Step("a")]],
        advance=lambda pairs: [Outcome("x"), UNPAID],
    )

    assert asyncio.run(tools.list_actions(["", ""])) == [None, [Step("a")]]
    assert asyncio.run(tools.advance([("", Step("a"))] * 2)) == [Outcome("x"), None]
    assert tools.is_spent


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"list_actions": lambda states: [["a"]]}, "list_actions gave 'a'"),
        ({"advance": lambda pairs: ["x"]}, "advance gave 'x'"),
        ({"advance": lambda pairs: [Outcome("x", math.nan)]}, "reward of advance gave nan"),
        ({"advance": lambda pairs: [Outcome("x", None)]}, "reward of advance gave None"),
        ({"advance": lambda pairs: [Outcome("x", 10**400)]}, "reward of advance gave 1"),
        ({"list_actions": lambda states: [None]}, "list_actions gave None"),
        ({"list_actions": lambda states: [5]}, "list_actions gave 5"),
        ({"list_actions": lambda states: ["up"]}, "list_actions gave 'up'"),
        ({"is_terminal": lambda state: None}, "is_terminal gave None"),
        ({"is_terminal": lambda state: 1 / 0}, "is_terminal failed: ZeroDivisionError"),
    ],
)
def test_a_broken_contract_is_named(changes, message):
    """The message says which callable gave what."""
    tools = tools_of(**changes)
    with pytest.raises(SearchError, match=message):
        asyncio.run(tools.list_actions([""]))
        asyncio.run(tools.advance([("", Step("a"))]))


def test_the_problem_may_say_where_the_world_ends():
    """Then an outcome need not."""
    tools = tools_of(is_terminal=lambda state: state == "a")

    [ended, going] = asyncio.run(tools.advance([("", Step("a")), ("", Step("b"))]))

    assert (ended.is_terminal, going.is_terminal) == (True, False)


def test_actions_that_were_lost_may_stand_among_a_states():
    """Those that were not paid for end the search; a state of which none was is not counted."""
    tools = tools_of(
        list_actions=lambda states: [
            [Step("a", num_tokens=2), FAILED, UNPAID],
            [UNPAID, UNPAID],
            [FAILED],
        ]
    )

    assert asyncio.run(tools.list_actions(["", "a", "b"])) == [
        [Step("a", num_tokens=2)],
        None,
        [],
    ]
    assert tools.spend == Spend(proposals=2, tokens=2)
    assert tools.is_spent
