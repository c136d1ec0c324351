"""One completion while it waits and runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from motet.engine import Completion, FinishReason, TokenLogprob
from motet.serving.local.rows import Member

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from motet.serving.local.model import LoadedModel
    from motet.serving.local.sampler import Choice, RowSampler
    from motet.serving.local.text import Detokeniser, StopScanner


@dataclass(slots=True, eq=False, kw_only=True)
class Generation(Member):
    """Completion `index` of a job: its tokens, text and end. All of its rows get its tokens."""

    sampler: RowSampler
    detokeniser: Detokeniser
    scanner: StopScanner
    max_tokens: int
    """Most tokens to generate."""
    pieces: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    @property
    def output_ids(self) -> Sequence[int]:
        return self.sampler.output_ids

    @property
    def layers(self) -> tuple[int, ...]:
        """Earlier layers whose logits its rules look at."""
        contrast = self.sampler.contrast
        return () if contrast is None else contrast.layers

    def accept(self, choice: Choice, model: LoadedModel, name: Callable[[int], str]) -> str:
        """Take the next token and return the text that is certain by now.

        Raises:
            RequestRejectedError: The constraint cannot go on.
        """
        token = choice.token
        for row in self.rows:
            row.tokens.append(token)
        self.sampler.output_ids.append(token)
        if self.sampler.sampling.logprobs is not None:
            top = tuple((name(id_), logprob) for id_, logprob in choice.top)
            self.logprobs.append(TokenLogprob(name(token), choice.logprob, token, top))
        if token in model.eos_ids:
            return self.finish("stop")
        text = self.scanner.push(self.detokeniser.push(token))
        self.pieces.append(text)
        if self.scanner.found is not None:
            self._end("stop")
            return text
        masks = self.sampler.masks
        if masks:
            masks.advance(token)
            if masks.is_complete(model.eos_ids, model.vocab_size):
                return text + self.finish("stop")
        if len(self.output_ids) >= self.max_tokens:
            return text + self.finish("length")
        return text

    def finish(self, reason: FinishReason) -> str:
        """End the completion and return the text that was held back."""
        text = self.scanner.push(self.detokeniser.finish())
        if self.scanner.found is not None:
            reason = "stop"
        text += self.scanner.finish()
        self.pieces.append(text)
        self._end(reason)
        return text

    def completion(self) -> Completion:
        return Completion(
            text="".join(self.pieces),
            finish_reason=self.finish_reason or "abort",
            stop_reason=self.scanner.found,
            token_ids=tuple(self.output_ids),
            logprobs=tuple(self.logprobs),
            log_weight=self.sampler.masks.log_weight,
        )

    def _end(self, reason: FinishReason) -> None:
        self.finish_reason = reason
        self.is_done = True
