"""Carry out decoding rules on an engine that takes token ids: ordinary, paired and weighted rows."""

from __future__ import annotations

from dataclasses import replace
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
    choosing_problem,
)
from motet.engine import Reply, Usage
from motet.errors import ConfigError, PromptTooLongError
from motet.serving.decoding import wire
from motet.serving.decoding.one_token import complete_one_by_one
from motet.serving.decoding.ordinary_rows import complete_ordinary
from motet.serving.decoding.paired_rows import complete_paired
from motet.serving.decoding.rule_job import Job
from motet.serving.decoding.together import together
from motet.serving.decoding.weighted_rows import complete_weighted, weighted_sync

if TYPE_CHECKING:
    from motet.engine import Completion, OnDelta, Request
    from motet.serving.decoding.rule_job import Progress
    from motet.serving.decoding.token_engine import TokenEngine
    from motet.types import JSON


async def complete(tokens: TokenEngine, request: Request, on_delta: OnDelta | None = None) -> Reply:
    """Answer a request with decoding rules.

    Raises:
        ConfigError: A rule cannot be carried out so.
        PromptTooLongError: A prompt of a paired or a weighted rule leaves no room for a token.
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


def _how(tokens: TokenEngine, job: Job, rounds: int) -> str:
    kinds = " & ".join(
        dict.fromkeys(r.identity.split("{")[0] for r in job.request.sampling.decoding)
    )
    if not job.rules:
        return f"{kinds}: structured outputs and stop texts"
    if not tokens.runner:
        return f"{kinds}: one-token loop, {rounds} tokens"
    again = f", {rounds} rounds" if rounds > 1 else ""
    return f"{kinds}: processor, {tokens.runner} runner{again}"


async def _complete_one(
    tokens: TokenEngine, job: Job, index: int, on_delta: OnDelta | None
) -> tuple[Progress, Completion]:
    def on_text(text: str) -> None:
        assert on_delta is not None
        on_delta(index, text)

    told = None if on_delta is None else on_text
    if job.partner_ids is not None:
        complete_pair = complete_paired if tokens.runner else complete_one_by_one
        return await complete_pair(tokens, job, index, told)
    if job.is_weighted:
        return await complete_weighted(tokens, job, index, told)
    return await complete_ordinary(tokens, job, index, told)


async def _take_apart(tokens: TokenEngine, request: Request) -> Job:
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
    problem = choosing_problem(sampling)
    if problem is not None:
        raise ConfigError(problem)
    if is_weighted and stops:
        raise ConfigError(f"stop is {stops}; a weighted completion ends by its rule alone")
    is_paired = any(isinstance(rule, PairedRule) for rule in sampling.decoding)
    if (mixing or masks) and not tokens.runner and not is_paired:
        raise ConfigError(
            f"decoding is {' & '.join(r.identity for r in sampling.decoding)}; the server has not "
            "motet's processor, which carries it out"
        )
    syncs = _sync_ids(tokens)
    if is_weighted:
        syncs = (weighted_sync(tokens, masks, request.model), syncs[1])
    prompt_ids, partner_ids = await _prompts(tokens, request, is_paired=is_paired)
    most = sampling.max_tokens
    if is_paired or is_weighted:
        longest = max(len(prompt_ids), len(partner_ids or ()))
        most = _capped(tokens, longest, most, wire.WEIGHT_TOKENS if is_weighted else 0)
    if (is_paired or is_weighted) and constraint is not None and tokens.runner:
        # vLLM's own grammar would take offence at the tokens by which such rows end.
        masks.append(wire.rule_body(Constrained(constraint=constraint)))
        constraint = None
    return Job(
        request=request,
        prompt_ids=prompt_ids,
        partner_ids=partner_ids,
        sampling=replace(sampling, decoding=(), stop=tuple(dict.fromkeys(stops)), max_tokens=most),
        rules=(*mixing, *masks),
        constraint=constraint,
        kept_stops=frozenset(kept),
        is_weighted=is_weighted,
        syncs=syncs,
    )


async def _prompts(
    tokens: TokenEngine, request: Request, *, is_paired: bool
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Return the ids of the prompt and, of a pair, of the other one."""
    if is_paired and request.partner is None:
        raise ConfigError("a paired rule needs Request.partner, the other prompt")
    prompt_ids = await tokens.encode(request.prompt)
    if not is_paired:
        return prompt_ids, None
    return prompt_ids, await tokens.encode(request.partner) if request.partner else prompt_ids[-1:]


def _capped(tokens: TokenEngine, longest: int, most: int, num_behind: int) -> int:
    """Return how many tokens a completion may have, so that all of its rows end at one place.

    Left to itself the engine would end the row of the longer prompt alone.

    Raises:
        PromptTooLongError: It is none.
    """
    context = tokens.context_tokens
    if context is None:
        return most
    room = context - longest - num_behind
    if room < 1:
        behind = f" and the {num_behind} of its weight" if num_behind else ""
        raise PromptTooLongError(
            f"the prompt has {longest} tokens; the model's context of {context} tokens leaves no "
            f"room for a token{behind}",
            prompt_tokens=longest,
            max_tokens=context,
        )
    return min(most, room)


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
    """Choose tokens that a pair hardly ever holds: special ones, as far as there are two."""
    rare = [*sorted(tokens.special_ids), *range(len(tokens.eos_ids) + 4)]
    first, second = list(dict.fromkeys(i for i in rare if i not in tokens.eos_ids))[:2]
    return first, second
