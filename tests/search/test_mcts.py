"""Monte-Carlo tree search: its rollouts, what they leave in the tree, and what it returns."""

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.errors import ConfigError, SearchError
from motet.search.algorithm import rng
from motet.search.checkpoints import FileCheckpoint, Saved, read_state, write_state
from motet.search.environment import EnvironmentProblem, Outcome
from motet.search.mcts import MCTS
from motet.search.partials import Partial, Step
from motet.search.rollouts import Moves, select
from motet.search.spending import NO_LIMITS, NOTHING, Limits, Spend
from motet.search.tools import FAILED, Problem
from tests.search.mdp import World
from tests.search.script import solve


def states(algorithm, problem, seed=0, limits=NO_LIMITS):
    """Return the last state, with a step from the state as it reads back beside every step."""

    async def steps():
        tools, others = problem.tools(limits, NOTHING), problem.tools(limits, NOTHING)
        state = algorithm.init(seed)
        while not algorithm.is_done(state):
            data = write_state(algorithm, seed, Saved(state, NOTHING, 0))
            restored = read_state(algorithm, seed, type(state), data).state
            assert restored == state
            state = await algorithm.step(state, tools)
            assert await algorithm.step(restored, others) == state
        return state

    return asyncio.run(steps())


def table(rewards, *, ends=(), priors=None, **more):
    """A world over the paths of `rewards`; a path without longer ones is an end."""

    def children(state):
        return [path for path in rewards if len(path) == len(state) + 1 and path[:-1] == state]

    return EnvironmentProblem(
        start="",
        list_actions=lambda states: [
            [Step(path[-1], prior=(priors or {}).get(path)) for path in children(state)]
            for state in states
        ],
        advance=lambda pairs: [
            Outcome(
                (path := state + step.text),
                rewards[path],
                path in ends or not children(path),
            )
            for state, step in pairs
        ],
        **more,
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 3, 8]), st.integers(2, 3))
def test_enough_rollouts_find_the_exhaustive_optimum(seed, width, num_actions):
    """On a world of exact rewards max_reward is the best course there is."""
    world = World(seed, num_actions=num_actions, depth=3)
    algorithm = MCTS(num_rollouts=900, width=width, exploration=5.0, max_depth=3)

    result = solve(algorithm, world.problem())

    assert result.best.partial.is_finished
    assert result.best.score == pytest.approx(world.best()[0])


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 4]),
    st.sampled_from(["max", "sample", "random", "none"]),
    st.sampled_from(["uct", "puct"]),
    st.sampled_from(["prior", "first", "zero"]),
)
def test_rollouts_are_counted_at_every_node(seed, width, simulate, rule, unvisited):
    """The root's visits are the rollouts, and a node's at least those of its children."""
    world = World(seed)
    algorithm = MCTS(
        num_rollouts=25, width=width, simulate=simulate, rule=rule, unvisited=unvisited
    )

    state = states(algorithm, world.problem(), seed)

    tree = state.tree
    assert tree.visits[0] == state.num_rollouts == 25
    for node in range(len(tree)):
        assert tree.visits[node] >= sum(tree.visits[child] for child in tree.children(node))
        assert bool(tree.visits[node]) == tree.is_reached(node)


def test_a_node_keeps_the_returns_from_itself_on():
    """With rewards r1..rT the node at depth i has the sum of those from i on."""
    problem = table({"a": 1.0, "ab": 10.0, "abc": 100.0})

    state = states(MCTS(num_rollouts=2), problem)

    assert list(state.tree.values) == [111.0, 111.0, 110.0, 100.0]
    assert list(state.tree.totals) == [222.0, 222.0, 220.0, 200.0]


@pytest.mark.parametrize(
    ("returns", "values"),
    [("mean", [37.0, 37.0, 55.0, 100.0]), ("last", [100.0] * 4)],
)
def test_returns_may_be_means_or_the_last_reward(returns, values):
    """Of the rewards from a node on."""
    problem = table({"a": 1.0, "ab": 10.0, "abc": 100.0})

    state = states(MCTS(num_rollouts=1, returns=returns), problem)

    assert list(state.tree.values) == pytest.approx(values)


def test_a_node_may_be_worth_its_greatest_return():
    """Instead of the mean of its returns."""
    problem = table({"a": 0.0, "ab": 1.0, "ac": 0.0})

    mean = states(MCTS(num_rollouts=4, exploration=9.0), problem)
    most = states(MCTS(num_rollouts=4, exploration=9.0, value="max"), problem)

    assert (mean.tree.values[1], most.tree.values[1]) == (0.5, 1.0)


def test_without_exploration_the_greatest_prior_is_taken():
    """Unvisited children with w=0: greedy by fast reward, here down to the end."""
    world = World(3)
    state, path = "", ""
    while not world.is_end(state):
        path = state = state + max(world.actions(state), key=lambda step: step.prior).text

    result = solve(MCTS(num_rollouts=1, exploration=0.0), world.problem())

    assert result.best.text == path


def test_unvisited_children_go_first_by_prior():
    """Nobody is visited twice before all were once."""
    rewards = {name: 1.0 for name in "abc"}
    problem = table(rewards, priors={"a": 0.1, "b": 0.9, "c": 0.5})
    order = []
    algorithm = MCTS(num_rollouts=3, unvisited="first", simulate="none", exploration=0.0)

    async def run():
        state, tools = algorithm.init(0), problem.tools(NO_LIMITS, NOTHING)
        state = await algorithm.step(state, tools)
        while not algorithm.is_done(state):
            state = await algorithm.step(state, tools)
            order.append(state.last[0])

    asyncio.run(run())
    assert order == [2, 3]


def test_unvisited_children_may_be_worth_nothing():
    """Then priors do not draw rollouts."""
    problem = table({"a": 0.5, "b": 0.0}, priors={"a": 0.0, "b": 9.0})

    state = states(
        MCTS(num_rollouts=6, unvisited="zero", exploration=0.0, simulate="none"), problem
    )

    assert list(state.tree.visits) == [6, 5, 0]


def test_a_terminal_root_ends_at_once():
    """Nothing is asked for."""
    world = World(0)
    problem = EnvironmentProblem(
        start="done",
        list_actions=world.list_actions,
        advance=world.advance,
        is_terminal=lambda state: state == "done",
    )

    result = solve(MCTS(), problem)

    assert (result.why, result.num_steps, result.spend) == ("done", 1, Spend())
    assert result.best.partial == Partial()
    assert world.calls == []


def test_follow_max_adds_up_the_whole_path():
    """From the definition: the greatest reward at each node, and all rewards, not the first two."""
    rewards = {"a": 0.1, "b": 0.2, "ba": 1.0, "bb": 0.3, "baa": 0.5, "bab": 4.0, "bba": 9.0}

    result = solve(MCTS(num_rollouts=60, exploration=9.0, output="follow_max"), table(rewards))

    assert (result.best.text, result.best.score) == ("bab", pytest.approx(0.2 + 1.0 + 4.0))


def test_max_visit_follows_the_visits():
    """Where the rewards of steps would lead elsewhere."""
    rewards = {"a": 1.0, "ab": 0.0, "b": 0.0, "ba": 3.0}

    followed = solve(MCTS(num_rollouts=40, output="follow_max"), table(rewards))
    visited = solve(MCTS(num_rollouts=40, output="max_visit"), table(rewards))

    assert (followed.best.text, visited.best.text) == ("ab", "ba")


def test_the_last_rollouts_may_be_returned():
    """last_iter ends where the last rollout did, last_terminal_iter where a finished one did."""
    rewards = {"a": 1.0, "b": 0.5, "ba": 0.1, "baa": 0.1}
    priors = {"a": 0.9, "b": 0.5}
    options = {"num_rollouts": 2, "max_depth": 2, "unvisited": "first"}

    last = solve(MCTS(output="last_terminal_iter", **options), table(rewards, priors=priors))
    state = states(MCTS(**options), table(rewards, priors=priors))

    assert last.best.text == "a"
    assert state.tree.partial(state.last[0]).text == "ba"
    found = MCTS(output="last_iter", **options).found(state)
    assert (found.best.text, found.best.score) == ("ba", pytest.approx(0.6))
    assert MCTS(output="max_iter", **options).found(state).best.text == "a"


def test_without_an_end_the_best_partial_is_returned():
    """max_reward falls back; the depth limit is no end."""
    rewards = {"a": 0.1, "ab": 0.2, "abc": 9.0, "b": 0.4, "bb": 0.5, "bbb": 0.0}

    result = solve(MCTS(num_rollouts=20, max_depth=2), table(rewards))

    assert (result.best.text, result.best.score) == ("bb", 0.9)
    assert not result.best.partial.is_finished


def test_no_step_goes_beyond_the_depth_limit():
    """And a node at the limit has its reward."""
    world = World(1, depth=9)

    result = solve(MCTS(num_rollouts=40, max_depth=2), world.problem())

    reached = [node for node in result.tree if node.visits]
    assert max(node.depth for node in result.tree) == 2
    assert all(node.score is not None for node in reached if node.depth)


def test_answers_may_vote():
    """The answer that many ends share wins over the best end."""
    rewards = {"a": 0.0, "b": 0.0, "ax": 0.6, "ay": 1.0, "bx": 0.7}
    options = {"num_rollouts": 30, "exploration": 5.0, "extract": lambda text: text[-1]}

    plain = solve(MCTS(**options), table(rewards))
    voted = solve(MCTS(**options, aggregate="edge"), table(rewards))

    assert plain.best.text == "ay"
    assert (voted.best.text, voted.best.score) == ("bx", 0.7)
    assert voted.notes["votes"] == pytest.approx({"x": 1.3, "y": 1.0})


def test_a_batch_is_handed_over_as_one():
    """Rollouts that are selected together list and act together."""
    world = World(2, num_actions=4)

    solve(MCTS(num_rollouts=33, width=8, simulate="none", exploration=3.0), world.problem())

    sizes = [num for name, num in world.calls if name == "advance"]
    assert max(sizes) >= 4
    assert len(world.calls) < 40


def test_virtual_loss_spreads_a_batch_and_leaves_no_trace():
    """Without it all rollouts of a batch go to one leaf; after selection the tree is as before."""
    world = World(5, num_actions=4)
    state = states(MCTS(num_rollouts=1, simulate="none"), world.problem())
    tree = state.tree
    before = tree.columns()

    def leaves(loss):
        algorithm = MCTS(exploration=0.0, virtual_loss=loss)
        moves = Moves(
            pick=algorithm._pick,
            play=None,
            reach=None,
            list_steps=None,
            draw=rng,
            max_depth=5,
            virtual_loss=loss,
        )
        return {path[-1] for path in select(tree, moves, [rng(0)] * 4, [0])}

    assert len(leaves(0.0)) == 1
    assert len(leaves(5.0)) == 4
    assert tree.columns() == before


def test_rollouts_to_one_unknown_leaf_are_one():
    """At the start all of a batch would go to the root."""

    async def run():
        algorithm, tools = MCTS(width=4), World(0).problem().tools(NO_LIMITS, NOTHING)
        return await algorithm.step(algorithm.init(0), tools)

    state = asyncio.run(run())
    assert (state.num_rollouts, state.tree.visits[0]) == (1, 1)


def test_a_node_that_a_limit_kept_from_listing_is_not_listed():
    """It is no dead end: with a higher limit the search goes on there."""

    async def run():
        tools = World(0).problem().tools(Limits(max_proposals=1), NOTHING)
        return await MCTS().step(MCTS().init(0), tools)

    tree = asyncio.run(run()).tree
    [reached] = [node for node in range(1, len(tree)) if tree.is_reached(node)]
    assert not tree.is_listed(reached)


def test_a_solution_is_one_candidate():
    """However often rollouts come to it."""
    result = solve(MCTS(num_rollouts=50), World(0, num_actions=2, depth=2).problem())

    nodes = [each.node for each in result.candidates]
    assert len(nodes) == len(set(nodes)) > 1


def test_rollouts_under_way_lower_a_value_by_the_loss():
    """k under way and N visits: the value less loss * k / (N + k), and N + k visits."""
    world = World(5, num_actions=2)
    tree = states(MCTS(num_rollouts=6, exploration=9.0), world.problem()).tree
    child = tree.children(0)[0]
    value, visits, seen = tree.values[child], tree.visits[child], []

    def pick(tree, node, draw):
        seen.append((tree.values[child], tree.visits[child]))
        return child

    moves = Moves(
        pick=pick, play=None, reach=None, list_steps=None, draw=rng, max_depth=1, virtual_loss=0.3
    )
    select(tree, moves, [rng(0)] * 3, [0])

    assert seen == [(pytest.approx(value - 0.3 * k / (visits + k)), visits + k) for k in range(3)]


def test_a_stepped_state_is_used_up():
    """Its tree has gone on, and it says so."""
    algorithm, tools = MCTS(), World(0).problem().tools(NO_LIMITS, NOTHING)

    async def run():
        state = algorithm.init(0)
        await algorithm.step(state, tools)
        await algorithm.step(state, tools)

    with pytest.raises(SearchError, match="takes its state over"):
        asyncio.run(run())


@pytest.mark.parametrize("simulate", ["max", "random", "sample"])
def test_a_resumed_search_ends_as_an_uninterrupted_one(tmp_path, simulate):
    """Also where a limit cut a step short."""
    algorithm = MCTS(num_rollouts=30, width=4, simulate=simulate)
    whole = solve(algorithm, World(4).problem(), seed=7)
    file = FileCheckpoint(tmp_path / "state")

    for num_steps in (2, 5):
        limits = Limits(max_steps=num_steps)
        solve(algorithm, World(4).problem(), seed=7, checkpoint=file, limits=limits)
    cut = Limits(max_scores=12)
    solve(algorithm, World(4).problem(), seed=7, checkpoint=file, limits=cut)
    resumed = solve(algorithm, World(4).problem(), seed=7, checkpoint=file)

    assert resumed == whole


def test_a_limit_keeps_what_was_reached():
    """Two actions of a first rollout of three are an unfinished solution."""
    world = World(0)

    result = solve(MCTS(), world.problem(), limits=Limits(max_scores=2))

    assert (result.why, result.spend.scores) == ("limit", 2)
    assert result.best.partial.depth == 2


def test_an_action_that_fails_is_not_tried_again():
    """The others go on without it."""
    world = World(0)
    tried = []

    def advance(pairs):
        tried.extend(state + step.text for state, step in pairs)
        return [
            FAILED if (state + step.text)[0] == "a" else world.advance([(state, step)])[0]
            for state, step in pairs
        ]

    problem = EnvironmentProblem(start="", list_actions=world.list_actions, advance=advance)
    result = solve(MCTS(num_rollouts=200, exploration=5.0), problem)

    assert tried.count("a") == 1
    assert result.best.score == pytest.approx(max(world.reward(c) + world.best(c)[0] for c in "bc"))
    assert not any("-inf" in str(node.value) for node in result.tree)


def test_a_search_ends_where_nothing_can_be_reached():
    """All first actions fail."""
    world = World(0)
    problem = EnvironmentProblem(
        start="", list_actions=world.list_actions, advance=lambda pairs: [FAILED] * len(pairs)
    )

    result = solve(MCTS(num_rollouts=500), problem)

    assert result.num_steps < 10
    assert result.best is None


def test_a_step_that_raised_can_be_taken_again():
    """Nothing was backed up, so the state is not used up, and ends as if nothing had happened."""
    calls = []

    def advance(pairs):
        calls.append(pairs)
        if len(calls) == 2:
            raise OSError("down")
        return World(0).advance(pairs)

    world = World(0)
    problem = EnvironmentProblem(start="", list_actions=world.list_actions, advance=advance)

    async def run():
        algorithm, tools = MCTS(), problem.tools(NO_LIMITS, NOTHING)
        state = algorithm.init(0)
        with pytest.raises(SearchError, match="OSError: down"):
            await algorithm.step(state, tools)
        assert state.tree.visits[0] == 0
        again = await algorithm.step(state, tools)
        whole = await algorithm.step(algorithm.init(0), world.problem().tools(NO_LIMITS, NOTHING))
        return again, whole

    again, whole = asyncio.run(run())
    assert again == whole


def test_puct_goes_by_the_priors_shares():
    """With equal rewards the visits follow them; without priors they are even."""

    def visits(priors):
        problem = table({"a": 0.5, "b": 0.5}, priors=priors)
        algorithm = MCTS(num_rollouts=101, rule="puct", unvisited="zero", c_init=9.0)
        return list(states(algorithm, problem).tree.visits)[1:]

    few, many = visits({"a": 0.2, "b": 0.6})
    assert many / few == pytest.approx(3, rel=0.15)
    even = visits({})
    assert abs(even[0] - even[1]) <= 1


def test_sampling_needs_shares():
    """A negative prior is no share of chance."""
    problem = table({"a": 1.0, "b": 1.0}, priors={"a": -0.5, "b": 0.5})

    result = solve(MCTS(simulate="sample"), problem)

    assert result.why == "failed"
    assert "-0.5" in str(result.error)


def test_sampling_follows_the_priors():
    """A prior of three quarters is taken three times of four."""
    problem = table({"a": 0.0, "b": 0.0}, priors={"a": 0.75, "b": 2.25})

    firsts = [
        solve(MCTS(num_rollouts=1, simulate="sample"), problem, seed=seed).best.text
        for seed in range(400)
    ]

    assert firsts.count("b") == pytest.approx(300, abs=35)


class Words:
    """A problem of proposals: each letter is scored by its place in the alphabet."""

    def propose(self, asks):
        return [
            [Step(c, is_last=ask.partial.depth == 2, prior=0.5) for c in "aab"[: ask.n]]
            for ask in asks
        ]

    def score(self, partials):
        return [0.9 if each.text[-1] == "b" else 0.2 for each in partials]

    @property
    def problem(self):
        return Problem(propose=self.propose, score=self.score)


def test_a_problem_of_proposals_is_searched_too():
    """Children are proposed steps, equal ones merged; a reward is the score of the partial."""
    result = solve(MCTS(num_rollouts=40, n=3, exploration=3.0), Words().problem)

    assert (result.best.text, result.best.score) == ("bbb", pytest.approx(2.7))
    assert len(result.tree) == 1 + 2 + 4 + 8
    assert result.spend.proposals == 3 * 7


def test_a_problem_that_is_solved_at_the_start_ends_at_once():
    """The root is tested there as well."""
    problem = Problem(propose=Words().propose, score=Words().score, is_terminal=lambda each: True)

    result = solve(MCTS(), problem)

    assert (result.why, result.spend) == ("done", Spend())


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("num_rollouts", 0),
        ("width", 0),
        ("n", 0),
        ("max_depth", 0),
        ("exploration", -1.0),
        ("exploration", math.nan),
        ("c_base", 0.5),
        ("virtual_loss", -1.0),
        ("rule", "best"),
        ("unvisited", "last"),
        ("simulate", "all"),
        ("returns", "max"),
        ("value", "sum"),
        ("output", "best"),
        ("aggregate", "mean"),
    ],
)
def test_a_wrong_setting_is_named(setting, value):
    """With its value."""
    with pytest.raises(ConfigError, match=f"{setting} is {value!r}"):
        MCTS(**{setting: value})
