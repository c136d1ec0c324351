"""The formula that contrasts a model's last layer with an earlier one (DoLa).

n is the number of rows, k of candidate layers, V of tokens in the vocabulary. Layer 0 is the
embedding, layer N the last one, called mature.

Source: Chuang et al. 2023, https://arxiv.org/abs/2309.03883. Early hidden states go into the
language model's head as they are, without the final norm: so the authors' code for Llama and the
recipe of transformers do. Departures: the layer is chosen for each row by itself, where both
average over a batch; a token that is forbidden in the mature layer (at -inf) is forbidden in the
early ones too, so that what a constraint excludes does not weigh in the choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import softplus

from motet.errors import ConfigError

_DEEP = 40
"""Models of more layers than this take 20 for a half."""


def candidate_layers(layers: str | Sequence[int], num_layers: int, *, is_tied: bool) -> list[int]:
    """Return the numbers of the layers to choose from.

    Args:
        layers: `low` or `high`, the even layers of the lower or upper half (of models of more
            than 40 layers: the first or last 20); or the numbers themselves.
        num_layers: N.
        is_tied: Whether the head is the embedding; then `low` leaves out layer 0, which would
            give back the token that it is.

    Raises:
        ConfigError: A number is no layer before the mature one, or there is no candidate.
    """
    if isinstance(layers, str):
        if layers not in ("low", "high"):
            raise ConfigError(f"layers is {layers!r}; it must be 'low', 'high' or layer numbers")
        half = num_layers // 2 if num_layers <= _DEEP else 20
        first, end = (0, half) if layers == "low" else (num_layers - half, num_layers)
        found = [n for n in range(first, end) if n % 2 == 0 and (n or not is_tied)]
    else:
        found = list(layers)
        for n in found:
            if not 0 <= n < num_layers:
                raise ConfigError(
                    f"layers holds {n}; it must be from 0 to {num_layers - 1}, "
                    f"below the model's last layer, {num_layers}"
                )
    if not found:
        raise ConfigError(f"layers is {layers!r}; a model of {num_layers} layers has none such")
    return found


def contrasted(
    mature_logits: Any,
    early_logits: Any,
    relative_top: float | Any = 0.1,
    divergence: str = "jsd",
) -> Any:
    """Return log q_N - log q_M on plausible tokens, -inf elsewhere; M is the row's chosen layer.

    Args:
        mature_logits: float `[n, V]`, q_N before its softmax.
        early_logits: float `[n, k, V]`.
        relative_top: A number from 0 to 1, or a tensor `[n]` of such.
        divergence: `jsd` or `reference`, see `chosen_layers`.

    Returns:
        float32 `[n, V]`.
    """
    mature, early = _log_probabilities(mature_logits, early_logits)
    chosen = _farthest(mature, early, divergence)
    base = early[torch.arange(len(chosen), device=chosen.device), chosen]
    is_kept = plausible(mature, relative_top)
    # Where both are at -inf their difference is no number; such tokens are not plausible.
    return torch.where(is_kept, mature - base, torch.full_like(mature, -torch.inf))


def chosen_layers(mature_logits: Any, early_logits: Any, divergence: str = "jsd") -> Any:
    """Return int `[n]`: the index of the layer that is farthest from the mature one.

    Layers that are equally far yield the first of them.

    Args:
        mature_logits: float `[n, V]`.
        early_logits: float `[n, k, V]`.
        divergence: `jsd` is the Jensen-Shannon divergence that the paper states; `reference` is
            what its code computes, with the two arguments of each Kullback-Leibler term
            exchanged, which may choose another layer.
    """
    return _farthest(*_log_probabilities(mature_logits, early_logits), divergence)


def plausible(log_probabilities: Any, relative_top: float | Any) -> Any:
    """Return bool `[n, V]`: tokens with at least `relative_top` of the likeliest's probability."""
    top = torch.as_tensor(relative_top, device=log_probabilities.device).to(log_probabilities)
    least = log_probabilities.amax(-1, keepdim=True) + top.log().reshape(-1, 1)
    return (log_probabilities >= least) & ~torch.isneginf(log_probabilities)


def overlap(p: Any, q: Any) -> Any:
    """Return ln 2 less the Jensen-Shannon divergence of log-probabilities `[..., V]`, in nats.

    States without the final norm make distributions so peaked that the divergence of most layers
    is ln 2 to seven digits. What is left to ln 2 still tells them apart, in float32 too.
    """
    gap = q - p
    # A token that only one of the two allows adds nothing; computed it would be no number.
    one = (p.exp() * softplus(gap)).nan_to_num(0.0)
    other = (q.exp() * softplus(-gap)).nan_to_num(0.0)
    return (one + other).sum(-1) / 2


def reversed_divergence(p: Any, q: Any) -> Any:
    """Return (KL(m || p) + KL(m || q)) / 2 in nats of log-probabilities `[..., V]`; m is their mean."""
    middle = torch.logaddexp(p, q) - math.log(2)
    is_out = torch.isneginf(middle)
    terms = middle.exp() * (middle - (p + q) / 2)
    return terms.masked_fill(is_out, 0.0).sum(-1)


def _farthest(mature: Any, early: Any, divergence: str) -> Any:
    if divergence not in ("jsd", "reference"):
        raise ConfigError(f"divergence is {divergence!r}; it must be 'jsd' or 'reference'")
    mature = mature.unsqueeze(-2)
    if divergence == "jsd":
        return overlap(mature, early).argmin(-1)
    return reversed_divergence(mature, early).argmax(-1)


def _log_probabilities(mature_logits: Any, early_logits: Any) -> tuple[Any, Any]:
    mature_logits, early_logits = mature_logits.float(), early_logits.float()
    is_out = torch.isneginf(mature_logits).unsqueeze(-2)
    early_logits = early_logits.masked_fill(is_out, -torch.inf)
    return mature_logits.log_softmax(-1), early_logits.log_softmax(-1)
