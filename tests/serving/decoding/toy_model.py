"""The toy language model as a rule sees it: logits as tensors."""

from __future__ import annotations

from motet.testing.toy_lm import END, POSTERIOR, Z, ids, next_logprobs, strings, text

__all__ = ["END", "POSTERIOR", "Z", "ids", "logits", "strings", "text"]


def logits(tokens: tuple[int, ...]):
    """Return float32 `[3]`: log-probabilities of what follows `tokens`."""
    import torch

    return torch.tensor(next_logprobs([tokens])[0])
