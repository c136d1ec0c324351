"""Paired decoding by transformers: two caches, one continuation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class PairedReference:
    """Greedy continuations of two prompts, written from the formulas and nothing of motet's."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    def greedy(
        self,
        main: Sequence[int],
        partner: Sequence[int],
        rule: str,
        strength: float,
        max_tokens: int,
        *,
        banned: Sequence[int] = (),
        eos_ids: Sequence[int] = (2,),
    ) -> list[int]:
        """Return at most `max_tokens` tokens, the end of turn among them."""
        import torch

        inputs = [torch.tensor([list(main)]), torch.tensor([list(partner)])]
        caches: list[Any] = [None, None]
        found: list[int] = []
        with torch.inference_mode():
            while len(found) < max_tokens and not (found and found[-1] in eos_ids):
                rows = []
                for i in range(2):
                    out = self.model(inputs[i], past_key_values=caches[i], use_cache=True)
                    caches[i] = out.past_key_values
                    rows.append(out.logits[0, -1].float().log_softmax(-1))
                scores = rows[1] + gamma_of(rule, strength, *rows) * (rows[0] - rows[1])
                scores[list(banned)] = -math.inf
                found.append(int(scores.argmax()))
                inputs = [torch.tensor([[found[-1]]])] * 2
        return found


def gamma_of(rule: str, strength: float, main: Any, partner: Any) -> float:
    """Return gamma of a rule, from the log-probabilities of both rows."""
    if rule == "cfg":
        return strength
    if rule == "cad":
        return 1 + strength
    p, q = main.double().exp(), partner.double().exp()
    middle = (p + q) / 2
    divergence = sum(float((x * (x / middle).log()).nansum()) for x in (p, q)) / 2
    return 1 + max(divergence, strength)
