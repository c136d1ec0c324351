"""A request with decoding rules, taken apart: what rows of every kind are made of."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from motet.engine import Completion, Sampling, Usage
from motet.errors import EngineUnavailableError
from motet.serving.decoding import wire
from motet.serving.decoding.token_engine import TokenRequest

if TYPE_CHECKING:
    from motet.engine import Constraint, FinishReason, Request, TokenLogprob
    from motet.serving.decoding.token_engine import TokenReply
    from motet.types import JSON

Told: TypeAlias = Callable[[str], None]
"""Called with the next piece of one completion's text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request taken apart, for all of its completions."""

    request: Request
    prompt_ids: tuple[int, ...]
    partner_ids: tuple[int, ...] | None
    sampling: Sampling
    """Without rules; stop texts of `Stop` rules added; `max_tokens` as far as the context goes."""
    rules: tuple[dict[str, JSON], ...]
    """For the processor, the mixing one first."""
    constraint: Constraint | None
    kept_stops: frozenset[str]
    is_weighted: bool
    syncs: tuple[int, int]
    """Two token ids that end rows, used in turn: one may be the very token that is due. A weighted
    row has the first alone."""

    def seed(self, index: int) -> int:
        """Return the seed of one completion; where none was asked for, one of its own."""
        seed = self.sampling.seed
        return secrets.randbits(31) if seed is None else seed + index

    def choosing(self, index: int) -> wire.Choosing:
        """Return how the token of one completion is chosen, where the engine does not."""
        sampling = self.sampling
        return wire.Choosing(
            temperature=1.0 if sampling.temperature is None else sampling.temperature,
            top_p=1.0 if sampling.top_p is None else sampling.top_p,
            top_k=-1 if sampling.top_k is None else sampling.top_k,
            min_p=0.0 if sampling.min_p is None else sampling.min_p,
            seed=self.seed(index),
        )

    def bare(self, max_tokens: int, stop: tuple[str, ...] = ()) -> Sampling:
        """Return settings under which vLLM takes what was chosen, whatever the model's defaults."""
        return Sampling(
            temperature=0.0,
            max_tokens=max_tokens,
            stop=stop,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            repetition_penalty=1.0,
            extra=self.sampling.extra,
        )

    def ask(
        self,
        prompt_ids: tuple[int, ...],
        *,
        sampling: Sampling,
        wired: str,
        stop_token_ids: tuple[int, ...] = (),
        ignore_eos: bool = False,
        name: str = "",
    ) -> TokenRequest:
        """Return a request for one row; `name` tells it from the others of this job."""
        request = self.request
        request_id = request.request_id
        return TokenRequest(
            prompt_ids=prompt_ids,
            sampling=sampling,
            model=request.model,
            constraint=self.constraint,
            wire=wired,
            stop_token_ids=stop_token_ids,
            ignore_eos=ignore_eos,
            priority=request.priority,
            cache_salt=request.cache_salt,
            request_id=f"{request_id}{name}" if request_id is not None else None,
        )

    def completion(
        self,
        token_ids: tuple[int, ...],
        text: str,
        finish: FinishReason,
        stop: str | int | None,
        logprobs: tuple[TokenLogprob, ...] = (),
        log_weight: float | None = None,
    ) -> Completion:
        """Return a completion that ended; `stop` counts where it is a text."""
        return Completion(
            text,
            finish,
            stop if isinstance(stop, str) else None,
            token_ids,
            logprobs if self.sampling.logprobs is not None else (),
            log_weight=log_weight,
        )


@dataclass(slots=True)
class Progress:
    """What is certain of one completion."""

    token_ids: list[int] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    rounds: int = 0


def refuse_aborted(*replies: TokenReply) -> None:
    """Raise where the engine gave up one of the requests."""
    if any(reply.finish_reason == "abort" for reply in replies):
        raise EngineUnavailableError(
            "the engine aborted a request that carries a decoding rule out"
        )
