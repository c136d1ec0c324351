"""Rows of the running batch, and what owns them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motet.engine import Completion
    from motet.serving.local.jobs import Job


@dataclass(slots=True, eq=False)
class Row:
    """A sequence of tokens whose keys and values the batch computes and keeps."""

    owner: Member
    tokens: list[int]
    """Those known so far."""
    max_length: int
    """Most tokens that it will ever hold."""
    num_prompt: int
    """Tokens that were known at the beginning."""
    scored_from: int | None = None
    """The first token whose successor is scored; None where only the last token's is chosen."""
    is_in: bool = False
    """Whether it has a place in the batch."""
    num_computed: int = 0
    """Tokens whose keys and values the row holds."""
    num_cached: int = 0
    """Prompt tokens that it did not have to compute."""

    @property
    def num_left(self) -> int:
        """Known tokens that are not computed yet."""
        return len(self.tokens) - self.num_computed

    @property
    def is_paired(self) -> bool:
        return len(self.owner.rows) > 1

    @property
    def is_prefilling(self) -> bool:
        return self.num_computed < self.num_prompt

    @property
    def most_shared(self) -> int:
        """How many tokens it may take over: those after which no logits are wanted."""
        return len(self.tokens) - 1 if self.scored_from is None else self.scored_from

    def num_logits(self, past: int, count: int) -> int:
        """Return after how many of the `count` tokens behind `past` logits are wanted."""
        return max(0, past + count - max(past, self.most_shared))


@dataclass(slots=True, eq=False, kw_only=True)
class Member:
    """What a job consists of: completions to generate, candidates to score, or a distribution."""

    job: Job
    index: int
    rows: tuple[Row, ...] = ()
    """That of the prompt, then that of a paired rule's other prompt."""
    order: int = 0
    """Place in the order of arrival."""
    is_done: bool = False

    @property
    def layers(self) -> tuple[int, ...]:
        """Earlier layers whose logits are wanted with those of the first row."""
        return ()

    @property
    def is_level(self) -> bool:
        """Whether all rows are in the batch and lack their last token only."""
        return all(row.is_in and row.num_left == 1 for row in self.rows)

    def completion(self) -> Completion:
        raise NotImplementedError
