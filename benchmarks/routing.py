"""How long routers take to be trained and to choose, bandits to learn, and length control to fit.

    python benchmarks/routing.py [--quick]

An outcome is what one model made of one prompt, so that 20,000 outcomes of two models are 10,000
prompts: the bounds of kNN are for those. Beside them stand 20,000 prompts, without a bound. Outcomes are RouteLLM's on MMLU, and length control is of AlpacaEval's models, where MOTET_DATA
names the data folder; else both are random. Embeddings are random. Numpy has as many threads as
the machine has cores. The script exits with 1 where a bound is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rows import Row, report

from motet.judging.datasets import read_alpaca_eval
from motet.judging.length_control import control_length
from motet.routing.bandits.linucb import LinUCB
from motet.routing.bandits.thompson import Thompson
from motet.routing.bandits.ucb import UCB
from motet.routing.datasets import read_routellm
from motet.routing.knn import KnnRouter
from motet.routing.outcomes import Outcomes
from motet.routing.registry import ROUTERS, find_router

DIMENSIONS = 384
OUTCOMES = 20_000
UPDATES = 20_000


def random_table(num_rows: int) -> Outcomes:
    rng = np.random.default_rng(0)
    return Outcomes(
        prompts=tuple(f"a prompt that has the number {i}" for i in range(num_rows)),
        models=("weak", "strong"),
        scores=(rng.random((num_rows, 2)) < [0.68, 0.8]).astype(float),
        costs=np.tile([1.0, 20.0], (num_rows, 1)),
    )


def median_ms(work: Callable[[], Any], repeats: int) -> float:
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found) * 1e3


def measure_knn(num_prompts: int, repeats: int) -> tuple[float, float]:
    """Return the milliseconds of one route, and of 256 at once."""
    rng = np.random.default_rng(1)
    trained = KnnRouter(k=40).fit(
        random_table(num_prompts), rng.standard_normal((num_prompts, DIMENSIONS))
    )
    one, many = (rng.standard_normal((count, DIMENSIONS)) for count in (1, 256))
    trained.estimate(many)
    return (
        median_ms(lambda: trained.estimate(one), 10 * repeats),
        median_ms(lambda: trained.estimate(many), repeats),
    )


def knn_rows(repeats: int) -> list[Row]:
    num_models = 2
    wide_one, wide_many = measure_knn(OUTCOMES, repeats)
    print(
        f"kNN over {OUTCOMES:,} prompts of {DIMENSIONS} dimensions ({num_models * OUTCOMES:,} "
        f"outcomes), no bound: one route {wide_one:.3f} ms, 256 routes {wide_many:.1f} ms"
    )
    num_prompts = OUTCOMES // num_models
    one, many = measure_knn(num_prompts, repeats)
    name = f"kNN over {OUTCOMES:,} outcomes ({num_prompts:,} prompts)"
    return [
        Row(f"{name}: one route", one, 1.0, unit="ms"),
        Row(f"{name}: 256 routes", many, 20.0, unit="ms"),
    ]


def measure_training(folder: Path | None, quick: bool) -> list[Row]:
    table = random_table(11_255) if folder is None else read_routellm(folder / "routellm", "mmlu")
    if quick:
        table = table.take(range(1000))
    vectors = np.random.default_rng(2).standard_normal((len(table.prompts), DIMENSIONS))
    total = 0.0
    for name in ROUTERS:
        router = find_router(name)
        began = time.perf_counter()
        router.fit(table, vectors)
        took = time.perf_counter() - began
        total += took
        print(f"training {name} on {len(table.prompts):,} prompts: {took:.1f} s")
    name = "training of every router on RouteLLM's MMLU"
    return [Row(f"{name}, 1,000 prompts of it" if quick else name, total, 120, unit="s")]


def measure_bandits() -> list[Row]:
    rng = np.random.default_rng(3)
    arms, rewards = rng.integers(0, 20, UPDATES), rng.random(UPDATES)
    contexts = rng.standard_normal((UPDATES, 32)) / 8
    rows = []
    for bandit in (UCB(), Thompson(), LinUCB(dimensions=32)):
        state: Any = bandit.init(20)
        began = time.perf_counter()
        for arm, reward, context in zip(arms, rewards, contexts, strict=True):
            state = bandit.update(state, int(arm), float(reward), context)
        speed = UPDATES / (time.perf_counter() - began)
        name = type(bandit).__name__
        if isinstance(bandit, LinUCB):
            print(f"{name}, 32 dimensions: {speed:,.0f} updates a second")
        else:
            rows.append(Row(f"{name}: updates a second", speed, 50_000, "at least"))
    return rows


def measure_length_control(folder: Path | None) -> list[Row]:
    if folder is None:
        print("length control: MOTET_DATA names no data folder")
        return []
    read = read_alpaca_eval(folder / "alpaca_eval_lc")
    began = time.perf_counter()
    for model in read.models:
        control_length(
            model.comparison,
            difficulty=read.difficulty,
            gamed=read.gamed,
            is_baseline=model.name == "gpt4_1106_preview",
        )
    took = time.perf_counter() - began
    return [Row(f"length control of {len(read.models)} models", took, 60, unit="s")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and prompts")
    quick = parser.parse_args().quick
    place = os.environ.get("MOTET_DATA")
    folder = Path(place) if place else None
    rows = [
        *knn_rows(5 if quick else 40),
        *measure_bandits(),
        *measure_length_control(folder),
        *measure_training(folder, quick),
    ]
    print()
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())
