"""What every search must keep to, as checks for people who add one."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from hashlib import blake2b
from itertools import pairwise
from typing import Any, Final, TypeAlias

from pydantic import TypeAdapter

from motet.errors import MotetError
from motet.search.checkpoints import Saved, identity, read_state, write_state
from motet.search.driver import Progress, SearchResult, search
from motet.search.partials import Candidate, Partial, Step
from motet.search.spending import NO_LIMITS, NOTHING, Limits, Spend
from motet.search.tools import FAILED, Ask, Problem, call_batch
from motet.search.tree import Tree

ProblemOf: TypeAlias = Callable[[], Any]
"""Makes a problem; each run of a check gets one of its own."""
_CALLABLES: Final = ("propose", "score", "verify")
_SEED: Final = 11
_WHOLE: Any = tuple[Candidate | None, tuple[Candidate, ...], Tree, Spend]
_TIMEOUT_S: Final = 30.0


def planted_problem() -> Problem:
    """Return a problem of at most five steps, whose answers and scores follow from the text alone.

    Scores are quarters, so that many are equal.
    """
    return Problem(propose=_propose, score=_score, verify=_verify, step_tokens=8)


def _chance(*key: Any) -> int:
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), "big")


def _propose(asks: Sequence[Ask]) -> list[list[Step]]:
    return [[_proposed(ask, place) for place in range(ask.n)] for ask in asks]


def _proposed(ask: Ask, place: int) -> Step:
    chance = _chance(ask.partial.text, 0 if ask.temperature == 0.0 else place)
    is_last = ask.is_whole or ask.partial.depth >= 4 or chance % 5 == 0
    text = f"{'abcd'[chance % 4]}{chance % 7} "
    if is_last:
        text += f"The answer is {chance % 3}."
    num_tokens = 1 + chance % 4
    if ask.max_tokens is not None:
        num_tokens = min(num_tokens, ask.max_tokens)
    return Step(text, is_last=is_last, num_tokens=num_tokens, prior=chance % 9 / 8)


def _score(partials: Sequence[Partial]) -> list[float]:
    return [_chance("score", partial.text) % 5 / 4 for partial in partials]


def _verify(partials: Sequence[Partial]) -> list[bool]:
    return [_chance("verify", partial.text) % 3 == 0 for partial in partials]


async def check_search(
    algorithm: Any,
    problem_of: ProblemOf = planted_problem,
    *,
    batched: Sequence[str] = _CALLABLES,
    lossy: Sequence[str] = _CALLABLES,
    limits: Limits = NO_LIMITS,
    max_steps: int = 200,
    max_resumes: int = 12,
    steps_in_place: bool = False,
    in_other_process: bool = True,
) -> None:
    """Raise an `AssertionError` that names the first law which `algorithm` breaks.

    Args:
        algorithm: What to check.
        problem_of: Makes the problem. For the law of the other process, algorithm and function are
            pickled, so they stand at the top of a module.
        batched: Fields of the problem that hold callables over batches.
        lossy: Those of them that may give `FAILED` for a member.
        limits: Of a search that ends by itself, where the problem alone does not end it.
        max_steps: Steps after which a search that goes on counts as one without end.
        max_resumes: Steps at which it is resumed; they are spread over the search.
        steps_in_place: Whether a step takes its state over, so that it can be stepped again only as
            it was written.
        in_other_process: Whether to run it in another process too.
    """
    limits = replace(limits, max_steps=limits.max_steps or max_steps)
    check = _Check(algorithm, problem_of, tuple(batched), tuple(lossy), limits)
    await check.states(steps_in_place=steps_in_place)
    await check.resumes(max_resumes)
    await check.batches()
    await check.limits_hold()
    await check.losses()
    await check.failures()
    if in_other_process:
        await check.other_process()


def _hold(law: bool, message: str) -> None:
    if not law:
        raise AssertionError(message)


class _Held:
    """A checkpoint in memory that keeps all that was saved."""

    def __init__(self, held: bytes | None = None) -> None:
        self.saved: list[bytes] = []
        self._held = held

    def load(self) -> bytes | None:
        return self._held

    def save(self, data: bytes) -> None:
        self.saved.append(data)


@dataclass(slots=True)
class _Count:
    """What really reached the callables of a `Problem`."""

    proposals: int = 0
    tokens: int = 0
    scores: int = 0

    def around(self, problem: Problem) -> Problem:
        async def propose(asks: Sequence[Ask]) -> Any:
            self.proposals += sum(ask.n for ask in asks)
            found = await call_batch(problem.propose, asks, "propose")
            self.tokens += sum(step.num_tokens for steps in found for step in steps)
            return found

        return replace(
            problem,
            propose=propose,
            score=self._counting(problem.score),
            verify=self._counting(problem.verify),
        )

    def _counting(self, call: Any) -> Any:
        if call is None:
            return None

        async def judge(partials: Sequence[Partial]) -> Any:
            self.scores += len(partials)
            return await call_batch(call, partials, "score")

        return judge


@dataclass(frozen=True, slots=True)
class _Check:
    algorithm: Any
    problem_of: ProblemOf
    batched: tuple[str, ...]
    lossy: tuple[str, ...]
    limits: Limits

    async def run(self, problem: Any = None, **settings: Any) -> SearchResult:
        settings = {"seed": _SEED, "limits": self.limits, **settings}
        problem = self.problem_of() if problem is None else problem
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await search(self.algorithm, problem, **settings)
        except TimeoutError:
            raise AssertionError(f"a search takes more than {_TIMEOUT_S:g} s") from None
        except Exception as exc:
            raise AssertionError(f"it raises {type(exc).__name__}: {exc}") from exc

    def problem_with(self, names: Sequence[str], wrap: Callable[[str, Any], Any]) -> Any:
        """Return a problem whose callables of these names are wrapped."""
        problem = self.problem_of()
        known = {each.name: getattr(problem, each.name) for each in fields(problem)}
        names = [name for name in names if known.get(name) is not None]
        _hold(bool(names), f"the problem has no callable of {', '.join(self.batched)}")
        return replace(problem, **{name: wrap(name, known[name]) for name in names})

    async def states(self, *, steps_in_place: bool) -> None:
        """A step is a function of its state; a state can be read back; the best gets no worse."""
        algorithm = self.algorithm
        name = identity(algorithm)
        _hold(identity(type(algorithm)(**_settings(algorithm))) == name, "its name is not stable")
        state: Any = algorithm.init(_SEED)
        _hold(is_dataclass(state), "a state is no dataclass")
        _hold(type(state).__dataclass_params__.frozen, "a state is not frozen")
        tools = self.problem_of().tools(self.limits, NOTHING)
        for num_steps in range(self.limits.max_steps or 0):
            written = _written(algorithm, state)
            _hold(_read(algorithm, state, written) == state, "a state that is read back is another")
            if algorithm.is_done(state) or tools.is_spent:
                break
            twin = self.problem_of().tools(self.limits, tools.spend)
            first = _read(algorithm, state, written) if steps_in_place else state
            again = await algorithm.step(first, twin)
            after = await algorithm.step(state, tools)
            is_kept = identity(algorithm) == name
            _hold(is_kept, "a search changes the settings of its algorithm")
            _hold(after == again, f"step {num_steps + 1}, taken twice, gives two states")
            _hold(tools.spend == twin.spend, f"step {num_steps + 1}, taken twice, costs otherwise")
            if not steps_in_place:
                is_left = _written(algorithm, state) == written
                _hold(is_left, "a step changes the state that it is given")
            _check_found(algorithm.found(after))
            state = after

    async def resumes(self, most: int) -> None:
        """A search that is resumed anywhere ends as the one that was not interrupted."""
        seen: list[Progress] = []
        held = _Held()
        whole = await self.run(checkpoint=held, on_step=seen.append)
        _hold(whole.error is None, f"it fails: {whole.error}")
        _hold(whole.why in ("done", "limit", "stuck"), "it does not end")
        self._check_monotone(seen, held)
        _hold(_print(whole) == _print(await self.run()), "two searches of one seed differ")
        stride = max(1, -(-len(held.saved) // most))
        for data in held.saved[::stride]:
            resumed = await self.run(checkpoint=_Held(data))
            _hold(_print(resumed) == _print(whole), "a resumed search ends otherwise")

    def _check_monotone(self, seen: Sequence[Progress], held: _Held) -> None:
        kind = type(self.algorithm.init(_SEED))
        elected = [
            self.algorithm.found(read_state(self.algorithm, _SEED, kind, data).state).is_elected
            for data in held.saved
        ]
        for place, (before, after) in enumerate(pairwise(seen), 1):
            _hold(before.best is None or after.best is not None, "the best so far is lost")
            if before.best is None or after.best is None:
                continue
            was, now = before.best.partial.is_finished, after.best.partial.is_finished
            _hold(now or not was, "an unfinished best replaces a finished one")
            if was != now or (place < len(elected) and elected[place]):
                continue
            scores = (before.best.score, after.best.score)
            _hold(
                scores[0] is None or (scores[1] is not None and scores[1] >= scores[0]),
                f"the best so far gets worse: {scores[0]} to {scores[1]}",
            )

    async def batches(self) -> None:
        """Callables that answer one by one, in any order and time, change nothing."""

        def one_by_one(name: str, call: Any) -> Any:
            async def each(member: Any, rest: tuple[Any, ...]) -> Any:
                for _ in range(_chance(name, repr(member)) % 4):
                    await asyncio.sleep(0)
                return (await call_batch(lambda batch: call(batch, *rest), [member], name))[0]

            async def answer(batch: Sequence[Any], *rest: Any) -> list[Any]:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(each(member, rest)) for member in batch]
                return [task.result() for task in tasks]

            return answer

        slow = await self.run(self.problem_with(self.batched, one_by_one))
        _hold(_print(slow) == _print(await self.run()), "one by one gives another end than a batch")

    async def limits_hold(self) -> None:
        """Nothing is asked for beyond a limit, and a search that meets one ends."""
        spend = (await self.run()).spend
        for name, used in (
            ("max_proposals", spend.proposals),
            ("max_tokens", spend.tokens),
            ("max_scores", spend.scores),
            ("max_steps", 3),
        ):
            for most in sorted({0, 1, used // 3, used // 2, max(used - 1, 0), used}):
                await self._limit_holds(name, most)
        result = await self.run(limits=replace(self.limits, timeout_s=0.0))
        _hold(result.num_steps == 0, "a search without time takes a step")

    async def _limit_holds(self, name: str, most: int) -> None:
        problem, count = self.problem_of(), _Count()
        if isinstance(problem, Problem):
            if name == "max_tokens" and problem.step_tokens is None:
                return
            problem = count.around(problem)
        limits = replace(self.limits, **{name: most})
        result = await self.run(problem, limits=limits)
        _hold(result.error is None, f"{name} = {most} makes it fail: {result.error}")
        what = name.removeprefix("max_")
        used = result.num_steps if what == "steps" else getattr(result.spend, what)
        _hold(used <= most, f"{name} is {most}, and {used} were used")
        if what != "steps":
            asked = getattr(count, what)
            _hold(asked <= most, f"{name} is {most}, and {asked} reached the problem")
            _hold(result.why != "steps", f"{name} = {most} does not end it")

    async def losses(self) -> None:
        """Samples that fail, say nothing, repeat themselves or never end cost themselves."""

        def failing(share: int) -> Callable[[str, Any], Any]:
            def wrap(name: str, call: Any) -> Any:
                async def answer(batch: Sequence[Any], *rest: Any) -> list[Any]:
                    found = await call_batch(lambda each: call(each, *rest), batch, name)
                    keys = [_chance("lost", name, repr(member)) for member in batch]
                    return [
                        FAILED if key % 4 < share else each
                        for key, each in zip(keys, found, strict=True)
                    ]

                return answer

            return wrap

        if not self.lossy:
            return
        for share, what in (
            (1, "a failed sample"),
            (2, "failed samples"),
            (4, "nothing but failed"),
        ):
            for name in self.lossy:
                if getattr(self.problem_of(), name, None) is not None:
                    await self._survives(self.problem_with([name], failing(share)), what)
            await self._survives(self.problem_with(self.lossy, failing(share)), what)
        if not isinstance(self.problem_of(), Problem):
            return
        for what, change in _ODD_STEPS.items():
            await self._survives(self.problem_with(["propose"], _changing(change)), what)

    async def _survives(self, problem: Any, what: str) -> None:
        least = (await self.run()).spend.proposals
        limits = replace(self.limits, max_proposals=2 * least + 8)
        result = await self.run(problem, limits=limits)
        _hold(result.error is None, f"{what} makes it fail: {result.error}")
        _hold(result.why != "steps", f"{what} leaves it without end")
        _check_scores(result)

    async def failures(self) -> None:
        """An error of a callable ends a search, and cancellation passes through it."""

        def raising(name: str, call: Any) -> Any:
            def answer(batch: Sequence[Any], *rest: Any) -> Any:
                raise RuntimeError("planted")

            return answer

        def hanging(name: str, call: Any) -> Any:
            async def answer(batch: Sequence[Any], *rest: Any) -> Any:
                await asyncio.Event().wait()

            return answer

        result = await self.run(self.problem_with(self.batched, raising))
        _hold(result.why == "failed", "it hides the error of a callable")
        for num_calls in (1, 2, 3, 5, 8):
            await self._fails_later(num_calls)
        limits = replace(self.limits, timeout_s=0.02)
        result = await self.run(self.problem_with(self.batched, hanging), limits=limits)
        is_cancelled = (result.why, result.num_steps) == ("time", 0)
        _hold(is_cancelled, "it goes on though its time is over")

    async def _fails_later(self, num_calls: int) -> None:
        """After an error in the middle of a step, the best of the steps before is there."""
        num_left = [num_calls]

        def breaking(name: str, call: Any) -> Any:
            async def answer(batch: Sequence[Any], *rest: Any) -> Any:
                num_left[0] -= 1
                if num_left[0] < 0:
                    raise RuntimeError("planted")
                return await call_batch(lambda each: call(each, *rest), batch, name)

            return answer

        seen: list[Progress] = []
        problem = self.problem_with(self.batched, breaking)
        result = await self.run(problem, on_step=seen.append)
        _hold(num_left[0] >= 0 or result.why == "failed", "it hides the error of a callable")
        _hold(not seen or result.best == seen[-1].best, "an error costs the best so far")
        _check_scores(result)

    async def other_process(self) -> None:
        """One seed gives one result in every process, whatever its hash seed."""
        ours = _print(await self.run())
        task = pickle.dumps((self.algorithm, self.problem_of, self.limits))
        hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
        done = await asyncio.to_thread(_elsewhere, task, hash_seed)
        _hold(done.returncode == 0, f"it fails in another process: {done.stderr.decode()}")
        is_same = done.stdout.decode() == ours
        _hold(is_same, f"with PYTHONHASHSEED={hash_seed} it ends otherwise")


def _settings(algorithm: Any) -> dict[str, Any]:
    return {f.name: getattr(algorithm, f.name) for f in fields(algorithm) if f.init}


def _written(algorithm: Any, state: Any) -> bytes:
    try:
        return write_state(algorithm, _SEED, Saved(state, NOTHING, 0))
    except MotetError as exc:
        raise AssertionError(f"a state cannot be written: {exc}") from exc


def _read(algorithm: Any, state: Any, data: bytes) -> Any:
    try:
        return read_state(algorithm, _SEED, type(state), data).state
    except MotetError as exc:
        raise AssertionError(f"a state cannot be read back: {exc.__cause__ or exc}") from exc


def _check_found(found: Any) -> None:
    ends = [candidate.partial.is_finished for candidate in found.candidates]
    _hold(ends == sorted(ends, reverse=True), "an unfinished candidate stands before a finished")
    for candidate in (*found.candidates, *([found.best] if found.best else [])):
        if candidate.node is not None:
            same = found.tree.partial(candidate.node) == candidate.partial
            _hold(same, f"node {candidate.node} is another solution than its candidate")


def _check_scores(result: SearchResult) -> None:
    for candidate in result.candidates:
        score = candidate.score
        _hold(score is None or score == score, "a candidate's score is NaN")  # noqa: PLR0124


def _print(result: SearchResult) -> str:
    """Write what has to be the same."""
    outcome = (result.why, result.num_steps, str(result.error), dict(result.notes))
    whole = (result.best, result.candidates, result.tree, result.spend)
    written = TypeAdapter(_WHOLE).dump_python(whole, mode="json")
    return json.dumps([outcome, written], sort_keys=True)


def _changing(change: Callable[[list[Step]], list[Step]]) -> Callable[[str, Any], Any]:
    def wrap(name: str, call: Any) -> Any:
        async def answer(batch: Sequence[Ask]) -> list[list[Step]]:
            return [change(list(steps)) for steps in await call_batch(call, batch, name)]

        return answer

    return wrap


_ODD_STEPS: Final[dict[str, Callable[[list[Step]], list[Step]]]] = {
    "a proposer with nothing to say": lambda steps: [],
    "fewer steps than asked for": lambda steps: steps[: (len(steps) + 1) // 2],
    "a proposer that repeats itself": lambda steps: [steps[0]] * len(steps) if steps else [],
    "empty steps": lambda steps: [replace(step, text="") for step in steps],
    "steps without end": lambda steps: [replace(step, is_last=False) for step in steps],
}


def _elsewhere(task: bytes, hash_seed: str) -> subprocess.CompletedProcess[bytes]:
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from motet.testing.search import _run_pickled; _run_pickled()"
    )
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        input=task,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        timeout=_TIMEOUT_S,
        check=False,
    )


def _run_pickled() -> None:
    algorithm, problem_of, limits = pickle.load(sys.stdin.buffer)  # noqa: S301
    result = asyncio.run(search(algorithm, problem_of(), seed=_SEED, limits=limits))
    sys.stdout.write(_print(result))
