"""Self-consistency: extraction of answers, votes, and their ties."""

import gzip
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motet
from motet import Completion, Message, Model, Ref, RunFailedError
from motet.errors import ConfigError, EmptyReplyError, TooFewSurvivorsError
from motet.programs import self_consistency
from motet.search.answers import extract_answer, normalised
from motet.testing import ScriptedEngine


def thinker(*texts: Any) -> Model:
    return Model(ScriptedEngine(lambda r: texts))


def value_of(ref: Ref[Any]) -> Any:
    return motet.run(ref, store=None).value


def failure_of(ref: Ref[Any]) -> Any:
    with pytest.raises(RunFailedError) as caught:
        motet.run(ref, store=None)
    return caught.value.__cause__


EXTRACTED: list[tuple[str, Any, str | None]] = [
    ("The answer is 42.", "final", "42"),
    ("the ANSWER IS: 42", "final", "42"),
    ("First the answer is 1.\nNo, the answer is 2.", "final", "2"),
    ("so \\boxed{\\frac{1}{2}} it is", "final", "\\frac{1}{2}"),
    ("\\boxed{1} then \\boxed{2}", "final", "2"),
    ("work\n#### 1,234", "final", "1234"),
    ("no statement", "final", None),
    ("", "final", None),
    ("\\boxed{open", "final", None),
    ("The answer is 42.50 dollars", "number", "42.5"),
    ("3 apples and 4 pears", "number", "4"),
    ("1,000", "number", "1000"),
    ("-7", "number", "-7"),
    ("3/4", "number", "3/4"),
    ("no number", "number", None),
    ("The answer is (B).", "choice", "B"),
    ("B", "choice", "B"),
    ("A or B? I say (C)", "choice", "C"),
    ("none", "choice", None),
    ("  free  text. ", "text", "free text"),
    ("", "text", None),
]


@pytest.mark.parametrize(("text", "extraction", "expected"), EXTRACTED)
def test_an_answer_is_what_the_text_ends_with(
    text: str, extraction: Any, expected: str | None
) -> None:
    """The last statement counts; a text that states none has no answer."""
    assert extract_answer(text, extraction) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("First the answer is 1. No, the answer is 2.", "2"),
        ("The answer is 42. I hope this helps!", "42"),
    ],
)
def test_a_statement_ends_with_its_sentence(text: str, expected: str) -> None:
    """What stands behind the statement on its line is no part of the answer."""
    assert extract_answer(text, "final") == expected


NORMALISED = [
    ("42", "42.0", True),
    ("1,234", "1234", True),
    ("007", "7", True),
    ("$5", "5", True),
    ("yes.", "yes", True),
    ("a  b", "a b", True),
    ("-0.50", "-0.5", True),
    ("4.2", "42", False),
    ("-1", "1", False),
    ("1/2", "12", False),
    ("a", "b", False),
]


@pytest.mark.parametrize(("a", "b", "same"), NORMALISED)
def test_only_what_does_not_change_an_answer_is_folded(a: str, b: str, same: bool) -> None:
    """Spaces, stops, commas and zeros; never a sign or a point."""
    assert (normalised(a) == normalised(b)) is same


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=20))
def test_folding_twice_is_folding_once(text: str) -> None:
    """A normal form is normal."""
    once = normalised(text)

    assert normalised(once) == once


@settings(deadline=None, max_examples=200)
@given(
    st.text(st.characters(exclude_categories=()), max_size=60),
    st.sampled_from(["final", "number", "choice", "text"]),
)
def test_extraction_takes_any_text(text: str, extraction: Any) -> None:
    """An answer is a text that is not empty, or None."""
    answer = extract_answer(text, extraction)

    assert answer is None or answer


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["1", "2", "3"]), min_size=1, max_size=9))
def test_the_majority_wins_and_among_equals_the_first_reached(answers: list[str]) -> None:
    """The planted truth: the mode, first among equals."""
    texts = [f"So the answer is {a}." for a in answers]

    value = value_of(self_consistency("q", model=thinker(*texts), n=len(texts)))

    most = max(Counter(answers).values())
    assert value == next(a for a in answers if answers.count(a) == most)


def test_equal_numbers_vote_together() -> None:
    """However they are written."""
    model = thinker("The answer is 1000.", "The answer is 7.", "The answer is $1,000.00.")

    assert value_of(self_consistency("q", model=model, n=3)) == "1000"


def test_failed_and_silent_samples_have_no_vote() -> None:
    """A cut-off statement does not count, however often it is made."""
    cut = Completion("The answer is 9", "length")
    model = thinker(cut, cut, "", "I do not know", "The answer is 3.")

    assert value_of(self_consistency("q", model=model, n=5)) == "3"


def test_where_no_sample_states_an_answer_the_call_fails() -> None:
    """No answer is made up."""
    failure = failure_of(self_consistency("q", model=thinker("hm", "well"), n=2))

    assert isinstance(failure, TooFewSurvivorsError)
    assert "none of 2" in str(failure)


def test_where_all_samples_fail_the_call_fails_with_the_first() -> None:
    """An outcome, not a vote."""
    assert isinstance(
        failure_of(self_consistency("q", model=thinker("", ""), n=2)), EmptyReplyError
    )


def test_a_function_may_extract() -> None:
    """None is no vote."""
    model = thinker("x=1", "y=2", "x=3", "x=3")

    ref = self_consistency(
        "q", model=model, n=4, extract=lambda t: t[2:] if t.startswith("x") else None
    )

    assert value_of(ref) == "3"


@pytest.mark.parametrize("extract", ["numbers", "", None])
def test_an_unknown_extraction_is_refused(extract: Any) -> None:
    """When it is called."""
    with pytest.raises(ConfigError, match="extract"):
        self_consistency("q", model=thinker("a"), extract=extract)


def test_the_instruction_stands_in_the_system_turn() -> None:
    """Added to the one that is there; none where it is empty; one request in all."""
    engine = ScriptedEngine(lambda r: ("The answer is 1.",) * r.n)
    chat = (Message.system("Be kind."), Message.user("q"))

    for question, instruction in (("q", "Think."), (chat, "Think."), ("q", "")):
        value_of(self_consistency(question, model=Model(engine), n=3, instruction=instruction))

    assert [r.prompt for r in engine.requests] == [
        (Message.system("Think."), Message.user("q")),
        (Message.system("Be kind.\n\nThink."), Message.user("q")),
        (Message.user("q"),),
    ]
    assert [r.n for r in engine.requests] == [3, 3, 3]


def _records(path: str) -> list[dict[str, Any]]:
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    with gzip.open(Path(folder) / path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_extraction_grades_gsm8k_as_its_authors_did() -> None:
    """The last number of a solution equals the gold answer just where the data set says that the
    solution is right, on every one of its graded solutions."""
    disagreements = [
        (record["id"], name)
        for record in _records("gsm8k/test.jsonl.gz")
        for name, solution in record["solutions"].items()
        if (extract_answer(solution["text"], "number") == normalised(record["gold"]))
        != bool(solution["correct"])
    ]

    assert disagreements == []
