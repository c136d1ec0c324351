"""Minimum Bayes risk: golden matrices, multiplicity, lost verdicts and costs."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, SearchError
from motet.search.mbr import Mbr, MbrProblem, embedding_cosine, rouge_1
from motet.search.spending import Limits
from motet.search.tools import FAILED
from tests.search.script import Script, solve, walk

U = [[5, 4, 1], [4, 5, 2], [1, 3, 5]]


class Rated(Script):
    """A script whose pairs are rated by `utility`; keeps the pairs it was asked for."""

    def __init__(self, answers: Sequence[str | None], utility: Callable[[str, str], Any]) -> None:
        super().__init__(answers)
        self.utility = utility
        self.pairs: list[list[tuple[str, str]]] = []

    def rate(self, pairs: Sequence[tuple[str, str]]) -> list[Any]:
        self.pairs.append(list(pairs))
        return [self.utility(*pair) for pair in pairs]

    @property
    def mbr(self) -> MbrProblem:
        return MbrProblem(propose=self.propose, utility=self.rate, step_tokens=100)


def golden(candidate: str, reference: str) -> float:
    return U["abc".index(candidate)]["abc".index(reference)]


def scores(result: Any) -> dict[str, float | None]:
    return {c.text: c.score for c in result.candidates}


def test_golden_matrix() -> None:
    """Without itself the means are 2.5, 3 and 2, so that the second is chosen; 6 pairs are rated."""
    script = Rated("abc", golden)

    result = solve(Mbr(n=3), script.mbr)

    assert result.best is not None and result.best.text == "b"
    assert scores(result) == {"a": 2.5, "b": 3.0, "c": 2.0}
    assert (result.spend.proposals, result.spend.scores) == (3, 6)
    assert [len(batch) for batch in script.pairs] == [6]


@pytest.mark.parametrize("n", [2, 3, 5, 7])
def test_different_answers_cost_all_pairs_but_their_own(n: int) -> None:
    """N^2 - N pairs; those of one reference stand together, so that they share its prefix."""
    script = Rated("abcdefg"[:n], lambda *_: 1.0)

    result = solve(Mbr(n=n), script.mbr)

    [pairs] = script.pairs
    assert len(pairs) == len(set(pairs)) == result.spend.scores == n * n - n
    assert all(a != b for a, b in pairs)
    assert len(list(itertools.groupby(pairs, key=lambda pair: pair[1]))) == n


def test_one_sample_is_the_answer() -> None:
    """N = 1: nothing is rated, and the sample is chosen."""
    script = Rated("a", golden)

    result = solve(Mbr(n=1), script.mbr)

    assert result.best is not None and result.best.text == "a"
    assert script.pairs == [] and result.spend.scores == 0


@pytest.mark.parametrize("answers", ["ab", "abcd"])
def test_a_tie_goes_to_the_first(answers: str) -> None:
    """A symmetric utility of two, and a constant one of many."""
    result = solve(Mbr(n=len(answers)), Rated(answers, lambda *_: 0.7).mbr)

    assert result.best is not None and result.best.text == "a"


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=9))
def test_with_exact_match_it_is_majority(answers: list[str]) -> None:
    """u = 1 where texts are equal: the mode, among equals the first seen."""
    result = solve(Mbr(n=len(answers)), Rated(answers, lambda a, b: float(a == b)).mbr)

    assert result.best is not None
    assert result.best.text == Counter(answers).most_common(1)[0][0]


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=8))
def test_copies_are_rated_once_and_count_as_often_as_they_are(answers: list[str]) -> None:
    """The means are those of all N^2 - N pairs one by one, for less calls where texts repeat."""
    script = Rated(answers, golden)

    result = solve(Mbr(n=len(answers)), script.mbr)

    for place, text in enumerate(answers):
        others = [golden(text, each) for j, each in enumerate(answers) if j != place]
        assert scores(result)[text] == pytest.approx(sum(others) / len(others))
    [pairs] = script.pairs
    copied = sum(count > 1 for count in Counter(answers).values())
    num = len(set(answers))
    assert len(pairs) == len(set(pairs)) == num * num - num + copied


def test_a_pair_without_a_verdict_is_left_out_of_the_mean() -> None:
    """A parse failure is no zero: the mean divides by the verdicts that there are."""
    script = Rated("abc", lambda a, b: FAILED if (a, b) == ("c", "a") else golden(a, b))

    result = solve(Mbr(n=3), script.mbr)

    assert scores(result)["c"] == 3.0
    assert result.notes == {"num_pairs": 6, "num_unrated": 1}


def test_an_answer_without_any_verdict_is_not_chosen() -> None:
    """Its mean is unknown; the others compete."""
    script = Rated("abc", lambda a, b: FAILED if a == "b" else golden(a, b))

    result = solve(Mbr(n=3), script.mbr)

    assert result.best is not None and result.best.text == "a"
    assert scores(result)["b"] is None


def test_sampled_references_cost_less_and_are_the_same_for_all() -> None:
    """With R of N references R(N - 1) pairs are rated; which they are hangs on the seed."""
    chosen = []
    for seed in (1, 1, 2, 3):
        script = Rated("abcdef", lambda a, b: 1.0)
        result = solve(Mbr(n=6, num_references=2), script.mbr, seed=seed)
        assert result.spend.scores == 2 * 5
        chosen.append({b for _, b in script.pairs[0]})

    assert all(len(each) == 2 for each in chosen)
    assert chosen[0] == chosen[1]
    assert len({tuple(sorted(each)) for each in chosen}) > 1


def test_sampled_references_rank_without_bias() -> None:
    """Over many seeds the mean score with 3 of 6 references is that with all."""

    def utility(a: str, b: str) -> float:
        return (ord(a) * 7 + ord(b) * 3) % 11

    exact = scores(solve(Mbr(n=6), Rated("abcdef", utility).mbr))
    sums = Counter[str]()
    for seed in range(600):
        result = solve(Mbr(n=6, num_references=3), Rated("abcdef", utility).mbr, seed=seed)
        sums.update({text: score or 0.0 for text, score in scores(result).items()})

    for text, score in exact.items():
        assert sums[text] / 600 == pytest.approx(score, abs=0.35)


def test_failed_samples_and_limits_leave_fewer_answers() -> None:
    """What was drawn is rated; a limit of pairs rates the first of them."""
    some = solve(Mbr(n=3), Rated("ab", golden).mbr, limits=Limits(max_proposals=2))
    few = solve(Mbr(n=3), Rated("abc", golden).mbr, limits=Limits(max_scores=2))

    assert scores(some) == {"a": 4.0, "b": 4.0} and some.why == "limit"
    assert few.spend.scores == 2 and few.why == "limit"
    assert few.best is not None


def test_a_step_is_the_same_from_the_state_read_back() -> None:
    """State and step pass through a checkpoint."""
    script = Rated("abca", golden)

    assert len(walk(Mbr(n=4, num_references=2), script, script.mbr, seed=5)) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, "good", True])
def test_a_utility_must_give_finite_numbers(value: Any) -> None:
    """Anything else ends the search with a typed error."""
    result = solve(Mbr(n=2), Rated("ab", lambda *_: value).mbr)

    assert isinstance(result.error, SearchError)
    assert "utility gave" in str(result.error)


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        ("the cat sat", "the cat sat", 1.0),
        ("The cat!", "the  dog", 0.5),
        ("a a a b", "a b b b", 0.5),
        ("a b", "c d", 0.0),
        ("", "a", 0.0),
        ("a b c", "a", 0.5),
    ],
)
def test_golden_rouge(candidate: str, reference: str, expected: float) -> None:
    """Twice the shared words, each as often as in both, over the words of both."""
    assert rouge_1([(candidate, reference)]) == [expected]
    assert rouge_1([(reference, candidate)]) == [expected]


def test_cosine_embeds_each_text_once() -> None:
    """Whatever the number of pairs; a zero vector is like nothing."""
    batches: list[list[str]] = []
    vectors = {"a": [3.0, 0.0], "b": [1.0, 1.0], "c": [-2.0, 0.0], "o": [0.0, 0.0]}

    async def embed(texts: Sequence[str]) -> list[list[float]]:
        batches.append(list(texts))
        return [vectors[text] for text in texts]

    script = Rated("abco", golden)
    problem = MbrProblem(propose=script.propose, utility=embedding_cosine(embed))
    result = solve(Mbr(n=4), problem)

    assert [sorted(batch) for batch in batches] == [["a", "b", "c", "o"]]
    expected = {"a": (0.5**0.5 - 1) / 3, "b": 0.0, "c": (-(0.5**0.5) - 1) / 3, "o": 0.0}
    assert scores(result) == {name: pytest.approx(value) for name, value in expected.items()}


def test_an_embedder_must_give_a_vector_for_each_text() -> None:
    """One too few, or of another length, is an error of the search."""
    for given_ in ([[1.0]], [[1.0], [1.0, 2.0]]):
        utility = embedding_cosine(lambda texts, given_=given_: given_)
        result = solve(Mbr(n=2), MbrProblem(propose=Script("ab").propose, utility=utility))
        assert isinstance(result.error, SearchError)


def test_the_temperature_is_handed_on() -> None:
    """Answers are drawn whole, in one ask, at the temperature that is set."""
    script = Rated("ab", golden)
    solve(Mbr(n=2, temperature=0.3), script.mbr)

    [[ask]] = script.asks
    assert (ask.n, ask.is_whole, ask.temperature) == (2, True, 0.3)


def test_settings_are_checked() -> None:
    """n, num_references and temperature name their values."""
    with pytest.raises(ConfigError, match="n is 0"):
        Mbr(n=0)
    with pytest.raises(ConfigError, match="num_references is 9"):
        Mbr(n=4, num_references=9)
    with pytest.raises(ConfigError, match="temperature is -1"):
        Mbr(temperature=-1)


def marked(candidate: str, reference: str) -> float:
    """A utility whose means tell which references were taken: digits of different places."""
    return float(10 ** "abcdef".index(reference) * (1 + "abcdef".index(candidate)))


def mean_over(texts: Sequence[str], places: Sequence[int], at: int) -> float | None:
    others = [marked(texts[at], texts[place]) for place in places if place != at]
    return sum(others) / len(others) if others else None


@pytest.mark.parametrize("texts", ["abcdef", "aabcd", "abbbc"])
@pytest.mark.parametrize("num", [2, 3, 4])
def test_references_are_so_many_answers_the_same_for_all(texts: str, num: int) -> None:
    """For each seed there are `num` places whose answers, but its own, make every answer's mean."""
    taken = Counter[tuple[int, ...]]()
    for seed in range(60):
        result = solve(Mbr(n=len(texts), num_references=num), Rated(texts, marked).mbr, seed=seed)
        by_place = [c.score for c in sorted(result.candidates, key=lambda c: c.node or 0)]
        fitting = [
            places
            for places in itertools.combinations(range(len(texts)), num)
            if [mean_over(texts, places, at) for at in range(len(texts))] == pytest.approx(by_place)
        ]
        assert fitting, seed
        taken[fitting[0]] += 1

    assert len(taken) > 1


def test_references_are_drawn_evenly_without_replacement() -> None:
    """Each of the 15 pairs of 6 answers about as often as any other, over the seeds."""
    drawn = Counter[frozenset[str]]()
    for seed in range(900):
        script = Rated("abcdef", lambda a, b: 1.0)
        solve(Mbr(n=6, num_references=2), script.mbr, seed=seed)
        drawn[frozenset(b for _, b in script.pairs[0])] += 1

    assert len(drawn) == 15
    assert all(len(each) == 2 for each in drawn)
    # 60 are expected of each; five standard deviations are 37.
    assert max(abs(count - 60) for count in drawn.values()) < 37


@pytest.mark.parametrize("num", [3, 4])
def test_as_many_references_as_answers_are_all(num: int) -> None:
    """Also where some samples failed, so that there are fewer answers than references."""
    answers = "abc" if num == 3 else ["a", "b", None, "c"]
    script = Rated(answers, golden)

    result = solve(Mbr(n=num, num_references=num), script.mbr, limits=Limits(max_proposals=num))

    assert {b for _, b in script.pairs[0]} == {c.text for c in result.candidates}
    assert scores(result) == {
        a: pytest.approx(
            sum(golden(a, b) for b in scores(result) if b != a) / (len(scores(result)) - 1)
        )
        for a in scores(result)
    }


@given(st.data())
def test_candidates_are_ranked_by_their_means(data: st.DataObject) -> None:
    """Highest first, equals in the order in which they were drawn, those without a mean last."""
    n = data.draw(st.integers(2, 6))
    texts = "abcdef"[:n]
    value = st.sampled_from([0.0, 0.5, 1.0, None])
    table = {pair: data.draw(value) for pair in itertools.permutations(texts, 2)}

    def utility(a: str, b: str) -> Any:
        return FAILED if table[a, b] is None else table[a, b]

    result = solve(Mbr(n=n), Rated(texts, utility).mbr)

    def mean(a: str) -> float | None:
        valid = [rated for b in texts if b != a and (rated := table[a, b]) is not None]
        return math.fsum(valid) / len(valid) if valid else None

    means = {a: mean(a) for a in texts}
    expected = sorted(texts, key=lambda a: (means[a] is None, -(means[a] or 0.0)))
    assert [c.text for c in result.candidates] == expected
    assert scores(result) == pytest.approx(means)
    assert result.best is not None and result.best.text == expected[0]
