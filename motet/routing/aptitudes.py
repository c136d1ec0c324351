"""Aptitude tests: what each model gets right of a few prompts of every category, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet.errors import ConfigError, DataError
from motet.search.settings import number, several, whole

if TYPE_CHECKING:
    from motet.routing.outcomes import Floats, Outcomes

Results = Mapping[str, float]
"""Category -> share that a model got right, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AptitudeTest:
    """The same prompts for every model, also for one that comes later."""

    categories: tuple[str, ...]
    items: tuple[tuple[str, ...], ...]
    """Prompts of each category, at least one."""

    def __post_init__(self) -> None:
        several("categories", self.categories)
        several("items", self.items)
        if not self.categories or len(set(self.categories)) < len(self.categories):
            raise ConfigError(f"categories is {self.categories!r}; different names are needed")
        if len(self.items) != len(self.categories) or not all(self.items):
            raise ConfigError(f"items has {list(map(len, self.items))} prompts; each category some")

    @property
    def prompts(self) -> frozenset[str]:
        """All prompts of the test: nothing else is to be learned or measured on them."""
        return frozenset(prompt for each in self.items for prompt in each)

    def results(self, outcomes: Outcomes) -> dict[str, dict[str, float]]:
        """Return the mean score of each model of a table in each category.

        Raises:
            DataError: A prompt of the test is not in the table, or a model was not tried on it.
        """
        import numpy as np

        rows: dict[str, list[int]] = {}
        for row, prompt in enumerate(outcomes.prompts):
            rows.setdefault(prompt, []).append(row)
        found: dict[str, dict[str, float]] = {model: {} for model in outcomes.models}
        for category, prompts in zip(self.categories, self.items, strict=True):
            lines = [_mean(outcomes.scores[rows.get(prompt, [])]) for prompt in prompts]
            table = np.stack(lines)
            for column, model in enumerate(outcomes.models):
                missing = np.isnan(table[:, column])
                if missing.any():
                    prompt = prompts[int(missing.argmax())]
                    raise DataError(
                        f"model {model!r} was not tried on {int(missing.sum())} prompts of the "
                        f"test of {category!r}, such as {prompt[:80]!r}"
                    )
                found[model][category] = float(table[:, column].mean())
        return found


def choose_items(outcomes: Outcomes, *, per_category: int = 20) -> AptitudeTest:
    """Return the prompts of each group of a table that tell its models apart best.

    Only prompts that every model was tried on count. Of those that discriminate alike the earlier
    is taken; a category with fewer prompts has them all.

    Raises:
        ConfigError: `per_category` is no whole number from 1.
        DataError: The table has no groups, or a group has no prompt that all models were tried on.

    Source: Zhang et al. 2025 (Model-SAT), 50 categories of MMLU with 20 items each, the most
    discriminating. Departure: an item discriminates by the variance of the models' scores.
    """
    import numpy as np

    whole("per_category", per_category)
    if outcomes.groups is None:
        raise DataError("the table has no groups; an aptitude test needs categories")
    chosen: dict[str, list[tuple[float, str]]] = {group: [] for group in outcomes.groups}
    seen: set[str] = set()
    for prompt, group, scores in zip(
        outcomes.prompts, outcomes.groups, outcomes.scores, strict=True
    ):
        if prompt not in seen and not np.isnan(scores).any():
            seen.add(prompt)
            chosen[group].append((-float(scores.var()), prompt))
    for group, found in chosen.items():
        if not found:
            raise DataError(f"group {group!r} has no prompt that every model was tried on")
    items = []
    for found in chosen.values():
        found.sort(key=lambda each: each[0])
        items.append(tuple(prompt for _, prompt in found[:per_category]))
    return AptitudeTest(categories=tuple(chosen), items=tuple(items))


def capability_text(
    results: Results,
    *,
    keywords: Mapping[str, Sequence[str]] | None = None,
    order: Sequence[str] | None = None,
) -> str:
    """Return what a model is able to do, in words: a line for each category.

    Args:
        results: Of the model.
        keywords: Words that describe a category; it may be left out.
        order: Of the categories; None is that of `results`.

    Raises:
        ConfigError: There is no result, one is outside 0 to 1, or the order has other categories.
    """
    if not results:
        raise ConfigError("results is empty; a capability text needs a category")
    names = list(results) if order is None else list(order)
    if sorted(names) != sorted(results):
        raise ConfigError(f"order is {names!r}; the results are of {', '.join(results)}")
    lines = []
    for name in names:
        number(f"results[{name!r}]", results[name], 0, 1)
        words = ", ".join((keywords or {}).get(name, ()))
        shown = f"{name} ({words})" if words else name
        lines.append(f"{shown}: {results[name]:.0%} right")
    return "\n".join(lines)


def draw_orders(categories: Sequence[str], num: int, seed: int = 0) -> tuple[tuple[str, ...], ...]:
    """Draw orders of categories, which do not depend on the order that these come in.

    Raises:
        ConfigError: A setting is wrong.
    """
    import numpy as np

    whole("num", num)
    whole("seed", seed, 0)
    rng = np.random.default_rng(seed)
    names = sorted(categories)
    return tuple(tuple(names[i] for i in rng.permutation(len(names))) for _ in range(num))


def _mean(rows: Floats) -> Floats:
    """Return the means of the known scores of a prompt's rows; NaN where there is none."""
    import numpy as np

    known = ~np.isnan(rows)
    counts = known.sum(axis=0)
    totals = np.where(known, rows, 0.0).sum(axis=0)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)
