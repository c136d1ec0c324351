"""One completion while it waits and runs, and the job of its request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from motet.engine import (
    Completion,
    FinishReason,
    OnDelta,
    Reply,
    Request,
    TokenLogprob,
    Usage,
)
from motet.serving.local.sampler import Choice, RowSampler, make_generator
from motet.serving.local.text import Detokeniser, StopScanner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from motet.errors import MotetError
    from motet.serving.local.constraint import Grammar, Matcher
    from motet.serving.local.model import LoadedModel


@dataclass(slots=True, eq=False)
class Job:
    """A request in the scheduler. Its future and `on_delta` belong to the caller's event loop."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Reply]
    model: str
    prompt_ids: tuple[int, ...]
    priority: int
    on_delta: OnDelta | None
    generations: list[Generation] = field(default_factory=list)
    num_open: int = 0
    """Completions that have not ended."""
    is_over: bool = False
    """Set by the caller who gave up, or by the scheduler that failed the job."""

    def reply(self) -> Reply:
        """Put the completions together; the prompt counts once, by the first of them."""
        generated = sum(len(s.output_ids) for s in self.generations)
        usage = Usage(
            prompt_tokens=len(self.prompt_ids),
            completion_tokens=generated,
            cached_tokens=self.generations[0].num_cached,
            calls=1,
        )
        completions = tuple(s.completion() for s in self.generations)
        return Reply(completions, usage, self.model)

    def resolve(self, outcome: Reply | MotetError) -> None:
        """Give the caller the outcome; runs on the caller's loop."""
        self.is_over = True
        if self.future.done():
            return
        if isinstance(outcome, Reply):
            self.future.set_result(outcome)
        else:
            self.future.set_exception(outcome)

    def deliver(self, index: int, text: str) -> None:
        """Report text to the caller; runs on the caller's loop."""
        if self.on_delta is None or self.future.done():
            return
        try:
            self.on_delta(index, text)
        except Exception as exc:
            self.is_over = True
            self.future.set_exception(exc)


@dataclass(slots=True, eq=False)
class Generation:
    """Completion `index` of a job: its tokens, text and end."""

    job: Job
    index: int
    sampler: RowSampler
    detokeniser: Detokeniser
    scanner: StopScanner
    max_length: int
    """Most tokens of prompt and output together."""
    tokens: list[int]
    """Prompt and output."""
    order: int = 0
    """Place in the order of arrival."""
    num_computed: int = 0
    """Tokens whose keys and values the row holds."""
    num_cached: int = 0
    """Prompt tokens that it did not have to compute."""
    pieces: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    @property
    def output_ids(self) -> Sequence[int]:
        return self.sampler.output_ids

    @property
    def is_prefilling(self) -> bool:
        return self.num_computed < len(self.job.prompt_ids)

    @property
    def matcher(self) -> Matcher | None:
        return self.sampler.matcher

    def accept(self, choice: Choice, eos_ids: frozenset[int], name: Callable[[int], str]) -> str:
        """Take the next token and return the text that is certain by now.

        Raises:
            RequestRejectedError: The constraint cannot go on.
        """
        token = choice.token
        self.tokens.append(token)
        self.sampler.output_ids.append(token)
        if self.sampler.sampling.logprobs is not None:
            top = tuple((name(id_), logprob) for id_, logprob in choice.top)
            self.logprobs.append(TokenLogprob(name(token), choice.logprob, token, top))
        if token in eos_ids:
            return self.finish("stop")
        text = self.scanner.push(self.detokeniser.push(token))
        self.pieces.append(text)
        if self.scanner.found is not None:
            self.finish_reason = "stop"
            return text
        if self.matcher is not None:
            self.matcher.consume(token)
            if self.matcher.is_complete:
                return text + self.finish("stop")
        if len(self.tokens) >= self.max_length:
            return text + self.finish("length")
        return text

    def finish(self, reason: FinishReason) -> str:
        """End the completion and return the text that was held back."""
        text = self.scanner.push(self.detokeniser.finish())
        if self.scanner.found is not None:
            reason = "stop"
        text += self.scanner.finish()
        self.pieces.append(text)
        self.finish_reason = reason
        return text

    def completion(self) -> Completion:
        return Completion(
            text="".join(self.pieces),
            finish_reason=self.finish_reason or "abort",
            stop_reason=self.scanner.found,
            token_ids=tuple(self.output_ids),
            logprobs=tuple(self.logprobs),
        )


def make_job(
    request: Request,
    *,
    model: LoadedModel,
    name: str,
    prompt_ids: tuple[int, ...],
    grammar: Grammar | None,
    on_delta: OnDelta | None,
) -> Job:
    """Make a job of `request` for the running event loop."""
    loop = asyncio.get_running_loop()
    job = Job(
        loop=loop,
        future=loop.create_future(),
        model=name,
        prompt_ids=prompt_ids,
        priority=request.priority,
        on_delta=on_delta,
        num_open=request.n,
    )
    sampling = model.with_defaults(request.sampling)
    for index in range(request.n):
        sampler = RowSampler(
            prompt_ids=prompt_ids,
            output_ids=[],
            sampling=sampling,
            generator=make_generator(sampling.seed, index),
            matcher=None if grammar is None else grammar.matcher(),
        )
        generation = Generation(
            job=job,
            index=index,
            sampler=sampler,
            detokeniser=Detokeniser(model.decode, prompt_ids),
            scanner=StopScanner(sampling.stop),
            max_length=min(len(prompt_ids) + sampling.max_tokens, model.context_tokens),
            tokens=list(prompt_ids),
        )
        job.generations.append(generation)
    return job
