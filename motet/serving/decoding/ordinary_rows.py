"""Completions whose rules only mask or contrast: one request each, and the engine samples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from motet.serving.decoding import wire
from motet.serving.decoding.rule_job import Progress

if TYPE_CHECKING:
    from motet.engine import Completion
    from motet.serving.decoding.rule_job import Job, Told
    from motet.serving.decoding.token_engine import TokenEngine


async def complete_ordinary(
    tokens: TokenEngine, job: Job, index: int, told: Told | None
) -> tuple[Progress, Completion]:
    """Ask for one completion."""
    seed = None if job.sampling.seed is None else job.sampling.seed + index
    request = job.ask(
        job.prompt_ids,
        sampling=replace(job.sampling, seed=seed),
        wired=wire.write(rules=job.rules) if job.rules else "",
    )
    reply = await tokens.generate(request, None if told is None else lambda _, text: told(text))
    text, stop = reply.text, reply.stop_reason
    if isinstance(stop, str) and stop in job.kept_stops:
        text += stop
        if told is not None:
            told(stop)
    completion = job.completion(reply.token_ids, text, reply.finish_reason, stop, reply.logprobs)
    return Progress(list(reply.token_ids), reply.usage, 1), completion
