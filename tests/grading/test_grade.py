"""What no answer is, and how grades are counted."""

import pytest

from motet.grading.grade import Grade, answered, graded, no_answer, tally


def _says_yes(text: str) -> Grade:
    return answered(text, is_right=text == "yes")


@pytest.mark.parametrize("text", [None, "", " \n\t"])
def test_an_empty_reply_is_no_answer(text: str | None) -> None:
    """The grader is not asked, whether or not the reply was cut off."""
    assert graded(text, _says_yes) == no_answer("empty")
    assert graded(text, _says_yes, is_cut_off=True) == no_answer("empty")


def test_a_reply_that_was_cut_off_is_no_answer_even_where_it_holds_the_right_one() -> None:
    """What would have followed is not known."""
    assert graded("yes", _says_yes).verdict == "right"
    assert graded("yes", _says_yes, is_cut_off=True) == no_answer("cut off")


def test_what_is_no_answer_is_counted_apart_and_in_no_accuracy() -> None:
    """Accuracy is a share of answers; the share of all replies has its own name."""
    grades = [
        answered("a", is_right=True),
        answered("b", is_right=False),
        answered("c", is_right=True),
        no_answer("empty"),
        no_answer("cut off"),
        no_answer("cut off"),
        no_answer("unreadable"),
        no_answer("unreadable"),
        no_answer("unreadable"),
    ]
    count = tally(grades)

    assert (count.right, count.wrong, count.empty, count.cut_off, count.unreadable) == (
        2,
        1,
        1,
        2,
        3,
    )
    assert (count.answered, count.total) == (3, 9)
    assert count.accuracy == 2 / 3
    assert count.right_of_all == 2 / 9


def test_without_answers_there_is_no_accuracy() -> None:
    """Nothing answered is not nothing right."""
    assert tally([no_answer("empty")]).accuracy is None
    assert tally([no_answer("empty")]).right_of_all == 0.0
    assert tally([]).right_of_all is None
