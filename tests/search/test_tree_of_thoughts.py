"""Tree of thoughts: values, votes, selection, counts of calls, and replays of published runs."""

import asyncio
import gzip
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, SearchError
from motet.search.checkpoints import FileCheckpoint
from motet.search.driver import SearchResult, search
from motet.search.partials import Partial, Step
from motet.search.spending import NOTHING, Limits, Spend
from motet.search.thoughts import VALUE_OF_WORD, ThoughtProblem, read_value, read_vote
from motet.search.tools import FAILED, UNPAID, Ask
from motet.search.tree_of_thoughts import DepthFirstThoughts, TreeOfThoughts


def listed(names: str = "abc", *, end: int = 99) -> Any:
    return lambda asks: [
        [Step(name, is_last=ask.partial.depth + 1 == end, num_tokens=1) for name in names[: ask.n]]
        for ask in asks
    ]


def worth(table: Any, default: float = 1.0) -> Any:
    return lambda partials: [table.get(each.text, default) for each in partials]


class Counted:
    """A callable over batches that keeps what it was given."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.batches: list[list[Any]] = []

    def __call__(self, batch: Sequence[Any]) -> Any:
        self.batches.append(list(batch))
        return self.call(batch)


def solve(algorithm: Any, problem: ThoughtProblem, **options: Any) -> SearchResult:
    return asyncio.run(search(algorithm, problem, **options))


def states(algorithm: Any, problem: ThoughtProblem, seed: int = 0) -> list[Any]:
    async def walk() -> list[Any]:
        tools = problem.tools(Limits(), NOTHING)
        found = [algorithm.init(seed)]
        while not algorithm.is_done(found[-1]):
            found.append(await algorithm.step(found[-1], tools))
        return found

    return asyncio.run(walk())


def texts(state: Any) -> list[str]:
    return [state.tree.partial(node).text for node in state.kept]


def test_value_words_add_up() -> None:
    """Three evaluations sure, likely, impossible are worth 21.001."""
    words = iter(["sure", "likely", "impossible"])
    problem = ThoughtProblem(
        propose=listed("a"),
        evaluators=(lambda batch: [read_value(f"so\n{next(words)}") for _ in batch],),
    )
    result = solve(TreeOfThoughts(levels=1, num_evaluations=3), problem)

    assert result.best is not None
    assert result.best.score == pytest.approx(21.001, abs=1e-12)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("11 + 12 = 23\nsure", 20.0),
        ("hm\n**Likely**\n\n", 1.0),
        ("impossible.", 0.001),
        ("it is surely\nnot so", 0.0),
        ("I am sure", 0.0),
        ("sure\nor maybe not", 0.0),
        ("", 0.0),
    ],
)
def test_a_value_is_the_word_of_the_last_line(reply: str, value: float) -> None:
    """A word inside a sentence, or before the last line, is no value."""
    assert read_value(reply) == value


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ("The best choice is 2", 1),
        ("... the best choice is Choice 12.", 11),
        ("the best choice is 1, no: the BEST CHOICE IS {3}", 2),
        ("the best choice is unclear\n4 of 5 are good", None),
        ("best choice is 0", None),
        ("best choice is 13", None),
        ("2", None),
    ],
)
def test_a_vote_is_the_whole_number_behind_the_last_best_choice(
    reply: str, place: int | None
) -> None:
    """Numbers of two digits count whole; what names no candidate is no vote."""
    assert read_vote(reply, 12) == place


def test_the_best_of_a_level_go_on_and_equals_keep_their_order() -> None:
    """Of nine thoughts the two most valued are kept, the earlier one first."""
    values = {"a": 1.0, "b": 3.0, "c": 2.0, "ba": 1.0, "bc": 5.0, "ca": 5.0}
    problem = ThoughtProblem(propose=listed(), evaluators=(worth(values, 0.0),))
    algorithm = TreeOfThoughts(levels=2, num_kept=2, num_evaluations=1)

    _, one, two = states(algorithm, problem)
    assert texts(one) == ["b", "c"]
    assert texts(two) == ["bc", "ca"]


def test_one_thought_kept_of_one_is_a_chain_of_thought() -> None:
    """With one sample and one survivor the result is the plain sequence of steps."""
    problem = ThoughtProblem(propose=listed("x"), evaluators=(worth({}),))
    algorithm = TreeOfThoughts(generate="sample", n=1, num_kept=1, levels=5)
    result = solve(algorithm, problem)

    assert result.best is not None
    assert result.best.text == "xxxxx"
    assert result.spend == Spend(proposals=5, tokens=5, scores=15)


@pytest.mark.parametrize("generate", ["propose", "sample"])
@given(
    levels=st.integers(1, 4), n=st.integers(1, 4), kept=st.integers(1, 5), times=st.integers(1, 3)
)
def test_calls_are_those_of_the_formula(
    generate: Any, levels: int, n: int, kept: int, times: int
) -> None:
    """A level costs one proposal a beam where thoughts are listed, n where they are sampled, and
    `num_evaluations` values a thought."""
    evaluate = Counted(worth({}))
    problem = ThoughtProblem(propose=listed("abcd"), evaluators=(evaluate,))
    algorithm = TreeOfThoughts(
        generate=generate, n=n, levels=levels, num_kept=kept, num_evaluations=times
    )
    result = solve(algorithm, problem)

    beams, thoughts, proposals = 1, 0, 0
    for _ in range(levels):
        proposals += beams * (n if generate == "sample" else 1)
        thoughts += beams * n
        beams = min(kept, beams * n)
    assert result.spend.proposals == proposals
    assert result.spend.scores == thoughts * times == sum(map(len, evaluate.batches))
    assert len(evaluate.batches) == levels


def test_a_text_twice_in_a_level_is_worth_nothing_and_costs_nothing() -> None:
    """The second of two equal thoughts has value 0, and only the first is valued."""
    evaluate = Counted(worth({"a": 2.0, "b": 1.0}))
    problem = ThoughtProblem(propose=listed("aab"), evaluators=(evaluate,))
    _, state = states(TreeOfThoughts(levels=1, num_kept=3, num_evaluations=2), problem)

    assert texts(state) == ["a", "b", "a"]
    assert state.values == (4.0, 2.0, 0.0)
    assert sum(map(len, evaluate.batches)) == 4


def test_what_evaluators_see_alike_is_valued_once_in_a_search() -> None:
    """Texts with one key share a value, over the levels."""
    evaluate = Counted(worth({}, 2.0))
    problem = ThoughtProblem(propose=listed("ab"), evaluators=(evaluate,))
    algorithm = TreeOfThoughts(
        levels=3,
        num_kept=9,
        num_evaluations=1,
        key=lambda partial: str(sorted(set(partial.text))),
    )
    *_, state = states(algorithm, problem)

    # a, b, and the two together: nothing else is ever seen.
    assert sum(map(len, evaluate.batches)) == 3
    assert state.values == (2.0,) * 8


@pytest.mark.parametrize(
    ("combine", "value"), [("mean", 5.0), ("sum", 10.0), ("least", 4.0), ("product", 24.0)]
)
def test_several_evaluators_are_combined(combine: Any, value: float) -> None:
    """Each values every thought, `num_evaluations` times; then what they say is combined."""
    first, second = Counted(worth({}, 2.0)), Counted(worth({}, 3.0))
    problem = ThoughtProblem(propose=listed("a"), evaluators=(first, second))
    algorithm = TreeOfThoughts(levels=1, num_evaluations=2, combine=combine)
    result = solve(algorithm, problem)

    assert result.best is not None
    assert result.best.score == value
    assert len(first.batches[0]) == len(second.batches[0]) == 2
    assert result.spend.scores == 4


def test_one_of_several_evaluators_can_turn_the_choice() -> None:
    """The least of the layers rules out what one of them rejects."""
    fluent, true = worth({"a": 9.0, "b": 5.0}), worth({"a": 0.0, "b": 4.0})
    problem = ThoughtProblem(propose=listed("ab"), evaluators=(fluent, true))

    _, mean = states(TreeOfThoughts(levels=1, num_kept=1, combine="least"), problem)
    _, alone = states(
        TreeOfThoughts(levels=1, num_kept=1),
        ThoughtProblem(propose=listed("ab"), evaluators=(fluent,)),
    )
    assert (texts(mean), texts(alone)) == (["b"], ["a"])


def test_votes_choose_among_all_thoughts_of_a_level() -> None:
    """One ballot holds the level's different texts; the counts are the values."""
    ballots: list[tuple[list[str], int]] = []

    def vote(partials: Sequence[Partial], num: int) -> list[int]:
        ballots.append(([each.text for each in partials], num))
        return [1 if each.text.endswith("c") else 0 for each in partials]

    problem = ThoughtProblem(propose=listed("abca"), vote=vote)
    algorithm = TreeOfThoughts(
        generate="sample", n=4, levels=2, num_kept=1, num_evaluations=5, evaluate="vote"
    )
    result = solve(algorithm, problem)

    assert ballots == [(["a", "b", "c"], 5), (["ca", "cb", "cc"], 5)]
    assert result.best is not None
    assert (result.best.text, result.best.score) == ("cc", 1.0)
    assert result.spend.scores == 10


def test_a_text_twice_on_a_ballot_has_its_votes_once() -> None:
    """The votes go to the first of equal thoughts."""
    problem = ThoughtProblem(propose=listed("aba"), vote=lambda partials, num: [3, 2])
    algorithm = TreeOfThoughts(levels=1, num_evaluations=5, evaluate="vote")
    _, state = states(algorithm, problem)

    assert list(zip(texts(state), state.values, strict=True)) == [("a", 3), ("b", 2), ("a", 0)]


@pytest.mark.parametrize("counts", [[1, 2], [1, 2, 3], [-1, 1, 1], [1.0, 1, 1], 3])
def test_counts_that_are_no_votes_are_refused(counts: Any) -> None:
    """Too few, too many, negative or broken counts end the search with an error."""
    problem = ThoughtProblem(propose=listed(), vote=lambda partials, num: counts)
    result = solve(TreeOfThoughts(evaluate="vote", num_evaluations=5, levels=1), problem)

    assert isinstance(result.error, SearchError)
    assert "vote gave" in str(result.error)


def test_a_finished_thought_stays_and_competes_with_its_value() -> None:
    """It is not thought on, not valued again, and is the answer where nothing beats it."""
    evaluate = Counted(worth({"a": 5.0, "ba": 9.0, "baa": 3.0, "bab": 1.0}))

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        return [[Step("a", is_last=not ask.partial.steps), Step("b")] for ask in asks]

    asked = Counted(propose)
    problem = ThoughtProblem(propose=asked, evaluators=(evaluate,))
    _, one, two, three = states(TreeOfThoughts(levels=3, num_kept=2, num_evaluations=1), problem)

    assert [texts(state) for state in (one, two, three)] == [
        ["a", "b"],
        ["ba", "a"],
        ["a", "baa"],
    ]
    assert three.values[0] == 5.0
    assert not any(ask.partial.is_finished for batch in asked.batches for ask in batch)
    assert [each.text for batch in evaluate.batches for each in batch].count("a") == 1


def test_a_drawn_selection_is_in_proportion_to_the_values() -> None:
    """Over seeds, a thought of value 3 is drawn three times as often as one of value 1."""
    problem = ThoughtProblem(propose=listed("abc"), evaluators=(worth({"a": 3.0, "c": 0.0}),))
    algorithm = TreeOfThoughts(levels=1, num_kept=1, num_evaluations=1, select="sample")
    drawn = Counter(texts(states(algorithm, problem, seed)[-1])[0] for seed in range(2000))

    assert set(drawn) == {"a", "b"}
    # Five standard deviations of a binomial.
    assert abs(drawn["a"] - 1500) < 5 * (2000 * 0.75 * 0.25) ** 0.5


@given(st.integers(0, 500))
def test_a_drawn_selection_draws_nothing_twice(seed: int) -> None:
    """As many as are asked for, or all there are, those of value 0 last; the seed decides."""
    problem = ThoughtProblem(propose=listed("abcd"), evaluators=(worth({"a": 0.0, "b": 0.0}),))
    algorithm = TreeOfThoughts(levels=1, num_kept=3, num_evaluations=1, select="sample")
    [_, state] = states(algorithm, problem, seed)

    kept = texts(state)
    assert len(set(kept)) == 3
    assert {"c", "d"} == set(kept[:2])
    assert states(algorithm, problem, seed)[-1] == state


def test_lost_values_and_samples_cost_themselves_alone() -> None:
    """A thought that nobody could value is left out, one evaluation of several may fail."""
    calls = Counter[str]()

    def evaluate(partials: Sequence[Partial]) -> list[Any]:
        found = []
        for each in partials:
            calls[each.text] += 1
            is_lost = each.text == "a" or (each.text == "b" and calls["b"] == 1)
            found.append(FAILED if is_lost else 2.0)
        return found

    problem = ThoughtProblem(propose=listed("abc"), evaluators=(evaluate,))
    _, state = states(TreeOfThoughts(levels=1, num_evaluations=2), problem)

    assert dict(zip(texts(state), state.values, strict=True)) == {"c": 4.0, "b": 2.0}


def test_a_level_of_which_nothing_came_keeps_the_one_before() -> None:
    """Where every proposal failed, the survivors so far are the answer."""

    def propose(asks: Sequence[Ask]) -> list[Any]:
        return [FAILED if ask.partial.steps else [Step("a")] for ask in asks]

    result = solve(
        TreeOfThoughts(levels=3), ThoughtProblem(propose=propose, evaluators=(worth({}),))
    )

    assert [each.text for each in result.candidates] == ["a"]
    assert result.best is not None
    assert result.best.text == "a"


@pytest.mark.parametrize(
    "limits", [{"max_proposals": 4}, {"max_scores": 7}, {"max_tokens": 12}], ids=str
)
@pytest.mark.parametrize("kind", [TreeOfThoughts, DepthFirstThoughts])
@pytest.mark.parametrize("generate", ["propose", "sample"])
def test_limits_are_kept(kind: Any, generate: Any, limits: Any) -> None:
    """No limit is passed, and the best so far is returned."""
    problem = ThoughtProblem(propose=listed("abc"), evaluators=(worth({}),), step_tokens=3)
    algorithm = kind(generate=generate, n=3, num_kept=3, num_evaluations=2)
    result = solve(algorithm, problem, limits=Limits(**limits))

    assert result.why == "limit"
    assert result.best is not None
    for name, most in limits.items():
        assert 0 < getattr(result.spend, name.removeprefix("max_")) <= most


def test_depth_first_follows_the_best_and_goes_back() -> None:
    """The best thought is gone into first; where all behind it is impossible, the next one is."""
    no = VALUE_OF_WORD["impossible"]
    values = {"a": 20.0, "b": 1.0, "c": no, "aa": no, "ab": no, "ac": no, "bc": 20.0}
    problem = ThoughtProblem(propose=listed(end=3), evaluators=(worth(values),))
    result = solve(DepthFirstThoughts(num_evaluations=1), problem)

    visits = [c.text for c in result.candidates]
    assert result.best is not None
    assert result.best.text == "bca"
    assert set(visits) == {"a", "b", "bc", "bca"}
    assert result.notes["visits"] == 5


def test_depth_first_prunes_by_the_value_of_one_evaluation() -> None:
    """Three times impossible is given up; a little more than that, or once likely, is not."""
    words = {"a": [0.001] * 3, "b": [0.001, 1.0, 0.001], "c": [0.002, 0.001, 0.001]}

    def evaluate(partials: Sequence[Partial]) -> list[float]:
        return [words[each.text].pop() for each in partials]

    problem = ThoughtProblem(propose=listed("abc"), evaluators=(evaluate,))
    state = states(DepthFirstThoughts(max_depth=1), problem)[-1]

    assert [state.tree.partial(node).text for node in state.visited] == ["", "b", "c"]


def test_depth_first_ends_at_its_visits_and_its_depth() -> None:
    """Never more than `max_visits` nodes are gone into, and none deeper than `max_depth`."""
    propose = Counted(listed())
    problem = ThoughtProblem(propose=propose, evaluators=(worth({}),))
    result = solve(DepthFirstThoughts(max_visits=6, max_depth=2, num_kept=2), problem)

    assert result.notes["visits"] == 6
    assert max(each.partial.depth for each in result.candidates) == 2
    # The root and both of depth 1; the two leaves behind each are not thought on.
    assert len(propose.batches) == 3


def test_depth_first_without_an_end_returns_the_deepest() -> None:
    """Where nothing finished, the best-valued of the deepest that were gone into."""
    values = {"a": 9.0, "b": 8.0, "aa": 1.0, "ab": 2.0}
    problem = ThoughtProblem(propose=listed("ab"), evaluators=(worth(values),))
    result = solve(DepthFirstThoughts(max_depth=2, max_visits=4, num_evaluations=1), problem)

    assert result.best is not None
    assert result.best.text == "ab"


@pytest.mark.parametrize("kind", [TreeOfThoughts, DepthFirstThoughts])
def test_a_resumed_search_is_the_uninterrupted_one(kind: Any, tmp_path: Any) -> None:
    """A search cut after two steps goes on from its checkpoint to the same result."""
    values = {"a": 3.0, "ab": 2.0, "abc": 0.0, "c": 2.0}
    problem = ThoughtProblem(propose=listed(end=4), evaluators=(worth(values),))
    algorithm = kind(num_kept=2)
    whole = solve(algorithm, problem)
    checkpoint = FileCheckpoint(tmp_path / "state")
    solve(algorithm, problem, checkpoint=checkpoint, limits=Limits(max_steps=2))

    assert solve(algorithm, problem, checkpoint=checkpoint) == whole
    assert whole.num_steps > 2


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        *((k, "generate", "list") for k in (TreeOfThoughts, DepthFirstThoughts)),
        *((k, "n", 0) for k in (TreeOfThoughts, DepthFirstThoughts)),
        *((k, "num_evaluations", 0) for k in (TreeOfThoughts, DepthFirstThoughts)),
        *((k, "combine", "max") for k in (TreeOfThoughts, DepthFirstThoughts)),
        *((k, "num_kept", 0) for k in (TreeOfThoughts, DepthFirstThoughts)),
        (TreeOfThoughts, "levels", 0),
        (TreeOfThoughts, "evaluate", "judge"),
        (TreeOfThoughts, "select", "best"),
        (DepthFirstThoughts, "max_visits", 0),
        (DepthFirstThoughts, "max_depth", 0),
        (DepthFirstThoughts, "prune", -0.5),
    ],
)
def test_settings_out_of_range_are_named(kind: Any, name: str, value: Any) -> None:
    """The error says which setting is wrong, and its value."""
    with pytest.raises(ConfigError, match=f"{name} is .*{value}"):
        kind(**{name: value})


def test_a_problem_without_evaluators_does_not_fit_a_search_by_value() -> None:
    """The mistake is the user's, and is raised; so is a vote that nobody casts."""
    only_vote = ThoughtProblem(propose=listed(), vote=lambda partials, num: [0] * len(partials))
    only_value = ThoughtProblem(propose=listed(), evaluators=(worth({}),))

    with pytest.raises(ConfigError, match=r"evaluators is \(\)"):
        solve(TreeOfThoughts(), only_vote)
    with pytest.raises(ConfigError, match="vote is None"):
        solve(TreeOfThoughts(evaluate="vote"), only_value)
    with pytest.raises(ConfigError, match="vote is None"):
        ThoughtProblem(propose=listed())


def _records(path: str) -> list[dict[str, Any]]:
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    with gzip.open(Path(folder) / path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _replayed(levels: list[dict[str, Any]], algorithm: TreeOfThoughts) -> list[list[str]]:
    """Run `algorithm` over the published thoughts and values; return what each level keeps."""
    proposals = [list(level["new_ys"]) for level in levels]

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        found = []
        for ask in asks:
            left, text = proposals[ask.partial.depth], ask.partial.text
            mine = [each for each in left if each.startswith(text)]
            for each in mine:
                left.remove(each)
            found.append([Step(each[len(text) :]) for each in mine])
        return found

    def value(partials: Sequence[Partial]) -> list[float]:
        found = []
        for each in partials:
            level = levels[each.depth - 1]
            found.append(float(level["values"][level["new_ys"].index(each.text)]))
        return found

    problem = ThoughtProblem(propose=propose, evaluators=(value,))
    return [texts(state) for state in states(algorithm, problem)[1:]]


def test_published_games_of_24_are_replayed() -> None:
    """With the thoughts and the values of the published run, every level keeps what it kept."""
    games = _records("tot_logs/game24.jsonl.gz")
    algorithm = TreeOfThoughts(levels=4, num_kept=5, num_evaluations=1)
    wanted = [level["select"] for game in games for level in game["steps"]]
    got = [kept for game in games for kept in _replayed(game["steps"], algorithm)]

    assert len(wanted) == 4 * len(games) == 296
    assert sum(one == other for one, other in zip(got, wanted, strict=True)) == 296


def test_published_writings_are_replayed() -> None:
    """With the plans, the passages and the votes of the published run, the same ones are kept."""
    writings = _records("tot_logs/text.jsonl.gz")
    num_levels = 0
    for writing in writings:
        levels = writing["steps"]

        def vote(partials: Sequence[Partial], num: int, levels: Any = levels) -> list[int]:
            level = levels[partials[0].depth - 1]
            return [level["values"][level["new_ys"].index(each.text)] for each in partials]

        def propose(asks: Sequence[Ask], levels: Any = levels) -> list[list[Step]]:
            [ask] = asks
            text = ask.partial.text
            return [[Step(each[len(text) :]) for each in levels[ask.partial.depth]["new_ys"]]]

        algorithm = TreeOfThoughts(
            generate="sample",
            n=5,
            levels=2,
            num_kept=1,
            num_evaluations=5,
            evaluate="vote",
        )
        kept = [texts(s) for s in states(algorithm, ThoughtProblem(propose=propose, vote=vote))[1:]]
        assert kept == [level["select"] for level in levels]
        num_levels += len(levels)

    assert num_levels == 2 * len(writings) == 68


def test_samples_that_were_lost_may_stand_among_a_places() -> None:
    """Those that failed count, those that were not paid for do not, and end the search."""

    def propose(asks: Sequence[Ask]) -> Any:
        return [[Step("a", num_tokens=3), FAILED, UNPAID, UNPAID] for _ in asks]

    problem = ThoughtProblem(propose=propose, evaluators=(worth({}),))

    result = solve(TreeOfThoughts(levels=3, generate="sample", n=4), problem)

    assert result.best is not None
    assert (result.why, result.best.text) == ("limit", "a")
    assert result.spend == Spend(proposals=2, tokens=3, scores=3)


def test_more_samples_than_were_paid_for_break_the_contract() -> None:
    """Of two that were asked for one was not paid for, and two came."""
    problem = ThoughtProblem(
        propose=lambda asks: [[Step("a"), Step("b"), UNPAID]], evaluators=(worth({}),)
    )

    result = solve(TreeOfThoughts(generate="sample", n=2), problem)

    assert "2 steps where 1 were asked for" in str(result.error)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"propose": lambda asks: [None] * len(asks)}, "propose gave None"),
        ({"propose": lambda asks: [5] * len(asks)}, "propose gave 5"),
        ({"is_terminal": lambda partial: None}, "is_terminal gave None"),
        ({"is_terminal": lambda partial: 1 / 0}, "is_terminal failed: ZeroDivisionError"),
    ],
)
def test_a_callable_that_breaks_its_contract_ends_the_search_by_an_error(
    changes: Any, said: str
) -> None:
    """It says which callable did what."""
    given: Any = {"propose": listed(), "evaluators": (worth({}),), **changes}

    found = solve(TreeOfThoughts(levels=2), ThoughtProblem(**given))

    assert (found.why, type(found.error)) == ("failed", SearchError)
    assert said in str(found.error)
