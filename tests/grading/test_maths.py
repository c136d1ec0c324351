"""Final answers of mathematics by value."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from motet.errors import DataError
from motet.grading.maths import equivalent, maths, number


@pytest.mark.parametrize(
    ("answer", "other"),
    [
        (r"\frac{1}{2}", "0.5"),
        (r"\dfrac12", "1/2"),
        ("50%", "0.5"),
        ("50%", "50"),
        (r"12.5\%", r"\frac18"),
        ("12 cm", "12"),
        (r"12\text{ cm}^2", "12"),
        ("1,234", "1234"),
        (r"\{2, 1\}", r"\{1,2\}"),
        (r"\left[0,\frac12\right)", "[0, 0.5)"),
        (r"(-\infty,2)\cup(3,\infty)", r"(3,\infty)\cup(-\infty,2)"),
        ("(x+1)^2", "x^2+2x+1"),
        (r"\sqrt{8}", r"2\sqrt2"),
        ("x = 5", "5"),
        ("1e3", "1000"),
        (r"\textbf{(113) }", "113"),
        (r"\mathbf{127}", "$127$"),
        ("(yes, 6)", r"\left ( yes ,  6)"),
        ("weird # thing", " weird  # $thing$"),
    ],
)
def test_one_value_in_two_spellings(answer: str, other: str) -> None:
    """Both ways round."""
    assert equivalent(answer, other)
    assert equivalent(other, answer)


@pytest.mark.parametrize(
    ("answer", "other"),
    [
        ("0.5", "50"),
        ("0.5%", "0.5e2"),
        ("0.333", r"\frac13"),
        ("(1,2)", "(2,1)"),
        ("(1,2)", "[1,2]"),
        (r"\{1,2\}", "(1,2)"),
        ("x^2+1", "x^2-1"),
        ("5", "-5"),
        ("1e99999999", "1e99999998"),
        ("9^{9^{9^9}}", "1"),
        ("weird # thing", "weird # thought"),
        ("(no one, 6)", "(noone, 6)"),
        ("", "0"),
    ],
)
def test_two_values(answer: str, other: str) -> None:
    """Both ways round."""
    assert not equivalent(answer, other)
    assert not equivalent(other, answer)


_NUMBERS = st.integers(-999, 999).map(str)
_SIMPLE = st.one_of(
    _NUMBERS,
    st.builds("{}.{}".format, st.integers(-99, 99), st.integers(0, 99)),
    st.builds(r"\frac{{{}}}{{{}}}".format, st.integers(-99, 99), st.integers(1, 99)),
    st.builds(r"\sqrt{{{}}}".format, st.integers(0, 99)),
    st.builds("{}x + {}".format, st.integers(2, 9), st.integers(1, 9)),
    st.builds("{}%".format, st.integers(0, 99)),
    st.sampled_from(["x", r"\pi", "yes", r"\text{East}", r"\infty"]),
)
_PLURAL = st.one_of(
    st.builds("({}, {})".format, _SIMPLE, _SIMPLE),
    st.builds("[{}, {})".format, _NUMBERS, _NUMBERS),
    st.builds(r"\{{{}, {}\}}".format, _SIMPLE, _SIMPLE),
)
_ANSWERS = _SIMPLE | _PLURAL
_ANYTHING = (
    _ANSWERS | st.text(max_size=30) | st.text(alphabet=r"0123456789\frac{}()[]%$.,x^ ", max_size=20)
)


@given(_ANYTHING, _ANYTHING)
def test_equivalence_is_symmetric(a: str, b: str) -> None:
    """Whatever the two texts are."""
    assert equivalent(a, b) == equivalent(b, a)


@given(_ANYTHING)
def test_equivalence_is_reflexive(a: str) -> None:
    """Whatever the text is."""
    assert equivalent(a, a)


@given(
    _ANYTHING,
    _ANYTHING,
    st.sampled_from(["${}$", "  {} ", "\\left{}", "{}\\right", "$$\n{}\n$$", "\\({}\\)"]),
)
def test_marks_around_any_answer_do_not_change_its_grade(a: str, gold: str, form: str) -> None:
    """Dollars, spaces, `\\left` and `\\right`, around texts that are understood and that are not."""
    assume(not a.endswith("\\"))
    assume(not form.startswith("\\left") or not re.match(r"\s*[A-Za-z.]", a))

    assert equivalent(form.format(a), gold) == equivalent(a, gold)


def _respaced(answer: str) -> str:
    for mark in ("(", "[", r"\{"):
        answer = answer.replace(mark, rf"\left {mark} ") if answer.startswith(mark) else answer
    return answer.replace(",", " , ").replace("+", "  + ").replace(r"\frac{", r"\frac {")


@given(_ANSWERS, _ANSWERS)
def test_spaces_within_an_answer_do_not_change_its_grade(a: str, gold: str) -> None:
    """Around brackets, commas, signs and arguments."""
    assert equivalent(_respaced(a), gold) == equivalent(a, gold)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (r"So we get $\boxed{\frac{1}{2}}$, as asked.", "right"),
        ("We add.\nThe answer is 0.5.", "right"),
        ("Thus 1/2\n#### 0.5", "right"),
        ("1/2", "right"),
        ("1/3", "wrong"),
        (r"\boxed{1/2} or rather \boxed{1/3}", "wrong"),
        ("I add.\nI multiply.", "no answer"),
        ("  ", "no answer"),
        ("very " * 100 + "long", "no answer"),
    ],
)
def test_final_answers_are_found(text: str, verdict: str) -> None:
    """In a box, behind hashes or "the answer is", or as one short line."""
    assert maths(text, ["0.5"]).verdict == verdict


def test_any_gold_is_right_and_one_is_needed() -> None:
    """An empty list could be equalled by nothing."""
    assert maths("2", ["1", "2.0"]).verdict == "right"
    with pytest.raises(DataError):
        maths("2", [])
    with pytest.raises(DataError):
        number("2", [""])


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("She has 9 and sells them.\nA: 1,018", "right"),
        ("The cost is $1018.00.", "right"),
        ("The answer is 1018 of the 2000.", "wrong"),
        ("The answer is 1018. That is less than 2000.", "right"),
        ("none", "no answer"),
        ("", "no answer"),
    ],
)
def test_numbers_are_found_in_words(text: str, verdict: str) -> None:
    """The last that is stated, or else the last."""
    assert number(text, ["1018"]).verdict == verdict
