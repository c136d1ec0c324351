"""A*: the order of expansions, costs, limits, and what is returned when."""

import asyncio
import heapq
import random
from collections.abc import Sequence
from typing import Any

import networkx as nx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from motet.errors import ConfigError, SearchError
from motet.search.astar import AStar, AStarState
from motet.search.checkpoints import FileCheckpoint
from motet.search.driver import SearchResult, search
from motet.search.partials import Partial, Step
from motet.search.spending import NOTHING, Limits
from motet.search.tools import FAILED, Ask, Problem
from tests.search import toy_lm


def letters(*names: str, end: int = 3) -> Any:
    """Propose each of `names`; a text of `end` letters is finished."""

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        return [
            [Step(n, is_last=ask.partial.depth + 1 == end, num_tokens=2) for n in names[: ask.n]]
            for ask in asks
        ]

    return propose


def table(scores: dict[str, float], default: float = 0.5) -> Any:
    return lambda partials: [scores.get(each.text, default) for each in partials]


def solve(algorithm: AStar, problem: Problem, **options: Any) -> SearchResult:
    return asyncio.run(search(algorithm, problem, **options))


async def _walk(algorithm: AStar, problem: Problem) -> AStarState:
    state, tools = algorithm.init(0), problem.tools(Limits(), NOTHING)
    while not algorithm.is_done(state):
        state = await algorithm.step(state, tools)
    return state


def walk(algorithm: AStar, problem: Problem) -> AStarState:
    """Return the last state."""
    return asyncio.run(_walk(algorithm, problem))


def expanded(state: AStarState) -> list[str]:
    return [state.tree.partial(node).text for node in state.expanded]


def f_values(state: AStarState) -> list[float]:
    popped = [*state.expanded, *([] if state.goal is None else [state.goal])]
    return [state.places[node].g + state.places[node].h for node in popped]


def noise(seed: int) -> Any:
    """A score for every text, the same each time."""
    return lambda partials: [random.Random(f"{seed}{each.text}").random() for each in partials]


def test_without_a_heuristic_equal_steps_are_taken_breadth_first() -> None:
    """With h = 0 and every step at cost 1, depths of expansions never fall."""
    algorithm = AStar(k=3, heuristic="zero", cost=lambda h, new: 1.0)
    state = walk(algorithm, Problem(propose=letters("a", "b", "c")))

    depths = [len(text) for text in expanded(state)]
    assert depths == sorted(depths)
    assert depths.count(1) == 3
    assert depths.count(2) == 9


def test_the_depths_of_the_expansions_are_told() -> None:
    """A search that turns breadth-first shows it: 1, 3 and 4 expansions at depths 0, 1 and 2."""
    algorithm = AStar(k=3, heuristic="zero", cost=lambda h, new: 1.0, max_expansions=8)

    result = solve(algorithm, Problem(propose=letters("a", "b", "c", end=9)))

    assert result.notes["expanded_by_depth"] == [1, 3, 4]
    assert result.notes["expanded"] == 8


@given(st.integers(0, 10_000))
def test_without_a_heuristic_it_is_dijkstra(seed: int) -> None:
    """On a random graph, loops included, path cost and order of nodes are those of Dijkstra."""
    rnd = random.Random(seed)
    graph = nx.gnp_random_graph(9, 0.35, seed=seed, directed=True)
    for _, _, edge in graph.edges(data=True):
        edge["weight"] = rnd.randint(0, 6)
    goal = 8

    def node_of(partial: Partial) -> int:
        return int(partial.steps[-1].text) if partial.steps else 0

    def length(partial: Partial) -> int:
        path = [0, *(int(step.text) for step in partial.steps)]
        return sum(graph.edges[edge]["weight"] for edge in zip(path, path[1:], strict=False))

    problem = Problem(
        propose=lambda asks: [
            [Step(str(n), is_last=n == goal) for n in graph.successors(node_of(ask.partial))]
            for ask in asks
        ],
        # h is the path's length here, so that h' - h is the length of the edge.
        score=lambda partials: [1.0 - length(each) for each in partials],
        score_range=None,
    )
    lengths = nx.single_source_dijkstra_path_length(graph, 0)
    assume(goal in lengths)

    def seen_by(partial: Partial) -> str:
        return f"{node_of(partial)} {length(partial)}"

    algorithm = AStar(
        k=9,
        heuristic="zero",
        cost=lambda h, new: new - h,
        max_expansions=10_000,
        key=seen_by,
    )
    state = walk(algorithm, problem)

    assert state.goal is not None
    assert state.places[state.goal].g == pytest.approx(lengths[goal])
    popped = [state.places[node].g for node in state.expanded]
    assert popped == sorted(popped)
    first = {}
    for node in state.expanded:
        first.setdefault(node_of(state.tree.partial(node)), state.places[node].g)
    assert first == {node: lengths[node] for node in first}


@given(st.integers(0, 10_000))
def test_the_same_node_by_a_cheaper_path_takes_its_place(seed: int) -> None:
    """Where nodes are told apart by their name, each is expanded once, at its least cost."""
    rnd = random.Random(seed)
    graph = nx.gnp_random_graph(9, 0.35, seed=seed, directed=True)
    height = {node: rnd.randint(0, 6) for node in graph}
    height[0] = 0
    for u, v in graph.edges:
        graph.edges[u, v]["weight"] = (height[v] - height[u]) ** 2 / 8

    def node_of(partial: Partial) -> int:
        return int(partial.steps[-1].text) if partial.steps else 0

    problem = Problem(
        propose=lambda asks: [
            [Step(str(n)) for n in graph.successors(node_of(ask.partial))] for ask in asks
        ],
        score=lambda partials: [1.0 - height[node_of(each)] for each in partials],
        score_range=None,
    )
    algorithm = AStar(
        k=9,
        heuristic="zero",
        cost=lambda h, new: (new - h) ** 2 / 8,
        key=lambda partial: str(node_of(partial)),
    )
    state = walk(algorithm, problem)

    wanted = nx.single_source_dijkstra_path_length(graph, 0)
    got = {node_of(state.tree.partial(n)): state.places[n].g for n in state.expanded}
    assert len(state.expanded) == len(got)
    assert got == wanted


@given(st.integers(0, 1000))
def test_with_the_consistent_cost_f_never_falls(seed: int) -> None:
    """f of the nodes taken, the goal last, is nondecreasing, and the goal has the least f."""
    algorithm = AStar(k=3, cost="consistent")
    state = walk(algorithm, Problem(propose=letters("a", "b", "c", end=4), score=noise(seed)))

    values = f_values(state)
    assert state.goal is not None
    assert all(x <= y + 1e-9 for x, y in zip(values, values[1:], strict=False))


def test_with_the_drop_cost_f_falls_where_the_score_rises() -> None:
    """A score that falls and rises again costs its fall, once."""
    scores = {"a": 0.5, "aa": 0.25, "aaa": 1.0}
    state = walk(AStar(k=1), Problem(propose=letters("a"), score=table(scores)))

    assert [place.g for place in state.places] == [0.0, 0.5, 0.75, 0.75]
    assert f_values(state) == [0.0, 1.0, 1.5, 0.75]


def test_a_rising_score_leaves_f_as_it_is_with_the_consistent_cost() -> None:
    """Gains of the score go from h to g, so f stays."""
    scores = {"a": 0.25, "aa": 0.5, "aaa": 0.75}
    state = walk(AStar(k=1, cost="consistent"), Problem(propose=letters("a"), score=table(scores)))

    assert f_values(state) == [0.0, 0.75, 0.75, 0.75]


@pytest.mark.parametrize("cost", ["drop", "consistent"])
def test_among_equals_the_deeper_and_then_the_earlier_is_next(cost: Any) -> None:
    """A constant score makes the search depth-first, along the first proposals."""
    state = walk(AStar(k=3, cost=cost), Problem(propose=letters("a", "b", "c"), score=table({})))

    assert expanded(state) == ["", "a", "aa"]
    assert state.goal is not None
    assert state.tree.partial(state.goal).text == "aaa"


def test_equal_costs_that_rounding_sets_apart_still_tie() -> None:
    """0.9 - 0.85 + 0.9 is 0.95, so that the deeper one is next."""
    scores = {"a": 0.05, "b": 0.1, "ba": 0.15, "baa": 0.1}
    problem = Problem(propose=letters("a", "b", end=5), score=table(scores, default=0.0))
    state = walk(AStar(k=2, cost="consistent", max_expansions=4), problem)

    assert expanded(state) == ["", "b", "ba", "baa"]


def test_one_proposal_a_step_is_plain_sampling() -> None:
    """With k = 1 there are as many expansions as the solution has steps."""
    result = solve(AStar(k=1), Problem(propose=letters("a", end=5), score=noise(1)))

    assert result.best is not None
    assert result.best.text == "aaaaa"
    assert result.notes["expanded"] == 5
    assert result.spend.proposals == 5


@pytest.mark.parametrize("cost", ["drop", "consistent"])
@pytest.mark.parametrize(
    "is_right",
    [lambda text: "aa" not in text, lambda text: "b" in text, lambda text: text == "bbb"],
    ids=["no aa", "contains b", "only bbb"],
)
def test_a_perfect_score_never_ends_at_a_wrong_text(cost: Any, is_right: Any) -> None:
    """Where the score is the chance to end right, the solution is right, and a wrong one that is
    finished waits behind every text that can still end right."""

    def score(partials: Sequence[Partial]) -> list[float]:
        return [
            float(is_right(each.text)) if each.is_finished else toy_lm.chance(each.text, is_right)
            for each in partials
        ]

    state = walk(AStar(k=3, cost=cost), Problem(propose=toy_lm.all_letters, score=score))

    assert state.goal is not None
    assert is_right(state.tree.partial(state.goal).text)


def test_what_is_reported_is_what_was_asked_for() -> None:
    """Proposals, tokens and scores are the sums over the calls, and no text is scored twice."""
    asked: list[int] = []
    scored: list[str] = []
    names = letters("a", "b", "a")

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        asked.extend(ask.n for ask in asks)
        return list(names(asks))

    def score(partials: Sequence[Partial]) -> list[float]:
        scored.extend(each.text for each in partials)
        return list(noise(3)(partials))

    result = solve(AStar(k=3), Problem(propose=propose, score=score))

    assert result.spend.proposals == sum(asked)
    assert result.spend.tokens == 2 * sum(asked)
    assert result.spend.scores == len(scored) == len(set(scored))
    assert len(result.tree) == 1 + len(scored)


def test_a_text_that_is_cut_into_other_steps_is_known() -> None:
    """ "ab" in two steps is "ab" in one: it is scored once, and stands in line once."""
    scored: list[str] = []
    steps = {"": ["a", "ab"], "a": ["b"], "ab": ["c"]}

    def score(partials: Sequence[Partial]) -> list[float]:
        scored.extend(each.text for each in partials)
        return [{"a": 0.9, "ab": 0.8}.get(each.text, 0.1) for each in partials]

    problem = Problem(
        propose=lambda asks: [
            [Step(each, is_last=each == "c") for each in steps[ask.partial.text]] for ask in asks
        ],
        score=score,
    )
    state = walk(AStar(k=2, cost="consistent"), problem)

    assert scored == ["a", "ab", "abc"]
    assert expanded(state) == ["", "a", "ab"]


def test_the_head_of_the_line_is_extended_in_one_batch() -> None:
    """`expand` nodes are proposed for in one call and scored in one call."""
    batches: list[tuple[str, int]] = []
    names, scores = letters("a", "b", "c"), noise(5)

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        batches.append(("propose", len(asks)))
        return list(names(asks))

    def score(partials: Sequence[Partial]) -> list[float]:
        batches.append(("score", len(partials)))
        return list(scores(partials))

    state = walk(AStar(k=3, expand=2, cost="consistent"), Problem(propose=propose, score=score))

    assert batches[:4] == [("propose", 1), ("score", 3), ("propose", 2), ("score", 6)]
    assert state.goal is not None


def test_a_batch_ends_before_a_finished_one() -> None:
    """What is behind a finished solution in line is not extended together with what is before."""
    scores = {"a": 0.9, "b": 0.5, "c": 0.2}

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        return [[Step("a"), Step("b", is_last=True), Step("c")] for _ in asks]

    state = walk(AStar(k=3, expand=3), Problem(propose=propose, score=table(scores, default=0.0)))

    assert expanded(state) == ["", "a"]
    assert state.goal is not None
    assert state.tree.partial(state.goal).text == "b"


def test_the_worst_that_wait_are_dropped() -> None:
    """Never more than `max_frontier` wait, and they are the best ones."""
    algorithm = AStar(k=3, max_frontier=2)
    tools = Problem(
        propose=letters("a", "b", "c"), score=table({"a": 0.2, "b": 0.8, "c": 0.5})
    ).tools(Limits(), NOTHING)
    state = asyncio.run(algorithm.step(algorithm.init(0), tools))

    assert [state.tree.partial(node).text for node in state.frontier] == ["b", "c"]


def test_the_first_popped_is_the_answer_though_another_scored_higher() -> None:
    """A finished solution at a dear path waits behind one at a cheap path."""
    scores = {"a": 0.5, "b": 0.55, "aa": 0.2, "bb": 0.6, "aaa": 1.0, "bbb": 0.7}
    result = solve(
        AStar(k=2, cost="drop", expand=2),
        Problem(
            propose=lambda asks: [
                [Step(name, is_last=ask.partial.depth == 2) for name in options(ask.partial)]
                for ask in asks
            ],
            score=table(scores),
        ),
    )

    assert result.best is not None
    assert result.best.text == "bbb"
    assert [c.text for c in result.candidates if c.partial.is_finished] == ["aaa", "bbb"]


def options(partial: Partial) -> str:
    return "ab" if not partial.steps else partial.text[-1]


def test_the_last_step_runs_to_the_end() -> None:
    """The step at `max_depth` is asked for as a whole; one that does not end waits no more."""
    asked: list[tuple[int, bool]] = []

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        asked.extend((ask.partial.depth, ask.is_whole) for ask in asks)
        return [[Step("a")] for _ in asks]

    result = solve(AStar(k=1, max_depth=3), Problem(propose=propose, score=table({})))

    assert asked == [(0, False), (1, False), (2, True)]
    assert result.best is not None
    assert result.best.text == "aaa"
    assert result.why == "done"


def test_without_an_end_the_next_in_line_is_completed() -> None:
    """After `max_expansions` the best that waits runs to its end, greedily, in one proposal."""
    asked: list[Ask] = []

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        asked.extend(asks)
        return [
            [Step("!", is_last=True)] if ask.is_whole else [Step("a"), Step("b")] for ask in asks
        ]

    scores = {"a": 0.9, "b": 0.1, "aa": 0.3, "ab": 0.8, "ab!": 0.7}
    result = solve(AStar(k=2, max_expansions=2), Problem(propose=propose, score=table(scores)))

    assert asked[-1] == Ask(Partial((Step("a"), Step("b"))), is_whole=True, temperature=0.0)
    assert result.best is not None
    assert (result.best.text, result.best.score) == ("ab!", 0.7)


def test_a_spent_limit_of_scores_still_lets_the_next_in_line_be_completed() -> None:
    """Scores may be spent while proposals are not: the solution is completed, unscored."""

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        return [
            [Step("!", is_last=True)] if ask.is_whole else [Step("a"), Step("b")] for ask in asks
        ]

    result = solve(
        AStar(k=2),
        Problem(propose=propose, score=table({"b": 0.9})),
        limits=Limits(max_scores=3),
    )

    assert result.why == "limit"
    assert result.best is not None
    assert result.best.text.endswith("!")
    assert result.spend.scores == 3


def test_where_no_score_is_paid_for_the_statement_is_completed() -> None:
    """What a limit left nothing of stays in line: there is an answer, though nobody scored it."""

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        return [[Step("!", is_last=True)] if ask.is_whole else [Step("a")] for ask in asks]

    result = solve(
        AStar(k=2), Problem(propose=propose, score=table({})), limits=Limits(max_scores=0)
    )

    assert result.best is not None
    assert (result.best.text, result.best.score) == ("!", None)


def test_a_spent_limit_returns_the_next_in_line() -> None:
    """Where not even the completion is paid for, the best partial solution is the answer."""
    result = solve(
        AStar(k=3),
        Problem(propose=letters("a", "b", "c"), score=table({"a": 0.1, "b": 0.9, "c": 0.3})),
        limits=Limits(max_proposals=3),
    )

    assert result.why == "limit"
    assert result.best is not None
    assert result.best.text == "b"


def test_a_finished_one_is_returned_before_anything_is_completed() -> None:
    """At the end of the expansions the best of what is finished is the answer."""

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        assert not any(ask.is_whole for ask in asks)
        return [[Step("x", is_last=True), Step("a"), Step("y", is_last=True)] for _ in asks]

    scores = {"x": 0.1, "a": 0.9, "y": 0.2, "aa": 0.9, "ax": 0.0, "ay": 0.0}
    result = solve(AStar(k=3, max_expansions=2), Problem(propose=propose, score=table(scores)))

    assert result.error is None
    assert result.best is not None
    assert result.best.text == "y"


def test_failed_proposals_and_scores_cost_themselves_alone() -> None:
    """A lost sample or score is left out, and the search goes on."""

    def propose(asks: Sequence[Ask]) -> list[Any]:
        return [
            FAILED
            if ask.partial.text == "a"
            else [Step("a"), Step("b", is_last=bool(ask.partial.steps))]
            for ask in asks
        ]

    def score(partials: Sequence[Partial]) -> list[Any]:
        return [
            FAILED if each.text == "ba" else {"a": 0.9}.get(each.text, 0.5) for each in partials
        ]

    result = solve(AStar(k=2), Problem(propose=propose, score=score))

    assert result.best is not None
    assert result.best.text == "bb"
    assert "ba" not in [result.tree.partial(node.id).text for node in result.tree]


def test_a_last_step_without_text_is_not_its_own_parent() -> None:
    """A text that ends where it stands is another solution than the one that goes on."""
    result = solve(
        AStar(k=3),
        Problem(
            propose=toy_lm.all_letters,
            score=lambda partials: [0.9 if each.is_finished else 0.5 for each in partials],
        ),
    )

    assert result.best is not None
    assert result.best.text == ""
    assert result.best.partial.is_finished


def test_an_unscored_search_needs_no_scorer() -> None:
    """With the zero heuristic and a problem that scores nothing, candidates have no score."""
    result = solve(
        AStar(k=2, heuristic="zero", cost=lambda h, new: 1.0), Problem(propose=letters("a", "b"))
    )

    assert result.best is not None
    assert (result.best.text, result.best.score) == ("aaa", None)


def test_the_root_is_scored_where_that_is_asked_for() -> None:
    """With `root_score=None` the statement alone is scored first, and its h is counted from."""
    state = walk(
        AStar(k=1, root_score=None),
        Problem(propose=letters("a", end=1), score=table({"": 0.75, "a": 0.5})),
    )

    assert [(place.h, place.g) for place in state.places] == [(0.25, 0.0), (0.5, 0.25)]


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf")])
def test_a_cost_that_is_none_is_refused(cost: float) -> None:
    """Negative, infinite and undefined costs would break the order."""
    result = solve(AStar(cost=lambda h, new: cost), Problem(propose=letters("a"), score=table({})))

    assert isinstance(result.error, SearchError)
    assert str(cost) in str(result.error)


@pytest.mark.parametrize(
    ("name", "value"),
    [("k", 0), ("cost", "sum"), ("heuristic", "none"), ("expand", 0), ("max_expansions", 0)]
    + [("max_depth", 0), ("max_frontier", 0), ("root_score", float("nan"))],
)
def test_settings_out_of_range_are_named(name: str, value: Any) -> None:
    """The error says which setting is wrong, and its value."""
    with pytest.raises(ConfigError, match=f"{name} is .*{value}"):
        AStar(**{name: value})


def test_a_resumed_search_is_the_uninterrupted_one(tmp_path: Any) -> None:
    """A search cut after three steps goes on from its checkpoint to the same tree."""
    problem = Problem(propose=letters("a", "b", "c", end=5), score=noise(8))
    whole = solve(AStar(k=3), problem)
    checkpoint = FileCheckpoint(tmp_path / "state")

    solve(AStar(k=3), problem, checkpoint=checkpoint, limits=Limits(max_steps=3))
    resumed = solve(AStar(k=3), problem, checkpoint=checkpoint)

    assert resumed == whole
    assert whole.num_steps > 4


@given(st.integers(0, 1000), st.sampled_from(["drop", "consistent"]))
def test_the_order_is_that_of_a_heap(seed: int, cost: Any) -> None:
    """Expansions are those of a plain priority queue over (f, -depth, insertion)."""
    value = noise(seed)
    charge = {"drop": lambda h, n: max(0, n - h), "consistent": lambda h, n: max(0, h - n)}[cost]
    heap: list[Any] = [(0.0, 0, 0, 0.0, 0.0, "")]
    order, count = [], 1
    while True:
        _, _, _, g, h, text = heapq.heappop(heap)
        if len(text) == 4:
            break
        order.append(text)
        for name in "abc":
            [score] = value([Partial((Step(text + name),))])
            new_h = 1.0 - score
            new_g = g + charge(h, new_h)
            item = (round(new_g + new_h, 12), -len(text) - 1, count, new_g, new_h, text + name)
            heapq.heappush(heap, item)
            count += 1

    state = walk(
        AStar(k=3, cost=cost, max_expansions=10_000),
        Problem(propose=letters("a", "b", "c", end=4), score=value),
    )

    assert expanded(state) == order


def test_steps_are_functions_of_their_state() -> None:
    """The same state, stepped twice, gives the same next state."""
    algorithm = AStar(k=3)
    problem = Problem(propose=letters("a", "b", "c"), score=noise(4))
    tools = problem.tools(Limits(), NOTHING)
    state = asyncio.run(algorithm.step(algorithm.init(0), tools))

    once = asyncio.run(algorithm.step(state, tools))
    assert asyncio.run(algorithm.step(state, tools)) == once


def test_scores_are_handed_on_as_they_came() -> None:
    """A candidate's score is the scorer's number, to the last digit."""
    result = solve(AStar(k=1), Problem(propose=letters("a"), score=table({"aaa": 0.7})))

    assert result.best is not None
    assert result.best.score == 0.7
