"""What rules use over several requests: held within a budget, and counted before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motet.engine import Usage

if TYPE_CHECKING:
    from motet.engine import Meter, Request
    from motet.serving.decoding.token_engine import (
        OnTokens,
        TokenEngine,
        TokenReply,
        TokenRequest,
    )
    from motet.types import Chat


def metered(tokens: TokenEngine, meter: Meter | None) -> TokenEngine:
    """Return `tokens` with each of its requests held within `meter`, where there is one."""
    return tokens if meter is None else _MeteredTokens(tokens, meter)


async def most_usage(tokens: TokenEngine, request: Request) -> Usage | None:
    """Return the most that a request with rules uses; None where it is a request a row.

    Without motet's processor a pair is two requests a token, and each counts its whole prompt.
    """
    if request.partner is None or tokens.runner:
        return None
    main = len(await tokens.encode(request.prompt))
    partner = len(await tokens.encode(request.partner)) if request.partner else 1
    steps = request.sampling.max_tokens
    grown = steps * (steps - 1) // 2
    prompts = steps * (main + partner) + 2 * grown
    return Usage(request.n * prompts, request.n * 2 * steps)


class _MeteredTokens:
    """A `TokenEngine` whose requests ask a meter first, and tell it what they used."""

    def __init__(self, tokens: TokenEngine, meter: Meter) -> None:
        self._tokens = tokens
        self._meter = meter

    @property
    def runner(self) -> str:
        return self._tokens.runner

    @property
    def eos_ids(self) -> frozenset[int]:
        return self._tokens.eos_ids

    @property
    def special_ids(self) -> frozenset[int]:
        return self._tokens.special_ids

    @property
    def context_tokens(self) -> int | None:
        return self._tokens.context_tokens

    async def encode(self, prompt: Chat | str | tuple[int, ...]) -> tuple[int, ...]:
        return await self._tokens.encode(prompt)

    async def encode_bare(self, text: str) -> tuple[int, ...]:
        return await self._tokens.encode_bare(text)

    async def decode(self, token_ids: tuple[int, ...], after: tuple[int, ...] = ()) -> str:
        return await self._tokens.decode(token_ids, after)

    async def generate(
        self, request: TokenRequest, on_tokens: OnTokens | None = None
    ) -> TokenReply:
        """Generate; what an aborted request used is not told by engines, and counts as nothing.

        Raises:
            BudgetExhaustedError: The budget does not hold this request now.
        """
        most = Usage(len(request.prompt_ids), request.sampling.max_tokens)
        self._meter.take(most)
        used = Usage()
        try:
            reply = await self._tokens.generate(request, on_tokens)
            used = reply.usage
        finally:
            self._meter.settle(most, used)
        return reply
