"""Transformers' outputs behind a growing continuation, of which a guess is read in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class GuessReader:
    """A prompt, of which `cache` may hold the first `num_cached` tokens, and what comes behind it.

    What stands behind a right guess is known after one pass; from its first wrong token on, each
    takes a pass of its own. So a guess saves time and changes no output.
    """

    def __init__(
        self,
        model: Any,
        prompt: Sequence[int],
        guess: Sequence[int],
        *,
        cache: Any = None,
        num_cached: int = 0,
        **settings: Any,
    ) -> None:
        self._model = model
        self._settings = settings
        self._guess = list(guess)
        self._num_read = len(prompt) + len(guess)
        self._num_prompt = len(prompt)
        self._cache = cache
        self._out = self._pass([*prompt, *guess][num_cached:], num_logits=1 + len(guess))

    def behind(self, found: Sequence[int]) -> tuple[Any, tuple[Any, ...]]:
        """Return the row of logits behind `found`, and the hidden states where they are wanted.

        `found` is to grow by a token from call to call.
        """
        if list(found) == self._guess[: len(found)]:
            return self._row(len(found) - len(self._guess) - 1)
        surplus = self._num_read - self._num_prompt - len(found) + 1
        if surplus:
            self._cache.crop(-surplus)
        self._num_read = self._num_prompt + len(found)
        self._out = self._pass([found[-1]], num_logits=1)
        return self._row(-1)

    def _pass(self, ids: list[int], num_logits: int) -> Any:
        import torch

        out = self._model(
            torch.tensor([ids]),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=num_logits,
            **self._settings,
        )
        self._cache = out.past_key_values
        return out

    def _row(self, place: int) -> tuple[Any, tuple[Any, ...]]:
        states = self._out.hidden_states or ()
        return self._out.logits[0, place], tuple(layer[0, place] for layer in states)
