"""Text of token ids: behind the ids that come before them, and up to a stop text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from motet.serving.decoding.together import together

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

INCOMPLETE: Final = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer decodes bytes to that are not yet a character."""
_FEW, _MORE = 6, 24
"""Tokens before a text that are decoded along, at the first and at the second try."""


async def decode_after(
    decode: Callable[[tuple[int, ...]], Coroutine[Any, Any, str]],
    token_ids: tuple[int, ...],
    after: tuple[int, ...],
) -> str:
    """Return what `token_ids` add to the text of `after`.

    Some tokenizers drop the leading space of the first token that they decode, so the last tokens
    before are decoded along. A character that begins in `after` is in the text as a whole.
    """
    if not token_ids or not after:
        return await decode(token_ids) if token_ids else ""
    before = whole = ""
    for size in (_FEW, _MORE, len(after)):
        head = after[-size:]
        before, whole = await together(decode(head), decode((*head, *token_ids)))
        if before and INCOMPLETE not in before:
            break  # else special tokens alone may be there, or the cut is within a character
    if whole.startswith(before):
        return whole[len(before) :]
    known = before.rstrip(INCOMPLETE)
    if known != before and whole.startswith(known):
        return whole[len(known) :]
    # Bytes of `token_ids` that are no character took whole ones before them along.
    return await decode(token_ids)


def cut_at_stop(
    text: str, stops: tuple[str, ...], kept: frozenset[str] = frozenset()
) -> tuple[str, str | None]:
    """Return `text` up to the stop text that ends first in it, and that text; it too if kept."""
    found: tuple[int, str] | None = None
    for stop in stops:
        place = text.find(stop)
        if place >= 0 and (found is None or place + len(stop) < found[0] + len(found[1])):
            found = (place, stop)
    if found is None:
        return text, None
    place, stop = found
    return text[: place + len(stop)] if stop in kept else text[:place], stop
