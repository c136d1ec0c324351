"""Check solutions by a second model, which completes them after their ends were hidden."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence

from motet.search.partials import Partial, Step
from motet.search.rstar_problem import RStarTools


async def agreed_with(
    tools: RStarTools,
    solutions: Sequence[Partial],
    draws: Sequence[random.Random],
    *,
    num_masked: int,
    shares: tuple[float, float],
    min_agreement: float,
) -> list[bool]:
    """Say which solutions the second model agrees with; it is asked in one batch.

    Args:
        tools: Of the question.
        solutions: Finished ones.
        draws: The generator of each.
        num_masked: Completions of each.
        shares: Least and most share of a solution that is hidden.
        min_agreement: Least share of the completions that must come to the solution's answer; one
            must in any case, and one that failed does not count.
    """
    shown = [
        (place, start)
        for place, (solution, draw) in enumerate(zip(solutions, draws, strict=True))
        for _ in range(num_masked)
        if (start := masked(solution, draw, *shares)) is not None
    ]
    texts = await tools.complete([start for _, start in shown])
    answers = [tools.answer(solution.text) for solution in solutions]
    yes, num = [0] * len(solutions), [0] * len(solutions)
    for (place, start), text in zip(shown, texts, strict=True):
        if text is not None:
            num[place] += 1
            yes[place] += tools.is_same(tools.answer(start.text + text), answers[place])
    return [a >= max(min_agreement * b, 1) for a, b in zip(yes, num, strict=True)]


def masked(partial: Partial, draw: random.Random, least: float, most: float) -> Partial | None:
    """Hide a share of the end from `least` to `most`, by steps or else by words; None where no
    boundary lies there.
    """
    num = len(partial.steps)
    if bounds := _hidable(num, least, most):
        return Partial(partial.steps[: num - draw.choice(bounds)])
    words = re.findall(r"\s*\S+", partial.text)
    if not (bounds := _hidable(len(words), least, most)):
        return None
    return Partial((Step("".join(words[: len(words) - draw.choice(bounds)])),))


def _hidable(num: int, least: float, most: float) -> range:
    first = max(math.ceil(round(least * num, 9)), 1)
    return range(first, min(math.floor(round(most * num, 9)), num - 1) + 1)
