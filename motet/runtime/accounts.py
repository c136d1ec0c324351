"""Accounts of a run's scopes, and what else a scope says: seeds and prices."""

from __future__ import annotations

from motet.budget import Account, Ledger
from motet.engine import Usage
from motet.refs import Scope


class Accounts:
    """Finds the account, the seed and the limits that hold for a call made in a scope."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self._ledger = ledger
        self._seed = seed
        self._by_scope: dict[Scope, Account] = {}

    def of(self, scope: Scope | None) -> Account:
        """The account that a call made in `scope` draws on; its clock runs from now on."""
        if scope is None:
            return self._ledger.root
        found = self._by_scope.get(scope)
        if found is None:
            found = self._by_scope[scope] = Account(scope, self.of(scope.outer))
            found.start_clock()
        return found

    def charge_scopes(self, scope: Scope | None, usage: Usage, cost: float) -> None:
        """Count what an earlier part of the run paid for; its root was charged as a whole."""
        if scope is None:
            return
        account = self.of(scope)
        while account.outer is not None:
            self._ledger.charge(account, usage, cost)
            account = account.outer

    def seed_of(self, scope: Scope | None) -> int:
        """The nearest scope's seed, or the run's."""
        while scope is not None:
            if scope.seed is not None:
                return scope.seed
            scope = scope.outer
        return self._seed

    def is_priced(self, scope: Scope | None) -> bool:
        """Whether a limit of cost holds in `scope`."""
        while scope is not None:
            if scope.max_cost is not None:
                return True
            scope = scope.outer
        return self._ledger.root.limits.max_cost is not None

    def nearest_deadline(self, scope: Scope) -> Account | None:
        """The scope's account, or one around it, that ends first; not the run's own."""
        account: Account | None = self.of(scope)
        nearest: Account | None = None
        while account is not None and account is not self._ledger.root:
            if account.deadline is not None and (
                nearest is None or account.deadline < (nearest.deadline or 0.0)
            ):
                nearest = account
            account = account.outer
        return nearest
