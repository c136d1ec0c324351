"""What a request may use, and what the several requests that an engine makes of one have used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motet.budget import Amount
from motet.engine import MeteredEngine, Usage
from motet.errors import BudgetExhaustedError
from motet.types import Chat

if TYPE_CHECKING:
    from motet.budget import Account, Reservation
    from motet.engine import Engine, Request
    from motet.model import Model

_RULE_TOKENS = 8
"""Tokens that carrying out a rule may add to a completion."""


class CallMeter:
    """A `motet.engine.Meter` over the reservation of one call.

    More than is reserved is had at once or not at all: a call that waited here would hold its
    place at the engine, for which others may wait that hold the tokens.
    """

    def __init__(self, model: Model, reservation: Reservation) -> None:
        self._model = model
        self._reservation = reservation
        self._taken = Amount()
        self.used = Usage()
        """By all requests so far, those of failed attempts too."""
        self.lacking: Amount | None = None
        """What was refused; None where nothing was."""

    def take(self, most: Usage) -> None:
        """Set `most` aside.

        Raises:
            BudgetExhaustedError: More than is reserved is not to be had now.
        """
        need, held = self._amount(most), self._reservation.amount
        taken = Amount(self._taken.tokens + need.tokens, 0, self._taken.cost + need.cost)
        more = Amount(max(0, taken.tokens - held.tokens), 0, max(0.0, taken.cost - held.cost))
        if more != Amount() and not self._reservation.extend(more):
            self.lacking = more
            raise BudgetExhaustedError(
                f"a further request of this call may need {need.tokens} tokens, "
                f"{more.tokens} more than are reserved for it",
                limit="max_tokens",
                limit_value=held.tokens,
            )
        self._taken = taken

    def settle(self, most: Usage, used: Usage) -> None:
        """Count what was used, which leaves the reservation by so much."""
        gone = self._amount(most)
        self._taken = Amount(
            self._taken.tokens - gone.tokens, 0, max(0.0, self._taken.cost - gone.cost)
        )
        self._reservation.spend(self._amount(used))
        self.used += used

    def _amount(self, usage: Usage) -> Amount:
        return Amount(usage.tokens, 0, cost_of(self._model, usage))


async def most_needed(account: Account, model: Model, engine: Engine, request: Request) -> Amount:
    """What the request may use at most; tokens are counted only where a limit asks."""
    if not _is_counted(account):
        return Amount(calls=1)
    usage = await engine.most_usage(request) if isinstance(engine, MeteredEngine) else None
    if usage is None:
        usage = await _most_of_plain(engine, request)
    return Amount(usage.tokens, 1, cost_of(model, usage))


def _is_counted(account: Account) -> bool:
    around: Account | None = account
    while around is not None:
        if around.limits.max_tokens is not None or around.limits.max_cost is not None:
            return True
        around = around.outer
    return False


async def _most_of_plain(engine: Engine, request: Request) -> Usage:
    """The most that one request uses, or one for each completion and each side of a pair."""
    prompt_tokens = await _tokens_of(engine, request.prompt)
    if request.is_rewarded or request.is_embedded:
        return Usage(prompt_tokens)
    if request.next_tokens is not None:
        return Usage(prompt_tokens + len(request.written), 1)
    completion_tokens = request.n * request.sampling.max_tokens
    if request.sampling.decoding:
        # Engines may answer each completion by a request of its own, and add a few tokens.
        prompt_tokens *= request.n
        completion_tokens += request.n * _RULE_TOKENS
    if request.partner is not None:
        # An empty partner is one token; both prompts are computed for each completion.
        partner_tokens = await _tokens_of(engine, request.partner) if request.partner else 1
        prompt_tokens += request.n * partner_tokens
        completion_tokens *= 2
    if request.candidates:
        completion_tokens = sum(most_tokens(c) for c in request.candidates)
        prompt_tokens += completion_tokens
    return Usage(prompt_tokens, completion_tokens)


async def _tokens_of(engine: Engine, prompt: Chat | str | tuple[int, ...]) -> int:
    counted = await engine.count_tokens(prompt)
    return most_tokens(prompt) if counted is None else counted


def most_tokens(prompt: Chat | str | tuple[int, ...]) -> int:
    """A number of tokens that a prompt cannot exceed: no token is shorter than a byte."""
    if isinstance(prompt, str):
        return len(prompt.encode("utf-8", "surrogatepass")) + 16
    total = 16
    for part in prompt:
        if isinstance(part, int):
            total += 1
        else:
            total += len(part.content.encode("utf-8", "surrogatepass")) + 16
            total += sum(len(c.arguments) + len(c.name) + 16 for c in part.tool_calls)
    return total


def cost_of(model: Model, usage: Usage) -> float:
    """What `usage` costs at the model's price; 0 without one."""
    price = model.price
    if price is None:
        return 0.0
    cached = price.prompt if price.cached_prompt is None else price.cached_prompt
    fresh = usage.prompt_tokens - usage.cached_tokens
    total = fresh * price.prompt + usage.cached_tokens * cached
    return (total + usage.completion_tokens * price.completion) / 1e6
