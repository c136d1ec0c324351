"""Completions with an importance weight, which comes behind the text as token ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from motet.errors import ConfigError, EngineUnavailableError, RequestRejectedError
from motet.serving.decoding import wire
from motet.serving.decoding.rule_job import Progress, refuse_aborted
from motet.serving.decoding.weights import read_end

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from motet.engine import Completion, FinishReason
    from motet.serving.decoding.rule_job import Job, Told
    from motet.serving.decoding.token_engine import TokenEngine
    from motet.types import JSON

_MAX_LOST_WEIGHTS: Final = 5


async def complete_weighted(
    tokens: TokenEngine, job: Job, index: int, told: Told | None
) -> tuple[Progress, Completion]:
    """Ask for one completion and its weight; again where the engine lost the weight."""
    sync, most = job.syncs[0], job.sampling.max_tokens
    wired = wire.write(rules=job.rules, choosing=job.choosing(index), sync=sync, max_tokens=most)
    request = job.ask(
        job.prompt_ids,
        sampling=job.bare(most + wire.WEIGHT_TOKENS),
        wired=wired,
        stop_token_ids=(sync,),
        ignore_eos=True,
    )
    progress = Progress()
    for _ in range(_MAX_LOST_WEIGHTS):
        reply = await tokens.generate(request)
        progress.rounds += 1
        progress.usage += reply.usage
        end = read_end(reply.token_ids, sync) if reply.stop_reason == sync else None
        if end is None:
            refuse_aborted(reply)
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
    text = await tokens.decode(end.token_ids, after=job.prompt_ids)
    if told is not None:
        told(text)
    finish: FinishReason = "stop" if end.ending == "stop" else "length"
    completion = job.completion(end.token_ids, text, finish, None, log_weight=end.log_weight)
    return progress, completion


def weighted_sync(
    tokens: TokenEngine, rules: Iterable[Mapping[str, JSON]], model: str | None
) -> int:
    """Choose the token that ends a weighted row; the row itself can then never choose it.

    So it must be one that no text and no member of a trie holds: without an ordinary token both
    the choice and the weight would be of another distribution.

    Raises:
        ConfigError: The model has no such token.
    """
    held = {token for rule in rules for member in _members(rule) for token in member}
    free = sorted(tokens.special_ids - tokens.eos_ids - held)
    if not free:
        named = "the model" if model is None else f"model {model!r}"
        raise ConfigError(
            f"decoding holds a weighted rule; {named} has no special token that could end its "
            "row, besides its ends of turn and those of the rule itself"
        )
    return free[0]


def _members(rule: Mapping[str, JSON]) -> Iterable[Iterable[int]]:
    inner = rule.get("of", rule)
    return inner.get("members", ()) if isinstance(inner, dict) else ()
