"""How likely a model's reply is each of some labels: by the first token's alternatives, or exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from motet.engine import Capability, Completion
from motet.operations import step
from motet.programs.judges.label_tokens import TOP, label_masses, normalised
from motet.prompts import Prompt
from motet.refs import Ref
from motet.types import Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelShares:
    """How a model's probability falls on some labels."""

    shares: tuple[float, ...]
    """Of each label, made to sum to 1; empty where none has any probability."""
    mass: float
    """Probability that the labels cover, from 0 to 1."""

    @property
    def margin(self) -> float | None:
        """Probability of the likeliest label less that of the second; None without shares.

        What the labels do not cover makes it smaller.
        """
        ranked = sorted(self.shares, reverse=True)
        return (ranked[0] - ranked[1]) * self.mass if ranked else None

    @property
    def best(self) -> int | None:
        """Place of the likeliest label, the first of equals; None without shares."""
        return self.shares.index(max(self.shares)) if self.shares else None


def capability_for(*, is_exact: bool) -> Capability:
    """Return what `label_shares` needs of its model's engine."""
    return Capability.SCORE if is_exact else Capability.LOGPROBS


def label_shares(
    prompt: Prompt[Completion], labels: Sequence[str], *inputs: Any, is_exact: bool
) -> Ref[LabelShares]:
    """Make the call that tells how likely the answer to a bound prompt is each of `labels`.

    Args:
        prompt: Bound to its model.
        labels: Texts of one token each, of which none begins another.
        inputs: Of the prompt.
        is_exact: Whether each label is scored as the answer, instead of being looked up among the
            20 likeliest first tokens, which is one request.
    """
    if is_exact:
        return shares_of_scores(prompt.scores(list(labels))(*inputs))
    bound = prompt.on(None, temperature=0.0, max_tokens=1, logprobs=TOP)
    return shares_of_reply(bound(*inputs), list(labels))


@step
def shares_of_reply(reply: Completion, labels: Sequence[str]) -> LabelShares:
    """The shares of labels among the alternatives of a reply's first token."""
    return _shares(label_masses(reply, labels))


@step
def shares_of_scores(scores: Scores) -> LabelShares:
    """The shares of labels that were scored as answers."""
    return _shares([math.exp(min(each, 0.0)) for each in scores.logprobs])


def _shares(masses: Sequence[float]) -> LabelShares:
    return LabelShares(shares=tuple(normalised(masses) or ()), mass=min(1.0, math.fsum(masses)))
