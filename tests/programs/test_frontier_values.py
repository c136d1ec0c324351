"""The exact values of number games' texts, whole and partial."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import motet
from motet import Model
from motet.engine import Capability, Request
from motet.errors import ConfigError
from motet.programs.frontier import Question, Study, figures_of, find_task, study_call
from motet.programs.frontier.attempts import Drawing
from motet.programs.frontier.tasks import GameValue, IsRight
from motet.search.numbers_game import NumbersGame
from motet.testing import ScriptedEngine

COUNTDOWN: dict[str, Any] = {"numbers": [3, 5, 7, 50], "target": 22, "is_all": False}
GAME24: dict[str, Any] = {"numbers": [4, 9, 10, 13], "target": 24, "is_all": True}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0.5),
        ("Let us see.", 0.5),
        ("3 * 5 = 15", 0.5),
        ("- First, $3 \\times 5 = 15$.\n\n15 + 7 = 22", 0.5),
        ("3 * 5 = 16", 0.0),
        ("28 - 6 = 22", 0.0),
        ("3 * 5 = 15\n15 + 3 = 18", 0.0),
        ("50 - 7 = 43\n\n43 * 3 = 129", 0.0),
        ("50 / 3 = 16.67", 0.5),
        ("The answer is (3 * 5) + 7.", 1.0),
        ("3 * 5 = 15\n15 + 7 = 22\nThe answer is 3 * 5 + 7 = 22.", 1.0),
        ("The answer is 22.", 0.0),
        ("The answer is 50 - 28.", 0.0),
    ],
)
def test_a_text_is_worth_what_can_still_be_made_of_it(text: str, value: float) -> None:
    """What wins has 1, what can still win a half, and a false step or a wrong answer nothing."""
    assert GameValue("countdown", COUNTDOWN)(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("- 10 - 4 = 6\n- 13 - 9 = 4\n", 0.5),
        ("9 - 13 = -4\n-4 + 10 = 6", 0.5),
        ("9 - 13 = -4\n10 - -4 = 14", 0.0),
        ("9 - 13 = 4", 0.0),
    ],
)
def test_negative_numbers_and_dashes_of_lists_are_told_apart(text: str, value: float) -> None:
    """`- 10 - 4 = 6` is an item of a list, `-4 + 10 = 6` a step from -4."""
    assert GameValue("game24", GAME24)(text) == value


@given(
    st.lists(st.integers(1, 13), min_size=2, max_size=4),
    st.integers(1, 30),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_a_state_is_worth_what_the_solver_says(
    numbers: list[int], target: int, is_all: bool, chance: random.Random
) -> None:
    """Behind random legal steps the value is a half where the solver reaches the target, else 0."""
    rules = NumbersGame(tuple(numbers), target, is_all)
    game: dict[str, Any] = {"numbers": numbers, "target": target, "is_all": is_all}
    value = GameValue("countdown", game)
    pool, text = rules.start, ""
    while True:
        # A last line that is itself a winning sum over the given numbers has won.
        is_won = IsRight("countdown", game)(text)
        assert value(text) == (1.0 if is_won else 0.5 if rules.is_solvable(pool) else 0.0)
        moves = [move for move in rules.moves(pool) if "/" not in move[0].split("(")[0]]
        if not moves:
            break
        line, pool = chance.choice(moves)
        text += line


def countdown(*texts: str) -> tuple[Study, Any]:
    text, gold = find_task("countdown").read({"numbers": [3, 5, 7, 50], "target": 22})
    study = Study(
        task="countdown",
        questions=(Question(id="0", text=text, gold=gold),),
        algorithms=("best-of-n(n=3, choose='verified')", "beam(n=2, width=2, max_steps=3)"),
        budgets=(2000,),
        drawing=Drawing(step_tokens=20, answer_tokens=40),
    )

    def script(request: Request) -> Any:
        return tuple(texts[i % len(texts)] for i in range(request.n))

    return study, ScriptedEngine(script, capabilities=frozenset(Capability))


def test_an_algorithm_that_needs_a_verifier_has_the_games_own() -> None:
    """On number games `verified` takes the sample that wins; on other tasks it is refused."""
    study, engine = countdown("50 - 7 = 43", "The answer is 3 * 5 + 7.", "The answer is 3 * 7.")

    call = study_call(study, model=Model(engine), scorer="exact")
    figures = figures_of(study, motet.run(call, store=None, cache=False).value)

    [verified] = [figure for figure in figures if "verified" in figure.method]
    assert verified.is_correct
    with pytest.raises(ConfigError, match="needs a verifier; gsm8k has none"):
        other = Study(
            task="gsm8k",
            questions=(Question(id="0", text="q", gold="1"),),
            algorithms=("best-of-n(choose='verified')",),
            budgets=(2000,),
        )
        study_call(other, model=Model(engine))


def test_a_search_goes_on_with_the_state_that_can_still_win() -> None:
    """Of two steps, of which one loses, beam search that is scored exactly extends the other."""
    study, engine = countdown("50 * 7 = 350\n\n", "3 * 5 = 15\n\n", "The answer is 22.")

    call = study_call(study, model=Model(engine), scorer="exact")
    motet.run(call, store=None, cache=False)

    extended = {
        request.prompt[-1].content
        for request in engine.requests
        if request.prompt[-1].role == "assistant"
    }
    assert extended
    assert all(text.startswith("3 * 5 = 15") for text in extended)


@pytest.mark.parametrize("num_numbers", [6, 7])
def test_the_exact_scorer_refuses_games_that_it_cannot_work_out_in_time(num_numbers: int) -> None:
    """Six numbers are taken; of more nothing is asked."""
    text, gold = find_task("countdown").read({"numbers": [*range(1, num_numbers + 1)], "target": 5})
    study = Study(
        task="countdown",
        questions=(Question(id="big", text=text, gold=gold),),
        algorithms=("best-of-n(n=3)",),
        budgets=(2000,),
    )
    model = Model(ScriptedEngine())

    if num_numbers == 6:
        study_call(study, model=model, scorer="exact")
        return
    with pytest.raises(ConfigError, match="scorer is 'exact'; question 'big' has 7 numbers"):
        study_call(study, model=model, scorer="exact")


def test_what_six_numbers_can_make_is_worked_out_in_seconds() -> None:
    """A target that cannot be reached is the longest to work out."""
    gold: Any = {"numbers": [13, 27, 38, 51, 76, 91], "target": 987_654, "is_all": False}
    began_s = time.process_time()

    assert GameValue("countdown", gold)("Let me think.") == 0.0

    assert time.process_time() - began_s < 5
