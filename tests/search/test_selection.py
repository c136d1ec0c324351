"""Selectors over scored candidates."""

import random

from hypothesis import given
from hypothesis import strategies as st

from motet.search.partials import Candidate, Partial, Step
from motet.search.selection import best, elected, ranked, votes


def candidate(text: str, score: float | None = None, *, is_last: bool = True) -> Candidate:
    return Candidate(Partial((Step(text, is_last=is_last),)), score)


def first_letter(text: str) -> str | None:
    return text[:1] or None


GOLDEN = [candidate("A1", 0.6), candidate("A2", 0.1), candidate("A3", 0.1), candidate("B1", 0.7)]
SCORED = st.lists(
    st.builds(candidate, st.sampled_from(["Ax", "Bx", "Cx", "A"]), st.integers(1, 64)),
    min_size=1,
    max_size=8,
)


def text_of(chosen: Candidate | None) -> str | None:
    return None if chosen is None else chosen.text


def test_golden_choices() -> None:
    """Of A .6 .1 .1 and B .7 the best is B; majority and weighted vote (0.8) take A."""
    assert text_of(best(GOLDEN)) == "B1"
    assert text_of(elected(GOLDEN, first_letter)) == "A1"
    assert text_of(elected(GOLDEN, first_letter, is_weighted=True)) == "A1"
    assert votes(GOLDEN, first_letter, is_weighted=True)["A"] == 0.6 + 0.1 + 0.1


@given(SCORED)
def test_with_equal_scores_weighted_is_majority(candidates: list[Candidate]) -> None:
    """A vote of equal weights is a vote."""
    even = [Candidate(c.partial, 0.5) for c in candidates]

    assert elected(even, first_letter, is_weighted=True) == elected(even, first_letter)


@given(SCORED)
def test_of_one_candidate_all_choose_the_same(candidates: list[Candidate]) -> None:
    """n = 1: best, majority and weighted are one."""
    one = candidates[:1]

    assert best(one) == elected(one, first_letter) == elected(one, first_letter, is_weighted=True)


@given(SCORED, st.integers(0, 99))
def test_the_order_matters_to_a_weighted_vote_only_in_ties(
    candidates: list[Candidate], seed: int
) -> None:
    """Shuffled, the weights of answers are the same (whole scores, so sums are exact), and so is
    the elected answer where no other has as much."""
    shuffled = random.Random(seed).sample(candidates, len(candidates))
    before = votes(candidates, first_letter, is_weighted=True)
    after = votes(shuffled, first_letter, is_weighted=True)

    assert before == after
    if sorted(before.values()).count(max(before.values())) == 1:
        chosen = [elected(c, first_letter, is_weighted=True) for c in (candidates, shuffled)]
        assert chosen[0] is not None and chosen[1] is not None
        assert chosen[0].text[0] == chosen[1].text[0]


def test_among_equals_the_first_seen_wins() -> None:
    """Ties of votes and of scores go to what came first."""
    tied = [candidate("B1"), candidate("A1"), candidate("A2"), candidate("B2")]

    assert text_of(elected(tied, first_letter)) == "B1"
    assert text_of(best([candidate("x", 0.5), candidate("y", 0.5)])) == "x"


def test_what_states_no_answer_has_no_vote() -> None:
    """Two that state nothing do not outvote one that does, and alone elect nobody."""
    assert text_of(elected([candidate(""), candidate(""), candidate("A")], first_letter)) == "A"
    assert elected([candidate("")], first_letter) is None


def test_an_unscored_candidate_has_no_weight() -> None:
    """In a weighted vote a score that failed counts nothing."""
    assert votes([candidate("A"), candidate("B", 0.1)], first_letter, is_weighted=True) == {
        "B": 0.1
    }


def test_finished_candidates_rank_before_unfinished_ones() -> None:
    """Then the score decides; unscored ones come last, as they came."""
    given_ = [
        candidate("u", 0.9, is_last=False),
        candidate("n1"),
        candidate("b", 0.2),
        candidate("n2"),
        candidate("a", 0.5),
    ]

    assert [c.text for c in ranked(given_)] == ["a", "b", "n1", "n2", "u"]
