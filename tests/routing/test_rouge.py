"""ROUGE-L: exact, symmetric, and quick on long texts."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.routing.rouge import common_length, rouge_l

WORDS = st.lists(st.sampled_from("abcd"), max_size=12)


def by_table(one, other):
    """The textbook's dynamic programme."""
    rows = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, x in enumerate(one):
        for j, y in enumerate(other):
            rows[i + 1][j + 1] = rows[i][j] + 1 if x == y else max(rows[i][j + 1], rows[i + 1][j])
    return rows[-1][-1]


@given(WORDS, WORDS)
def test_the_common_length_is_that_of_the_textbook(one, other):
    assert common_length(one, other) == by_table(one, other)


def test_the_published_example():
    """google-research/rouge_score: precision 5/8, recall 5/9."""
    found = rouge_l(
        "The quick brown dog jumps on the log.", "The quick brown fox jumps over the lazy dog"
    )

    assert found == pytest.approx(2 * 5 / 17)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a b c", "a b c", 1.0),
        ("", "", 1.0),
        ("!?", "!?", 1.0),
        ("!?", "?!", 0.0),
        ("", "a", 0.0),
        ("The Cat!", "the cat", 1.0),
        ("b a", "a b", 0.5),
        ("a b", "a b c d", 2 * 2 / 6),
        ("\u732b \u72ac", "\u732b \u9ce5", 0.5),
    ],
)
def test_known_scores(one, other, expected):
    """Order counts: the same words the other way round share one of two."""
    assert rouge_l(one, other) == pytest.approx(expected)


@given(st.text(max_size=30), st.text(max_size=30))
def test_it_is_symmetric_and_from_0_to_1(one, other):
    assert rouge_l(one, other) == rouge_l(other, one)
    assert 0 <= rouge_l(one, other) <= 1
    assert rouge_l(one, one) == 1


def test_texts_of_100_kb_take_seconds_at_most():
    """A table of 20,000 words squared would take minutes."""
    one = " ".join(str(number % 997) for number in range(20_000))
    other = " ".join(str(number % 991) for number in range(20_000))

    start = time.perf_counter()
    assert 0 < rouge_l(one, other) < 1
    assert time.perf_counter() - start < 20
