"""Bandits over the stream of held-out prompts: they see only the rewards of what they chose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from routing_contenders import Halves

from motet.routing.bandits import UCB, Greedy, LinUCB, Thompson
from motet.routing.curves import RoutedPrompts, routed
from motet.routing.hull import convex_hull
from motet.routing.references import zero_router

DIMENSIONS = 32
"""Principal components of the embeddings that LinUCB sees, beside a constant."""
BANDITS: dict[str, Callable[[int], Any]] = {
    "greedy": lambda seed: Greedy(),
    "UCB": lambda seed: UCB(),
    "Thompson": lambda seed: Thompson(seed=seed),
    "LinUCB": lambda seed: LinUCB(dimensions=DIMENSIONS + 1),
}


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """A bandit over several orders of the same prompts."""

    name: str
    scores: tuple[float, ...]
    """Mean score of each order."""
    costs: tuple[float, ...]
    beyond: tuple[float, ...]
    """Mean score beyond that of the zero router at the same mean cost."""
    regrets: Any
    """[orders, prompts], reward lost so far against the model that is best over all of them."""


def price_of(halves: Halves) -> float:
    """Return the score that a unit of cost is worth: half of what the zero router buys by it."""
    hull = convex_hull(halves.prices, halves.train.scores.mean(axis=0))
    if len(hull.costs) == 1:
        return 0.0
    rise = float(hull.qualities[-1] - hull.qualities[0])
    return rise / float(hull.costs[-1] - hull.costs[0]) / 2


def streams(halves: Halves, num_orders: int) -> list[Streamed]:
    test = halves.test
    price = price_of(halves)
    worth = test.scores - price * test.costs
    most = price * float(test.costs.max())
    # Rewards are moved and scaled to 0 to 1, as Thompson needs them; regrets are scaled back.
    rewards = (worth + most) / (1 + most)
    contexts = _contexts(halves)
    zero = zero_router(test)
    best = int(worth.mean(axis=0).argmax())
    found = []
    for name, make in BANDITS.items():
        runs: list[RoutedPrompts] = []
        regrets = []
        for seed in range(num_orders):
            order = np.random.default_rng(seed).permutation(len(test.prompts))
            arms = _choices(make(seed), rewards[order], contexts[order])
            runs.append(routed(test.take(order), arms))
            chosen = worth[order, arms]
            regrets.append(np.cumsum(worth[order, best] - chosen))
        found.append(
            Streamed(
                name=name,
                scores=tuple(run.quality for run in runs),
                costs=tuple(run.cost for run in runs),
                beyond=tuple(
                    run.quality - zero.quality_at(max(run.cost, float(zero.costs[0])))
                    for run in runs
                ),
                regrets=np.array(regrets),
            )
        )
    return found


def _choices(policy: Any, rewards: Any, contexts: Any) -> Any:
    state = policy.init(rewards.shape[1])
    arms: Any = np.empty(len(rewards), dtype=int)
    for step, (row, context) in enumerate(zip(rewards, contexts, strict=True)):
        arm = arms[step] = policy.choose(state, context, step=step)
        state = policy.update(state, int(arm), float(row[arm]), context, step=step)
    return arms


def _contexts(halves: Halves) -> Any:
    """Return the components [P, D + 1], turned and scaled as the training half says."""
    centre = halves.train_vectors.mean(axis=0)
    _, _, turned = np.linalg.svd(halves.train_vectors - centre, full_matrices=False)
    train, test = (
        (vectors - centre) @ turned[:DIMENSIONS].T
        for vectors in (halves.train_vectors, halves.test_vectors)
    )
    # Contexts have a length of about 1, as the bonus of LinUCB supposes.
    scale = np.sqrt((train**2).sum(axis=1).mean())
    return np.hstack([test / scale, np.ones((len(test), 1))])
