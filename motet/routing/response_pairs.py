"""Pairs of an instruction and a response with a score, to train a scorer on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet.errors import DataError
from motet.routing.rouge import rouge_l, words
from motet.search.settings import several, whole

if TYPE_CHECKING:
    import numpy as np

_TRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An instruction, its right response, and what models responded."""

    instruction: str
    truth: str
    responses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        several("responses", self.responses)


@dataclass(frozen=True, slots=True)
class ResponsePair:
    """A response to an instruction, and how right it is."""

    instruction: str
    response: str
    score: float
    """From 0 to 1."""


@dataclass(frozen=True, slots=True)
class ResponsePairs:
    """Pairs to train on."""

    pairs: tuple[ResponsePair, ...]
    num_unmatched: int
    """Mismatched responses that were wanted and not found, as no other truth says anything else."""


def response_pairs(
    examples: Sequence[Example], *, num_mismatched: int = 1, seed: int = 0
) -> ResponsePairs:
    """Make the pairs of a scorer's training.

    The right response scores 1, one to another instruction 0, and a model's the ROUGE-L between it
    and the right one. A response to another instruction that says what is right here too, as the
    labels of a classification do, is never a mismatch.

    Args:
        examples: At least one.
        num_mismatched: Of each instruction.
        seed: Of the mismatches.

    Raises:
        ConfigError: A setting is wrong.
        DataError: Nothing is given.

    Source: Tan et al. 2023, arXiv:2311.06720 (Cappy), its pretraining data. Departure: its own
    models write no responses here, the caller's do.
    """
    import numpy as np

    whole("num_mismatched", num_mismatched, 0)
    whole("seed", seed, 0)
    if not examples:
        raise DataError("there is nothing to make pairs of")
    right: dict[str, set[str]] = {}
    for each in examples:
        right.setdefault(each.instruction, set()).add(_said(each.truth))
    rng = np.random.default_rng(seed)
    truths = [each.truth for each in examples]
    said = [_said(each) for each in truths]
    others: dict[frozenset[str], list[int]] = {}
    pairs: list[ResponsePair] = []
    num_unmatched = 0
    for each in examples:
        pairs.append(ResponsePair(each.instruction, each.truth, 1.0))
        for _ in range(num_mismatched):
            place = _mismatch(said, right[each.instruction], others, rng)
            if place is None:
                num_unmatched += 1
            else:
                pairs.append(ResponsePair(each.instruction, truths[place], 0.0))
        for response in each.responses:
            pairs.append(ResponsePair(each.instruction, response, rouge_l(response, each.truth)))
    return ResponsePairs(tuple(pairs), num_unmatched)


def _said(text: str) -> str:
    """What a text says, whatever its case and its marks."""
    return " ".join(words(text)) or text.strip()


def _mismatch(
    said: Sequence[str],
    right: set[str],
    others: dict[frozenset[str], list[int]],
    rng: np.random.Generator,
) -> int | None:
    """Draw the place of a text that is none of `right`; each is as likely as it is frequent.

    Where nearly all texts are right the rest is looked up once, and kept in `others`.
    """
    for _ in range(_TRIES):
        place = int(rng.integers(len(said)))
        if said[place] not in right:
            return place
    key = frozenset(right)
    if key not in others:
        others[key] = [place for place, each in enumerate(said) if each not in right]
    places = others[key]
    return places[int(rng.integers(len(places)))] if places else None
