"""How likely a judge's first token is each of some labels, from its top log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from motet.engine import Completion
from motet.errors import ConfigError, EngineError

TOP: Final = 20
"""Alternatives asked for: the most that OpenAI's API, and vLLM as it comes, will report."""
LEAST_MASS: Final = 0.5
"""Labels that cover less of the first token's probability are flagged: the judge says else."""


def check_labels(labels: Sequence[str]) -> None:
    """Refuse labels that one token's text cannot tell apart.

    Raises:
        ConfigError: Names the labels.
    """
    texts = [each for each in labels if isinstance(each, str) and each and each == each.strip()]
    if isinstance(labels, str) or len(texts) != len(labels) or not 2 <= len(texts) <= TOP:
        raise ConfigError(
            f"labels is {labels!r}; it must hold 2 to {TOP} texts without space around them"
        )
    for label in texts:
        others = [each for each in texts if each.startswith(label)]
        if len(others) > 1:
            raise ConfigError(
                f"labels is {labels!r}; {label!r} begins {others[1]!r} or stands twice, so one "
                "token cannot tell them apart: use letters"
            )


def label_masses(reply: Completion, labels: Sequence[str]) -> list[float]:
    """Return the probability that the reply's first token is each of `labels`, in their order.

    White space around a token does not count, upper and lower case do. A label that is not among
    the reported tokens has 0.

    Raises:
        EngineError: The engine gave no log-probabilities.
    """
    if not reply.logprobs:
        if reply.text:
            raise EngineError("the engine gave no logprobs for a judge's label")
        return [0.0] * len(labels)
    first = reply.logprobs[0]
    tokens = list(first.top)
    if first.token not in [token for token, _ in tokens]:
        tokens.append((first.token, first.logprob))
    masses = dict.fromkeys(labels, 0.0)
    for token, logprob in tokens:
        label = token.strip()
        if label in masses:
            masses[label] += math.exp(min(logprob, 0.0))
    return [masses[label] for label in labels]


def normalised(masses: Sequence[float]) -> list[float] | None:
    """Return shares that sum to 1; None where no label has any probability."""
    total = math.fsum(masses)
    return [each / total for each in masses] if total > 0 else None
