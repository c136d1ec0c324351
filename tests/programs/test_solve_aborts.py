"""What a search leaves at the server when it ends in the middle of a round: nothing."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sys
from typing import Any

import pytest

import motet
from motet import Budget, Model
from motet.programs import solve
from motet.programs.scorers import Check
from motet.programs.solution import Solution
from motet.search import Limits
from motet.search.early_pruning import EarlyPruning
from motet.search.speculative_rejection import SpeculativeRejection
from motet.testing.stub_server import StubServer

ROUNDS = [
    pytest.param(SpeculativeRejection(n=8, round_tokens=2, max_tokens=6), id="rejection"),
    pytest.param(EarlyPruning(n=8, checkpoints=(2, 4)), id="pruning"),
]


def quality(text: str) -> float:
    """What the first two words say, so that a text keeps its score as it grows."""
    begun = " ".join(text.split()[:2])
    return int.from_bytes(hashlib.blake2b(begun.encode(), digest_size=4).digest()) / 2**32


def search_of(server: StubServer, algorithm: Any, **settings: Any) -> Any:
    return solve(
        "q",
        algorithm=algorithm,
        model=Model(f"{server.url}#stub"),
        scorer=Check(quality),
        answer_tokens=6,
        **settings,
    )


def written(body: dict[str, Any]) -> str:
    last = body["messages"][-1]
    return str(last["content"]) if last["role"] == "assistant" else ""


async def quiet(server: StubServer) -> None:
    """Wait until the server has seen that its clients are gone."""
    for _ in range(500):
        if not server.in_flight:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{server.in_flight} requests are still under way")


async def found(ref: Any, **settings: Any) -> Solution:
    value: Solution = (await motet.arun(ref, store=None, **settings)).value
    return value


class Slow(StubServer):
    """Answers the first round at once, and holds every request that goes on from there."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies = []
        self.is_held = asyncio.Event()

    async def _answer(self, request: Any, asked: Any, fault: str | None) -> Any:
        assert self.bodies is not None
        if any(written(body) for body in self.bodies):
            self.is_held.set()
            await asyncio.sleep(30)
        return await super()._answer(request, asked, fault)


@pytest.mark.parametrize("algorithm", ROUNDS)
def test_time_that_ends_in_mid_round_aborts_what_is_under_way(algorithm: Any) -> None:
    """The requests of the round are gone at the server while the program goes on, and the round
    before is the answer."""

    async def act() -> None:
        async with Slow() as server:
            looked: list[int] = []

            @motet.program
            async def whole() -> Any:
                value = await search_of(server, algorithm, limits=Limits(timeout_s=1.5))
                await quiet(server)
                looked.append(server.num_aborted)
                return value

            value = await found(whole())

            assert looked == [server.num_requests - 1]
            assert looked[0] > 0
            assert (value.why, value.is_finished) == ("time", False)
            assert value.text

    asyncio.run(act())


@pytest.mark.parametrize("algorithm", ROUNDS)
def test_a_run_that_is_cancelled_in_mid_round_aborts_what_is_under_way(algorithm: Any) -> None:
    """Cancellation passes through the search to every request."""

    async def act() -> None:
        async with Slow() as server:
            run = asyncio.create_task(found(search_of(server, algorithm)))
            await server.is_held.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            await quiet(server)

            assert server.num_aborted == server.num_requests - 1 > 0

    asyncio.run(act())


def test_the_budget_s_time_in_mid_round_aborts_what_is_under_way() -> None:
    """Its end is no wait for a slow server either."""

    async def act() -> None:
        async with Slow() as server:
            ref = search_of(server, SpeculativeRejection(n=8, round_tokens=2, max_tokens=6))
            with pytest.raises(motet.RunFailedError):
                await motet.arun(ref, store=None, budget=Budget(timeout_s=1.5))
            await quiet(server)

            assert server.num_aborted == server.num_requests - 1 > 0

    asyncio.run(act())


_INTERRUPTED = """
import sys
import motet
from motet import Model
from motet.programs import solve
from motet.programs.scorers import Check
from motet.search.speculative_rejection import SpeculativeRejection

algorithm = SpeculativeRejection(n=8, round_tokens=2, max_tokens=6)
model = Model(sys.argv[1])
try:
    ref = solve("q", algorithm=algorithm, model=model, scorer=Check(lambda text: 0.5), answer_tokens=6)
    motet.run(ref, store=None)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_two_interrupts_in_mid_round_abort_what_is_under_way() -> None:
    """Ctrl-C twice: the first would wait for the round, the second does not."""

    async def act() -> None:
        async with Slow() as server:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                _INTERRUPTED,
                f"{server.url}#stub",
                stdout=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(30):
                await server.is_held.wait()
                process.send_signal(signal.SIGINT)
                await asyncio.sleep(0.3)
                assert server.in_flight > 0
                process.send_signal(signal.SIGINT)
                said, _ = await process.communicate()
            await quiet(server)

            assert said == b"interrupted\n"
            assert server.num_aborted == server.num_requests - 1 > 0

    asyncio.run(act())


@pytest.mark.parametrize("algorithm", ROUNDS)
def test_a_budget_of_calls_that_ends_in_mid_round_leaves_nothing_running(algorithm: Any) -> None:
    """What it held has its answer, what it did not hold was never sent."""

    async def act() -> None:
        async with StubServer(delay_s=0.05) as server:
            value = await found(search_of(server, algorithm), budget=Budget(max_calls=3))

            assert value.why == "limit"
            assert (server.num_requests, server.in_flight, server.num_aborted) == (3, 0, 0)

    asyncio.run(act())


@pytest.mark.parametrize("algorithm", ROUNDS)
def test_what_a_round_rejects_is_never_asked_for_again(algorithm: Any) -> None:
    """A rejected candidate holds nothing at the server: its round's request has ended, and no
    later one goes on from its text; each of those that go on is asked for once a round."""

    async def act() -> tuple[Solution, list[dict[str, Any]], int]:
        async with StubServer() as server:
            server.bodies = []
            value = await found(search_of(server, algorithm))
            return value, server.bodies, server.num_aborted

    value, bodies, num_aborted = asyncio.run(act())
    texts = [written(body) for body in bodies]
    first = [value.tree.partial(node.id).text for node in value.tree if node.depth == 1]
    kept = sorted(first, key=quality)[-4:]

    assert num_aborted == 0
    assert len(set(map(quality, first))) == len(first) == 8
    assert [text for text in texts if text in first] == [text for text in first if text in kept]
    assert all(any(text.startswith(begun) for begun in kept) for text in texts if text)
    assert len(texts) == len(set(texts))
