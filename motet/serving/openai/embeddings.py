"""Embeddings of prompts, on a vLLM server that pools and on any other that has `/embeddings`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from motet.engine import Reply
from motet.errors import (
    ConfigError,
    EngineTimeoutError,
    EngineUnavailableError,
    GarbledReplyError,
    ModelNotFoundError,
    RequestRejectedError,
)
from motet.serving.openai.bodies import add_extra, check_extra, encode, write_whole
from motet.serving.openai.replies import read_usage
from motet.serving.openai.token_api import request_headers
from motet.types import Embedding

if TYPE_CHECKING:
    from motet.engine import Request
    from motet.serving.openai.connection import Connection
    from motet.serving.openai.detection import ServerFacts

EMBEDDINGS_PATH: Final = "/embeddings"


async def embed(connection: Connection, facts: ServerFacts, request: Request, model: str) -> Reply:
    """Return the prompt's vector.

    A prompt is a request of its own, though the API takes lists: so its tokens are counted
    exactly, and one that is too long fails alone. A server batches what is in flight.

    Raises:
        EngineError: Serving failed.
        ConfigError: The request asks for what this server cannot carry.
    """
    content = write_embedding(request, model, facts)
    headers = request_headers(request.request_id) if facts.is_vllm else None
    body = await connection.ask("POST", EMBEDDINGS_PATH, content, headers=headers)
    named = body.get("model")
    return Reply(
        (),
        read_usage(body.get("usage")),
        named if isinstance(named, str) and named else model,
        embedding=read_embedding(body),
    )


def write_embedding(request: Request, model: str, facts: ServerFacts) -> bytes:
    """Write the body of `/embeddings`.

    Raises:
        ConfigError: The request asks for what this server cannot carry.
    """
    body: dict[str, Any] = {"model": model}
    write_whole(request.prompt, body, "input")
    if "messages" in body and not facts.is_vllm:
        raise ConfigError(
            "the prompt to embed is a chat of several turns or with a system's turn; only vLLM "
            "embeds such, other servers take one text"
        )
    if facts.is_vllm:
        body["encoding_format"] = "base64"
        if request.priority:
            body["priority"] = request.priority
        salt = facts.salt(request.cache_salt, model)
        if salt is not None:
            body["cache_salt"] = salt
    extra = request.sampling.extra
    add_extra(body, extra)
    if facts.is_vllm:
        check_extra(extra, facts.embedding_fields, facts.version)
    return encode(body)


def read_embedding(body: dict[str, Any]) -> Embedding:
    """Read the reply to one prompt: a list of numbers, or base64 of float32.

    Raises:
        GarbledReplyError: It is malformed, or holds what is no number.
    """
    try:
        [found] = body["data"]
        given = found["embedding"]
        if isinstance(given, str):
            return Embedding.from_text(given)
        if not isinstance(given, list) or any(isinstance(each, str) for each in given):
            raise TypeError
        return Embedding(tuple(map(float, given)))
    except (ConfigError, KeyError, TypeError, ValueError, OverflowError) as exc:
        raise GarbledReplyError("the embedding is malformed") from exc


async def answers(connection: Connection) -> bool:
    """Say whether a server that is not vLLM knows of embeddings; it is asked with no input.

    What it says of the empty request, or that it fails on it, is no word against embeddings.

    Raises:
        EngineError: It cannot be asked now.
    """
    try:
        await connection.read(await connection.send("POST", EMBEDDINGS_PATH, b"{}"))
    except EngineTimeoutError:
        raise
    except RequestRejectedError as error:
        return error.status not in (404, 405)
    except GarbledReplyError:
        return False
    except (EngineUnavailableError, ModelNotFoundError):
        return True
    return True
