"""What every potential must keep to, as a check for people who write one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from motet.search.potentials import Potential, Tokens


async def check_potential(
    potential: Potential, texts: Sequence[Tokens], *, size: int, end: int
) -> None:
    """Raise an `AssertionError` that names the first law which `potential` breaks.

    Args:
        potential: What to check.
        texts: Whole texts, forbidden ones among them; their beginnings are checked too.
        size: The number of tokens.
        end: The token that ends a text.
    """
    beginnings = list(dict.fromkeys(text[:n] for text in texts for n in range(len(text) + 1)))
    prefix = dict(zip(beginnings, await potential.prefix(beginnings), strict=True))
    complete = dict(zip(beginnings, await potential.complete(beginnings), strict=True))
    rows = await potential.logw_next(beginnings, size, end)
    changes = {
        text: [float(each) for each in row] for text, row in zip(beginnings, rows, strict=True)
    }
    for text in beginnings:
        _check_numbers(text, [prefix[text], complete[text], *changes[text]])
        _hold(len(changes[text]) == size, f"logw_next gives no {size} numbers behind {text}")
        [alone] = await potential.prefix([text])
        [ended] = await potential.complete([text])
        _hold(
            _equal(alone, prefix[text]) and _equal(ended, complete[text]),
            f"{text} weighs something else in a batch than alone",
        )
        if text and prefix[text[:-1]] == -math.inf:
            _hold(prefix[text] == -math.inf, f"{text} is allowed behind what is forbidden")
        if prefix[text] == -math.inf:
            _hold(complete[text] == -math.inf, f"{text} may end and may not be begun")
            _hold(max(changes[text]) == -math.inf, f"something may follow {text}, a forbidden one")
        elif not _equal(prefix[text] + changes[text][end], complete[text]):
            _fail(f"logw_next at the end of {text} is not complete - prefix")
    for text in texts:
        _check_telescoping(text, prefix[()], complete[text], changes, end)


def _check_telescoping(
    text: Tokens,
    empty: float,
    complete: float,
    changes: dict[Tokens, list[float]],
    end: int,
) -> None:
    added = empty
    for n, token in enumerate((*text, end)):
        added += changes[text[:n]][token]
    _hold(_equal(added, complete), f"the changes along {text} add up to {added}, not {complete}")


def _check_numbers(text: Tokens, values: Sequence[float]) -> None:
    for value in values:
        _hold(not math.isnan(value) and value != math.inf, f"a log weight of {text} is {value}")


def _equal(a: float, b: float) -> bool:
    return a == b or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


def _hold(law: bool, message: str) -> None:
    if not law:
        _fail(message)


def _fail(message: str) -> None:
    raise AssertionError(message)
