"""Completions of two prompts mixed inside the engine: two requests, sent again until they meet.

motet's processor in the engine chooses one token for both rows in every step that has both, and
ends the row that stands alone; what both requests hold in common is then kept, and both go on from
there. No timing can put a wrong token into the common part, since a token chosen beside a row that
was not ready never reaches that row.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

from motet.errors import EngineUnavailableError
from motet.serving.decoding import wire
from motet.serving.decoding.rule_job import Progress, refuse_aborted
from motet.serving.decoding.speaker import Heard, Speaker, common
from motet.serving.decoding.texts import cut_at_stop
from motet.serving.decoding.together import together

if TYPE_CHECKING:
    from motet.engine import Completion, FinishReason
    from motet.serving.decoding.rule_job import Job, Told
    from motet.serving.decoding.token_engine import TokenEngine, TokenReply, TokenRequest

_MAX_ROUNDS_WITHOUT_PROGRESS: Final = 30
_ROUND_WAIT_S = 0.02
"""Grows with every round that brought nothing, so that two pairs do not stay in each other's way."""


async def complete_paired(
    tokens: TokenEngine, job: Job, index: int, told: Told | None
) -> tuple[Progress, Completion]:
    """Make one completion, in as many rounds as it takes.

    Raises:
        EngineUnavailableError: The rows did not meet.
    """
    choosing = job.choosing(index)
    progress = Progress()
    speaker = Speaker(job.sampling.stop, told)
    text, idle = "", 0
    while True:
        progress.rounds += 1
        before = len(progress.token_ids)
        sync = job.syncs[progress.rounds % 2]
        heard = None if told is None else Heard(speaker, text)
        main, partner = await _round(tokens, job, progress, choosing, sync, heard)
        progress.usage += main.usage + partner.usage
        refuse_aborted(main, partner)
        agreed = common(_without_sync(main, sync), _without_sync(partner, sync))
        progress.token_ids.extend(agreed)
        finish = _ending(tokens, job, progress, main, partner, agreed)
        if finish is not None or job.sampling.stop or told is not None:
            text = await tokens.decode(tuple(progress.token_ids), after=job.prompt_ids)
        cut, stop = cut_at_stop(text, job.sampling.stop, job.kept_stops)
        if stop is not None or finish is not None:
            speaker.say(cut)
            ended: FinishReason = "stop" if stop is not None or finish == "stop" else "length"
            return progress, job.completion(tuple(progress.token_ids), cut, ended, stop)
        idle = 0 if len(progress.token_ids) > before else idle + 1
        if idle >= _MAX_ROUNDS_WITHOUT_PROGRESS:
            raise EngineUnavailableError(
                f"the two rows of a pair did not meet in {idle} rounds; start the server with "
                "motet's scheduler (motet engine up), or with more --max-num-batched-tokens"
            )
        if idle:
            await asyncio.sleep(_ROUND_WAIT_S * min(idle, 10) * (1 + secrets.randbelow(100) / 100))


async def _round(
    tokens: TokenEngine,
    job: Job,
    progress: Progress,
    choosing: wire.Choosing,
    sync: int,
    heard: Heard | None,
) -> tuple[TokenReply, TokenReply]:
    """Send both requests, from what is certain so far."""
    assert job.partner_ids is not None
    base = len(progress.token_ids)
    name = secrets.token_hex(8)

    def asked(ids: tuple[int, ...], role: wire.Role, stop: tuple[str, ...]) -> TokenRequest:
        wired = wire.write(
            rules=job.rules, pair=(name, role), choosing=choosing, sync=sync, base=base
        )
        return job.ask(
            (*ids, *progress.token_ids),
            sampling=job.bare(job.sampling.max_tokens - base, stop),
            wired=wired,
            stop_token_ids=(sync,),
            name=f"-{role}-{progress.rounds}",
        )

    # Stop texts end the main request only; its partner then ends by the sync token.
    main, partner = await together(
        tokens.generate(
            asked(job.prompt_ids, "main", job.sampling.stop), heard.on_main if heard else None
        ),
        tokens.generate(asked(job.partner_ids, "partner", ()), heard.on_partner if heard else None),
    )
    return main, partner


def _without_sync(reply: TokenReply, sync: int) -> tuple[int, ...]:
    ids = reply.token_ids
    return ids[:-1] if reply.stop_reason == sync and ids[-1:] == (sync,) else ids


def _ending(
    tokens: TokenEngine,
    job: Job,
    progress: Progress,
    main: TokenReply,
    partner: TokenReply,
    agreed: tuple[int, ...],
) -> FinishReason | None:
    """How the completion ended, where it did."""
    if agreed and agreed[-1] in tokens.eos_ids and agreed == main.token_ids == partner.token_ids:
        return "stop"
    if len(progress.token_ids) >= job.sampling.max_tokens:
        return "length"
    has_ended = main.finish_reason == partner.finish_reason == "stop"
    if has_ended and agreed == main.token_ids == partner.token_ids:
        return "stop"  # neither ended by the sync token
    is_full = main.finish_reason == partner.finish_reason == "length"
    return "length" if is_full and agreed == main.token_ids == partner.token_ids else None
