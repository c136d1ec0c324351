"""Requests in the scheduler: a job, and how its members are made."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from motet.engine import OnDelta, Reply, Request, Usage
from motet.serving.local.contrast import make_contrast
from motet.serving.local.generation import Generation
from motet.serving.local.masks import MaskStack
from motet.serving.local.rows import Member, Row
from motet.serving.local.sampler import RowSampler, make_generator
from motet.serving.local.scoring import Scoring
from motet.serving.local.telling import Telling
from motet.serving.local.text import Detokeniser, StopScanner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motet.errors import MotetError
    from motet.serving.local.masks import MakeMask
    from motet.serving.local.model import LoadedModel
    from motet.serving.local.rule_set import RuleSet


@dataclass(slots=True, eq=False)
class Job:
    """A request in the scheduler. Its future and `on_delta` belong to the caller's event loop."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Reply]
    model: str
    prompts: tuple[tuple[int, ...], ...]
    """Ids of the prompt, and of a paired rule's other prompt."""
    priority: int
    salt: str
    """Jobs of different salts share no computed prefix."""
    on_delta: OnDelta | None
    decoding: str = ""
    """How its rules are carried out."""
    members: list[Member] = field(default_factory=list)
    num_open: int = 0
    """Members that have not ended."""
    num_outside: int = 0
    """Members that have no place in the batch yet."""
    donor: Row | None = None
    """A row that has ended and stays for the members outside, which begin alike."""
    is_over: bool = False
    """Set by the caller who gave up, or by the scheduler that failed the job."""

    def add(self, member: Member) -> None:
        """Add a member before the job is submitted."""
        self.members.append(member)
        self.num_open += 1
        self.num_outside += 1

    def reply(self) -> Reply:
        """Put the completions together.

        Each prompt counts once, as the first member computes it for all; a generated token counts
        in each row that it went through, and a candidate's tokens count with the prompt.
        """
        prompt = sum(map(len, self.prompts))
        generated = 0
        for member in self.members:
            if isinstance(member, Generation):
                generated += len(member.output_ids) * len(member.rows)
            elif isinstance(member, Scoring):
                prompt += len(member.token_ids)
        usage = Usage(
            prompt_tokens=prompt,
            completion_tokens=generated,
            cached_tokens=sum(row.num_cached for row in self.members[0].rows),
            calls=1,
        )
        if isinstance(self.members[0], Telling):
            return Reply((), usage, self.model, next_tokens=self.members[0].found)
        completions = tuple(member.completion() for member in self.members)
        return Reply(completions, usage, self.model, self.decoding)

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


def make_job(
    request: Request,
    *,
    model: LoadedModel,
    name: str,
    prompts: tuple[tuple[int, ...], ...],
    rules: RuleSet,
    masks: Sequence[MakeMask],
    on_delta: OnDelta | None,
) -> Job:
    """Make a job that generates the completions of `request`, for the running event loop."""
    job = _empty_job(request, name, prompts, on_delta)
    job.decoding = rules.how
    sampling = model.with_defaults(request.sampling)
    room = model.context_tokens - max(map(len, prompts))
    max_tokens = min(sampling.max_tokens, room)
    contrast = make_contrast(rules, model)
    for index in range(request.n):
        sampler = RowSampler(
            prompt_ids=prompts[0],
            output_ids=[],
            sampling=sampling,
            generator=make_generator(sampling.seed, index),
            contrast=contrast,
            own=rules.own,
            masks=MaskStack(make() for make in masks),
        )
        generation = Generation(
            job=job,
            index=index,
            sampler=sampler,
            detokeniser=Detokeniser(model.decode, prompts[0]),
            scanner=StopScanner(rules.stops, rules.kept_stops),
            max_tokens=max_tokens,
        )
        generation.rows = tuple(
            Row(generation, list(ids), len(ids) + max_tokens, len(ids)) for ids in prompts
        )
        job.add(generation)
    return job


def make_scoring_job(
    request: Request,
    *,
    model: LoadedModel,
    name: str,
    prompt_ids: tuple[int, ...],
    candidates: Sequence[tuple[int, ...]],
) -> Job:
    """Make a job that scores `candidates`, the ids of those of `request`."""
    job = _empty_job(request, name, (prompt_ids,), None)
    for index, (given, ids) in enumerate(zip(request.candidates, candidates, strict=True)):
        scoring = Scoring(
            job=job,
            index=index,
            text=given if isinstance(given, str) else model.decode(ids),
            token_ids=ids,
            names=tuple(model.decode([token], keep_special=True) for token in ids),
        )
        # Nothing follows the last token, so it need not be computed.
        tokens = [*prompt_ids, *ids[:-1]]
        row = Row(scoring, tokens, len(tokens), len(tokens), len(prompt_ids) - 1)
        scoring.rows = (row,)
        job.add(scoring)
    return job


def make_telling_job(
    request: Request, *, model: LoadedModel, name: str, prompt_ids: tuple[int, ...], k: int
) -> Job:
    """Make a job that tells the `k` likeliest tokens behind `prompt_ids`."""
    job = _empty_job(request, name, (prompt_ids,), None)
    telling = Telling(job=job, index=0, k=k, ends=tuple(sorted(model.eos_ids)))
    size = len(prompt_ids)
    telling.rows = (Row(telling, list(prompt_ids), size, size, size - 1),)
    job.add(telling)
    return job


def _empty_job(
    request: Request, name: str, prompts: tuple[tuple[int, ...], ...], on_delta: OnDelta | None
) -> Job:
    loop = asyncio.get_running_loop()
    return Job(
        loop=loop,
        future=loop.create_future(),
        model=name,
        prompts=prompts,
        priority=request.priority,
        salt=request.cache_salt or "",
        on_delta=on_delta,
    )
