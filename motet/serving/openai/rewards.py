"""Rewards of prompts on a vLLM server that runs its model as a pooler."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from motet.engine import Reply
from motet.errors import GarbledReplyError, ModelNotFoundError, RequestRejectedError
from motet.serving.openai.bodies import POOLING_PATH, encode, write_reward
from motet.serving.openai.replies import read_usage
from motet.serving.openai.token_api import request_headers

if TYPE_CHECKING:
    from motet.engine import Request
    from motet.serving.openai.connection import Connection
    from motet.serving.openai.detection import ServerFacts

_TASKS: Final = ("classify", "token_classify", "embed")
"""vLLM's pooling tasks that motet asks for; a server has one of them at most."""


async def reward(connection: Connection, facts: ServerFacts, request: Request, model: str) -> Reply:
    """Return the numbers of the reward model for the prompt, or for each step tag in it.

    Raises:
        EngineError: Serving failed.
        ConfigError: The request asks for what this server cannot carry.
    """
    content = write_reward(request, model, facts)
    headers = request_headers(request.request_id)
    body = await connection.ask("POST", POOLING_PATH, content, is_root=True, headers=headers)
    named = body.get("model")
    return Reply(
        (),
        read_usage(body.get("usage")),
        named if isinstance(named, str) and named else model,
        rewards=read_rewards(body),
    )


def read_rewards(body: dict[str, Any]) -> tuple[tuple[float, ...], ...]:
    """Read the reply to one prompt: a list of numbers, or a list of them for each step.

    Raises:
        GarbledReplyError: It is malformed, or holds what is no number.
    """
    try:
        [pooled] = body["data"]
        rows = pooled["data"]
        if not isinstance(rows, list):
            raise TypeError
        if rows and not isinstance(rows[0], list):
            rows = [rows]
        found = tuple(tuple(map(float, row)) for row in rows)
    except (KeyError, TypeError, ValueError) as exc:
        raise GarbledReplyError("the rewards are malformed") from exc
    if not all(row and all(map(math.isfinite, row)) for row in found):
        raise GarbledReplyError("the rewards hold a row without finite numbers")
    return found


async def find_pooling(connection: Connection, model: str) -> tuple[bool, str]:
    """Say whether the server is a pooler, and by which of the tasks it pools, empty for none.

    Raises:
        EngineError: It cannot be asked now.
    """
    for task in _TASKS:
        asked = {"model": model, "input": "a", "task": task, "use_activation": False}
        try:
            await connection.ask("POST", POOLING_PATH, encode(asked), is_root=True)
        except RequestRejectedError as error:
            if error.status in (404, 405):
                return False, ""
        except (ModelNotFoundError, GarbledReplyError):
            pass
        else:
            return True, task
    return True, ""
