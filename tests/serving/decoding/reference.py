"""Paired decoding by transformers: two caches, one continuation."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.serving.decoding.guess_reader import GuessReader


class PairedReference:
    """Greedy continuations of two prompts, written from the formulas and nothing of motet's."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._caches: dict[tuple[int, ...], Any] = {}

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
        guess: Sequence[int] = (),
    ) -> list[int]:
        """Return at most `max_tokens` tokens, the end of turn among them.

        A right `guess` of them saves time; a wrong one changes nothing.
        """
        import torch

        found: list[int] = []
        with torch.inference_mode():
            readers = [self._reader(each, guess[: max_tokens - 1]) for each in (main, partner)]
            while len(found) < max_tokens and not (found and found[-1] in eos_ids):
                rows = [reader.behind(found)[0].float().log_softmax(-1) for reader in readers]
                scores = rows[1] + gamma_of(rule, strength, *rows) * (rows[0] - rows[1])
                scores[list(banned)] = -math.inf
                found.append(int(scores.argmax()))
        return found

    def _reader(self, prompt: Sequence[int], guess: Sequence[int]) -> GuessReader:
        """Read a prompt that came before from its last token on."""
        import torch

        first = tuple(prompt[:-1])
        if first and first not in self._caches:
            out = self.model(torch.tensor([list(first)]), use_cache=True, logits_to_keep=1)
            self._caches[first] = out.past_key_values
        cache = copy.deepcopy(self._caches.get(first))
        return GuessReader(self.model, prompt, guess, cache=cache, num_cached=len(first))


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
