"""Engine values: sampling settings, usage."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet import Engine, Sampling, Usage
from motet.errors import ConfigError
from motet.testing import ScriptedEngine

BAD: list[tuple[str, Any]] = [
    ("temperature", -0.1),
    ("temperature", math.nan),
    ("temperature", "0.5"),
    ("temperature", True),
    ("top_p", 0),
    ("top_p", -0.1),
    ("top_p", 1.1),
    ("top_p", math.nan),
    ("min_p", -0.1),
    ("min_p", 1.5),
    ("top_k", 0),
    ("top_k", -2),
    ("max_tokens", 0),
    ("max_tokens", -5),
    ("max_tokens", 1.5),
    ("max_tokens", "10"),
    ("max_tokens", None),
    ("logprobs", -1),
    ("logprobs", True),
    ("presence_penalty", 2.1),
    ("presence_penalty", -2.1),
    ("frequency_penalty", math.inf),
    ("repetition_penalty", -1),
    ("stop", [""]),
    ("stop", ("a", "")),
    ("stop", ""),
]
WRONG_TYPES: list[Any] = [
    ("top_k", "5"),
    ("top_k", 1.5),
    ("top_k", True),
    ("max_tokens", True),
    ("seed", "x"),
    ("seed", 1.5),
    ("logprobs", 1.5),
    ("stop", 5),
    ("stop", [1]),
    ("temperature", math.inf),
    ("temperature", 10**400),
    ("decoding", 5),
    ("extra", 5),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_setting_is_refused_by_name(name: str, value: Any) -> None:
    """Every setting is checked where it is made, and the message shows it."""
    with pytest.raises(ConfigError, match=name):
        Sampling(**{name: value})


@pytest.mark.parametrize(("name", "value"), WRONG_TYPES)
def test_a_setting_of_a_wrong_type_is_refused_by_name(name: str, value: Any) -> None:
    """A wrong type neither passes nor leaks a TypeError."""
    with pytest.raises(ConfigError, match=name):
        Sampling(**{name: value})


GOOD: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 2.5},
    {"top_p": 1},
    {"top_k": -1},
    {"top_k": 1},
    {"min_p": 0},
    {"min_p": 1},
    {"max_tokens": 1},
    {"logprobs": 0},
    {"presence_penalty": -2, "frequency_penalty": 2},
    {"repetition_penalty": 1.1},
    {"seed": 0},
]


@pytest.mark.parametrize("given_settings", GOOD)
def test_edges_of_the_ranges_are_allowed(given_settings: dict[str, Any]) -> None:
    """Bounds belong to their ranges."""
    sampling = Sampling(**given_settings)

    assert {name: getattr(sampling, name) for name in given_settings} == given_settings


def test_stop_is_a_tuple_however_it_is_given() -> None:
    """One text, or several in any sequence."""
    assert Sampling(stop="a").stop == ("a",)  # type: ignore[arg-type]
    assert Sampling(stop=["a", "b"]).stop == ("a", "b")  # type: ignore[arg-type]


def test_updating_changes_only_what_is_named() -> None:
    """A copy with changes; the original stays."""
    first = Sampling(temperature=0.5, stop=("a",))

    second = first.updated({"temperature": None, "seed": 3})

    assert second == Sampling(stop=("a",), seed=3)
    assert first == Sampling(temperature=0.5, stop=("a",))


@pytest.mark.parametrize("name", ["temprature", "n", "model", ""])
def test_an_unknown_setting_is_refused_with_the_known_ones(name: str) -> None:
    """A misspelt setting is no silent default."""
    with pytest.raises(ConfigError, match="known are .*temperature"):
        Sampling().updated({name: 1})


USAGES = st.builds(Usage, *[st.integers(0, 10**9)] * 4)


@settings(deadline=None, max_examples=100)
@given(USAGES, USAGES, USAGES)
def test_usage_adds_up(a: Usage, b: Usage, c: Usage) -> None:
    """Addition is associative and commutative, has a zero, and keeps the tokens."""
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Usage() == a
    assert (a + b).tokens == a.tokens + b.tokens


def test_the_scripted_engine_is_an_engine() -> None:
    """The protocol can be checked at run time."""
    assert isinstance(ScriptedEngine(), Engine)
    assert not isinstance(object(), Engine)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.5), ("top_p", 0.9), ("top_k", -1), ("min_p", 0.1), ("max_tokens", 7),
        ("stop", "end"), ("stop", ["a", "b"]), ("seed", 3), ("logprobs", 0),
        ("presence_penalty", -2.0), ("frequency_penalty", 2.0), ("repetition_penalty", 1.1),
        ("extra", {"guided": 1}), ("decoding", ()),
    ],
)  # fmt: skip
def test_an_update_is_what_is_made_anew_with_the_change(name: str, value: Any) -> None:
    """Only what changes is checked again, and it is kept as the constructor keeps it."""
    before = Sampling(temperature=0.1, stop=("x",), max_tokens=9, extra={"a": 1})
    settings = {each: getattr(before, each) for each in Sampling.__slots__}

    assert before.updated({name: value}) == Sampling(**{**settings, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1), ("top_p", 0), ("top_k", 0), ("max_tokens", 0), ("max_tokens", None),
        ("max_tokens", True), ("stop", [""]), ("stop", 3), ("seed", 1.5), ("logprobs", -1),
        ("extra", []), ("decoding", 3), ("decoding", ["greedy"]),
    ],
)  # fmt: skip
def test_an_update_refuses_what_the_constructor_refuses(name: str, value: Any) -> None:
    wrong: dict[str, Any] = {name: value}

    with pytest.raises(ConfigError, match=name) as made:
        Sampling(**wrong)
    with pytest.raises(ConfigError) as updated:
        Sampling().updated(wrong)

    assert str(made.value) == str(updated.value)
