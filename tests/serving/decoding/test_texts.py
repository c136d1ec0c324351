"""Text of token ids, wherever a completion is cut into parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.serving.decoding.texts import INCOMPLETE, cut_at_stop, decode_after
from tests.serving.decoding.tokenizers_made import (
    MAKERS,
    byte_level,
    metaspace,
    sentencepiece_like,
)

pytest.importorskip("tokenizers")

TEXTS = st.lists(st.text("abcd \n\N{EURO SIGN}\N{GRINNING FACE}", max_size=6), max_size=6)


def decoded(tokenizer: Any, ids: tuple[int, ...], after: tuple[int, ...] = ()) -> str:
    async def plain(some: tuple[int, ...]) -> str:
        return str(tokenizer.decode(list(some)))

    return asyncio.run(decode_after(plain, ids, after))


def encoded(tokenizer: Any, *texts: str) -> tuple[int, ...]:
    """Ids of texts that follow each other, with a special token before every second one."""
    found: list[int] = []
    for place, text in enumerate(texts):
        found += [tokenizer.token_to_id("<s>")] if place % 2 else []
        found += tokenizer.encode(text).ids
    return tuple(found)


@pytest.mark.parametrize("make", MAKERS)
@settings(max_examples=150, deadline=None)
@given(texts=TEXTS, data=st.data())
def test_parts_make_the_text_of_the_whole(
    make: Callable[[], Any], texts: list[str], data: st.DataObject
) -> None:
    tokenizer = make()
    ids = encoded(tokenizer, *texts)
    place = data.draw(st.integers(0, len(ids)))
    first, rest = ids[:place], ids[place:]
    if INCOMPLETE in decoded(tokenizer, first):
        return  # the cut is within a character

    assert decoded(tokenizer, first) + decoded(tokenizer, rest, first) == decoded(tokenizer, ids)


@pytest.mark.parametrize("make", [sentencepiece_like, metaspace])
def test_the_first_word_keeps_its_space_behind_a_prompt(make: Callable[[], Any]) -> None:
    tokenizer = make()
    prompt, answer = encoded(tokenizer, "a b"), encoded(tokenizer, "c d")

    assert decoded(tokenizer, answer, prompt) == " c d"
    assert decoded(tokenizer, answer) == "c d"


@pytest.mark.parametrize("make", [sentencepiece_like, byte_level])
def test_a_character_that_begins_before_comes_whole(make: Callable[[], Any]) -> None:
    tokenizer = make()
    ids = encoded(tokenizer, "a\N{EURO SIGN}b")
    start = next(n for n in range(len(ids)) if INCOMPLETE in decoded(tokenizer, ids[:n]))

    for place in (start, start + 1):
        assert decoded(tokenizer, ids[place:], ids[:place]) == "\N{EURO SIGN}b"


@pytest.mark.parametrize("make", [sentencepiece_like, metaspace])
def test_special_tokens_just_before_do_not_hide_the_prompt(make: Callable[[], Any]) -> None:
    tokenizer = make()
    prompt = (*encoded(tokenizer, "a"), *[tokenizer.token_to_id("<s>")] * 8)

    assert decoded(tokenizer, encoded(tokenizer, "c"), prompt) == " c"


def test_what_is_decoded_along_begins_with_a_whole_character() -> None:
    tokenizer = sentencepiece_like()
    faces = tokenizer.encode("\N{GRINNING FACE}" * 9).ids
    prompt, answer = tuple(faces[:-4]), tuple(faces[-4:])

    assert decoded(tokenizer, answer, prompt) == "\N{GRINNING FACE}"


def test_bytes_that_are_no_character_take_none_before_them_along() -> None:
    tokenizer = sentencepiece_like()
    prompt = encoded(tokenizer, "a\N{EURO SIGN}")

    assert decoded(tokenizer, (tokenizer.token_to_id("<0xF0>"),), prompt) == INCOMPLETE


def test_a_long_prompt_is_not_decoded() -> None:
    asked: list[int] = []
    tokenizer = byte_level()

    async def plain(some: tuple[int, ...]) -> str:
        asked.append(len(some))
        return str(tokenizer.decode(list(some)))

    text = asyncio.run(decode_after(plain, encoded(tokenizer, "cd"), encoded(tokenizer, "c" * 999)))

    assert text == "cd"
    assert sum(asked) < 20


@pytest.mark.parametrize(
    ("stops", "kept", "text", "stop"),
    [
        (("b",), (), "aa", "b"),
        (("b",), ("b",), "aab", "b"),
        (("bc", "ab"), (), "a", "ab"),
        (("x",), (), "aabcd", None),
    ],
)
def test_text_ends_at_the_first_stop_text(
    stops: tuple[str, ...], kept: tuple[str, ...], text: str, stop: str | None
) -> None:
    assert cut_at_stop("aabcd", stops, frozenset(kept)) == (text, stop)
