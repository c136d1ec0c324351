"""Metrics that ask no model: rules by kind and by name, functions of one's own, forms of votes."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import motet
from motet import RunFailedError
from motet.errors import ConfigError, DataError, SandboxError, StepError
from motet.evaluation.metrics import GRADERS, Graded, Scored, check_metric, score_by_rule
from motet.evaluation.task import Score
from motet.grading.instruction_following import Instruction
from motet.grading.rows import CodeTests, Kind, Row
from motet.sandbox import check_sandbox


def row_of(kind: Kind, *golds: str, **more: Any) -> Row:
    return Row(id="r", prompt="p", golds=golds, kind=kind, task="", **more)


FOLLOW = row_of(
    "instructions",
    instructions=(
        Instruction(id="punctuation:no_comma", settings={}),
        Instruction(id="change_case:english_lowercase", settings={}),
    ),
)
CHOICE = row_of("choice", "B", options=("cat", "dog"))


@pytest.mark.parametrize(
    ("row", "right", "wrong"),
    [
        (row_of("number", "18"), ["So 18.", "The answer is $18.00."], ["17", "The answer is 81."]),
        (row_of("maths", r"\frac{1}{2}"), ["The answer is 0.5."], [r"\boxed{2}"]),
        (CHOICE, ["The answer is (B).", "B", "dog"], ["A", "The answer is (A)."]),
        (row_of("text", "The cat"), ["cat!", "Hm.\nThe answer is: cat."], ["dog", "a cat, maybe"]),
        (row_of("plain", "valid"), ["Valid.", "Let us see.\nSo the answer is **valid**."],
         ["invalid"]),
        (row_of("literal", "[1, 'a']"), ['[1,"a"]', "The answer is [1, 'a']."], ["[1]"]),
    ],
)  # fmt: skip
def test_an_answer_is_graded_by_the_kind_of_its_row(
    row: Row, right: list[str], wrong: list[str]
) -> None:
    """Alone or behind reasoning, as the instruction of its kind asks for it."""
    assert [score_by_rule(row, text, "auto").value for text in right] == [1.0] * len(right)
    assert [score_by_rule(row, text, "auto").value for text in wrong] == [0.0] * len(wrong)


def test_a_reply_that_states_no_answer_is_unreadable() -> None:
    """It counts as wrong, and is told apart from a wrong answer."""
    score = score_by_rule(row_of("number", "1"), "I do not know.", "auto")

    assert (score.value, score.missing) == (None, "unreadable")


def test_word_f1_stands_beside_exact_match_of_texts() -> None:
    """And is a metric of its own."""
    row = row_of("text", "the black cat")

    score = score_by_rule(row, "a black dog", "auto")

    assert (score.value, score.others) == (0.0, {"f1": 0.5})
    assert score_by_rule(row, "a black dog", "f1").value == 0.5


@pytest.mark.parametrize(
    ("text", "value", "loose", "share"),
    [
        ("all lower", 1.0, 1.0, 1.0),
        ("lower, comma", 0.0, 0.0, 0.5),
        ("Sure:\nall low", 0.0, 1.0, 0.5),
    ],
)
def test_instructions_are_followed_strictly_and_beside_it_loosely(
    text: str, value: float, loose: float, share: float
) -> None:
    """The value is whether a prompt keeps all; the share of those kept stands beside."""
    score = score_by_rule(FOLLOW, text, "auto")

    assert score.value == value
    assert score.others["loose"] == loose
    assert score.others["instructions"] == share


def test_an_instruction_that_cannot_be_checked_makes_no_wrong_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a detector of languages nothing is known of a prompt that breaks nothing else."""
    monkeypatch.setattr("motet.evaluation.metrics._detector", lambda: None)

    language = Instruction(id="language:response_language", settings={"language": "de"})
    row = row_of("instructions", instructions=(FOLLOW.instructions[0], language))

    kept = score_by_rule(row, "all lower", "auto")
    broken = score_by_rule(row, "a, comma", "auto")

    assert (kept.value, kept.missing) == (None, "not judged")
    assert broken.value == 0.0
    assert broken.others == {"loose": 0.0, "instructions": 0.0, "instructions_loose": 0.0}


@pytest.mark.parametrize(
    ("grader", "row", "said"),
    [
        ("choice", row_of("text", "a"), "has no options"),
        ("instructions", row_of("text", "a"), "has no instructions"),
        ("code", row_of("text", "a"), "has no tests"),
        ("auto", row_of("text"), "'r' has no right answer"),
        ("number", FOLLOW, "'r' has no right answer"),
        (
            "auto",
            row_of("instructions", instructions=(Instruction(id="be:nice", settings={}),)),
            "row 'r': .*be:nice",
        ),
    ],
)
def test_a_row_that_a_grader_cannot_grade_is_refused_beforehand(
    grader: str, row: Row, said: str
) -> None:
    """With what it lacks."""
    with pytest.raises(DataError, match=said):
        check_metric(Graded(name=grader), [row])


@pytest.mark.parametrize(
    ("given_", "said"), [("nunber", "did you mean 'number'?"), ("bleu", "there are auto"), (3, "3")]
)
def test_an_unknown_grader_is_named_with_what_is_meant(given_: Any, said: str) -> None:
    """Or with all there are."""
    with pytest.raises(ConfigError, match=re.escape(said)):
        Graded(name=given_)


@given(st.sampled_from([row_of("number", "1"), row_of("maths", "1"), CHOICE, row_of("text", "x"),
                        row_of("plain", "x"), row_of("literal", "1"), FOLLOW]),
       st.text(max_size=200))  # fmt: skip
def test_any_text_has_a_score_and_a_vote_or_none(row: Row, text: str) -> None:
    """Nothing that a model writes breaks a grader."""
    metric = Graded()

    if text.strip():
        score = score_by_rule(row, text, "auto")
        assert score.value is None or 0 <= score.value <= 1
    vote = metric.vote_of(row, text)
    assert vote is None or isinstance(vote, str)


@given(st.integers(-(10**6), 10**6))
def test_answers_of_one_value_vote_together(value: int) -> None:
    """However they are written."""
    row = row_of("maths", "0")
    ways = [
        f"The answer is {value}.",
        f"\\boxed{{{value}.0}}",
        f"#### {value}",
        f"\\boxed{{{2 * value}/2}}",
    ]

    assert len({Graded().vote_of(row, way) for way in ways}) == 1
    assert Graded().vote_of(row, f"The answer is {value + 1}.") != Graded().vote_of(row, ways[0])


def test_what_has_no_short_answer_has_no_vote() -> None:
    """Instructions and code are texts."""
    assert Graded().vote_of(FOLLOW, "anything") is None
    assert Graded().vote_of(row_of("code"), "def f(): pass") is None
    assert Graded().vote_of(CHOICE, "It is a cat.") == "A"


@pytest.fixture
def sandbox() -> None:
    try:
        check_sandbox()
    except SandboxError as exc:
        pytest.skip(str(exc))


@pytest.mark.parametrize(
    ("source", "text", "value", "missing"),
    [
        ("assert f(1) == 2", "```python\ndef f(x):\n    return x + 1\n```", 1.0, None),
        ("assert f(1) == 2", "def f(x):\n    return x", 0.0, None),
        ("assert f(1) ==", "def f(x):\n    return x", None, "not judged"),
    ],
)
def test_code_is_scored_by_its_tests(
    sandbox: None, source: str, text: str, value: float | None, missing: str | None
) -> None:
    """Tests that cannot be run say nothing of a program."""
    row = row_of("code", tests=CodeTests(entry_point="f", source=source))
    metric = Graded()
    check_metric(metric, [row])

    score = motet.run(metric.score(row, text), store=None).value

    assert (score.value, score.missing) == (value, missing)


def length(text: str, row: Row) -> Any:
    return {"yes": True, "no": False, "half": 0.5, "none": None}.get(text, text)


async def later(text: str, row: Row) -> Any:
    return length(text, row)


def crash(text: str, row: Row) -> float:
    raise ZeroDivisionError(row.id)


@pytest.mark.parametrize("function", [length, later])
@pytest.mark.parametrize(
    ("text", "value", "missing"),
    [("yes", 1.0, None), ("no", 0.0, None), ("half", 0.5, None), ("none", None, "not judged")],
)
def test_a_function_of_ones_own_is_a_metric(
    function: Any, text: str, value: float | None, missing: str | None
) -> None:
    """Plain or async; None says that it cannot tell."""
    score = motet.run(Scored(function=function).score(row_of("text"), text), store=None).value

    assert (score.value, score.missing) == (value, missing)


@pytest.mark.parametrize(
    ("function", "text", "error", "said"),
    [
        (length, "a text", ConfigError, "metric length gave 'a text'"),
        (lambda text, row: 2, "x", ConfigError, "gave 2"),
        (lambda text, row: math.nan, "x", ConfigError, "gave nan"),
        (crash, "x", StepError, "ZeroDivisionError"),
    ],
)
def test_a_function_that_gives_no_score_is_an_error_of_its_own(
    function: Any, text: str, error: type[Exception], said: str
) -> None:
    """It is never taken for a wrong answer of a model."""
    with pytest.raises(RunFailedError) as failed:
        motet.run(Scored(function=function).score(row_of("text"), text), store=None)

    assert isinstance(failed.value.__cause__, error)
    assert said in str(failed.value.__cause__)


@pytest.mark.parametrize("function", [7, lambda text: 1, lambda text, row, more: 1])
def test_what_is_no_function_of_a_text_and_a_row_is_refused(function: Any) -> None:
    """Before anything is asked."""
    with pytest.raises(ConfigError, match="a function of a text and a row"):
        Scored(function=function)


@pytest.mark.parametrize(
    "fields",
    [
        {"value": 1.5, "answer": None},
        {"value": math.nan, "answer": None},
        {"value": None, "answer": None},
        {"value": 1.0, "answer": None, "missing": "empty"},
        {"value": None, "answer": None, "missing": "lost"},
        {"value": 1.0, "answer": None, "others": {"f1": -1.0}},
    ],
)
def test_a_score_is_from_0_to_1_or_says_why_there_is_none(fields: dict[str, Any]) -> None:
    """Anything else is no score."""
    with pytest.raises(ConfigError):
        Score(**fields)


def test_the_names_of_graders_are_those_of_kinds_and_a_few_more() -> None:
    """So that a row of any kind has a grader of its name."""
    from typing import get_args

    assert set(get_args(Kind)) < set(GRADERS)
