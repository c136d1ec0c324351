"""Score given continuations of a prompt on a vLLM server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from motet.engine import Reply, Usage
from motet.errors import GarbledReplyError
from motet.serving.decoding.candidates import assemble, completions, plan, usage_of
from motet.serving.decoding.together import together
from motet.serving.openai.bodies import TEXT_PATH, encode
from motet.serving.openai.replies import read_usage
from motet.serving.openai.token_api import read_places, request_headers

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from motet.engine import Request
    from motet.serving.decoding.candidates import Ask
    from motet.serving.openai.connection import Connection
    from motet.serving.openai.detection import ServerFacts
    from motet.serving.openai.token_api import HttpTokens

T = TypeVar("T")

_MOST_NAMED: Final = 128
"""vLLM's limit on `logprob_token_ids`."""
_MOST_PROMPTS: Final = 256
"""Fewer than vLLM's limit on the prompts of one request."""
_MOST_AT_ONCE: Final = 16


async def score(
    tokens: HttpTokens, connection: Connection, facts: ServerFacts, request: Request, model: str
) -> Reply:
    """Return each of `request.candidates` with the logprob of each of its tokens.

    A request names the tokens whose logprobs it wants and generates one token. The first has the
    prompt alone; the others, which come after it, find the prompt in the server's prefix cache.
    vLLM's own `prompt_logprobs` would compute the prompt again for every candidate.

    Raises:
        EngineError: Serving failed.
        ConfigError: The prompt has no tokens.
    """
    texts = request.candidates
    prompt_ids, candidates = await _encoded(tokens, request)
    most = _most_wanted(facts)
    is_named = most > 1
    asks = plan(prompt_ids, candidates, most_wanted=most)
    answers: dict[int, dict[int, float]] = {}

    async def send(places: Sequence[int]) -> Usage:
        body = _body(request, model, [asks[place] for place in places], facts, is_named=is_named)
        headers = request_headers(request.request_id)
        reply = await connection.ask("POST", TEXT_PATH, encode(body), headers=headers)
        found = read_places(reply)
        if len(found) != len(places):
            raise GarbledReplyError(f"{len(found)} choices came for {len(places)} prompts")
        answers.update(zip(places, found, strict=True))
        return _usage(reply, len(places))

    groups = _packed(asks, most)
    used = [await send(places) for places in groups[:1]]
    used += await _gated([send(places) for places in groups[1:]])
    named = list(dict.fromkeys(token for ids in candidates for token in ids))
    names = await _gated([tokens.token_text(token) for token in named])
    given = [each for each in dict.fromkeys(texts) if not isinstance(each, str)]
    decoded = await _gated([tokens.decode(ids, prompt_ids) for ids in given])
    told = dict(zip(given, decoded, strict=True))
    return Reply(
        completions(
            candidates,
            assemble(prompt_ids, candidates, asks, [answers[n] for n in range(len(asks))]),
            texts=[each if isinstance(each, str) else told[each] for each in texts],
            names=dict(zip(named, names, strict=True)),
        ),
        sum(used, Usage(calls=1)),
        model,
    )


async def most_usage(tokens: HttpTokens, facts: ServerFacts, request: Request) -> Usage:
    """Return what `score` uses for `request`.

    Raises:
        EngineError: Serving failed.
        ConfigError: The prompt has no tokens.
    """
    prompt_ids, candidates = await _encoded(tokens, request)
    return usage_of(plan(prompt_ids, candidates, most_wanted=_most_wanted(facts)))


def _most_wanted(facts: ServerFacts) -> int:
    """Most tokens that one request names; 1 where none can be named.

    On the V1 runner, naming tokens spoils the alternatives of every other request in the same
    step (vLLM 0.32), whoever sent it; so tokens are named only where the V2 runner is known.
    """
    return _MOST_NAMED if facts.has("logprob_token_ids") and facts.runner == "V2" else 1


async def _encoded(
    tokens: HttpTokens, request: Request
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Return the ids of the prompt, and of each candidate; each text is encoded once."""
    different = list(dict.fromkeys(request.candidates))
    prompt_ids, *bare = await _gated(
        [tokens.encode(request.prompt), *(_ids_of(tokens, each) for each in different)]
    )
    ids_of = dict(zip(different, bare, strict=True))
    return prompt_ids, [ids_of[each] for each in request.candidates]


async def _ids_of(tokens: HttpTokens, candidate: str | tuple[int, ...]) -> tuple[int, ...]:
    return await tokens.encode_bare(candidate) if isinstance(candidate, str) else candidate


async def _gated(parts: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Wait for all parts, of which only some run at once."""
    gate = asyncio.Semaphore(_MOST_AT_ONCE)

    async def gated(part: Coroutine[Any, Any, T]) -> T:
        async with gate:
            return await part

    return await together(*map(gated, parts)) if parts else []


def _packed(asks: Sequence[Ask], most: int) -> list[list[int]]:
    """Group asks that one request can carry: together they name at most `most` tokens.

    The first has a group of its own; in the others longer prompts come first.
    """
    groups = [[0]] if asks else []
    named: set[int] = set()
    current: list[int] = []
    for place in range(len(asks) - 1, 0, -1):
        union = named | set(asks[place].wanted)
        if current and (len(union) > most or len(current) == _MOST_PROMPTS):
            groups.append(current)
            current, union = [], set(asks[place].wanted)
        named = union
        current.append(place)
    return [*groups, current] if current else groups


def _body(
    request: Request, model: str, asks: Sequence[Ask], facts: ServerFacts, *, is_named: bool
) -> dict[str, Any]:
    wanted = sorted({token for ask in asks for token in ask.wanted})
    salt = facts.salt(request.cache_salt, model)
    body: dict[str, Any] = {
        "model": model,
        "prompt": [ask.prefix_ids for ask in asks],
        "max_tokens": 1,
        # Settings that leave the distribution as it is, whatever the server's defaults are.
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "logprobs": 1,
        "return_tokens_as_token_ids": True,
    }
    # Where tokens cannot be named, the only one that is allowed is the one that is reported.
    body["logprob_token_ids" if is_named else "allowed_token_ids"] = wanted
    if request.priority:
        body["priority"] = request.priority
    if salt is not None:
        body["cache_salt"] = salt
    return body


def _usage(reply: dict[str, Any], num_prompts: int) -> Usage:
    """Read what a request of several prompts took.

    vLLM counts the cached tokens of the last prompt only. That is the shortest, so the others
    have at least as many.
    """
    usage = read_usage(reply.get("usage"))
    cached = min(usage.cached_tokens * num_prompts, usage.prompt_tokens)
    return Usage(usage.prompt_tokens, usage.completion_tokens, cached)
