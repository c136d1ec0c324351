"""Replies of models: what is whole, what they are labelled with."""

from __future__ import annotations

import time

import pytest

import motet
from motet import Model, prompt
from motet.engine import Completion
from motet.programs.replies import labelled, tokens_of, whole_replies
from motet.testing import ScriptedEngine


def test_what_is_empty_or_cut_off_is_no_whole_reply() -> None:
    """Spaces around the text do not belong to it."""
    replies = [
        Completion(" a\n"),
        Completion(" \n"),
        Completion("b", "length"),
        Completion("c", "abort"),
        Completion("d", "stop", stop_reason="\n"),
    ]

    assert whole_replies(replies) == ["a", "d"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Thought: x\nAction: go", ["go"]),
        ("  **Action:** go north  ", ["go north"]),
        ("action: a\nAction: b", ["a", "b"]),
        ("Action:\ngo", []),
        ("The Action: go", []),
        ("Reaction: go", []),
    ],
)
def test_a_label_begins_its_line(text: str, found: list[str]) -> None:
    """What stands behind it ends with the line."""
    assert labelled(Completion(text), "Action") == found
    assert labelled(Completion(text, "length"), "Action") == []


def test_a_long_reply_without_a_label_is_read_at_once() -> None:
    """A reply of spaces and marks does not cost its length squared."""
    begin = time.perf_counter()

    assert labelled(Completion(" *`_\t" * 100_000 + "\n" * 100_000 + "y"), "Action") == []

    assert time.perf_counter() - begin < 2.0


def test_tokens_that_are_not_named_count_as_the_most() -> None:
    """Of an empty reply there are none."""
    assert tokens_of(Completion("a", token_ids=(1, 2)), 9) == 2
    assert tokens_of(Completion("a"), 9) == 9
    assert tokens_of(Completion(""), 9) == 0


def test_tokens_are_a_share_of_the_replys_where_none_are_named() -> None:
    """The shares add up; named tokens go before, and where nothing is counted it is the most."""

    @prompt(user="q")
    def ask() -> Completion:
        raise NotImplementedError

    served = Model(ScriptedEngine(lambda request: ("one two three", "four", "five six seven")))
    result = motet.run(ask.on(served).samples(3)(), store=None)
    counted = result.value
    shares = [tokens_of(each, 100) for each in counted]

    assert sum(shares) == result.usage.completion_tokens > 6
    assert max(shares) - min(shares) <= 1
    assert tokens_of(counted[0], 1) == 1
    assert tokens_of(Completion("a b", "stop", None, (1, 2)), 100) == 2
    assert tokens_of(Completion("a"), 100) == 100
    assert tokens_of(Completion(""), 100) == 0
