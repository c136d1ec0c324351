"""One candidate while it waits to be scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from motet.engine import Completion, TokenLogprob
from motet.serving.local.rows import Member


@dataclass(slots=True, eq=False, kw_only=True)
class Scoring(Member):
    """Candidate `index` of a job, whose tokens are scored instead of chosen."""

    text: str
    token_ids: tuple[int, ...]
    names: tuple[str, ...]
    """The text of each token."""
    values: list[float] = field(default_factory=list)
    """Logprobs of the tokens scored so far, in nats."""

    def accept(self, logits: Any) -> None:
        """Score the next tokens by `logits` `[S, V]`, those before each of the next S tokens."""
        start = len(self.values)
        ids = torch.tensor(self.token_ids[start : start + logits.shape[0]])
        lines = torch.log_softmax(logits, -1)
        self.values += lines.gather(1, ids.unsqueeze(1)).squeeze(1).tolist()
        self.is_done = len(self.values) == len(self.token_ids)

    def completion(self) -> Completion:
        found = zip(self.names, self.values, self.token_ids, strict=True)
        return Completion(
            text=self.text,
            token_ids=self.token_ids,
            logprobs=tuple(TokenLogprob(name, value, token) for name, value, token in found),
        )
