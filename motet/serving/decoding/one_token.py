"""Mix two prompts outside the engine, one token a request: for servers without motet's processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet.engine import Sampling, Usage
from motet.errors import ConfigError, RequestRejectedError
from motet.serving.decoding.together import together
from motet.serving.decoding.token_engine import TokenReply, TokenRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from motet.engine import Request
    from motet.serving.decoding.token_engine import TokenEngine
    from motet.serving.decoding.wire import Choosing
    from motet.types import JSON


async def generate_one_by_one(
    tokens: TokenEngine,
    request: Request,
    *,
    main: tuple[int, ...],
    partner: tuple[int, ...],
    rule: Mapping[str, JSON],
    choosing: Choosing,
    max_tokens: int,
) -> AsyncIterator[tuple[int, Usage]]:
    """Yield each token with what it took.

    Every step asks for the whole vocabulary's log-probabilities behind both prompts, which is
    exact and slow; the engine's prefix cache keeps the prompts from being computed again.

    Raises:
        RequestRejectedError: The server reports fewer log-probabilities than its vocabulary has.
        ConfigError: torch, which does the mixing, is not installed.
    """
    try:
        from motet.serving.decoding.choosing import choose
        from motet.serving.decoding.guidance import mixed, strength
    except ImportError as exc:
        raise ConfigError(
            "mixing prompts outside the server needs torch: pip install 'motet[local]'"
        ) from exc
    import torch

    strengths = torch.tensor([strength(rule)])
    chosen: list[int] = []
    for position in range(max_tokens):
        replies = await together(
            *[tokens.generate(_next(request, (*ids, *chosen))) for ids in (main, partner)]
        )
        rows = [_row(reply) for reply in replies]
        row = mixed(str(rule["rule"]), rows[0], rows[1], strengths)
        [token] = choose(row, [choosing], [position])
        chosen.append(token)
        yield token, sum((reply.usage for reply in replies), Usage())


def _next(request: Request, ids: tuple[int, ...]) -> TokenRequest:
    return TokenRequest(
        prompt_ids=ids,
        sampling=Sampling(temperature=0.0, max_tokens=1),
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
