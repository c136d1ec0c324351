"""The letter that free text settles on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import DataError
from motet.grading.choices import multiple_choice, read_choice

ANIMALS = ["a cat", "a dog", "a wild dog", "an owl"]


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        ("**B**\n\nDogs bark.", "B"),
        ("B) a dog", "B"),
        ("C.\n\nIt is not (A) and not (B).", "C"),
        ("The answer is B", "B"),
        ("The answer is **(B)**.", "B"),
        ("the correct answer is: option b", None),
        ("The correct answer is option B.", "B"),
        ("Answer: B because it barks", "B"),
        ("First I thought the answer is A. But no: the answer is B.", "B"),
        ("(A) is out. So the answer is (D), not (B).", "D"),
        (r"So we have \boxed{C}.", "C"),
        (r"\boxed{A}? No: \boxed{C}", "C"),
        (r"The answer is A. \boxed{\text{(C)}}", "C"),
        ("It must be (B), since dogs bark.", "B"),
        ("I would go with option B.", "B"),
        ("It is an owl, I think.", "D"),
        ("The answer is a dog.", "B"),
        ("The answer is A dog.", "B"),
        ("A wild dog would do it.", "C"),
        ("The answer is A, as cats purr.", "A"),
    ],
)
def test_letters_are_read(text: str, letter: str | None) -> None:
    """Stated, alone, in front, in brackets, or by the option's own text."""
    assert read_choice(text, ANIMALS) == letter


@pytest.mark.parametrize(
    "text",
    [
        "The answer is A or B.",
        "The answer is (A) and (C)",
        "It is (A) or (B).",
        "A cat or an owl.",
        "I do not know.",
        "F",
        "The answer is F.",
        r"\boxed{Z}",
        "A catapult",
        "Option A is good, option B is better.",
    ],
)
def test_several_letters_or_none_are_no_answer(text: str) -> None:
    """What is ambiguous, unknown, or out of range is never guessed."""
    assert multiple_choice(text, "A", ANIMALS).missing == "unreadable"


def test_a_right_and_a_wrong_letter() -> None:
    """The letter that was read stands in the grade."""
    assert multiple_choice("(B)", "B", ANIMALS).verdict == "right"
    assert multiple_choice("(B)", "C", ANIMALS).verdict == "wrong"
    assert multiple_choice("(B)", "C", ANIMALS).answer == "B"
    assert multiple_choice(" ", "C", ANIMALS).missing == "empty"


def test_two_options_of_one_text_are_not_told_apart_by_it() -> None:
    """Their letters still are."""
    options = ["(A)15 kmph", "(B)6 kmph", "(C)12 kmph", "(D)14 kmph", "(E)6 kmph"]

    assert read_choice("It is 6 kmph", options) is None
    assert read_choice("It is 14 kmph", options) == "D"
    assert read_choice("E", options) == "E"


@given(
    st.sampled_from("ABCDE"),
    st.sampled_from(["{}", "({})", "{}.", "**{}**", "Answer: {}", "the answer is ({}).", "{})"]),
    st.text(alphabet=" \n*", max_size=3),
)
def test_every_way_to_state_a_letter_is_read(letter: str, form: str, space: str) -> None:
    """Spaces, line ends and stars around it do not matter."""
    options = ["one", "two", "three", "four", "five"]

    assert read_choice(space + form.format(letter) + space, options) == letter


@pytest.mark.parametrize("options", [[], ["one"], ["x"] * 27, "abc"])
def test_options_are_two_to_26(options: list[str]) -> None:
    """Each needs a letter."""
    with pytest.raises(DataError, match="options"):
        read_choice("A", options)


@pytest.mark.parametrize("gold", ["E", "a", "", "AB", "ABC"])
def test_a_gold_is_the_letter_of_an_option(gold: str) -> None:
    """The error names it."""
    with pytest.raises(DataError, match="gold is"):
        multiple_choice("A", gold, ANIMALS)
