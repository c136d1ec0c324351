"""Pieces of vLLM's outputs as completions, and its errors as motet's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from motet.errors import EngineError
from motet.serving.vllm.replies import Collected, logprob_by_id


@dataclass
class Output:
    """What is read of vLLM's CompletionOutput."""

    text: str = ""
    token_ids: tuple[int, ...] = ()
    logprobs: Any = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None


@dataclass
class Logprob:
    """What is read of vLLM's Logprob."""

    logprob: float
    rank: int
    decoded_token: str | None = field(default=None)


def test_pieces_join_in_order() -> None:
    found = Collected()

    found.add(Output("a", (1,)))
    found.add(Output("", (2,)))
    found.add(Output("b", (3,), finish_reason="stop", stop_reason="!"))

    completion = found.completion(None)
    assert (completion.text, completion.token_ids) == ("ab", (1, 2, 3))
    assert (completion.finish_reason, completion.stop_reason) == ("stop", "!")


@pytest.mark.parametrize(
    ("told", "reason"),
    [("stop", "stop"), ("length", "length"), ("abort", "abort"), ("repetition", "length")],
)
def test_reasons_are_motets(told: str, reason: str) -> None:
    found = Collected()

    found.add(Output(finish_reason=told))

    assert found.completion(None).finish_reason == reason


def test_a_stop_tokens_id_is_no_stop_text() -> None:
    found = Collected()

    found.add(Output(finish_reason="stop", stop_reason=17))

    assert found.stop_reason == 17
    assert found.completion(None).stop_reason is None


def test_a_request_that_the_engine_gave_up_is_an_error() -> None:
    with pytest.raises(EngineError, match="error"):
        Collected().add(Output(finish_reason="error"))


def test_the_most_likely_tokens_come_best_first_and_no_more_than_wanted() -> None:
    line = {
        9: Logprob(-5.0, 40, "i"),
        2: Logprob(-0.9, 2, "b"),
        1: Logprob(-0.5, 1, "a"),
        3: Logprob(-2.0, 3, None),
    }
    found = Collected()
    found.add(Output("i", (9,), [line]))

    [two] = found.token_logprobs(2)
    [all_] = found.token_logprobs(3)
    [none] = found.token_logprobs(0)

    assert (two.token, two.logprob, two.token_id) == ("i", -5.0, 9)
    assert two.top == (("a", -0.5), ("b", -0.9))
    assert all_.top[-1] == ("", -2.0)
    assert none.top == ()
    assert found.token_logprobs(None) == ()


def test_logprobs_by_id_hold_what_is_wanted_and_there() -> None:
    line = {1: Logprob(-0.5, 1), 2: Logprob(-0.9, 2)}

    assert logprob_by_id(line) == {1: -0.5, 2: -0.9}
    assert logprob_by_id(line, (2, 3)) == {2: -0.9}
