"""What is compared: learned routers, cascades, label-free and online ones, as paths over a test
table."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from routing_data import Table
from routing_embeddings import Embeddings

from motet.routing.cascade import Cascade
from motet.routing.cascade_fit import CascadeFit
from motet.routing.cascade_routing import Beliefs, CascadeRouting
from motet.routing.comparison import check_tables
from motet.routing.cross_fitting import cross_fitted
from motet.routing.curves import mean_costs, routed
from motet.routing.hull import convex_hull
from motet.routing.knn import KnnRouter
from motet.routing.logistic import LinearRouter
from motet.routing.measuring import measure
from motet.routing.noisy_evaluator import NoisyEvaluator
from motet.routing.outcomes import Outcomes
from motet.routing.paths import (
    ZERO,
    CostPath,
    estimates_path,
    oracle_path,
    played_path,
    router_path,
    zero_path,
)
from motet.routing.registry import ROUTERS, find_router
from motet.routing.smoothie import LEAST_MODELS, Smoothie

KNN = "knn"
FRUGAL = "cascade (FrugalGPT)"
CASCADE_ROUTING = "cascade routing"
NEIGHBOURS = (5, 10, 20, 40, 80)
"""Tried for kNN on the training half."""
NUM_BOUNDS = 12
"""Settings of a cascade: costs to which its thresholds are fitted, or weights of cost."""
LONGEST_CHAIN = 3
ERRORS = (0.0, 0.1, 0.2, 0.4)
"""Shares of wrong verdicts of the noisy evaluator."""
LOCAL = 20
"""Prompts that count for Smoothie's local weights."""


@dataclass(frozen=True, kw_only=True)
class Halves:
    """A table in two parts by prompt, with the embeddings of both."""

    table: Table
    train: Outcomes
    test: Outcomes
    train_vectors: Any
    test_vectors: Any
    prices: Any
    """[M], mean costs of the training half."""
    pair: tuple[int, int]
    """Columns of the cheapest model and of the best, by the training half."""

    @property
    def strong(self) -> str:
        return self.train.models[self.pair[1]]

    @property
    def weak(self) -> str:
        return self.train.models[self.pair[0]]


def part(table: Table, embeddings: Embeddings, share: float, seed: int) -> Halves:
    train, test = table.outcomes.split(share, seed)
    check_tables(train, test)
    prices = mean_costs(train)
    hull = convex_hull(prices, train.scores.mean(axis=0))
    return Halves(
        table=table,
        train=train,
        test=test,
        train_vectors=embeddings.of(train.prompts).astype(float),
        test_vectors=embeddings.of(test.prompts).astype(float),
        prices=prices,
        pair=(int(prices.argmin()), int(hull.members[-1])),
    )


def all_paths(halves: Halves, embeddings: Embeddings) -> tuple[list[CostPath], dict[str, str]]:
    """Return the paths, and what is to be said of some of them by name."""
    notes: dict[str, str] = {}
    paths = learned(halves, notes)
    if halves.table.answers is None:
        reason = "not applicable: no answers are stored"
        notes |= dict.fromkeys((FRUGAL, CASCADE_ROUTING, "smoothie (global, local)"), reason)
    else:
        vectors = _Answers(halves, embeddings)
        paths += cascades(halves, vectors)
        if len(halves.train.models) < LEAST_MODELS:
            notes["smoothie (global, local)"] = (
                f"not applicable: it takes {LEAST_MODELS} models to compare"
            )
        else:
            paths += smoothies(halves, vectors)
    paths += [_noisy(halves, epsilon) for epsilon in ERRORS]
    return [*paths, zero_path(halves.test), oracle_path(halves.test, halves.pair)], notes


def learned(halves: Halves, notes: dict[str, str]) -> list[CostPath]:
    k = best_k(halves)
    notes[KNN] = f"k = {k}, the best of {', '.join(map(str, NEIGHBOURS))} on the training half"
    routers: dict[str, Any] = {KNN: KnnRouter(k=k)}
    routers |= {name: find_router(name) for name in ROUTERS if name != KNN}
    return [_router(halves, name, router) for name, router in routers.items()]


def _router(halves: Halves, name: str, router: Any) -> CostPath:
    return router_path(
        name, router, halves.train, halves.test, halves.train_vectors, halves.test_vectors,
        halves.pair,
    )  # fmt: skip


def best_k(halves: Halves) -> int:
    """Return the number of neighbours of the greatest AIQ on a part of the training half."""
    inner, held = halves.train.split(0.7, 1)
    row_of = {prompt: row for row, prompt in enumerate(halves.train.prompts)}
    places = [[row_of[prompt] for prompt in side.prompts] for side in (inner, held)]
    vectors = [halves.train_vectors[rows] for rows in places]
    paths = [router_path(str(k), KnnRouter(k=k), inner, held, *vectors) for k in NEIGHBOURS]
    found = measure(
        [*paths, zero_path(held)], held, zero=ZERO, prices=mean_costs(inner), num_resamples=1
    )
    return int(max(found[:-1], key=lambda each: each.aiq.estimate).name)


class _Answers:
    """Embeddings and lengths of the answers of each model, [M, P, D + 1], of both halves."""

    def __init__(self, halves: Halves, embeddings: Embeddings) -> None:
        answers = halves.table.answers
        assert answers is not None
        self.train, self.test = (
            np.stack(
                [
                    _with_lengths([answers[model][p] for p in side.prompts], embeddings)
                    for model in side.models
                ]
            )
            for side in (halves.train, halves.test)
        )


def _with_lengths(texts: list[str], embeddings: Embeddings) -> Any:
    # A tenth of the logarithm varies about as much as a dimension of an embedding.
    lengths = np.log1p([len(text) for text in texts])[:, None] / 10
    return np.hstack([embeddings.of(texts), lengths]).astype(float)


def cascades(halves: Halves, answers: _Answers) -> list[CostPath]:
    train, test = halves.train, halves.test
    router = LinearRouter()

    def score(rows: list[int], held: list[int]) -> Any:
        return _scored(
            train.take(rows), halves.train_vectors[rows], answers.train[:, rows],
            halves.train_vectors[held], answers.train[:, held],
        )  # fmt: skip

    began = time.perf_counter()
    sure = cross_fitted(train, score)
    test_sure = _scored(
        train, halves.train_vectors, answers.train, halves.test_vectors, answers.test
    )
    scorer_s = time.perf_counter() - began
    fitted = _fitted(train, sure, halves)
    frugal = played_path(
        FRUGAL,
        [cascade.play(test, test_sure) for cascade in fitted],
        np.clip(1 - test_sure[:, halves.pair[0]], 0.0, 1.0),
        time.perf_counter() - began,
    )
    began = time.perf_counter()
    before_train = cross_fitted(
        train,
        lambda rows, held: router.fit(train.take(rows), halves.train_vectors[rows]).estimate(
            halves.train_vectors[held]
        ),
    )
    before = router.fit(train, halves.train_vectors).estimate(halves.test_vectors)
    beliefs = Beliefs(
        before=before,
        after=test_sure,
        prices=np.tile(halves.prices, (len(test.prompts), 1)),
        before_deviation=(train.scores - before_train).std(axis=0),
        after_deviation=(train.scores - sure).std(axis=0),
    )
    took = time.perf_counter() - began + scorer_s
    weak, strong = halves.pair
    routing = played_path(
        CASCADE_ROUTING,
        [
            routed(test, np.full(len(test.prompts), weak)),
            *(
                CascadeRouting(cost_weight=weight, max_calls=LONGEST_CHAIN, num_samples=64).play(
                    test, beliefs
                )
                for weight in _weights(halves)
            ),
        ],
        np.clip((1 + before[:, strong] - test_sure[:, weak]) / 2, 0.0, 1.0),
        took,
    )
    return [frugal, routing]


def _scored(train: Outcomes, prompts: Any, answers: Any, held_prompts: Any, held: Any) -> Any:
    """Return how sure each held answer is: one logistic regression a model, on the embeddings of
    prompt and answer and the length of the answer."""
    columns = []
    for column, model in enumerate(train.models):
        scorer = LinearRouter().fit(train.only([model]), np.hstack([prompts, answers[column]]))
        columns.append(scorer.estimate(np.hstack([held_prompts, held[column]]))[:, 0])
    return np.stack(columns, axis=1)


def _fitted(train: Outcomes, sure: Any, halves: Halves) -> list[Cascade]:
    """Return cascades whose thresholds are fitted to bounds of the mean cost."""
    order = [train.models[i] for i in halves.prices.argsort(kind="stable")]
    chains = tuple(
        chain for length in range(2, LONGEST_CHAIN + 1) for chain in combinations(order, length)
    )
    low, high = float(halves.prices.min()), float(halves.prices.max())
    bounds = [low + (high - low) * (i / NUM_BOUNDS) ** 2 for i in range(1, NUM_BOUNDS + 1)]
    found = [Cascade(models=(order[0],), thresholds=())]
    for bound in bounds:
        fit = CascadeFit(max_mean_cost=bound, chains=chains, num_quantiles=20, num_refined=2)
        found.append(fit.fit(train, sure).cascade)
    return list(dict.fromkeys(found))


def _weights(halves: Halves) -> list[float]:
    """Return weights of cost, by which the dearest model costs from 2 down to no units of score."""
    span = float(halves.prices.max() - halves.prices.min())
    return [*(float(each) / span for each in np.geomspace(2, 0.01, NUM_BOUNDS - 1)), 0.0]


def smoothies(halves: Halves, answers: _Answers) -> list[CostPath]:
    outputs = answers.train[:, :, :-1]
    paths = []
    for name, neighbours in (("smoothie (global)", None), ("smoothie (local)", LOCAL)):
        began = time.perf_counter()
        trained = Smoothie(neighbours=neighbours).fit(
            halves.train.models, outputs, halves.train_vectors
        )
        took = time.perf_counter() - began
        weights = trained.estimate(halves.test_vectors)
        paths.append(estimates_path(name, weights, halves.prices, halves.test, halves.pair, took))
    return paths


def _noisy(halves: Halves, epsilon: float) -> CostPath:
    """Ask the models of the zero router's hull in turn, from the cheapest."""
    hull = convex_hull(halves.prices, halves.train.scores.mean(axis=0))
    models = tuple(halves.train.models[i] for i in hull.members)
    test, full = halves.test, NoisyEvaluator(epsilon=epsilon, models=models)
    costs = np.geomspace(test.costs.min(), test.costs.max() * 2, NUM_BOUNDS)
    ends = replace(full, models=(halves.weak, halves.strong)).play(test)
    return played_path(
        f"noisy evaluator, {epsilon:.0%} wrong",
        [
            routed(test, np.full(len(test.prompts), halves.pair[0])),
            *(replace(full, max_cost=float(cost)).play(test) for cost in costs),
            full.play(test),
        ],
        ends.called[:, 1].astype(float),
    )
