"""A game's callables: checked, copied, limited."""

import asyncio
import math

import pytest

from motet.errors import ConfigError, SearchError
from motet.search.environment import Outcome
from motet.search.games import GameProblem
from motet.search.spending import NO_LIMITS, NOTHING, Limits, Spend
from motet.search.tools import FAILED


def tools_of(limits=NO_LIMITS, **changes):
    given = {
        "start": {"n": [0]},
        "list_own": lambda states: [["a", "b", "a"] for _ in states],
        "list_other": lambda states: [["x"] for _ in states],
        "simulate": lambda triples: [Outcome(state) for state, *_ in triples],
        "value": lambda states: [0.5 for _ in states],
        "fall_back_move": lambda state: "safe",
    }
    return GameProblem(**(given | changes)).tools(limits, NOTHING)


def test_illegal_moves_twice_fall_back():
    """The first time the list is asked for again."""
    lists = iter([[["bad"], ["a"]], [["bad"]]])
    tools = tools_of(
        list_own=lambda states: next(lists), is_legal=lambda state, move: move != "bad"
    )

    assert asyncio.run(tools.list_own([1, 2])) == [["safe"], ["a"]]
    assert tools.spend.proposals == 3


def test_a_legal_second_list_is_taken():
    """The fall-back is for two failures."""
    lists = iter([[["bad"]], [["bad", "b"]]])
    tools = tools_of(
        list_own=lambda states: next(lists), is_legal=lambda state, move: move != "bad"
    )

    assert asyncio.run(tools.list_own([1])) == [["b"]]


def test_moves_are_listed_once():
    """Equal ones are one."""
    assert asyncio.run(tools_of().list_own([1])) == [["a", "b"]]


def test_callables_get_copies():
    """What they do to a state stays with them."""

    def spoil(batch):
        for each in batch:
            (each if isinstance(each, dict) else each[0])["n"].append(1)
        return batch

    state = {"n": [0]}
    tools = tools_of(
        list_own=lambda states: spoil(states) and [["a"]],
        list_other=lambda states: spoil(states) and [["x"]],
        simulate=lambda triples: [Outcome(each[0]) for each in spoil(triples)],
        value=lambda states: spoil(states) and [0.0],
        is_legal=lambda state, move: bool(spoil([state])),
    )

    async def run():
        await tools.list_own([state])
        await tools.list_other([state])
        await tools.simulate([(state, "a", "x"), (state, "b", "x")])
        await tools.value([state])

    asyncio.run(run())
    assert state == {"n": [0]}


def test_outcomes_that_share_a_state_are_parted():
    """A simulator may return one object for all."""
    board = {"n": []}
    tools = tools_of(simulate=lambda triples: [Outcome(board) for _ in triples])

    one, other = asyncio.run(tools.simulate([(1, "a", "x"), (1, "b", "x")]))
    one.state["n"].append(1)

    assert other.state == {"n": []}


def test_a_value_that_failed_falls_back():
    """Or is not known."""
    failing = {"value": lambda states: [FAILED, 2.0]}

    assert asyncio.run(tools_of(**failing).value([1, 2])) == [None, 2.0]
    assert asyncio.run(tools_of(**failing, fall_back_value=lambda s: 7.0).value([1, 2])) == [7, 2]


def test_limits_are_kept():
    """Lists of moves are proposals, values scores."""
    tools = tools_of(Limits(max_proposals=1, max_scores=1))

    assert asyncio.run(tools.list_other([1, 2])) == [["x"], []]
    assert asyncio.run(tools.value([1, 2])) == [0.5, None]
    assert (tools.spend, tools.is_spent) == (Spend(proposals=1, scores=1), True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"list_own": lambda states: ["ab"]}, "list_own gave 'ab'"),
        ({"list_other": lambda states: [[1]]}, "list_other gave"),
        ({"simulate": lambda triples: ["x"]}, "simulate gave 'x'"),
        ({"simulate": lambda triples: [Outcome(1, math.inf)]}, "simulate gave inf"),
        ({"value": lambda states: [math.nan]}, "value gave nan"),
    ],
)
def test_a_broken_contract_is_named(changes, message):
    """The message says which callable gave what."""

    async def run():
        tools = tools_of(**changes)
        await tools.list_own([1])
        await tools.list_other([1])
        await tools.simulate([(1, "a", "x")])
        await tools.value([1])

    with pytest.raises(SearchError, match=message):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"list_own": lambda states: [None]}, "list_own gave None"),
        ({"list_own": lambda states: [5]}, "list_own gave 5"),
        ({"is_legal": lambda state, move: 1 / 0}, "is_legal failed: ZeroDivisionError"),
        ({"is_legal": lambda state, move: None}, "is_legal gave None"),
        ({"list_own": lambda states: [[]], "fall_back_move": lambda state: None}, "gave None"),
        ({"value": lambda states: [10**400]}, "value gave 1"),
        (
            {"value": lambda states: [FAILED], "fall_back_value": lambda state: 1 / 0},
            "_value failed",
        ),
    ],
)
def test_what_a_function_of_the_game_breaks_is_named(changes, message):
    """Whether it raises or gives what it must not."""
    tools = tools_of(**changes)
    with pytest.raises(SearchError, match=message):
        asyncio.run(tools.list_own([1]))
        asyncio.run(tools.value([1]))


def test_tokens_are_limited_by_what_lists_and_values_may_take():
    """A list that costs nothing is always held; without a bound there is no limit of tokens."""
    bounds = {"list_tokens": lambda side, state: 10 * state, "value_tokens": 4}
    used = iter([7, 0, 4])
    tools = tools_of(Limits(max_tokens=22), **bounds, tokens_aside=lambda: next(used))

    assert asyncio.run(tools.list_other([1, 0, 1, 0])) == [["x"], ["x"], ["x"], ["x"]]
    assert asyncio.run(tools.list_other([0, 2])) == [["x"], []]
    assert asyncio.run(tools.value([1] * 4)) == [0.5, 0.5, 0.5, None]
    assert (tools.spend.tokens, tools.is_spent) == (11, True)
    with pytest.raises(ConfigError, match="max_tokens is 22.*list_tokens"):
        tools_of(Limits(max_tokens=22))
