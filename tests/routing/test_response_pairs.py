"""Pairs for a scorer's training: their scores, and mismatches that are none."""

import time

import pytest

from motet.errors import ConfigError, DataError
from motet.routing.response_pairs import Example, ResponsePair, response_pairs

QUESTIONS = [
    Example(instruction="2 + 2?", truth="It is four."),
    Example(instruction="A colour?", truth="Red."),
    Example(instruction="A word?", truth="Perhaps."),
]


def test_right_is_one_another_truth_is_zero_and_a_models_response_by_overlap():
    given = Example(
        instruction="q", truth="one two three", responses=("one three", "one two three", "x")
    )

    found = response_pairs([given, QUESTIONS[0]], seed=1)

    assert found.pairs[:5] == (
        ResponsePair("q", "one two three", 1.0),
        ResponsePair("q", "It is four.", 0.0),
        ResponsePair("q", "one three", 2 * 2 / 5),
        ResponsePair("q", "one two three", 1.0),
        ResponsePair("q", "x", 0.0),
    )
    assert found.num_unmatched == 0


def test_a_mismatch_never_says_what_is_right():
    """Two labels over forty rows: the other label is drawn, whatever its case and marks."""
    rows = [
        Example(instruction=f"row {row}", truth=("Yes." if row % 2 else " no") if row % 3 else
                 ("yes" if row % 2 else "NO!"))
        for row in range(40)
    ]  # fmt: skip

    for seed in range(5):
        found = response_pairs(rows, num_mismatched=3, seed=seed)
        for pair in found.pairs:
            if pair.score == 0:
                row = int(pair.instruction.split()[1])
                assert ("y" in pair.response.casefold()) != bool(row % 2)


def test_another_right_response_to_the_same_instruction_is_no_mismatch():
    rows = [
        Example(instruction="q", truth="left"),
        Example(instruction="q", truth="right"),
        Example(instruction="r", truth="other"),
    ]

    found = response_pairs(rows, num_mismatched=5)

    wrong = {pair.response for pair in found.pairs if pair.instruction == "q" and not pair.score}
    assert wrong == {"other"}


def test_mismatches_that_do_not_exist_are_counted():
    rows = [Example(instruction=f"{row}", truth="same") for row in range(4)]

    found = response_pairs(rows, num_mismatched=2)

    assert found.num_unmatched == 8
    assert {pair.score for pair in found.pairs} == {1.0}


def test_a_mismatch_of_many_rows_that_is_rare_is_found():
    """One row in a thousand says something else; drawing at random alone would often miss it."""
    rows = [Example(instruction=f"{row}", truth="same") for row in range(1000)]
    rows.append(Example(instruction="odd", truth="other"))

    found = response_pairs(rows)

    assert found.num_unmatched == 0
    assert sum(pair.response == "other" for pair in found.pairs) == 1001


def test_the_seed_draws_the_mismatches():
    drawn = [response_pairs(QUESTIONS, seed=seed).pairs for seed in (0, 0, 1, 2, 3, 4)]

    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


def test_wrong_settings_are_refused():
    with pytest.raises(DataError, match="nothing"):
        response_pairs([])
    with pytest.raises(ConfigError, match="num_mismatched is -1"):
        response_pairs(QUESTIONS, num_mismatched=-1)
    with pytest.raises(ConfigError, match="responses is"):
        Example(instruction="q", truth="t", responses=["a"])


def test_looking_for_rare_mismatches_takes_time_with_the_rows_and_not_with_their_square():
    """20,000 rows of which one says something else took half a minute."""
    examples = [Example(instruction=f"i{i}", truth="no" if i else "yes") for i in range(20_000)]
    began = time.perf_counter()
    found = response_pairs(examples)

    assert time.perf_counter() - began < 8
    assert found.num_unmatched == 0
    assert {(p.response, p.score) for p in found.pairs[2:]} == {("no", 1.0), ("yes", 0.0)}
