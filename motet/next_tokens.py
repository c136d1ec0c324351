"""Distributions of the next token: as values, and as bytes."""

from __future__ import annotations

import base64
import heapq
import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motet.errors import ConfigError

if TYPE_CHECKING:
    from motet.engine import Request

ALL = -1
"""Stands for the whole vocabulary where a number of tokens is asked for."""


@dataclass(frozen=True, slots=True)
class NextTokens:
    """The tokens that may come next, behind a prompt and what is written of its answer."""

    ids: Sequence[int]
    """The likeliest first, of equals the lower id; 0 to V - 1 where all were asked for."""
    logprobs: Sequence[float]
    """Of each, in nats, among the whole vocabulary; by the model alone, at temperature 1."""
    texts: tuple[str, ...] = ()
    """What each adds to a text, as far as it tells by itself: a part of a character is U+FFFD, and
    special tokens are empty. No texts at all where they were not asked for."""
    ends: tuple[int, ...] = ()
    """Ids that end a text; the likeliest is among `ids` in any case, if need be at their end."""
    text: str = ""
    """Of what is written."""

    def best(self, num: int) -> dict[int, float]:
        """Return the `num` likeliest of these tokens with their log-probabilities."""
        pairs = zip(self.ids, self.logprobs, strict=True)
        return dict(heapq.nsmallest(num, pairs, key=lambda pair: (-pair[1], pair[0])))

    def __post_init__(self) -> None:
        if len(self.logprobs) != len(self.ids) or len(self.texts) not in (0, len(self.ids)):
            raise ConfigError(
                f"{len(self.ids)} tokens came with {len(self.logprobs)} logprobs and "
                f"{len(self.texts)} texts"
            )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        def read(value: Any) -> NextTokens:
            if isinstance(value, NextTokens):
                return value
            try:
                return load_next(value)
            except (ConfigError, AttributeError, KeyError, TypeError, ValueError) as exc:
                raise ValueError(f"{value!r:.80} is no NextTokens: {exc!r}") from exc

        return core_schema.no_info_plain_validator_function(
            read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                dump_next, when_used="json"
            ),
        )


def check_next(request: Request) -> None:
    """Refuse a request for next tokens that asks for something else as well.

    Raises:
        ConfigError: It does; names the setting.
    """
    k = request.next_tokens
    if k is None:
        if request.written:
            raise ConfigError(
                f"written is {request.written!r}; only next tokens are told behind it"
            )
        return
    if type(k) is not int or (k < 1 and k != ALL):
        raise ConfigError(f"next_tokens is {k!r}; it must be at least 1, or -1 for all")
    others = {
        "n": request.n != 1,
        "candidates": request.candidates,
        "is_rewarded": request.is_rewarded,
        "partner": request.partner is not None,
        "constraint": request.constraint is not None,
        "decoding": request.sampling.decoding,
    }
    for name in [name for name, is_set in others.items() if is_set]:
        raise ConfigError(f"next_tokens is {k}, which does not go with {name}")


def likeliest(logprobs: Mapping[int, float], k: int, ends: Sequence[int]) -> list[int]:
    """Return the ids of the `k` likeliest tokens, best first, and of the likeliest end."""
    ranked = sorted(logprobs, key=lambda token: (-logprobs[token], token))
    known = set(ends)
    missing = [] if known & set(ranked[:k]) else [t for t in ranked[k:] if t in known][:1]
    return [*ranked[:k], *missing]


def dump_next(value: NextTokens) -> dict[str, Any]:
    """Return `value` as plain JSON; log-probabilities of the whole vocabulary as 32-bit floats.

    JSON has no -inf; null stands for it.
    """
    shown: dict[str, Any] = {"ends": list(value.ends), "text": value.text}
    if value.texts:
        shown["texts"] = list(value.texts)
    if isinstance(value.logprobs, array) and value.ids == range(len(value.ids)):
        shown["packed"] = base64.b64encode(value.logprobs.tobytes()).decode()
    else:
        logprobs = [None if each == -math.inf else each for each in value.logprobs]
        is_whole = isinstance(value.ids, range) and value.ids == range(len(logprobs))
        shown |= {"ids": None if is_whole else list(value.ids), "logprobs": logprobs}
    return shown


def load_next(shown: Mapping[str, Any]) -> NextTokens:
    """Return what `dump_next` wrote."""
    texts, ends = tuple(shown.get("texts", ())), tuple(shown["ends"])
    if "packed" in shown:
        logprobs = array("f", base64.b64decode(shown["packed"]))
        return NextTokens(range(len(logprobs)), logprobs, texts, ends, shown["text"])
    some = tuple(-math.inf if each is None else float(each) for each in shown["logprobs"])
    ids = range(len(some)) if shown["ids"] is None else tuple(shown["ids"])
    return NextTokens(ids, some, texts, ends, shown["text"])


def whole(logprobs: Sequence[float], ends: Sequence[int], text: str = "") -> NextTokens:
    """Return the distribution over a whole vocabulary, by id; without texts."""
    packed = logprobs if isinstance(logprobs, array) else array("f", logprobs)
    return NextTokens(range(len(packed)), packed, (), tuple(ends), text)
