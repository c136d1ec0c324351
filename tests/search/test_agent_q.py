"""Agent Q: the critic's ranks, the blend of values, and pairs for training."""

import asyncio
import random

import pytest

from motet.errors import ConfigError, SearchError
from motet.search.agent_q import (
    AgentQ,
    Choice,
    CriticisedProblem,
    mixed,
    preference_pairs,
    rank,
)
from motet.search.algorithm import rng
from motet.search.environment import Outcome
from motet.search.mcts_tree import MCTSTree
from motet.search.partials import Step
from motet.search.spending import NO_LIMITS, NOTHING, Limits
from motet.search.tools import FAILED
from motet.search.tree import Tree
from tests.search.mdp import World
from tests.search.script import solve
from tests.search.test_mcts import states

ACTIONS = tuple(Step(name) for name in "abcd")


def problem(world, criticise=None):
    return CriticisedProblem(
        start="",
        list_actions=world.list_actions,
        advance=world.advance,
        criticise=criticise or (lambda choices: [max(s.text for s in c.actions) for c in choices]),
    )


def ranked(criticise, actions=ACTIONS, seed=0):
    tools = problem(World(0), criticise).tools(NO_LIMITS, NOTHING)
    [steps] = asyncio.run(rank(tools, [Choice("", actions)], random.Random(seed)))
    return {step.text: step.prior for step in steps}


def test_rank_scores_are_one_over_the_place():
    """They add up to the harmonic number."""
    order = ranked(lambda choices: [max(s.text for s in c.actions) for c in choices])

    assert order == {"d": 1.0, "c": 1 / 2, "b": 1 / 3, "a": 1 / 4}
    assert sum(order.values()) == pytest.approx(1 + 1 / 2 + 1 / 3 + 1 / 4)


@pytest.mark.parametrize("answer", ["d", "nonsense"])
def test_a_critic_that_repeats_itself_falls_back_to_the_first(answer):
    """What is not among those left counts as the environment's first."""
    order = list(ranked(lambda choices: [answer] * len(choices)))

    assert order == (["d", "a", "b", "c"] if answer == "d" else ["a", "b", "c", "d"])


def test_a_critic_that_fails_leaves_the_order():
    """No rank is invented."""
    assert list(ranked(lambda choices: [FAILED] * len(choices))) == ["a", "b", "c", "d"]


def test_the_critic_sees_actions_in_a_drawn_order():
    """So that a critic that always takes the first spreads its favour."""
    firsts = {next(iter(ranked(lambda c: [c[0].actions[0].text], seed=s))) for s in range(30)}

    assert firsts == set("abcd")


def test_a_single_action_needs_no_critic():
    """And equal texts are one."""
    asked = []

    order = ranked(lambda choices: asked.extend(choices), (Step("a"), Step("a")))

    assert (order, asked) == ({"a": 1.0}, [])


def test_nodes_are_ranked_in_one_batch():
    """Each round asks about all nodes that have two or more left."""
    sizes = []

    def criticise(choices):
        sizes.append(len(choices))
        return [c.actions[0].text for c in choices]

    tools = problem(World(0), criticise).tools(NO_LIMITS, NOTHING)
    asyncio.run(rank(tools, [Choice("", ACTIONS), Choice("", ACTIONS[:2])], rng(0)))

    assert sizes == [2, 1, 1]
    assert tools.spend.scores == 4


def test_a_critic_that_gives_no_text_breaks_its_contract():
    """The message shows what it gave."""
    with pytest.raises(SearchError, match="criticise gave 3"):
        ranked(lambda choices: [3])


def test_without_exploration_unvisited_children_go_in_the_critics_order():
    """w=0 and unvisited: the rank score decides."""
    world = World(0, num_actions=3, depth=2)

    state = states(AgentQ(num_rollouts=1, exploration=0.0), problem(world))

    assert state.candidates[0].text == "cc"


def test_a_value_is_the_running_mean_of_the_returns():
    """Rewards 1, 0, 1 make two thirds."""
    rewards = iter([1.0, 0.0, 1.0])
    world = CriticisedProblem(
        start="",
        list_actions=lambda states: [
            [Step("go")] if state == "" else [Step(name) for name in "xyz"] for state in states
        ],
        advance=lambda pairs: [
            Outcome("in") if step.text == "go" else Outcome("end", next(rewards), True)
            for _, step in pairs
        ],
        criticise=lambda choices: [min(s.text for s in c.actions) for c in choices],
    )

    async def run():
        algorithm = AgentQ(num_rollouts=3, exploration=9.0, step_cost=0.0)
        state, tools = algorithm.init(0), world.tools(NO_LIMITS, NOTHING)
        while not algorithm.is_done(state):
            state = await algorithm.step(state, tools)
        return state

    state = asyncio.run(run())
    assert state.tree.values[1] == pytest.approx(2 / 3)
    assert state.tree.visits[1] == 3


def test_the_blend_weighs_returns_against_ranks():
    """alpha * Q + (1 - alpha) * rank score; where nobody was, the rank score."""
    assert mixed(1.0, 0.5, 0.25) == pytest.approx(0.625)
    assert mixed(1.0, 0.5, 1.0) == 1.0
    assert mixed(None, 0.5, 1.0) == 0.5


def test_the_blend_decides_the_descent():
    """With alpha 1 rollouts follow the reward, with 0 the critic."""

    def visits(alpha):
        world = CriticisedProblem(
            start="",
            list_actions=lambda states: [[Step("liked"), Step("good")] for _ in states],
            advance=lambda pairs: [Outcome("end", float(s.text == "good"), True) for _, s in pairs],
            criticise=lambda choices: ["liked"] * len(choices),
        )
        state = states(AgentQ(num_rollouts=30, exploration=0.7, alpha=alpha), world)
        return state.tree.visits[1], state.tree.visits[2]

    liked, good = visits(1.0)
    assert good > liked
    liked, good = visits(0.0)
    assert liked > good


def test_visits_count_one_more_in_the_descent():
    """Q + w * sqrt(ln N_parent / (1 + N)): here the unvisited child goes first."""
    tree = MCTSTree()
    tree.reach(0, Outcome(""))
    tree.list_children(0, [Step("tried", prior=0.5), Step("new", prior=0.3)])
    tree.back_up([0, 1], [0.5, 0.5], is_max=False)
    tree.back_up([0], [0.0], is_max=False)
    tree.back_up([0], [0.0], is_max=False)

    assert AgentQ()._pick(tree, 0, rng(0)) == 2


def test_steps_that_go_on_cost():
    """The last one does not."""
    world = World(0, depth=2)

    free = solve(AgentQ(num_rollouts=1, step_cost=0.0), problem(world))
    paid = solve(AgentQ(num_rollouts=1, step_cost=0.25), problem(world))

    assert paid.best.score == pytest.approx(free.best.score - 0.25)


def test_pairs_are_the_best_path_against_its_siblings():
    """As many as siblings along it, none twice."""
    result = solve(AgentQ(num_rollouts=40), problem(World(3)))
    tree, best = result.tree, result.best.node
    children = tree.children()

    pairs = preference_pairs(tree, best)

    siblings = sum(len(children[node]) - 1 for node in tree.path(best)[:-1])
    assert len(pairs) == siblings == 6
    assert [pair.before.text + pair.chosen.text for pair in pairs[::2]] == [
        result.best.text[: i + 1] for i in range(3)
    ]


def test_equal_texts_make_no_pair():
    """There is nothing to prefer."""
    tree, ids = Tree().grown([(0, Step("a"), 1.0), (0, Step("a"), 0.0), (0, Step("b"), 0.0)])

    pairs = preference_pairs(tree, ids[0])

    assert [(pair.chosen.text, pair.rejected.text) for pair in pairs] == [("a", "b")]


def test_a_gap_may_be_demanded():
    """By how much the two differ in the blended value."""
    tree, ids = Tree().grown([(0, Step(t, prior=p), None) for t, p in [("a", 1), ("b", 0.5)]])

    assert [pair.gap for pair in preference_pairs(tree, ids[0], min_gap=0.4)] == [0.5]
    assert preference_pairs(tree, ids[0], min_gap=0.5) == []


def test_a_terminal_root_ends_at_once():
    """Nothing is asked for."""
    world = World(0)
    at_end = CriticisedProblem(
        start="end",
        list_actions=world.list_actions,
        advance=world.advance,
        criticise=lambda choices: [],
        is_terminal=lambda state: state == "end",
    )

    result = solve(AgentQ(), at_end)

    assert (result.why, world.calls) == ("done", [])


def test_limits_count_the_critic_too():
    """Choices are scores; what they leave is gone on with."""
    result = solve(AgentQ(), problem(World(0)), limits=Limits(max_scores=4))

    assert result.spend.scores <= 4
    assert result.best.partial.depth >= 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [("alpha", 1.5), ("num_rollouts", 0), ("width", 0), ("step_cost", -1), ("exploration", -1)],
)
def test_a_wrong_setting_is_named(setting, value):
    """With its value."""
    with pytest.raises(ConfigError, match=f"{setting} is {value}"):
        AgentQ(**{setting: value})
