"""Carry out decoding rules on an engine that takes token ids: ordinary, paired and weighted rows.

Two requests make one guided continuation. motet's processor in the engine chooses one token for
both rows in every step that has both, and ends the row that stands alone; what both requests
hold in common is then kept, and both go on from there. No timing can put a wrong token into the
common part, since a token chosen beside a row that was not ready never reaches that row.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from motet.decoding import (
    Constrained,
    Dola,
    Length,
    PairedRule,
    Rule,
    Stop,
    Trie,
    Weighted,
)
from motet.engine import Completion, Reply, Sampling, Usage
from motet.errors import ConfigError, EngineUnavailableError, RequestRejectedError
from motet.serving.decoding import wire
from motet.serving.decoding.one_token import generate_one_by_one
from motet.serving.decoding.together import together
from motet.serving.decoding.token_engine import TokenReply, TokenRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from motet.engine import Constraint, FinishReason, OnDelta, Request, TokenLogprob
    from motet.serving.decoding.token_engine import TokenEngine
    from motet.types import JSON

_MAX_ROUNDS_WITHOUT_PROGRESS = 30
_MAX_LOST_WEIGHTS = 5
_ROUND_WAIT_S = 0.02
"""Grows with every round that brought nothing, so that two pairs do not stay in each other's way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A request taken apart, for all of its completions."""

    request: Request
    prompt_ids: tuple[int, ...]
    partner_ids: tuple[int, ...] | None
    sampling: Sampling
    """Without rules; stop texts of `Stop` rules added."""
    rules: tuple[dict[str, JSON], ...]
    """For the processor, the mixing one first."""
    constraint: Constraint | None
    kept_stops: frozenset[str]
    is_weighted: bool
    syncs: tuple[int, int]
    """Two token ids that end rows, used in turn: one may be the very token that is due."""


@dataclass(slots=True)
class _Progress:
    """What is certain of one completion."""

    token_ids: list[int] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    rounds: int = 0


async def complete(tokens: TokenEngine, request: Request, on_delta: OnDelta | None = None) -> Reply:
    """Answer a request with decoding rules.

    Raises:
        ConfigError: A rule cannot be carried out so.
        EngineUnavailableError: The two rows of a pair never met.
        EngineError: Serving failed.
    """
    job = await _take_apart(tokens, request)
    found = await together(
        *[_complete_one(tokens, job, index, on_delta) for index in range(request.n)]
    )
    usage = sum((each.usage for each, _ in found), Usage())
    return Reply(
        tuple(completion for _, completion in found),
        replace(usage, calls=1),
        request.model or "",
        _how(tokens, job, max(each.rounds for each, _ in found)),
    )


def _how(tokens: TokenEngine, job: _Job, rounds: int) -> str:
    kinds = " & ".join(
        dict.fromkeys(r.identity.split("{")[0] for r in job.request.sampling.decoding)
    )
    if not job.rules:
        return f"{kinds}: structured outputs and stop texts"
    if not tokens.runner:
        return f"{kinds}: one-token loop, {rounds} tokens"
    again = f", {rounds} rounds" if rounds > 1 else ""
    return f"{kinds}: processor, {tokens.runner} runner{again}"


async def _take_apart(tokens: TokenEngine, request: Request) -> _Job:
    sampling = request.sampling
    constraint, stops, kept = request.constraint, list(sampling.stop), set()
    mixing: list[dict[str, JSON]] = []
    masks: list[dict[str, JSON]] = []
    is_weighted = False
    for rule in sampling.decoding:
        if isinstance(rule, Constrained):
            if constraint is not None:
                raise ConfigError("two constraints are asked for; vLLM holds one")
            constraint = rule.constraint
        elif isinstance(rule, Stop):
            stops.append(rule.text)
            if rule.is_kept:
                kept.add(rule.text)
        elif isinstance(rule, (PairedRule, Dola)):
            mixing.append(wire.rule_body(rule))
        elif isinstance(rule, (Trie, Length, Weighted)):
            is_weighted = is_weighted or isinstance(rule, Weighted)
            masks.append(await _mask(tokens, rule))
        else:
            name = getattr(rule, "identity", repr(rule))
            raise ConfigError(f"decoding is {name}; vLLM takes the rules of motet.decoding only")
    prompt_ids = await tokens.encode(request.prompt)
    if is_weighted and stops:
        raise ConfigError(f"stop is {stops}; a weighted completion ends by its rule alone")
    is_paired = any(isinstance(rule, PairedRule) for rule in sampling.decoding)
    if (mixing or masks) and not tokens.runner and not is_paired:
        raise ConfigError(
            f"decoding is {' & '.join(r.identity for r in sampling.decoding)}; the server has not "
            "motet's processor, which carries it out"
        )
    if sampling.logprobs is not None and (is_paired or is_weighted):
        raise ConfigError(
            f"logprobs is {sampling.logprobs}; vLLM reports none of rules that choose the token"
        )
    partner_ids = None
    if is_paired:
        if request.partner is None:
            raise ConfigError("a paired rule needs Request.partner, the other prompt")
        partner_ids = await tokens.encode(request.partner) if request.partner else prompt_ids[-1:]
    is_chosen = partner_ids is not None or is_weighted
    if is_chosen and constraint is not None and tokens.runner:
        # vLLM's own grammar would take offence at the tokens by which such rows end.
        masks.append(wire.rule_body(Constrained(constraint=constraint)))
        constraint = None
    return _Job(
        request=request,
        prompt_ids=prompt_ids,
        partner_ids=partner_ids,
        sampling=replace(sampling, decoding=(), stop=tuple(dict.fromkeys(stops))),
        rules=(*mixing, *masks),
        constraint=constraint,
        kept_stops=frozenset(kept),
        is_weighted=is_weighted,
        syncs=_sync_ids(tokens),
    )


async def _mask(tokens: TokenEngine, rule: Rule) -> dict[str, JSON]:
    if isinstance(rule, Weighted):
        return {"rule": "weighted", "of": await _mask(tokens, rule.rule)}
    if isinstance(rule, Trie):
        members = await together(*[_member_ids(tokens, member) for member in rule.members])
        return wire.rule_body(Trie(members=tuple(members)))
    return wire.rule_body(rule)


async def _member_ids(tokens: TokenEngine, member: str | tuple[int, ...]) -> tuple[int, ...]:
    return await tokens.encode_bare(member) if isinstance(member, str) else member


def _sync_ids(tokens: TokenEngine) -> tuple[int, int]:
    """Choose tokens that a completion hardly ever holds: special ones, as far as there are two."""
    rare = [*sorted(tokens.special_ids), *range(len(tokens.eos_ids) + 4)]
    first, second = list(dict.fromkeys(i for i in rare if i not in tokens.eos_ids))[:2]
    return first, second


async def _complete_one(
    tokens: TokenEngine, job: _Job, index: int, on_delta: OnDelta | None
) -> tuple[_Progress, Completion]:
    def on_text(text: str) -> None:
        assert on_delta is not None
        on_delta(index, text)

    told = None if on_delta is None else on_text
    if job.partner_ids is not None:
        if not tokens.runner:
            return await _paired_one_by_one(tokens, job, index, told)
        return await _paired(tokens, job, index, told)
    if job.is_weighted:
        return await _weighted(tokens, job, index, told)
    return await _ordinary(tokens, job, index, told)


def _seed(job: _Job, index: int) -> int:
    """Seed of one completion; where none was asked for, one of its own."""
    seed = job.sampling.seed
    return secrets.randbits(31) if seed is None else seed + index


def _choosing(job: _Job, index: int) -> wire.Choosing:
    sampling = job.sampling
    for name in ("presence_penalty", "frequency_penalty", "repetition_penalty"):
        if getattr(sampling, name) is not None:
            raise ConfigError(f"{name} is set; rules that choose the token themselves take none")
    return wire.Choosing(
        temperature=1.0 if sampling.temperature is None else sampling.temperature,
        top_p=1.0 if sampling.top_p is None else sampling.top_p,
        top_k=-1 if sampling.top_k is None else sampling.top_k,
        min_p=0.0 if sampling.min_p is None else sampling.min_p,
        seed=_seed(job, index),
    )


def _bare(job: _Job, max_tokens: int) -> Sampling:
    """Settings under which vLLM takes what the processor chose, whatever the model's defaults."""
    return Sampling(
        temperature=0.0,
        max_tokens=max_tokens,
        presence_penalty=0.0,
        frequency_penalty=0.0,
        repetition_penalty=1.0,
        extra=job.sampling.extra,
    )


# ---- ordinary rows -------------------------------------------------------------------------------


async def _ordinary(
    tokens: TokenEngine, job: _Job, index: int, told: Callable[[str], None] | None
) -> tuple[_Progress, Completion]:
    seed = None if job.sampling.seed is None else job.sampling.seed + index
    request = _token_request(
        job,
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
    completion = _completion(job, reply.token_ids, text, reply.finish_reason, stop, reply.logprobs)
    return _Progress(list(reply.token_ids), reply.usage, 1), completion


def _token_request(
    job: _Job,
    prompt_ids: tuple[int, ...],
    *,
    sampling: Sampling,
    wired: str,
    stop_token_ids: tuple[int, ...] = (),
    name: str = "",
) -> TokenRequest:
    request = job.request
    request_id = request.request_id
    return TokenRequest(
        prompt_ids=prompt_ids,
        sampling=sampling,
        model=request.model,
        constraint=job.constraint,
        wire=wired,
        stop_token_ids=stop_token_ids,
        priority=request.priority,
        cache_salt=request.cache_salt,
        request_id=f"{request_id}{name}" if request_id is not None else None,
    )


def _completion(
    job: _Job,
    token_ids: tuple[int, ...],
    text: str,
    finish: FinishReason,
    stop: str | int | None,
    logprobs: tuple[TokenLogprob, ...] = (),
    log_weight: float | None = None,
) -> Completion:
    return Completion(
        text,
        finish,
        stop if isinstance(stop, str) else None,
        token_ids,
        logprobs if job.sampling.logprobs is not None else (),
        log_weight=log_weight,
    )


# ---- paired rows ---------------------------------------------------------------------------------


async def _paired(
    tokens: TokenEngine, job: _Job, index: int, told: Callable[[str], None] | None
) -> tuple[_Progress, Completion]:
    choosing = _choosing(job, index)
    progress = _Progress()
    speaker = _Speaker(job, told)
    idle = 0
    while True:
        progress.rounds += 1
        before = len(progress.token_ids)
        sync = job.syncs[progress.rounds % 2]
        main, partner = await _round(tokens, job, progress, choosing, sync, speaker)
        progress.usage += main.usage + partner.usage
        _refuse_aborted(main, partner)
        agreed = _common(_without_sync(main, sync), _without_sync(partner, sync))
        progress.token_ids.extend(agreed)
        finish = _ending(tokens, job, progress, main, partner, agreed)
        text, stop = await _text(tokens, job, progress.token_ids, finish is not None)
        if stop is not None or finish is not None:
            speaker.say(text)
            ended: FinishReason = "stop" if stop is not None or finish == "stop" else "length"
            return progress, _completion(job, tuple(progress.token_ids), text, ended, stop)
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
    job: _Job,
    progress: _Progress,
    choosing: wire.Choosing,
    sync: int,
    speaker: _Speaker,
) -> tuple[TokenReply, TokenReply]:
    """Send both requests, from what is certain so far."""
    assert job.partner_ids is not None
    base = len(progress.token_ids)
    name = secrets.token_hex(8)
    left = job.sampling.max_tokens - base
    # The processor chooses; what vLLM would do besides must not change the one-hot rows.
    bare = _bare(job, left)

    def asked(ids: tuple[int, ...], role: wire.Role, stop: tuple[str, ...]) -> TokenRequest:
        wired = wire.write(
            rules=job.rules, pair=(name, role), choosing=choosing, sync=sync, base=base
        )
        return _token_request(
            job,
            (*ids, *progress.token_ids),
            sampling=replace(bare, stop=stop),
            wired=wired,
            stop_token_ids=(sync,),
            name=f"-{role}-{progress.rounds}",
        )

    heard = speaker.round()
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


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    shared = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        shared += 1
    return one[:shared]


def _refuse_aborted(*replies: TokenReply) -> None:
    if any(reply.finish_reason == "abort" for reply in replies):
        raise EngineUnavailableError("the engine aborted one of a pair's requests")


def _ending(
    tokens: TokenEngine,
    job: _Job,
    progress: _Progress,
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


async def _text(
    tokens: TokenEngine, job: _Job, token_ids: list[int], is_ended: bool
) -> tuple[str, str | None]:
    """Text so far, cut at the first stop text; decoding is left out where nothing asks for it."""
    if not is_ended and not job.sampling.stop:
        return "", None
    return cut_at_stop(await tokens.decode(tuple(token_ids)), job.sampling.stop, job.kept_stops)


def cut_at_stop(
    text: str, stops: tuple[str, ...], kept: frozenset[str] = frozenset()
) -> tuple[str, str | None]:
    """Return `text` up to the stop text that ends first in it, and that text; it too if kept."""
    found: tuple[int, str] | None = None
    for stop in stops:
        place = text.find(stop)
        if place >= 0 and (found is None or place + len(stop) < found[0] + len(found[1])):
            found = (place, stop)
    if found is None:
        return text, None
    place, stop = found
    return text[: place + len(stop)] if stop in kept else text[:place], stop


class _Speaker:
    """Reports text of a paired completion once both requests have it."""

    def __init__(self, job: _Job, told: Callable[[str], None] | None) -> None:
        self._told = told
        self._said = ""
        self._certain = ""
        """Text of the rounds before."""
        self._held = max((len(stop) for stop in job.sampling.stop), default=1) - 1

    def round(self) -> _Heard | None:
        """Listen to the next round, where somebody is told."""
        return None if self._told is None else _Heard(self)

    def hear(self, text: str) -> None:
        """Report `text` of the running round, as far as no stop text can begin in it."""
        safe = text[: len(text) - self._held] if self._held else text
        if len(safe) > len(self._said) and safe.startswith(self._said) and self._told is not None:
            self._told(safe[len(self._said) :])
            self._said = safe

    def say(self, text: str) -> None:
        """Report what is left of the whole text."""
        if self._told is not None and text.startswith(self._said) and text != self._said:
            self._told(text[len(self._said) :])
            self._said = text


class _Heard:
    """Pieces of one round from both sides."""

    def __init__(self, speaker: _Speaker) -> None:
        self._speaker = speaker
        self._main: list[tuple[int, str]] = []
        """Number of tokens by then, and the text that they added."""
        self._main_ids: list[int] = []
        self._partner_ids: list[int] = []
        self._text = speaker._certain

    def on_main(self, ids: tuple[int, ...], text: str) -> None:
        self._main_ids.extend(ids)
        self._main.append((len(self._main_ids), text))
        self._tell()

    def on_partner(self, ids: tuple[int, ...], text: str) -> None:
        self._partner_ids.extend(ids)
        self._tell()

    def _tell(self) -> None:
        shared = len(_common(tuple(self._main_ids), tuple(self._partner_ids)))
        while self._main and self._main[0][0] <= shared:
            self._text += self._main.pop(0)[1]
        self._speaker._certain = self._text
        self._speaker.hear(self._text)


async def _paired_one_by_one(
    tokens: TokenEngine, job: _Job, index: int, told: Callable[[str], None] | None
) -> tuple[_Progress, Completion]:
    """Mix outside the engine, a token a request: exact too, and slow."""
    if len(job.rules) > 1 or job.constraint is not None:
        raise ConfigError(
            "the server has not motet's processor, so a paired rule cannot be joined with others"
        )
    speaker = _Speaker(job, told)
    progress = _Progress()
    assert job.partner_ids is not None
    finish: FinishReason = "length"
    stop: str | None = None
    text = ""
    async for token, usage in generate_one_by_one(
        tokens,
        job.request,
        main=job.prompt_ids,
        partner=job.partner_ids,
        rule=job.rules[0],
        choosing=_choosing(job, index),
        max_tokens=job.sampling.max_tokens,
    ):
        progress.usage += usage
        progress.token_ids.append(token)
        progress.rounds += 1
        is_end = token in tokens.eos_ids
        if is_end or job.sampling.stop or told is not None:
            whole = await tokens.decode(tuple(progress.token_ids))
            text, stop = cut_at_stop(whole, job.sampling.stop, job.kept_stops)
            if stop is None and not is_end:
                speaker.hear(text)
        if stop is not None or is_end:
            finish = "stop"
            break
    if finish == "length":
        text = await tokens.decode(tuple(progress.token_ids))
    speaker.say(text)
    return progress, _completion(job, tuple(progress.token_ids), text, finish, stop)


# ---- weighted rows -------------------------------------------------------------------------------


async def _weighted(
    tokens: TokenEngine, job: _Job, index: int, told: Callable[[str], None] | None
) -> tuple[_Progress, Completion]:
    """Ask for a completion whose weight comes behind it, as token ids."""
    from motet.serving.decoding.weights import read_end

    sync, left = job.syncs[0], job.sampling.max_tokens
    wired = wire.write(rules=job.rules, choosing=_choosing(job, index), sync=sync, max_tokens=left)
    request = replace(
        _token_request(
            job,
            job.prompt_ids,
            sampling=_bare(job, left + wire.WEIGHT_TOKENS),
            wired=wired,
            stop_token_ids=(sync,),
        ),
        ignore_eos=True,
    )
    progress = _Progress()
    for _ in range(_MAX_LOST_WEIGHTS):
        reply = await tokens.generate(request)
        progress.rounds += 1
        progress.usage += reply.usage
        end = read_end(reply.token_ids, sync) if reply.stop_reason == sync else None
        if end is None:
            _refuse_aborted(reply)
            raise RequestRejectedError(
                "the engine ended a weighted completion without its weight", status=400
            )
        if end.ending != "lost":
            break
    else:
        raise EngineUnavailableError(
            f"the engine lost the weight of a completion {_MAX_LOST_WEIGHTS} times, by taking it "
            "off its batch or because its rule leaves no token; see the server's log"
        )
    progress.token_ids = list(end.token_ids)
    text = await tokens.decode(end.token_ids)
    if told is not None:
        told(text)
    finish: FinishReason = "stop" if end.ending == "stop" else "length"
    completion = _completion(job, end.token_ids, text, finish, None, log_weight=end.log_weight)
    return progress, completion
