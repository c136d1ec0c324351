"""motet beside other libraries of search, on the same stub server and the same environment.

    python benchmarks/peers.py [--its-hub-python PATH] [--llm-reasoners-python PATH]

Each library runs in a process of its own, under the Python of an environment that has it:

    pip install its_hub aiohttp backoff certifi
    pip install llm-reasoners

One that is not named, or does not import, is left out with the reason. Beam search is asked of
the stub server with calls of 20 ms; tree search runs over a scripted environment of 10 actions,
without a server. What is printed is the least of three turns after a first one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROBLEMS, BUDGET, WIDTH, STEPS = 16, 16, 4, 6
ROLLOUTS, ACTIONS, DEPTH = 2_000, 10, 5
TURNS = 3


def length(text: str) -> float:
    return min(1.0, len(text) / 1000)


async def _timed(work: Any) -> dict[str, float]:
    """Return what the last turn expanded, and the least wall and CPU seconds of all but the first."""
    walls, cpus, num = [], [], 0
    for turn in range(TURNS + 1):
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        num = await work(turn)
        if turn:
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
    return {"expansions": num, "wall": min(walls), "cpu": min(cpus)}


# ---- beam search over the stub server ------------------------------------------------------------


async def beam_of_motet(url: str) -> dict[str, float]:
    import motet
    from motet.programs import solve
    from motet.programs.scorers import Check
    from motet.search import Beam

    model = motet.Model(f"{url}#stub")

    @motet.program
    def searches(tag: str) -> list[Any]:
        algorithm = Beam(n=BUDGET, width=WIDTH, max_steps=STEPS)
        return [
            solve(
                f"{tag} {i}", algorithm=algorithm, model=model, scorer=Check(length),
                delimiter=" ", step_tokens=8, answer_tokens=8,
            )
            for i in range(PROBLEMS)
        ]  # fmt: skip

    async def work(turn: int) -> int:
        ran = await motet.arun(searches(f"turn {turn}"), store=None, max_concurrency=256)
        return sum(solution.spend.proposals for solution in ran.value)

    return await _timed(work)


async def beam_of_its_hub(url: str) -> dict[str, float]:
    from its_hub.api import AbstractProcessRewardModel
    from its_hub.core.algorithms.beam_search import BeamSearch
    from its_hub.core.lms.openai_lm import OpenAICompatibleLanguageModel
    from its_hub.core.lms.step_generation import StepGeneration

    class Lengths(AbstractProcessRewardModel):  # type: ignore[misc]
        num = 0

        def score(self, prompt: Any, steps: Any) -> list[float]:
            self.num += len(steps)
            return [length(text) for text in steps]

        async def ascore(self, prompt: Any, steps: Any) -> list[float]:
            return self.score(prompt, steps)

    generation = StepGeneration(max_steps=STEPS - 1, step_token=" ")

    async def work(turn: int) -> int:
        scorer = Lengths()
        model = OpenAICompatibleLanguageModel(url, "none", "stub", max_tokens=8)
        algorithm = BeamSearch(generation, scorer, beam_width=WIDTH)
        await asyncio.gather(
            *[algorithm.ainfer(model, f"turn {turn} {i}", BUDGET) for i in range(PROBLEMS)]
        )
        await model.close()
        return scorer.num

    return await _timed(work)


# ---- tree search over a scripted environment -----------------------------------------------------


async def mcts_of_motet(url: str) -> dict[str, float]:
    from motet.search import MCTS, Step, search
    from motet.search.environment import EnvironmentProblem, Outcome

    actions = [Step(str(i), prior=i / ACTIONS) for i in range(ACTIONS)]

    def advance(pairs: Any) -> list[Outcome]:
        return [
            Outcome(path + step.text, int(step.text) / ACTIONS, len(path) + 1 == DEPTH)
            for path, step in pairs
        ]

    problem = EnvironmentProblem(
        start="", list_actions=lambda states: [actions] * len(states), advance=advance
    )
    algorithm = MCTS(num_rollouts=ROLLOUTS, max_depth=DEPTH)

    async def work(turn: int) -> int:
        result = await search(algorithm, problem)
        assert result.why == "done", result.why
        return ROLLOUTS

    return await _timed(work)


async def mcts_of_llm_reasoners(url: str) -> dict[str, float]:
    from reasoners import Reasoner, SearchConfig, WorldModel
    from reasoners.algorithm import MCTS

    class World(WorldModel):  # type: ignore[misc]
        def init_state(self) -> str:
            return ""

        def step(self, state: str, action: int) -> Any:
            return state + str(action), {}

        def is_terminal(self, state: str) -> bool:
            return len(state) == DEPTH

    class Config(SearchConfig):  # type: ignore[misc]
        def get_actions(self, state: str) -> list[int]:
            return list(range(ACTIONS))

        def fast_reward(self, state: str, action: int) -> Any:
            return action / ACTIONS, {}

        def reward(self, state: str, action: int, **known: Any) -> Any:
            return action / ACTIONS, {}

    async def work(turn: int) -> int:
        algorithm = MCTS(n_iters=ROLLOUTS, depth_limit=DEPTH, output_strategy="max_iter")
        Reasoner(World(), Config(), algorithm)("question")
        return ROLLOUTS

    return await _timed(work)


CHILDREN = {
    "beam of motet": beam_of_motet,
    "beam of its_hub": beam_of_its_hub,
    "mcts of motet": mcts_of_motet,
    "mcts of llm-reasoners": mcts_of_llm_reasoners,
}


def child(name: str, url: str, python: str = sys.executable) -> dict[str, float] | None:
    """Run one library's share in a process; None, with the reason printed, where it fails."""
    command = [python, str(Path(__file__).resolve()), "--child", name, "--url", url]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as exc:
        print(f"{name}: left out, {exc}")
        return None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        print(f"{name}: left out, {lines[-1]}")
        return None
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    each_ms = {key: found[key] / found["expansions"] * 1e3 for key in ("wall", "cpu")}
    print(
        f"{name}: {found['expansions']:.0f} expansions in {found['wall']:.3f} s, CPU "
        f"{found['cpu']:.3f} s; an expansion {each_ms['wall']:.3f} ms of wall, "
        f"{each_ms['cpu']:.3f} ms of CPU"
    )
    return found


def compare(kind: str, other: str, url: str, python: str | None) -> list[Any]:
    """Run motet and one other, in turn; without the other there is nothing to bound."""
    from rows import Row

    ours = child(f"{kind} of motet", url)
    if python is None:
        print(f"{kind} of {other}: left out, no --{other.replace('_', '-')}-python was given")
        return []
    theirs = child(f"{kind} of {other}", url, python)
    if ours is None or theirs is None:
        return []
    return [
        Row(
            f"{kind}: {key} an expansion, motet / {other}",
            ours[key] / ours["expansions"] / (theirs[key] / theirs["expansions"]),
            1.0,
        )
        for key in ("wall", "cpu")
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--its-hub-python", metavar="PATH", help="a Python that has its_hub")
    parser.add_argument(
        "--llm-reasoners-python", metavar="PATH", help="a Python that has llm-reasoners"
    )
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(asyncio.run(CHILDREN[arguments.child](arguments.url))))
        return 0
    from overhead import stub_server
    from rows import report

    with stub_server(20) as url:
        rows = compare("beam", "its_hub", url, arguments.its_hub_python)
    rows += compare("mcts", "llm-reasoners", "", arguments.llm_reasoners_python)
    print()
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())
