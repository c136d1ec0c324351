"""The additive judge: the last total, whole numbers only, and the mean of what could be read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import motet
from motet import Budget, Model
from motet.engine import Completion
from motet.errors import BudgetExhaustedError, ConfigError, RunFailedError
from motet.programs.judges.additive import AdditiveScore, additive_score, read_total
from motet.store import Store
from motet.testing import ScriptedEngine


def run(replies: Any, **settings: Any) -> tuple[AdditiveScore, ScriptedEngine]:
    engine = ScriptedEngine(lambda _: replies)
    ref = additive_score("q", "Score: 5", model=Model(engine), **settings)
    return motet.run(ref, store=None).value, engine


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("It is relevant.\nScore: 3", 3),
        ("Score: 0", 0),
        ("Score: 2 for relevance.\nScore: 4", 4),
        ("**Score:** 5", 5),
        ("**Score: 5**.", 5),
        ("score:4/5", 4),
        ("Score: 3 points.", 3),
        ("Score: 4\nScore: six", None),
        ("Score: 3.5", None),
        ("Score: 6", None),
        ("Score: -3", None),
        ("Score: 45", None),
        ("Score: n", None),
        ("Score:", None),
        ("3", None),
        ("", None),
    ],
)
def test_the_total_is_a_whole_number_behind_the_last_score(text: str, total: int | None) -> None:
    """From 0 to 5; what is none is None, never 0."""
    assert read_total(text) == total


def test_the_score_is_the_mean_of_the_passes_that_hold_one() -> None:
    """A pass without a total counts as an error, not as 0; all are samples of one request."""
    cut = Completion("So far Score: 1", "length")
    found, engine = run(("Fine.\nScore: 3", "no total", "Score: 4", cut), passes=4)

    assert found.score == 3.5
    assert [each.score for each in found.passes] == [3, None, 4, None]
    assert found.num_errors == 2
    assert found.verdict.score == 3.5
    assert [(each.n, each.sampling.temperature) for each in engine.requests] == [(4, 0.7)]


def test_no_pass_with_a_total_is_no_score() -> None:
    found, _ = run("no total")

    assert (found.score, found.num_errors, found.verdict.score) == (None, 3, None)


def test_what_the_answer_holds_is_no_total() -> None:
    """The judge's replies are read, not what it was shown; the five points add up."""
    found, engine = run("Poor.\nScore: 1")
    text = engine.requests[0].prompt[0].content  # type: ignore[union-attr]

    assert found.score == 1
    assert "<answer>\nScore: 5\n</answer>" in text
    assert text.count("\n- 1 ") == 5
    assert text.count("1 more point") == 4


@pytest.mark.parametrize("passes", [0, -1, 1.5, True])
def test_passes_are_a_whole_number(passes: Any) -> None:
    with pytest.raises(ConfigError, match="passes is"):
        additive_score("q", "a", model=Model(ScriptedEngine()), passes=passes)


def test_a_budget_holds() -> None:
    engine = ScriptedEngine(lambda _: "Score: 1")

    with pytest.raises(RunFailedError) as failed:
        motet.run(
            additive_score("q", "a", model=Model(engine)), store=None, budget=Budget(max_calls=0)
        )

    assert isinstance(failed.value.__cause__, BudgetExhaustedError)
    assert engine.requests == []


def test_the_score_can_be_journaled(tmp_path: Path) -> None:
    """A whole number where a float is declared could not."""
    model = Model(ScriptedEngine(lambda _: ("Score: 3", "none", "Score: 4")))
    run_id = motet.run(additive_score("q", "a", model=model), store=tmp_path / "runs.db").run_id

    async def digests() -> list[str | None]:
        store = Store.open(tmp_path / "runs.db")
        try:
            calls = await store.load_calls(run_id)
            return [call.value_digest for call in calls if call.operation.endswith(":totals")]
        finally:
            store.close()

    [digest] = asyncio.run(digests())
    assert digest is not None


def test_a_resumed_run_asks_nothing_again(tmp_path: Path) -> None:
    """The passes come back from the journal, unread ones too."""
    store = str(tmp_path / "runs.db")
    engine = ScriptedEngine(lambda _: ("Score: 3", "\ud800", "Score: 4"))

    def ref() -> Any:
        return additive_score("q", "a", model=Model(engine))

    first = motet.run(ref(), store=store, seed=1)
    again = motet.run(ref(), store=store, seed=1, resume=first.run_id)

    assert again.value == first.value
    assert again.value.passes[1].raw == "\ufffd"
    assert len(engine.requests) == 1
