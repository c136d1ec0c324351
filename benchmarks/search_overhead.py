"""What searches cost beside their callables: simulations a second, CPU an expansion, memory a node.

    python benchmarks/search_overhead.py [--quick]

The environment and the proposer are scripted and nearly free, so that what is measured is the
search itself. Rates are of CPU time, the best of several turns. The script exits with 1 where a
bound is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from overhead import child, peak_bytes, resident_bytes
from rows import Row, report

from motet.search import MCTS, Ask, AStar, Beam, Particles, Problem, SearchResult, Step, search
from motet.search.environment import EnvironmentProblem, Outcome
from motet.search.partials import Partial
from motet.search.spending import NO_LIMITS, NOTHING

ACTIONS = tuple(Step(str(i), prior=i / 10) for i in range(10))
DEPTH = 5


def environment() -> EnvironmentProblem:
    """Ten actions everywhere; the state is a number, and the reward hangs on it."""

    def list_actions(states: Any) -> Any:
        return [ACTIONS] * len(states)

    def advance(pairs: Any) -> Any:
        return [Outcome((state * 31 + step.prior * 10) % 1009, 0.1, False) for state, step in pairs]

    return EnvironmentProblem(start=0, list_actions=list_actions, advance=advance)


def steps_problem() -> Problem:
    """Each ask gets its steps, each partial solution a score."""
    drawn = tuple(Step(f"step {i}.", num_tokens=4) for i in range(64))

    def propose(asks: Sequence[Ask]) -> list[list[Step]]:
        return [list(drawn[: ask.n]) for ask in asks]

    def score(partials: Sequence[Partial]) -> list[float]:
        return [len(partial.steps[-1].text) * partial.depth % 7 / 7 for partial in partials]

    return Problem(propose=propose, score=score)


def run(algorithm: Any, make_problem: Callable[[], Any]) -> SearchResult:
    return asyncio.run(search(algorithm, make_problem()))


def used_s(work: Callable[[], Any], turns: int) -> tuple[float, Any]:
    """Return the least CPU seconds of several turns, and what the last one gave."""
    found: list[float] = []
    result = None
    for _ in range(turns):
        result = None
        gc.collect()
        began = time.process_time()
        result = work()
        found.append(time.process_time() - began)
    return min(found), result


def measure_mcts(turns: int, num: int) -> list[Row]:
    plain = MCTS(num_rollouts=num, max_depth=DEPTH, simulate="none")
    settings = {
        "width 1, no playout": plain,
        "width 1, playouts to depth 5": replace(plain, simulate="max"),
        "width 1, random playouts to depth 5": replace(plain, simulate="random"),
        "width 1, PUCT": replace(plain, rule="puct"),
        "width 16, no playout": replace(plain, width=16),
        "width 64, playouts to depth 5": replace(plain, width=64, simulate="max"),
    }
    rows = []
    for name, algorithm in settings.items():
        seconds, result = used_s(functools.partial(run, algorithm, environment), turns)
        assert result.why == "done", result.error
        print(f"MCTS, {name}: {num} simulations in {seconds:.3f} s, a tree of {len(result.tree)}")
        rows.append(Row(f"MCTS, {name}: simulations a second", num / seconds, 20_000, "at least"))
    return rows


def measure_expansions(turns: int) -> list[Row]:
    """CPU microseconds for each proposal asked for, its score and its node among them."""
    algorithms = {
        "A*, k 4, 100 expansions": AStar(k=4, max_expansions=100, max_depth=12),
        "beam, 64 x 4, 40 steps": Beam(n=256, width=4, max_steps=40),
        "particles, 64, 40 steps": Particles(n=64, max_steps=40),
    }
    rows = []
    for name, algorithm in algorithms.items():
        seconds, result = used_s(functools.partial(run, algorithm, steps_problem), turns)
        assert result.error is None, result.error
        num = result.spend.proposals
        rows.append(Row(f"{name}: CPU a proposal ({num})", seconds / num * 1e6, 100, unit="us"))
    return rows


def grow_tree(nodes: int) -> None:
    """Grow a tree of at least so many nodes in this process; print its figures as JSON.

    No two nodes share a step, and each has a text of its own.
    """

    def list_actions(states: Any) -> Any:
        return [[Step(f"{state} {i}", prior=i / 10) for i in range(10)] for state in states]

    before = resident_bytes()
    began = time.process_time()
    algorithm = MCTS(num_rollouts=nodes, max_depth=30, simulate="none")
    problem = replace(environment(), list_actions=list_actions)
    tools = problem.tools(NO_LIMITS, NOTHING)

    async def grow() -> Any:
        state = algorithm.init(0)
        while len(state.tree) < nodes:
            state = await algorithm.step(state, tools)
        return state

    grown = asyncio.run(grow())
    print(
        json.dumps(
            {
                "nodes": len(grown.tree),
                "bytes": peak_bytes() - before,
                "seconds": time.process_time() - began,
            }
        )
    )


def measure_memory(nodes: int) -> list[Row]:
    command = f"--tree {nodes}".split()
    figures = child(*command, script=__file__)
    print(
        f"an MCTS tree of {figures['nodes']} nodes: {figures['bytes'] / 1e9:.3f} GB, "
        f"{figures['seconds']:.1f} s of CPU"
    )
    name = f"MCTS: memory a node of {figures['nodes']:,}"
    return [Row(name, figures["bytes"] / figures["nodes"], 1000, unit="bytes")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer turns, a smaller tree")
    parser.add_argument("--tree", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.tree:
        grow_tree(arguments.tree)
        return 0
    turns = 3 if arguments.quick else 7
    rows = measure_mcts(turns, 5_000 if arguments.quick else 20_000)
    rows += measure_expansions(turns)
    rows += measure_memory(100_000 if arguments.quick else 1_000_000)
    print()
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())
