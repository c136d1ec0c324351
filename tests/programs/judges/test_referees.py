"""Referees: what each hears, the mean of the last scores, and what is left out."""

from __future__ import annotations

import re
from typing import Any

import pytest

import motet
from motet import Model
from motet.engine import Completion, Request
from motet.errors import ConfigError, RunFailedError
from motet.programs.judges.referees import (
    PERSONAS,
    RefereeComparison,
    read_scores,
    referees_compare,
)
from motet.testing import ScriptedEngine

RIGHT, WRONG = "It is 4.", "It is five."
TWO = {"old": "an old hand", "new": "a newcomer"}


def text_of(request: Request) -> str:
    return str(request.prompt[-1].content)  # type: ignore[union-attr]


def persona(request: Request) -> str:
    return str(request.prompt[0].content)  # type: ignore[union-attr]


def is_right_first(request: Request) -> bool:
    return text_of(request).index(RIGHT) < text_of(request).index(WRONG)


def scores(right: float, wrong: float, request: Request) -> str:
    first, second = (right, wrong) if is_right_first(request) else (wrong, right)
    return f"Well.\nScore of A: {first:g}\nScore of B: {second:g}"


def referees(script: Any, **settings: Any) -> tuple[RefereeComparison, ScriptedEngine]:
    engine = ScriptedEngine(script)
    ref = referees_compare("2 + 2?", RIGHT, WRONG, model=Model(engine), **settings)
    value: RefereeComparison = motet.run(ref, store=None).value
    return value, engine


def heard(request: Request) -> list[str]:
    return re.findall(r"<referee_(\w+?)(?:-\d+)?>", text_of(request))


def test_fair_referees_are_followed_in_both_orders() -> None:
    found, _ = referees(lambda r: scores(8, 3, r))

    assert (found.winner, found.is_consistent, found.num_left_out) == ("A", True, 0)
    assert [game.verdict.winner for game in found.games] == ["A", "B"]
    assert found.games[1].scores == ((3.0, 8.0),) * 3


def test_referees_that_favour_the_first_place_tie_and_are_not_consistent() -> None:
    found, _ = referees(lambda _: "Score of A: 9\nScore of B: 1")

    assert (found.winner, found.is_consistent) == ("tie", False)


def test_each_referee_hears_all_that_was_said_before_it() -> None:
    """One by one: the second hears the first in the same turn."""
    _, engine = referees(lambda r: scores(5, 5, r), personas=TWO)
    first_order = [each for each in engine.requests if is_right_first(each)]

    assert [heard(each) for each in first_order] == [
        [],
        ["old"],
        ["old", "new"],
        ["old", "new", "old"],
    ]
    assert ["an old hand" in persona(each) for each in first_order] == [True, False] * 2


def test_the_mean_of_the_last_turn_decides() -> None:
    """The first turn is all for A; in the second 9 against 2 outweighs 5 against 6."""

    def script(request: Request) -> str:
        turn = len(heard(request)) // 2
        if not turn:
            return scores(1, 10, request)
        return scores(9, 2, request) if "old" in persona(request) else scores(5, 6, request)

    found, _ = referees(script, personas=TWO)

    assert (found.winner, found.is_consistent) == ("A", True)


def test_scores_that_cannot_be_read_are_left_out_and_counted() -> None:
    """A referee that says nothing of use is no 0 for either."""

    def script(request: Request) -> str:
        return "Hard to say." if "newcomer" in persona(request) else scores(7, 6, request)

    found, _ = referees(script, personas=TWO, turns=1)

    assert (found.winner, found.num_left_out) == ("A", 2)
    assert found.games[0].scores == ((7.0, 6.0), None)


def test_no_score_at_all_is_an_error_and_not_a_tie() -> None:
    found, _ = referees(lambda _: "Both.")

    assert (found.winner, found.is_consistent, found.num_left_out) == ("error", False, 6)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Score of A: 8\nScore of B: 6", (8.0, 6.0)),
        ("**Score of A:** 8.5/10\nscore of b: 10.", (8.5, 10.0)),
        ("Score of A: 1\nScore of B: 1\nNo: \nScore of A: 2\nScore of B: 3", (2.0, 3.0)),
        ("Score of A: 8", None),
        ("Score of A: 0\nScore of B: 6", None),
        ("Score of A: 11\nScore of B: 6", None),
        ("Score of A: number\nScore of B: number", None),
        ("Score of A: 8 or 9\nScore of B: 6", None),
        ("", None),
    ],
)
def test_the_last_two_scores_are_read(text: str, found: Any) -> None:
    assert read_scores(Completion(text)) == found
    assert read_scores(Completion(text, "length")) is None


def test_one_referee_and_one_turn_are_a_judge_of_scores() -> None:
    found, engine = referees(lambda r: scores(2, 3, r), personas={"one": "a person"}, turns=1)

    assert found.winner == "B"
    assert len(engine.requests) == 2


def test_the_default_personas_speak_in_their_order() -> None:
    found, _ = referees(lambda r: scores(5, 5, r), turns=1)

    assert [name for name, _ in found.games[0].statements] == list(PERSONAS)
    assert found.winner == "tie"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"turns": 0}, "turns is 0"),
        ({"personas": {}}, "personas is empty"),
        ({"personas": {"a b": "x"}}, "personas holds 'a b'"),
        ({"personas": {"a": " "}}, "personas holds 'a'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RunFailedError, match=said) as failed:
        referees(lambda _: "", **settings)

    assert isinstance(failed.value.__cause__, ConfigError)


@pytest.mark.model
def test_a_small_model_speaks_for_two_referees() -> None:
    """Mechanics only: each referee speaks once an order, whatever it says."""
    smol = Model("local:smollm2")
    call = referees_compare(
        "2 + 2?", RIGHT, WRONG, model=smol, personas=TWO, turns=1, max_tokens=16
    )

    result = motet.run(call, store=None, seed=1)

    assert result.usage.calls == 4
    assert len(result.value.games[0].statements) == 2
