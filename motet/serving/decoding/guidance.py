"""Formulas that mix the next-token distributions of two prompts. V is the size of the vocabulary.

Both rows may be logits or log-probabilities: a constant added to either changes nothing that is
returned, up to the softmax's own constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch


def guided(main: Any, partner: Any, gamma: Any) -> Any:
    """Push `main` away from `partner`: log p + (gamma - 1) (log p - log p_partner).

    Args:
        main: float `[..., V]`; a token at -inf stays there.
        partner: float `[..., V]`; a token at -inf here alone takes no guidance.
        gamma: A number, or a tensor that broadcasts to `[..., V]`; 1 returns `main`, 0 `partner`.

    Returns:
        float32 `[..., V]`, not normalised.

    Source: Sanchez et al. 2023, https://arxiv.org/abs/2306.17806, equation 7.
    """
    main, partner = main.float(), partner.float()
    main_out, partner_out = torch.isneginf(main), torch.isneginf(partner)
    has_gap = bool((partner_out & ~main_out).any())
    if has_gap:
        main, partner = torch.log_softmax(main, -1), torch.log_softmax(partner, -1)
    if not isinstance(gamma, torch.Tensor):
        gamma = torch.tensor(float(gamma))
    mixed = torch.lerp(partner, main, gamma.to(main))
    if has_gap:
        mixed = torch.where(partner_out, main, mixed)
    return mixed.masked_fill_(main_out, -torch.inf)


def cad(main: Any, partner: Any, alpha: Any) -> Any:
    """Weigh the context: (1 + alpha) main - alpha partner; `guided` by another name.

    Source: Shi et al. 2023, https://arxiv.org/abs/2305.14739, section 2.
    """
    return guided(main, partner, 1 + alpha)


def adacad(main: Any, partner: Any, floor: float | Any = 0.0) -> Any:
    """Weigh the context by how far the two rows disagree: alpha is their divergence in nats.

    Args:
        main: float `[..., V]`.
        partner: float `[..., V]`.
        floor: Least alpha; a number, or a tensor that broadcasts to `[...]`.

    Source: Wang et al. 2024, https://arxiv.org/abs/2409.07394. Departure: alpha is computed per
    row, where the authors' code averages over the batch.
    """
    alpha = jensen_shannon(main, partner)
    least = floor if isinstance(floor, torch.Tensor) else torch.tensor(float(floor))
    alpha = torch.maximum(alpha, least.to(alpha))
    return guided(main, partner, 1 + alpha.unsqueeze(-1))


def jensen_shannon(main: Any, partner: Any) -> Any:
    """Return the Jensen-Shannon divergence of each row, float32 `[...]`, in nats, 0 to ln 2.

    Args:
        main: float `[..., V]`.
        partner: float `[..., V]`; leading dimensions broadcast.
    """
    main, partner = torch.broadcast_tensors(main, partner)
    if main.dim() > 1 and main.device.type == "cpu":
        # One row at a time stays in the cache, which is several times as fast.
        leading, num_tokens = main.shape[:-1], main.shape[-1]
        lines = zip(main.reshape(-1, num_tokens), partner.reshape(-1, num_tokens), strict=True)
        found = [_jensen_shannon(*rows) for rows in lines]
        return torch.stack(found).reshape(leading) if found else main.new_zeros(leading).float()
    return _jensen_shannon(main, partner)


def _jensen_shannon(main: Any, partner: Any) -> Any:
    logs = [torch.log_softmax(row.float(), -1) for row in (main, partner)]
    shares = [row.exp() for row in logs]
    middle = (shares[0] + shares[1]).div_(2).log_()
    total = 0.0
    for log, share in zip(logs, shares, strict=True):
        # A token of probability 0 adds nothing; computed it would be 0 times infinity.
        total = total + log.sub_(middle).mul_(share).nan_to_num_(0.0).sum(-1)
    return (total / 2).clamp(0.0, math.log(2))  # type: ignore[attr-defined]


def mixed(rule: str, main: Any, partner: Any, strengths: Any) -> Any:
    """Mix rows by the paired rule of this name.

    Args:
        rule: `cfg`, `cad` or `adacad`.
        main: float `[N, V]`.
        partner: float `[N, V]`.
        strengths: float `[N]`: gamma, alpha or floor of each row.
    """
    return _FORMULAS[rule](main, partner, strengths)


def strength(rule: Mapping[str, Any]) -> float:
    """Return gamma, alpha or floor of a paired rule's parameters."""
    return float(rule[_STRENGTHS[rule["rule"]]])


_FORMULAS: Final[Mapping[str, Callable[[Any, Any, Any], Any]]] = {
    "cfg": lambda main, partner, gamma: guided(main, partner, gamma.unsqueeze(-1)),
    "cad": lambda main, partner, alpha: cad(main, partner, alpha.unsqueeze(-1)),
    "adacad": adacad,
}
_STRENGTHS: Final = {"cfg": "gamma", "cad": "alpha", "adacad": "floor"}
