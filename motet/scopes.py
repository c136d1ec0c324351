"""`scope`: limits and defaults for the calls made inside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from motet.model import Model
from motet.refs import SCOPE, Scope


@contextmanager
def scope(
    *,
    max_tokens: int | None = None,
    max_calls: int | None = None,
    max_cost: float | None = None,
    timeout_s: float | None = None,
    seed: int | None = None,
    model: Model | str | None = None,
) -> Iterator[Scope]:
    """Narrow budget, seed or model for the calls made inside.

    Args:
        max_tokens: Prompt and completion tokens of all calls together.
        max_calls: Model calls; an answer from journal or cache is none.
        max_cost: In the currency of the models' prices.
        timeout_s: Seconds from the start of the first call inside.
        seed: Seeds of the calls inside derive from it.
        model: For prompts that no `.on(model)` binds.
    """
    inner = Scope(
        outer=SCOPE.get(),
        max_tokens=max_tokens,
        max_calls=max_calls,
        max_cost=max_cost,
        timeout_s=timeout_s,
        seed=seed,
        model=Model(model) if isinstance(model, str) else model,
    )
    token = SCOPE.set(inner)
    try:
        yield inner
    finally:
        SCOPE.reset(token)
