"""Mix two prompts outside the engine, one token a request: for servers without motet's processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet.engine import Usage
from motet.errors import ConfigError, RequestRejectedError
from motet.serving.decoding.rule_job import Progress
from motet.serving.decoding.speaker import Speaker
from motet.serving.decoding.texts import cut_at_stop
from motet.serving.decoding.together import together
from motet.serving.decoding.token_engine import TokenReply, TokenRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from motet.engine import Completion, FinishReason
    from motet.serving.decoding.rule_job import Job, Told
    from motet.serving.decoding.token_engine import TokenEngine


async def complete_one_by_one(
    tokens: TokenEngine, job: Job, index: int, told: Told | None
) -> tuple[Progress, Completion]:
    """Make one paired completion: exact as in the engine, and slow.

    Raises:
        RequestRejectedError: The server reports fewer log-probabilities than its vocabulary has.
        ConfigError: Another rule is to hold too, or torch, which does the mixing, is not installed.
    """
    if len(job.rules) > 1 or job.constraint is not None:
        raise ConfigError(
            "the server has not motet's processor, so a paired rule cannot be joined with others"
        )
    stops = job.sampling.stop
    speaker = Speaker(stops, told)
    progress = Progress()
    finish: FinishReason = "length"
    stop: str | None = None
    text = ""
    async for token, usage in _generate(tokens, job, index):
        progress.usage += usage
        progress.token_ids.append(token)
        progress.rounds += 1
        is_end = token in tokens.eos_ids
        if is_end or stops or told is not None:
            whole = await tokens.decode(tuple(progress.token_ids), after=job.prompt_ids)
            text, stop = cut_at_stop(whole, stops, job.kept_stops)
            if stop is None and not is_end:
                speaker.hear(text)
        if stop is not None or is_end:
            finish = "stop"
            break
    if finish == "length":
        text = await tokens.decode(tuple(progress.token_ids), after=job.prompt_ids)
    speaker.say(text)
    return progress, job.completion(tuple(progress.token_ids), text, finish, stop)


async def _generate(tokens: TokenEngine, job: Job, index: int) -> AsyncIterator[tuple[int, Usage]]:
    """Yield each token with what it took.

    Every step asks for the whole vocabulary's log-probabilities behind both prompts; the engine's
    prefix cache keeps the prompts from being computed again.
    """
    try:
        from motet.serving.decoding.choosing import choose
        from motet.serving.decoding.guidance import mixed, strength
    except ImportError as exc:
        raise ConfigError(
            "mixing prompts outside the server needs torch: pip install 'motet[local]'"
        ) from exc
    import torch

    assert job.partner_ids is not None
    rule, choosing = job.rules[0], job.choosing(index)
    strengths = torch.tensor([strength(rule)])
    chosen: list[int] = []
    for position in range(job.sampling.max_tokens):
        replies = await together(
            *[
                tokens.generate(_next(job, (*ids, *chosen)))
                for ids in (job.prompt_ids, job.partner_ids)
            ]
        )
        rows = [_row(reply) for reply in replies]
        row = mixed(str(rule["rule"]), rows[0], rows[1], strengths)
        [token] = choose(row, [choosing], [position])
        chosen.append(token)
        yield token, sum((reply.usage for reply in replies), Usage())


def _next(job: Job, ids: tuple[int, ...]) -> TokenRequest:
    request = job.request
    return TokenRequest(
        prompt_ids=ids,
        sampling=job.bare(1),
        model=request.model,
        priority=request.priority,
        cache_salt=request.cache_salt,
        is_distribution_wanted=True,
    )


def _row(reply: TokenReply) -> Any:
    """Return float tensor `[1, V]` of log-probabilities."""
    import torch

    found = reply.distribution
    if not found or len(found) <= max(found):
        raise RequestRejectedError(
            f"the server reported {len(found)} log-probabilities of its vocabulary; mixing outside "
            "it needs all: start it with --max-logprobs -1, or with motet's processor",
            status=400,
        )
    row = torch.empty(len(found), dtype=torch.float32)
    row[torch.tensor(list(found.keys()))] = torch.tensor(list(found.values()))
    return row.unsqueeze(0)
