"""Budgets: reserved before a request is sent, settled after, down a tree of scopes."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from motet.engine import Usage
from motet.errors import BudgetExhaustedError, ConfigError

_LOOK_AHEAD = 32
LIMITS = ("max_tokens", "max_calls", "max_cost", "timeout_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits of a run. None is no limit."""

    max_tokens: int | None = None
    """Prompt and completion tokens of all calls together."""
    max_calls: int | None = None
    """Model calls; an answer from journal or cache is none."""
    max_cost: float | None = None
    """In the currency of the models' prices."""
    timeout_s: float | None = None
    """Seconds from the start of the run, or of its resumption."""

    def __post_init__(self) -> None:
        for name in LIMITS:
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                raise ConfigError(f"budget {name} is {value!r}; it must be 0 or more")


@dataclass(frozen=True, slots=True)
class Amount:
    """What a request may use at most, or what it used."""

    tokens: int = 0
    calls: int = 0
    cost: float = 0.0


class Account:
    """What one scope may spend, has spent and has reserved."""

    __slots__ = ("deadline", "limits", "outer", "reserved", "spent", "timeout_s")

    def __init__(self, limits: Any, outer: Account | None = None) -> None:
        self.limits: Any = limits
        self.outer = outer
        self.spent = Amount()
        self.reserved = Amount()
        self.timeout_s: float | None = limits.timeout_s
        self.deadline: float | None = None
        """On the monotonic clock; None until the scope's first call."""

    def start_clock(self) -> None:
        if self.timeout_s is not None and self.deadline is None:
            self.deadline = time.monotonic() + self.timeout_s

    def lacking(self, need: Amount, *, beside_reserved: bool) -> tuple[str, float] | None:
        """Return the limit that `need` would break, and its value; None where it fits.

        With `beside_reserved` reservations of others count too; they may be refunded.
        """
        limits, spent, held = self.limits, self.spent, self.reserved
        if not beside_reserved:
            held = Amount()
        if limits.max_calls is not None and (
            spent.calls + held.calls + need.calls > limits.max_calls
        ):
            return "max_calls", limits.max_calls
        if limits.max_tokens is not None and (
            spent.tokens + held.tokens + need.tokens > limits.max_tokens
        ):
            return "max_tokens", limits.max_tokens
        # Sums of floats: a cost that fills the limit exactly must not fail by rounding.
        if limits.max_cost is not None and (
            spent.cost + held.cost + need.cost > limits.max_cost * (1 + 1e-12)
        ):
            return "max_cost", limits.max_cost
        return None


class Reservation:
    """What one request may use; settle it with what it used, or refund it."""

    __slots__ = ("_account", "_is_open", "_ledger", "amount")

    def __init__(self, ledger: Ledger, account: Account, amount: Amount) -> None:
        self._ledger = ledger
        self._account = account
        self._is_open = True
        self.amount = amount

    def settle(self, usage: Usage, cost: float) -> None:
        """Replace the reservation by what was used, which may be more than was foreseen."""
        self._close(Amount(usage.tokens, usage.calls, cost))

    def spend(self, used: Amount) -> None:
        """Count `used` now; the rest stays reserved."""
        held = self.amount
        part = Amount(
            min(used.tokens, held.tokens), min(used.calls, held.calls), min(used.cost, held.cost)
        )
        self.amount = _sum(held, part, -1)
        account: Account | None = self._account
        while account is not None:
            account.reserved = _sum(account.reserved, part, -1)
            account.spent = _sum(account.spent, used, 1)
            account = account.outer

    def extend(self, more: Amount) -> bool:
        """Reserve `more` beside the rest, where it is to be had without waiting."""
        if not self._ledger.take(self._account, more):
            return False
        self.amount = _sum(self.amount, more, 1)
        return True

    def refund(self) -> None:
        self._close(Amount())

    def _close(self, used: Amount) -> None:
        if not self._is_open:
            return
        self._is_open = False
        account: Account | None = self._account
        while account is not None:
            account.reserved = _sum(account.reserved, self.amount, -1)
            account.spent = _sum(account.spent, used, 1)
            account = account.outer
        self._ledger.wake()


def _sum(a: Amount, b: Amount, sign: int) -> Amount:
    return Amount(
        a.tokens + sign * b.tokens, a.calls + sign * b.calls, max(0.0, a.cost + sign * b.cost)
    )


class Ledger:
    """Reserves for the calls of one run. All methods run on the run's event loop."""

    def __init__(self, budget: Budget) -> None:
        self.root = Account(budget)
        self.root.start_clock()
        self._waiting: dict[Account, deque[tuple[asyncio.Future[Reservation], Amount]]] = {}
        self._is_woken = False

    async def reserve(self, account: Account, need: Amount) -> Reservation:
        """Reserve `need` in `account` and every account around it.

        Waits while requests in flight hold what is lacking, since they may use less.

        Raises:
            BudgetExhaustedError: What is left would not do even if they used nothing.
        """
        granted = self._try(account, need)
        if granted is not None:
            return granted
        future: asyncio.Future[Reservation] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account, deque()).append((future, need))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().refund()
            raise

    def take(self, account: Account, need: Amount) -> bool:
        """Reserve `need` where nobody need be waited for; say whether it was."""
        try:
            return self._try(account, need) is not None
        except BudgetExhaustedError:
            return False

    def _try(self, account: Account, need: Amount) -> Reservation | None:
        around: Account | None = account
        is_full = False
        while around is not None:
            lacking = around.lacking(need, beside_reserved=False)
            if lacking is not None:
                limit, value = lacking
                raise BudgetExhaustedError(
                    f"{limit} is {value}: spent {_shown(around.spent, limit)}, "
                    f"and the next call may need {_shown(need, limit)}",
                    limit=limit,
                    limit_value=value,
                )
            is_full = is_full or around.lacking(need, beside_reserved=True) is not None
            around = around.outer
        if is_full:
            return None
        around = account
        while around is not None:
            around.reserved = _sum(around.reserved, need, 1)
            around = around.outer
        return Reservation(self, account, need)

    def wake(self) -> None:
        """Grant or refuse those who wait, soon and once for all that was given back meanwhile."""
        if self._waiting and not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        self._is_woken = False
        for account, queue in list(self._waiting.items()):
            passed: list[tuple[asyncio.Future[Reservation], Amount]] = []
            # Smaller needs may pass larger ones, but not over any number of them.
            while queue and len(passed) < _LOOK_AHEAD:
                future, need = queue.popleft()
                if future.done():
                    continue
                try:
                    granted = self._try(account, need)
                except BudgetExhaustedError as exc:
                    future.set_exception(exc)
                    continue
                if granted is None:
                    passed.append((future, need))
                else:
                    future.set_result(granted)
            queue.extendleft(reversed(passed))
            if not queue:
                del self._waiting[account]

    @staticmethod
    def charge(account: Account, usage: Usage, cost: float) -> None:
        """Count in `account` alone what an earlier part of the run has spent."""
        account.spent = _sum(account.spent, Amount(usage.tokens, usage.calls, cost), 1)


def remaining(account: Account) -> dict[str, float | None]:
    """What is left by limit, over `account` and those around it; None where unlimited."""
    left: dict[str, float | None] = dict.fromkeys(LIMITS)
    around: Account | None = account
    while around is not None:
        used = {
            "max_tokens": around.spent.tokens + around.reserved.tokens,
            "max_calls": around.spent.calls + around.reserved.calls,
            "max_cost": around.spent.cost + around.reserved.cost,
        }
        for name, spent in used.items():
            limit = getattr(around.limits, name)
            if limit is not None:
                left[name] = min(_or_inf(left[name]), max(0, limit - spent))
        if around.timeout_s is not None:
            deadline = around.deadline or time.monotonic() + around.timeout_s
            left["timeout_s"] = min(
                _or_inf(left["timeout_s"]), max(0.0, deadline - time.monotonic())
            )
        around = around.outer
    return left


def _or_inf(value: float | None) -> float:
    return math.inf if value is None else value


def _shown(amount: Amount, limit: str) -> str:
    value = {"max_tokens": amount.tokens, "max_calls": amount.calls, "max_cost": amount.cost}[limit]
    return f"{value:g}"
