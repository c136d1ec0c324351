"""Sums of money as text."""

from __future__ import annotations

from decimal import Decimal


def money(amount: float, digits: int = 4) -> str:
    """Return an amount of so many digits as a plain decimal, however small it is."""
    return f"{Decimal(f'{amount:.{digits}g}'):f}"
