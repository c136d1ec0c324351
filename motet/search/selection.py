"""Choose among finished candidates: by score, by majority, by weighted vote."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from motet.errors import SearchError
from motet.search.partials import Candidate
from motet.search.settings import called

Extract: TypeAlias = Callable[[str], str | None]
"""Reads the answer off a text; None where it states none."""


def ranked(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Return finished ones first, then by score, best first; equals and unscored ones as they came."""

    def place(candidate: Candidate) -> tuple[bool, float]:
        score = candidate.score
        return not candidate.partial.is_finished, math.inf if score is None else -score

    return tuple(sorted(candidates, key=place))


def best(candidates: Iterable[Candidate]) -> Candidate | None:
    """Return the first of the best-scored; among unscored ones the first."""
    return max(candidates, key=lambda c: -math.inf if c.score is None else c.score, default=None)


def answer_of(text: str, extract: Extract) -> str | None:
    """Return the answer that `text` states; None where it states none.

    Raises:
        SearchError: `extract` raised, or gave something else than a text or None.
    """
    answer: object = called("extract", extract, text)
    if answer is None or isinstance(answer, str):
        return answer
    raise SearchError(f"extract gave {answer!r}; it must give a text or None")


def votes(
    candidates: Sequence[Candidate], extract: Extract, *, is_weighted: bool
) -> dict[str, float]:
    """Return each answer's votes, in the order in which the answers came.

    A vote counts 1, or its candidate's score where `is_weighted`; there an unscored one has none.
    Weights are to be probabilities: where scores are logits, frequent answers win or lose by
    their number alone.
    """
    found: dict[str, float] = {}
    for candidate in candidates:
        answer = answer_of(candidate.text, extract)
        weight = candidate.score if is_weighted else 1.0
        if answer is not None and weight is not None:
            found[answer] = found.get(answer, 0.0) + weight
    return found


def elected(
    candidates: Sequence[Candidate], extract: Extract, *, is_weighted: bool = False
) -> Candidate | None:
    """Return the best-scored candidate of the answer with most votes; None where nobody votes.

    Among equal answers the one that came first.
    """
    counted = votes(candidates, extract, is_weighted=is_weighted)
    if not counted:
        return None
    answer = max(counted, key=lambda each: counted[each])
    return best(c for c in candidates if answer_of(c.text, extract) == answer)
