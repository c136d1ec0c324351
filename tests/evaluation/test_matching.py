"""Self-consistency of the same compute: how much it spends, and which sample stands for all."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motet
from motet import Completion, Model, Price
from motet.engine import Request
from motet.errors import ConfigError
from motet.evaluation.given import given as given_row
from motet.evaluation.matching import Matching, answer_alike, medoid, most_agreed
from motet.evaluation.metrics import Graded
from motet.evaluation.replies import Reply
from motet.evaluation.study import study_call
from motet.evaluation.task import Contender, Task
from motet.grading.rows import Row
from motet.programs.self_consistency import self_consistency
from motet.testing import ScriptedEngine

ROW = Row(id="r", prompt="One two three?", golds=("1",), kind="number", task="")


def words(lengths: Any) -> Any:
    """A sample has as many words as `lengths` says for its seed and place."""

    def script(request: Request) -> Any:
        made = []
        for index in range(request.n):
            num = lengths(random.Random(f"{request.sampling.seed} {index}"))
            made.append(Completion("1 " * num, "stop", None, tuple(range(num))))
        return tuple(made)

    return script


def alike(engine: ScriptedEngine, target: float, **changes: Any) -> Reply:
    price = changes.pop("price", None)
    call = answer_alike(
        changes.pop("prompt", ROW.prompt),
        given_row(changes.pop("row", ROW)),
        metric=Graded(),
        model=Model(engine, price=price),
        target=target,
        matching=Matching(**{"max_samples": 1000, **changes}),
        seed=0,
    )
    found: Reply = motet.run(call, store=None, cache=False).value
    return found


@settings(max_examples=40, deadline=None)
@given(target=st.integers(0, 400), low=st.integers(1, 20), spread=st.integers(0, 20))
def test_the_spend_is_within_half_a_sample_of_the_contenders(
    target: int, low: int, spread: int
) -> None:
    """One sample more, or one less, would be no nearer; there is one at least."""
    engine = ScriptedEngine(words(lambda chance: low + chance.randint(0, spread)))

    found = alike(engine, target)

    assert found.samples is not None and found.samples >= 1
    longest = low + spread
    if found.samples > 1 or target >= found.tokens:
        assert abs(found.tokens - target) <= longest / 2 + 1 + spread
    assert abs(found.tokens - target) < longest or found.samples == 1


def test_samples_of_one_length_are_matched_exactly() -> None:
    """The prompt counts once, as in one request of all samples."""
    engine = ScriptedEngine(words(lambda chance: 10))

    found = alike(engine, target=3 + 10 * 8)

    assert (found.samples, found.tokens) == (8, 83)
    assert [request.n for request in engine.requests] == [1, 7]


@pytest.mark.parametrize(("target", "samples"), [(0, 1), (13, 1), (18, 1), (19, 2), (23, 2)])
def test_the_last_sample_counts_only_where_it_brings_the_sum_nearer(
    target: int, samples: int
) -> None:
    """Halfway between, the smaller number is taken; none is asked for that would not count."""
    engine = ScriptedEngine(words(lambda chance: 10))

    assert alike(engine, target).samples == samples
    assert sum(request.n for request in engine.requests) == samples


def test_no_more_samples_than_the_most_are_drawn() -> None:
    """However much the contender spent."""
    engine = ScriptedEngine(words(lambda chance: 10))

    found = alike(engine, target=1e9, max_samples=5)

    assert found.samples == 5
    assert sum(request.n for request in engine.requests) == 5


def test_self_consistency_is_matched_by_as_many_samples_as_it_takes() -> None:
    """A contender that is self-consistency itself has no advantage by its one request."""
    engine = ScriptedEngine(
        lambda r: tuple(Completion("The answer is 1.", "stop", None, (1,) * 9) for _ in range(r.n))
    )
    contender = Contender(
        name="votes",
        program=self_consistency,
        settings={"n": 12, "instruction": ""},
        model=Model(engine),
    )
    task = Task(name="t", rows=(ROW,), metric=Graded())

    own, matched = motet.run(study_call(task, [contender]), store=None, cache=False).value

    assert matched.samples == 12
    assert matched.tokens == own.tokens


def test_where_money_is_matched_it_is_the_money_that_is_equal() -> None:
    """Tokens then differ, as those of prompts and completions have different prices."""
    engine = ScriptedEngine(words(lambda chance: 10))
    price = Price(prompt=1e6, completion=2e6)

    found = alike(engine, target=3 + 4 * 20, match="cost", price=price)

    assert found.samples == 4
    assert found.cost == pytest.approx(83)


def test_empty_samples_end_the_drawing() -> None:
    """A model that says nothing is asked once, and the reply is empty."""
    engine = ScriptedEngine(lambda r: ("",) * r.n)

    found = alike(engine, target=100)

    assert (found.text, found.missing, found.samples) == (None, "empty", 1)
    assert len(engine.requests) == 1


def test_samples_that_are_cut_off_have_no_vote() -> None:
    """Where all are, the reply is cut off, and no metric sees it."""
    cut = Completion("The answer is 7", "length", None, (1,) * 5)
    whole = Completion("The answer is 1.", "stop", None, (1,) * 5)
    mixed = ScriptedEngine(lambda r: (cut,) * r.n if r.n < 3 else (cut, whole, cut, cut))

    found = alike(mixed, target=3 + 4 * 5)
    lost = alike(ScriptedEngine(lambda r: (cut,) * r.n), target=3 + 4 * 5)

    assert (found.text, found.missing, found.samples) == ("The answer is 1.", None, 5)
    assert (lost.missing, lost.samples) == ("cut off", 5)


@pytest.mark.parametrize(
    ("texts", "place"),
    [
        (["It is 7.", "It is 2.", "So 2."], 1),
        (["It is 7.", "It is 2."], 0),
        (["It is 1/2.", "It is 0.5.", "It is 3."], 0),
        (["no", "none here", "It is 4."], 2),
    ],
)
def test_the_answer_that_most_reach_is_taken_by_its_value(texts: list[str], place: int) -> None:
    """Ties go to the answer that came first; a text without an answer has no vote."""
    found = motet.run(most_agreed(given_row(ROW), texts, Graded()), store=None).value

    assert found == place


def test_texts_without_a_form_to_vote_by_are_stood_for_by_the_medoid() -> None:
    """The one that has most words in common with the others, wherever it stands."""
    texts = ["zebra", "the cat sat on a mat", "a cat sat on the mat today", "a dog on the mat"]
    row = Row(id="r", prompt="p", golds=(), kind="text", task="")

    assert medoid(texts) == 1
    assert medoid(texts[::-1]) == 2
    assert medoid(["one"]) == 0
    assert motet.run(most_agreed(given_row(row), texts, Graded()), store=None).value == 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [("match", "calls"), ("temperature", -1), ("max_samples", 0), ("sample_tokens", 0)],
)
def test_a_wrong_setting_is_named(setting: str, value: Any) -> None:
    """With its value."""
    with pytest.raises(ConfigError, match=f"{setting} is {value!r}"):
        Matching(**{setting: value})


def test_a_program_can_be_the_model_of_self_consistency() -> None:
    """What its calls take is what is matched."""
    engine = ScriptedEngine(words(lambda chance: 10))

    from motet.programs.best_of_n import answer

    @motet.program
    async def ask(question: str) -> str:
        return await answer.on(Model(engine))(question)

    call = answer_alike(
        ROW.prompt,
        given_row(ROW),
        metric=Graded(),
        model=ask.as_model(),
        target=13 * 4,
        matching=Matching(),
        seed=0,
    )
    found = motet.run(call, store=None, cache=False).value

    assert (found.samples, found.tokens) == (4, 52)
