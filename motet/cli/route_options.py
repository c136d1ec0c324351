"""Options that commands on routers share: names with values, rules and prices."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from motet.cli.failures import CommandError
from motet.errors import DataError

if TYPE_CHECKING:
    from motet.routing.deciding import Prices, Rule
    from motet.types import Price


def named_texts(option: str, texts: Sequence[str], what: str) -> dict[str, str]:
    """Read options such as `--model small=URL`.

    Raises:
        CommandError: One is no such pair, or a name stands twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not (mark and name.strip() and value):
            raise CommandError(f"{option} is {text!r}; write NAME={what}")
        if name in found:
            raise CommandError(f"{option} names {name!r} twice")
        found[name] = value
    return found


def named_numbers(
    option: str, texts: Sequence[str], known: Sequence[str] | None, *, count: int = 1
) -> dict[str, tuple[float, ...]]:
    """Read options such as `--price small=1` or `--token-price small=0.1/0.4`.

    Args:
        known: The names that there are; None where any will do.
        count: Numbers that each has, with `/` between them.

    Raises:
        CommandError: A name is not known or stands twice, or what stands for it is not as many
            numbers from 0.
    """
    form = "/".join(["NUMBER"] * count)
    found: dict[str, tuple[float, ...]] = {}
    for text in texts:
        name, mark, value = text.rpartition("=")
        try:
            numbers = tuple(map(float, value.split("/")))
        except ValueError:
            numbers = ()
        is_right = len(numbers) == count and all(0 <= each < math.inf for each in numbers)
        if not (mark and name and is_right):
            raise CommandError(f"{option} is {text!r}; write MODEL={form}, from 0")
        if known is not None and name not in known:
            raise CommandError(f"{option} names {name!r}; the models are {', '.join(known)}")
        if name in found:
            raise CommandError(f"{option} names {name!r} twice")
        found[name] = numbers
    return found


def token_prices(texts: Sequence[str], known: Sequence[str] | None = None) -> dict[str, Price]:
    """Read `--token-price MODEL=IN/OUT`.

    Raises:
        CommandError: As in `named_numbers`.
    """
    from motet.types import Price

    found = named_numbers("--token-price", texts, known, count=2)
    return {name: Price(prompt=p, completion=c) for name, (p, c) in found.items()}


def rule_and_prices(
    rule: str | None, prices: Sequence[str], known: Sequence[str]
) -> tuple[Rule, Prices]:
    """Return the rule that `--rule` names, and the prices; the highest score without a rule.

    Raises:
        ConfigError: There is no such rule.
        CommandError: A price is of no model.
    """
    from motet.routing.rules import HighestScore, find_rule

    found = {name: number for name, (number,) in named_numbers("--price", prices, known).items()}
    return HighestScore() if rule is None else find_rule(rule), found


def check_rule(rule: Rule, prices: Prices, models: Sequence[str]) -> None:
    """Refuse a rule that cannot decide among `models`, before a prompt is embedded.

    Raises:
        CommandError: It allows none of them, or lacks a price; the hint names the option for it.
    """
    scores = dict.fromkeys(models, 0.5)
    try:
        rule.decide(scores, prices)
    except DataError as exc:
        lacking = [name for name in models if name not in prices]
        hint = None
        with contextlib.suppress(DataError):
            rule.decide(scores, dict.fromkeys(models, 0.0))
            if lacking:
                hint = "give it by " + " ".join(f"--price {name}=NUMBER" for name in lacking)
        raise CommandError(f"the rule {rule!r} does not fit: {exc}", hint) from exc
