"""Which one-token requests score a set of continuations, and how their answers are put together.

Continuations are a trie: each place where some of them go on is asked about once, whatever their
number, and an engine with a prefix cache computes each shared beginning once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from motet.engine import Completion, TokenLogprob, Usage
from motet.errors import ConfigError, GarbledReplyError

Ids: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for one token: the logprobs of some next tokens after a prefix."""

    prefix_ids: Ids
    """The prompt, and what a candidate has before the place."""
    wanted: Ids
    """Token ids whose logprobs are asked for, each once."""


def plan(
    prompt_ids: Ids, candidates: Sequence[Ids], *, most_wanted: int | None = None
) -> list[Ask]:
    """Return what to ask; the first has the prompt alone, and each comes after its own prefixes.

    Args:
        prompt_ids: Token ids of the prompt, at least one.
        candidates: Token ids of each continuation, each by itself. One may begin another, or
            stand twice; one of no tokens needs no asking.
        most_wanted: Most tokens that one request may name; a place with more is asked in parts.

    Raises:
        ConfigError: The prompt has no tokens.
    """
    if not prompt_ids:
        raise ConfigError("prompt_ids is (); a candidate's first token needs a token before it")
    places: dict[Ids, dict[int, None]] = {}
    for candidate in candidates:
        for at, token in enumerate(candidate):
            places.setdefault(candidate[:at], {})[token] = None
    return [
        Ask(prompt_ids + before, part)
        for before, wanted in sorted(places.items(), key=lambda place: len(place[0]))
        for part in _parts(tuple(wanted), most_wanted)
    ]


def usage_of(asks: Sequence[Ask]) -> Usage:
    """Return what asking takes: each request counts its whole prefix, and generates a token."""
    return Usage(sum(len(ask.prefix_ids) for ask in asks), len(asks))


def assemble(
    prompt_ids: Ids,
    candidates: Sequence[Ids],
    asks: Sequence[Ask],
    answers: Sequence[Mapping[int, float]],
) -> list[tuple[float, ...]]:
    """Return the logprob, in nats, of each token of each candidate.

    Args:
        prompt_ids: As `plan` had it.
        candidates: As `plan` had them.
        asks: What `plan` returned.
        answers: For each of `asks`, the logprob of each of its wanted tokens; others may be there.

    Raises:
        GarbledReplyError: An answer lacks a token that was wanted.
    """
    found: dict[tuple[Ids, int], float] = {}
    for ask, answer in zip(asks, answers, strict=True):
        for token in ask.wanted:
            if token not in answer:
                raise GarbledReplyError(
                    f"the engine gave no logprob of token {token}, which was asked for"
                )
            found[ask.prefix_ids, token] = answer[token]
    return [
        tuple(found[prompt_ids + ids[:at], token] for at, token in enumerate(ids))
        for ids in candidates
    ]


def completions(
    candidates: Sequence[Ids],
    logprobs: Sequence[Sequence[float]],
    *,
    texts: Sequence[str],
    names: Mapping[int, str],
) -> tuple[Completion, ...]:
    """Write candidates as the completions of a reply, in order.

    Args:
        candidates: Token ids of each.
        logprobs: What `assemble` returned.
        texts: The text of each candidate.
        names: The text of each token that stands in a candidate.
    """
    return tuple(
        Completion(
            text=text,
            token_ids=ids,
            logprobs=tuple(
                TokenLogprob(names[token], logprob, token)
                for token, logprob in zip(ids, line, strict=True)
            ),
        )
        for ids, line, text in zip(candidates, logprobs, texts, strict=True)
    )


def _parts(wanted: Ids, most: int | None) -> Iterator[Ids]:
    size = most or len(wanted)
    for start in range(0, len(wanted), size):
        yield wanted[start : start + size]
