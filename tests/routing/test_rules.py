"""Rules by their names, and the one that minds no price."""

import math

import pytest

from motet.errors import ConfigError, DataError
from motet.routing.deciding import BestWithin, CheapestReaching, StrongFrom, WorthItsPrice
from motet.routing.rules import HighestScore, find_rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("worth-its-price(willingness=40)", WorthItsPrice(willingness=40)),
        ("best_within(max_price=3.5)", BestWithin(max_price=3.5)),
        ("cheapest-reaching(min_score=0.8)", CheapestReaching(min_score=0.8)),
        ("highest-score", HighestScore()),
        (
            "strong-from(strong='a', weak='b', threshold=0.5)",
            StrongFrom(strong="a", weak="b", threshold=0.5),
        ),
    ],
)
def test_a_name_with_settings_is_its_rule(text, rule):
    assert find_rule(text) == rule


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("worth", "rule is 'worth'; there are best-within"),
        ("worth-its-prize(willingness=1)", "did you mean 'worth-its-price'"),
        ("worth-its-price", "missing 1 required keyword-only argument: 'willingness'"),
        ("worth-its-price(will=3)", "has no setting 'will'"),
        ("worth-its-price(willingness=-1)", "willingness is -1"),
        ("cheapest-reaching(min_score=__import__('os'))", "settings are written as"),
    ],
)
def test_a_wrong_name_or_setting_is_refused(text, told):
    with pytest.raises(ConfigError, match=told.replace("(", r"\(")):
        find_rule(text)


def test_the_highest_score_wins_and_a_known_price_breaks_a_tie():
    rule = HighestScore()

    assert rule.decide({"a": 0.5, "b": 0.9}, {}).model == "b"
    assert rule.decide({"a": 0.5, "b": 0.5}, {"a": None, "b": 2.0}).model == "b"
    found = rule.decide({"a": 0.5, "b": 0.5}, {"a": 1.0, "b": 2.0})
    assert (found.model, found.price) == ("a", 1.0)
    with pytest.raises(DataError, match="no estimates"):
        rule.decide({}, {})
    with pytest.raises(DataError, match="estimate of model 'a' is nan"):
        rule.decide({"a": math.nan}, {})
