"""Token ids in, token ids out: what carrying out a rule over several requests asks of an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from motet.engine import Constraint, FinishReason, Sampling, TokenLogprob, Usage
from motet.types import Chat

OnTokens: TypeAlias = Callable[[tuple[int, ...], str], None]
"""Called with the next token ids, and the text that they add."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """One completion of a prompt of token ids."""

    prompt_ids: tuple[int, ...]
    sampling: Sampling
    """`decoding` is empty; `max_tokens` holds; `extra` may not name a field that motet writes."""
    model: str | None = None
    constraint: Constraint | None = None
    wire: str = ""
    """Rules for motet's processor in the engine, as `motet.serving.decoding.wire` writes them."""
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    is_distribution_wanted: bool = False
    """Ask for the log-probabilities of the whole vocabulary at the first token."""
    priority: int = 0
    cache_salt: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReply:
    """What came of a `TokenRequest`."""

    token_ids: tuple[int, ...]
    """All that were generated, a stop token too."""
    text: str
    finish_reason: FinishReason
    stop_reason: str | int | None = None
    """The stop text or the stop token's id that ended it; None at the model's own end."""
    logprobs: tuple[TokenLogprob, ...] = ()
    distribution: Mapping[int, float] = field(default_factory=dict)
    """Log-probability by token id, in nats, at the first token; empty unless asked for."""
    usage: Usage = field(default_factory=Usage)


class TokenEngine(Protocol):
    """The side of an engine that rules are carried out on. Cancelling `generate` aborts it."""

    @property
    def runner(self) -> str:
        """The live model runner, as the probe tells it: `V1` or `V2`; empty without the plug-in."""
        ...

    @property
    def eos_ids(self) -> frozenset[int]: ...

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of which no text is made, as far as they are known; ends of turn may be among them."""
        ...

    @property
    def context_tokens(self) -> int | None:
        """Most tokens of prompt and completion together; None where unknown."""
        ...

    async def encode(self, prompt: Chat | str | tuple[int, ...]) -> tuple[int, ...]:
        """Return the ids of a prompt; of a chat, with the template and its generation prompt."""
        ...

    async def encode_bare(self, text: str) -> tuple[int, ...]:
        """Return the ids of `text` by itself, without special tokens."""
        ...

    async def decode(self, token_ids: tuple[int, ...], after: tuple[int, ...] = ()) -> str:
        """Return the text of ids, without special tokens: what they add behind the ids `after`."""
        ...

    async def generate(
        self, request: TokenRequest, on_tokens: OnTokens | None = None
    ) -> TokenReply: ...
