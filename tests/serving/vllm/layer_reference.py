"""DoLa by transformers, written from the authors' code and nothing of motet's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.serving.decoding.guess_reader import GuessReader


class DolaReference:
    """Greedy continuations of a prompt."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    def greedy(
        self,
        prompt: str,
        max_tokens: int,
        layers: Sequence[int] = (),
        *,
        relative_top: float = 0.1,
        divergence: str = "jsd",
        eos_id: int = 2,
        guess: Sequence[int] = (),
    ) -> list[int]:
        """Return at most `max_tokens` tokens; without layers the model's own.

        A right `guess` of them saves time; a wrong one changes nothing.
        """
        import torch

        found: list[int] = []
        with torch.inference_mode():
            reader = GuessReader(
                self.model,
                self.tokenizer(prompt)["input_ids"],
                guess[: max_tokens - 1],
                output_hidden_states=True,
            )
            while len(found) < max_tokens and eos_id not in found:
                logits, states = reader.behind(found)
                scores = mature = logits.double().log_softmax(-1)
                if layers:
                    early = self._early(torch.stack([states[layer] for layer in layers]))
                    distances = [distance(mature, each, divergence) for each in early]
                    scores = mature - early[distances.index(max(distances))]
                    scores[mature < mature.max() + math.log(relative_top)] = -math.inf
                found.append(int(scores.argmax()))
        return found

    def _early(self, states: Any) -> Any:
        return self.model.lm_head(states).double().log_softmax(-1)


def distance(mature: Any, early: Any, divergence: str) -> float:
    """Return the divergence of two rows of log-probabilities, up to a constant factor."""
    p, q = mature.exp(), early.exp()
    middle = (p + q) / 2
    if divergence == "jsd":
        return float((p * (p / middle).log()).nansum() + (q * (q / middle).log()).nansum())
    log = middle.log()
    return float((middle * (log - mature)).nansum() + (middle * (log - early)).nansum())
