"""FIRST: rerank passages by the log-probabilities of their letters at one position."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence

from motet.errors import ConfigError
from motet.model import Model
from motet.operations import program
from motet.prompts import prompt
from motet.types import Chat, Message, Scores

_SYSTEM = "You rank passages by how relevant they are to the query."


def _window_chat(query: str, passages: Sequence[str]) -> Chat:
    listed = "\n\n".join(
        f"[{letter}] {passage}"
        for letter, passage in zip(string.ascii_uppercase, passages, strict=False)
    )
    asked = (
        f"{len(passages)} passages follow, each with a letter.\n\n{listed}\n\nQuery: {query}\n\n"
        "Rank the passages by their relevance to the query, most relevant first, by their "
        "letters, such as [B] > [A]. Reply with the ranking only."
    )
    return (Message.system(_SYSTEM), Message.user(asked), Message.assistant("["))


@prompt(chat=_window_chat)
def rank_window(query: str, passages: Sequence[str]) -> str:
    """The letter that a ranking of the passages begins with."""
    raise NotImplementedError


def windows(count: int, size: int, stride: int) -> Iterator[tuple[int, int]]:
    """Yield the windows of `count` passages, from the end to the beginning, as start and end."""
    if count <= size:
        if count > 1:
            yield 0, count
        return
    end, start = count, count - size
    while end > 0 and start + stride != 0:
        start = max(start, 0)
        yield start, end
        end -= stride
        start -= stride


def reordered(scores: Scores) -> list[int]:
    """Return places by descending score; equal ones stay as they are."""
    return sorted(range(len(scores.logprobs)), key=lambda place: -scores.logprobs[place])


@program
async def listwise_reranking(
    query: str,
    passages: Sequence[str],
    *,
    model: Model,
    window: int = 20,
    stride: int = 10,
    max_words: int = 300,
) -> list[int]:
    """Return the places of `passages` in order of relevance, the most relevant first.

    A window of passages is ranked by one token's log-probabilities: how likely its letter comes
    first. Windows go from the end of the list to its beginning, so that the best travel up.

    Args:
        query: What is asked.
        passages: In their first order, best first as far as one knows.
        model: Scores the letters; its engine needs `Capability.SCORE`.
        window: Passages in one request, at most 26.
        stride: How far a window moves; below `window`.
        max_words: Longer passages are cut.

    Source: Reddy et al. 2024, arXiv:2406.15657 (FIRST), its inference. The paper's models are
    trained for it; others rank less well by their first token.
    """
    if not 2 <= window <= len(string.ascii_uppercase):
        raise ConfigError(f"window is {window}; it must be between 2 and 26")
    if not 1 <= stride < window:
        raise ConfigError(f"stride is {stride}; it must be between 1 and window - 1, {window - 1}")
    order = list(range(len(passages)))
    texts = [" ".join(passage.split()[:max_words]) for passage in passages]
    for start, end in windows(len(order), window, stride):
        part = order[start:end]
        letters = list(string.ascii_uppercase[: len(part)])
        scored = rank_window.on(model).scores(letters)
        scores = await scored(query, [texts[place] for place in part])
        order[start:end] = [part[place] for place in reordered(scores)]
    return order
