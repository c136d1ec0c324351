"""What the values of programs say, by which they are scored."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from motet import Completion, program
from motet.evaluation.texts import Said, is_readable, text_of
from motet.judging.verdicts import PairVerdict, ScoreVerdict
from motet.programs.agent_q import Trajectory
from motet.programs.cascade import Cascaded
from motet.programs.entropy_adaptive import AdaptiveAnswer
from motet.programs.judges import ExpectedScore, JuryScore, JuryVerdict, PairComparison, Preference
from motet.programs.judges.additive import AdditiveScore
from motet.programs.judges.critique_formats import PandaLMComparison, PandaLMGame
from motet.programs.play import Played
from motet.programs.refine import Refined
from motet.programs.route import Routed
from motet.programs.solution import Solution
from motet.routing.router import Decision
from motet.types import Embedding


class Colour(enum.Enum):
    RED = "red"


class Parsed(BaseModel):
    steps: list[str]
    answer: int


class Form(BaseModel):
    name: str


@dataclass
class Deep:
    answer: Any


VERDICT = PairVerdict(winner="A")
GAME = PandaLMGame(verdict=VERDICT, reason="", reference="")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("42", "42"),
        (Completion("42"), "42"),
        (42, "42"),
        (0.5, "0.5"),
        (True, "true"),
        (Colour.RED, "red"),
        (Parsed(steps=["a"], answer=7), "7"),
        (Form(name="x"), '{"name":"x"}'),
        ([2, 0, 1], "[2, 0, 1]"),
        ({"answer": "b", "why": "c"}, "b"),
        ({"z": 1}, '{"z": 1}'),
        (Deep(Deep("in")), "in"),
        (Solution(text="s", score=None, is_finished=True, why="done"), "s"),
        (Cascaded(text="c", model="m", is_accepted=False, stages=()), "c"),
        (Refined(text="r", is_passed=False, value=0.0, pair=None, why="done"), "r"),
        (AdaptiveAnswer("a", 1, 2, 3), "a"),
        (Trajectory(actions=("x", "y"), thoughts=("", ""), value=1.0, is_finished=True, why=""),
         "x\ny"),
        (Played(move="e4", value=None, values={}, mix={}, why="done"), "e4"),
        (PairComparison(winner="B", is_consistent=True, games=(VERDICT, VERDICT)), "B"),
        (PandaLMComparison(winner="tie", is_consistent=False, games=(GAME, GAME)), "tie"),
        (Preference(share=0.9, by_order=(0.9,), masses=(1.0,)), "A"),
        (JuryVerdict(winner="A", share=0.8, ballots=()), "A"),
        (JuryScore(score=0.25, verdicts=()), "0.25"),
        (ScoreVerdict(score=3.0), "3.0"),
        (AdditiveScore(score=4.0, passes=()), "4.0"),
        (ExpectedScore(1.5, 1.0, (), ScoreVerdict(score=1.5)), "1.5"),
        ("half \ud800", "half \ufffd"),
    ],
)  # fmt: skip
def test_every_value_of_a_program_says_a_text(value: Any, text: str) -> None:
    """What the programs of motet return is read by what it is about."""
    assert text_of(value) == Said(text=text)


def test_a_routed_answer_says_its_text() -> None:
    """Not the router's decision."""
    decision = Decision(model="m", reason="best", price=None, estimates={"m": 1.0})

    assert text_of(Routed(text="t", decision=decision)).text == "t"


@pytest.mark.parametrize(
    "value",
    [None, "", " \n", Completion(""), float("nan"), float("inf"), ScoreVerdict(score=None),
     JuryScore(score=None, verdicts=())],
)  # fmt: skip
def test_a_value_that_says_nothing_is_empty(value: Any) -> None:
    """It is no text, rather than the name of one."""
    assert text_of(value) == Said(text=None)


@pytest.mark.parametrize(
    "value",
    [
        Completion("The answer is 1", "length"),
        Solution(text="The answer", score=None, is_finished=False, why="limit"),
        Deep(Completion("x", "length")),
    ],
)
def test_a_value_that_stopped_before_its_end_is_cut_off(value: Any) -> None:
    """However deep the completion stands."""
    assert text_of(value).is_cut_off


@given(st.recursive(st.none() | st.text() | st.floats() | st.booleans(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                    max_leaves=8))  # fmt: skip
def test_any_plain_value_says_something_or_nothing(value: Any) -> None:
    """It never fails, and what it says can be written."""
    said = text_of(value).text

    assert said is None or said.encode()


def test_a_program_whose_value_no_text_says_is_known_by_its_annotation() -> None:
    """An embedding, bytes and nothing at all."""

    @program
    async def vector(text: str) -> Embedding:
        return Embedding((1.0,))

    @program
    async def label(text: str) -> Literal["a", "b"]:
        return "a"

    @program
    async def nothing(text: str) -> None:
        return None

    assert [is_readable(each) for each in (vector, label, nothing)] == [False, True, False]
