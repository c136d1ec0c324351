"""From replies to verdicts: what is read, and what is kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.engine import Completion, FinishReason
from motet.programs.judges.reading import kept, score_of, verdict_of, winner_of


@pytest.mark.parametrize(
    ("share", "winner"),
    [
        (None, "error"),
        (0.5, "tie"),
        ((0.1 + 0.2) / 0.6, "tie"),
        (0.500001, "A"),
        (0.499999, "B"),
        (0.0, "B"),
    ],
)
def test_half_is_a_tie_also_where_it_is_rounded(share: float | None, winner: str) -> None:
    assert winner_of(share) == winner


@given(st.text())
def test_a_reply_is_kept_as_it_is_where_it_can_be_written(text: str) -> None:
    """Texts without lone surrogates come back."""
    assert kept(text) == text
    assert kept(f"{text}\ud800") == f"{text}\ufffd"


@pytest.mark.parametrize("reason", ["length", "abort", "refusal", "tool_calls"])
def test_only_whole_replies_are_read(reason: FinishReason) -> None:
    """The reader is not even asked."""

    def read(_: str) -> Any:
        raise AssertionError

    reply = Completion("[[A]]", reason)

    assert verdict_of(reply, read, "BA").winner == "error"
    assert score_of(reply, read).score is None
    assert verdict_of(reply, read, "BA").raw == "[[A]]"
