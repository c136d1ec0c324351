"""What vLLM returns, as motet's completions and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from motet.engine import Completion, FinishReason, TokenLogprob
from motet.errors import EngineError, EngineUnavailableError, MotetError, RequestRejectedError

if TYPE_CHECKING:
    from vllm.outputs import CompletionOutput, RequestOutput

_REASONS: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "abort": "abort",
    "repetition": "length",
}


@dataclass(slots=True)
class Collected:
    """One completion while its pieces come."""

    pieces: list[str] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[Mapping[int, Any]] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None

    def add(self, output: CompletionOutput) -> None:
        """Take the next piece, or the whole.

        Raises:
            EngineError: The engine gave the request up.
        """
        self.pieces.append(output.text)
        self.token_ids.extend(output.token_ids)
        self.logprobs.extend(output.logprobs or ())
        self.stop_reason = output.stop_reason
        if output.finish_reason is not None:
            if output.finish_reason not in _REASONS:
                raise EngineError(
                    f"vLLM ended the request: {output.finish_reason} {output.stop_reason or ''}"
                )
            self.finish_reason = _REASONS[output.finish_reason]

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def token_logprobs(self, num_top: int | None) -> tuple[TokenLogprob, ...]:
        """Return the logprobs with the `num_top` most likely tokens each; None for none at all."""
        if num_top is None:
            return ()
        return tuple(
            _token_logprob(token_id, line, num_top)
            for token_id, line in zip(self.token_ids, self.logprobs, strict=False)
        )

    def completion(self, num_top: int | None) -> Completion:
        stop = self.stop_reason
        return Completion(
            text=self.text,
            finish_reason=self.finish_reason or "abort",
            stop_reason=stop if isinstance(stop, str) else None,
            token_ids=tuple(self.token_ids),
            logprobs=self.token_logprobs(num_top),
        )


def _token_logprob(token_id: int, line: Mapping[int, Any], num_top: int) -> TokenLogprob:
    chosen = line[token_id]
    best = sorted((each for each in line.values() if each.rank <= num_top), key=lambda e: e.rank)
    return TokenLogprob(
        chosen.decoded_token or "",
        chosen.logprob,
        token_id,
        tuple((each.decoded_token or "", each.logprob) for each in best),
    )


def logprob_by_id(line: Mapping[int, Any], wanted: Sequence[int] | None = None) -> dict[int, float]:
    """Return the logprob of each token of one place, or of those that are wanted."""
    return {i: line[i].logprob for i in (line if wanted is None else wanted) if i in line}


def cached_tokens(output: RequestOutput) -> int:
    """Return how many prompt tokens were in the prefix cache."""
    return max(0, output.num_cached_tokens or 0)


def mapped_error(url: str, exc: BaseException) -> MotetError:
    """Return motet's error for one that vLLM raised."""
    from vllm.exceptions import GracefulHTTPError, VLLMClientError
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    if isinstance(exc, MotetError):
        return exc
    if isinstance(exc, EngineGenerateError) and exc.__cause__ is not None:
        return mapped_error(url, exc.__cause__)
    if isinstance(exc, EngineDeadError):
        return EngineUnavailableError(f"{url} ended while the request ran")
    if isinstance(exc, GracefulHTTPError):
        return EngineUnavailableError(f"{url} takes no more requests now: {exc}")
    if isinstance(exc, (VLLMClientError, ValueError, TypeError)):
        return RequestRejectedError(f"vLLM does not take the request: {exc}", status=400)
    return EngineError(f"{url} failed: {type(exc).__name__}: {exc}")
