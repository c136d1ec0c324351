"""Exact match and F1 of words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.grading.exact_match import exact_match, plain_form, squad_form, token_f1


@pytest.mark.parametrize(
    ("text", "golds", "verdict"),
    [
        ("The Rainbow  Road!", ["Rainbow Road"], "right"),
        ("an apple.", ["Apple"], "right"),
        ("theatre", ["atre"], "wrong"),
        ("Rainbow Road", ["Mario", "rainbow road"], "right"),
        ("Rainbow", ["Rainbow Road"], "wrong"),
        ("The", ["a"], "wrong"),
        ("the", ["The"], "right"),
        ("] )", ["}"], "wrong"),
        ("] )", ["] )"], "right"),
        (" . ", ["x"], "no answer"),
    ],
)
def test_squad_form(text: str, golds: list[str], verdict: str) -> None:
    """Case, punctuation, articles and spaces do not count, unless nothing else is there."""
    assert exact_match(text, golds).verdict == verdict


def test_plain_form_keeps_punctuation_and_articles() -> None:
    """It folds case, spaces and one final stop."""
    assert exact_match("  (b).", ["(B)"], form="plain").verdict == "right"
    assert exact_match("B", ["(B)"], form="plain").verdict == "wrong"
    assert exact_match("the cat", ["cat"], form="plain").verdict == "wrong"


@pytest.mark.parametrize(
    ("text", "golds", "f1"),
    [
        ("the quick brown fox", ["quick fox"], 0.8),
        ("fox", ["dog", "fox fox"], 2 / 3),
        ("fox fox", ["fox fox dog"], 0.8),
        ("cat", ["dog"], 0.0),
        ("} ]", ["} ]"], 1.0),
        ("}", ["]"], 0.0),
        ("  ", ["dog"], None),
    ],
)
def test_f1_of_words(text: str, golds: list[str], f1: float | None) -> None:
    """The best over the golds, each word as often as it stands; no answer has none."""
    assert token_f1(text, golds) == (f1 if f1 is None else pytest.approx(f1))


@given(st.text(max_size=40), st.text(max_size=40))
def test_f1_is_one_where_the_match_is_exact_and_symmetric(a: str, b: str) -> None:
    """Exact match implies F1 of 1, and F1 does not depend on which text is the gold."""
    if plain_form(a) and plain_form(b):
        f1 = token_f1(a, [b])

        assert f1 == token_f1(b, [a])
        assert exact_match(a, [b]).verdict != "right" or f1 == 1.0
        assert exact_match(a, [a]).verdict == "right"


@given(st.text(max_size=40))
def test_forms_are_their_own_forms(text: str) -> None:
    """To normalise twice is to normalise once, where no article is left over by it."""
    assert squad_form(squad_form(text)) == squad_form(text)


@pytest.mark.parametrize("golds", [[], [""], ["a", " "], "abc", [None]])
def test_golds_that_nothing_can_equal_are_refused(golds: list[str]) -> None:
    """None, an empty one, or a text in place of a sequence."""
    with pytest.raises(DataError, match="gold"):
        exact_match("x", golds)
    with pytest.raises(DataError, match="gold"):
        token_f1("x", golds)


def test_an_unknown_form_is_refused() -> None:
    """The error names it."""
    with pytest.raises(ConfigError, match="form is 'loose'"):
        exact_match("x", ["x"], form="loose")  # type: ignore[arg-type]
