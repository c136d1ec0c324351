"""Count the tokens that a search's calls used beside the steps that came of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from motet.engine import Completion
from motet.programs.replies import tokens_of


@dataclass
class Asides:
    """Tokens of replies that were dropped, and of those that are no steps: votes, say."""

    _num_tokens: int = 0

    def put(self, replies: Iterable[Any], most: int) -> None:
        """Count replies, of at most `most` tokens each; what is none was lost, and costs nothing."""
        for reply in replies:
            if isinstance(reply, Completion):
                self._num_tokens += tokens_of(reply, most)

    def put_tokens(self, num: int) -> None:
        self._num_tokens += num

    def take(self) -> int:
        """Return what was counted since this was asked last."""
        num, self._num_tokens = self._num_tokens, 0
        return num
