"""Distributions of the next token from a vLLM server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet.engine import Reply, Usage
from motet.errors import CapabilityError, ConfigError, GarbledReplyError, RequestRejectedError
from motet.next_tokens import ALL, NextTokens, check_next, likeliest, whole
from motet.serving.openai.bodies import TEXT_PATH, add_extra, check_extra, encode
from motet.serving.openai.replies import read_usage
from motet.serving.openai.token_api import read_places, request_headers

if TYPE_CHECKING:
    from motet.engine import Request
    from motet.serving.openai.connection import Connection
    from motet.serving.openai.detection import ServerFacts
    from motet.serving.openai.token_api import HttpTokens


async def tell(
    tokens: HttpTokens, connection: Connection, facts: ServerFacts, request: Request, model: str
) -> Reply:
    """Return the next tokens of `request`.

    One token is generated, for which only ends of the text are allowed, of which the likeliest is
    taken: the server tells the logprob of what it took besides the likeliest of all, and both
    before any setting had a say.

    Raises:
        EngineError: Serving failed.
        CapabilityError: The server tells fewer logprobs than were asked for.
        ConfigError: The request asks for what this server cannot carry.
    """
    check_next(request)
    k = request.next_tokens or ALL
    prompt_ids = await tokens.encoded(request.prompt)
    body = _body(request, model, facts, (*prompt_ids, *request.written), sorted(tokens.eos_ids))
    headers = request_headers(request.request_id)
    try:
        reply = await connection.ask("POST", TEXT_PATH, encode(body), headers=headers)
    except RequestRejectedError as error:
        if "max allowed" in str(error) or "max_logprobs" in str(error):
            told = "the whole vocabulary" if k == ALL else f"{k} tokens"
            raise CapabilityError(
                f"next_tokens asks for {told}, which the server does not tell: {error}; start it "
                "with --max-logprobs -1, or ask for fewer"
            ) from error
        raise
    places = read_places(reply)
    if len(places) != 1:
        raise GarbledReplyError(f"{len(places)} choices came where 1 was asked for")
    found = places[0]
    ends = tuple(sorted(tokens.eos_ids))
    if k == ALL:
        size = max(found) + 1
        if size != len(found):
            raise GarbledReplyError(f"{len(found)} logprobs came for a vocabulary of {size}")
        told_next = whole([found[token] for token in range(size)], ends)
    else:
        ids = likeliest(found, k, ends)
        told_next = NextTokens(tuple(ids), tuple(found[each] for each in ids), (), ends)
    wanted = told_next.ids if request.are_texts_wanted else ()
    told_next = NextTokens(
        told_next.ids,
        told_next.logprobs,
        await tokens.token_texts(wanted),
        ends,
        await tokens.joined(request.written),
    )
    usage = read_usage(reply.get("usage"))
    used = Usage(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, 1)
    return Reply((), used, model, next_tokens=told_next)


def _body(
    request: Request,
    model: str,
    facts: ServerFacts,
    ids: tuple[int, ...],
    ends: list[int],
) -> dict[str, Any]:
    if not ids:
        raise ConfigError("the prompt is empty; it must hold a token")
    salt = facts.salt(request.cache_salt, model)
    body: dict[str, Any] = {
        "model": model,
        "prompt": ids,
        "max_tokens": 1,
        "temperature": 0.0,
        "logprobs": request.next_tokens,
        "return_tokens_as_token_ids": True,
    }
    if ends:
        body["allowed_token_ids"] = ends
    if request.priority:
        body["priority"] = request.priority
    if salt is not None:
        body["cache_salt"] = salt
    check_extra(request.sampling.extra, facts.text_fields, facts.version)
    add_extra(body, request.sampling.extra)
    return body
