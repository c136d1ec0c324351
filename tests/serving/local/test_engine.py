"""The engine on a tiny random Llama: exactness, joining and leaving, failures."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from motet.engine import Capability, Reply, Usage
from motet.errors import (
    ConfigError,
    EngineError,
    EngineUnavailableError,
    ModelNotFoundError,
    PromptTooLongError,
    RequestRejectedError,
)
from motet.serving.local import LocalEngine, connect
from motet.testing.engine_laws import check_engine
from tests.serving.local.conftest import Reference, request, until


def _prompts(count: int, *, most: int = 200) -> list[tuple[int, ...]]:
    rng = random.Random(4)
    return [tuple(rng.randrange(3, 259) for _ in range(rng.randint(1, most))) for _ in range(count)]


def _counts(engine: LocalEngine) -> Any:
    assert engine.stats is not None
    return engine.stats


def test_it_keeps_the_laws_of_engines(tiny: LocalEngine) -> None:
    asyncio.run(check_engine(tiny))


def test_greedy_tokens_equal_those_of_transformers(
    tiny: LocalEngine, tiny_reference: Reference
) -> None:
    """30 prompts of 1 to 200 tokens, a third of them late, chunked and of different lengths."""
    prompts = _prompts(30)
    lengths = [5 + 3 * i % 40 for i in range(30)]

    async def run() -> list[Reply]:
        async with asyncio.TaskGroup() as group:
            tasks = []
            for i, (prompt, length) in enumerate(zip(prompts, lengths, strict=True)):
                if i % 3 == 2:
                    await asyncio.sleep(0.01)
                call = tiny.complete(request(prompt, max_tokens=length))
                tasks.append(group.create_task(call))
        return [task.result() for task in tasks]

    replies = asyncio.run(run())

    for prompt, length, reply in zip(prompts, lengths, replies, strict=True):
        assert reply.completions[0].token_ids == tiny_reference.greedy(prompt, length)


def test_a_long_row_among_short_ones_is_exact(tiny: LocalEngine, tiny_reference: Reference) -> None:
    prompts = [p[:3] for p in _prompts(12)] + [tuple(range(3, 250)) * 2]

    async def run() -> list[Reply]:
        calls = (tiny.complete(request(prompt, max_tokens=15)) for prompt in prompts)
        return list(await asyncio.gather(*calls))

    for prompt, reply in zip(prompts, asyncio.run(run()), strict=True):
        assert reply.completions[0].token_ids == tiny_reference.greedy(prompt, 15)


def test_reported_logprobs_are_those_of_the_model(
    tiny: LocalEngine, tiny_reference: Reference
) -> None:
    prompt = _prompts(1)[0]

    reply = asyncio.run(
        tiny.complete(request(prompt, logprobs=3, temperature=1.3, top_k=50, seed=5))
    )

    [completion] = reply.completions
    expected = tiny_reference.logprobs(prompt, completion.token_ids)
    assert len(completion.logprobs) == len(completion.token_ids)
    for line, token_id, reported in zip(
        expected, completion.token_ids, completion.logprobs, strict=True
    ):
        assert reported.token_id == token_id
        assert reported.logprob == pytest.approx(float(line[token_id]), abs=1e-4)
        best = line.topk(3).values.tolist()
        assert [logprob for _, logprob in reported.top] == pytest.approx(best, abs=1e-4)


def test_a_seeded_completion_does_not_depend_on_the_batch(tiny: LocalEngine) -> None:
    prompts = _prompts(12, most=60)
    requests = [
        request(prompt, temperature=0.9, seed=i, top_p=0.95 if i % 2 else None)
        for i, prompt in enumerate(prompts)
    ]

    async def run() -> tuple[list[Reply], list[Reply]]:
        alone = [await tiny.complete(each) for each in requests]
        return alone, list(await asyncio.gather(*map(tiny.complete, requests)))

    alone, together = asyncio.run(run())

    assert [r.completions for r in alone] == [r.completions for r in together]


def test_completion_i_of_a_seeded_request_has_the_seed_plus_i(tiny: LocalEngine) -> None:
    async def run() -> tuple[Reply, list[Reply]]:
        three = await tiny.complete(request("abc", n=3, seed=40, temperature=1.0))
        single = [
            await tiny.complete(request("abc", seed=40 + i, temperature=1.0)) for i in range(3)
        ]
        return three, single

    three, single = asyncio.run(run())

    assert list(three.completions) == [reply.completions[0] for reply in single]
    assert len({c.token_ids for c in three.completions}) == 3


def test_an_unseeded_request_is_another_each_time(tiny: LocalEngine) -> None:
    reply = asyncio.run(tiny.complete(request("abc", n=4, temperature=1.0)))

    assert len({c.token_ids for c in reply.completions}) == 4


def test_n_completions_compute_the_prompt_once(tiny: LocalEngine) -> None:
    prompt = tuple(range(202, 2, -1))
    before = _counts(tiny).num_computed_tokens

    reply = asyncio.run(tiny.complete(request(prompt, n=8, max_tokens=4, temperature=1.0)))

    generated = sum(len(c.token_ids) for c in reply.completions)
    # All but the last token of the prompt are taken over, and that one is computed again.
    assert _counts(tiny).num_computed_tokens - before <= len(prompt) + 7 + generated
    assert reply.usage == Usage(200, generated, 0, 1)


def test_a_prefix_of_another_request_is_reused_while_it_runs_and_after(tiny: LocalEngine) -> None:
    prompt = tuple(range(40, 200))

    async def run() -> tuple[Reply, Reply, Reply]:
        first = asyncio.create_task(tiny.complete(request(prompt, max_tokens=300)))
        await asyncio.sleep(0)
        second = await tiny.complete(request((*prompt, 5, 6), max_tokens=2))
        still_running = not first.done()
        third = await tiny.complete(request((*prompt[:100], 7), max_tokens=2))
        first.cancel()
        assert still_running
        fourth = await tiny.complete(request((*prompt, 9), max_tokens=2))
        return second, third, fourth

    second, third, fourth = asyncio.run(run())

    assert [r.usage.cached_tokens for r in (second, third, fourth)] == [160, 100, 160]


def test_a_long_prompt_is_computed_in_chunks_between_the_steps_of_others(
    tiny: LocalEngine,
) -> None:
    async def run() -> tuple[int, bool]:
        stats = _counts(tiny)
        running = asyncio.create_task(tiny.complete(request("zz", max_tokens=500, seed=8)))
        await until(lambda: stats.num_running == 1)
        steps = stats.num_steps
        await tiny.complete(request(tuple(range(4, 254)) * 2, max_tokens=1))
        is_open = not running.done()
        running.cancel()
        return stats.num_steps - steps, is_open

    steps, is_open = asyncio.run(run())

    assert is_open
    assert steps >= 500 // 64


def test_a_cancelled_request_leaves_within_two_steps(tiny: LocalEngine) -> None:
    async def run() -> tuple[int, int]:
        stats = _counts(tiny)
        call = asyncio.create_task(tiny.complete(request("ab", n=3, max_tokens=400, seed=1)))
        await until(lambda: stats.num_running == 3)
        call.cancel()
        await asyncio.sleep(0)
        steps = stats.num_steps
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: stats.num_running == 0)
        return steps, stats.num_steps

    before, after = asyncio.run(run())

    assert after - before <= 2


def test_streamed_text_adds_up_and_never_holds_a_stop_text(tiny: LocalEngine) -> None:
    async def run(stop: tuple[str, ...]) -> tuple[Reply, list[str]]:
        texts = ["", "", ""]
        loop = asyncio.get_running_loop()

        def on_delta(index: int, text: str) -> None:
            assert asyncio.get_running_loop() is loop
            texts[index] += text

        asked = request("abc", n=3, seed=3, temperature=1.0, max_tokens=200, stop=stop)
        return await tiny.complete(asked, on_delta), texts

    whole, texts = asyncio.run(run(()))
    assert texts == [c.text for c in whole.completions]
    stops = tuple(c.text[40:43] for c in whole.completions)

    cut, texts = asyncio.run(run(stops))

    assert texts == [c.text for c in cut.completions]
    for completion, uncut in zip(cut.completions, whole.completions, strict=True):
        assert completion.finish_reason == "stop"
        assert completion.stop_reason in stops
        assert uncut.text.startswith(completion.text + completion.stop_reason)
        assert not any(stop in completion.text for stop in stops)
        assert completion.token_ids == uncut.token_ids[: len(completion.token_ids)]


def test_an_error_in_on_delta_ends_the_call_only(tiny: LocalEngine) -> None:
    def on_delta(index: int, text: str) -> None:
        raise KeyError("mine")

    async def run() -> None:
        with pytest.raises(KeyError, match="mine"):
            await tiny.complete(request("abc", max_tokens=300), on_delta)
        await until(lambda: _counts(tiny).num_running == 0)
        await tiny.complete(request("abc"))

    asyncio.run(run())


def test_max_tokens_and_the_context_end_a_completion_by_length(tiny: LocalEngine) -> None:
    async def run() -> tuple[Reply, Reply]:
        short = await tiny.complete(request((9, 9), max_tokens=3))
        full = await tiny.complete(request(tuple(range(3, 253)) * 2, max_tokens=300, seed=1))
        return short, full

    short, full = asyncio.run(run())

    assert (short.completions[0].finish_reason, len(short.completions[0].token_ids)) == (
        "length",
        3,
    )
    assert full.usage.tokens <= 512
    assert full.completions[0].finish_reason == ("length" if full.usage.tokens == 512 else "stop")


def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(tiny: LocalEngine) -> None:
    steps = _counts(tiny).num_steps

    with pytest.raises(PromptTooLongError) as caught:
        asyncio.run(tiny.complete(request((5,) * 512)))

    assert (caught.value.prompt_tokens, caught.value.max_tokens) == (512, 512)
    assert _counts(tiny).num_steps == steps


@pytest.mark.parametrize(
    ("prompt", "settings", "error"),
    [
        ("abc", {"extra": {"min_tokens": 3}}, ConfigError),
        ("abc", {"n": 0}, ConfigError),
        ("", {}, RequestRejectedError),
        ((), {}, RequestRejectedError),
        ((1, 259), {}, RequestRejectedError),
        ((-1,), {}, RequestRejectedError),
        ((True,), {}, RequestRejectedError),
    ],
)
def test_a_wrong_request_is_refused(
    tiny: LocalEngine, prompt: Any, settings: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        asyncio.run(tiny.complete(request(prompt, **settings)))


def test_another_models_name_is_refused(tiny: LocalEngine) -> None:
    from dataclasses import replace

    with pytest.raises(ModelNotFoundError, match="gpt5"):
        asyncio.run(tiny.complete(replace(request("abc"), model="gpt5")))


class _Raises:
    identity = "raises"

    def __call__(self, prompt_ids: Any, output_ids: Any, logits: Any) -> Any:
        if len(output_ids) == 2:
            raise ZeroDivisionError("rule")
        return logits


def test_an_error_in_a_rule_fails_its_request_only(tiny: LocalEngine) -> None:
    async def run() -> tuple[Any, ...]:
        return tuple(
            await asyncio.gather(
                tiny.complete(request("abc", decoding=(_Raises(),))),
                tiny.complete(request("abd")),
                return_exceptions=True,
            )
        )

    failed, sound = asyncio.run(run())

    assert isinstance(failed, RequestRejectedError)
    assert isinstance(failed.__cause__, ZeroDivisionError)
    assert isinstance(sound, Reply)


def test_a_step_that_breaks_fails_its_requests_and_the_loop_goes_on(
    tiny: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from motet.serving.local.model import LoadedModel

    def step(*args: Any, **settings: Any) -> Any:
        raise MemoryError("none left")

    async def run() -> Reply:
        with monkeypatch.context() as patch:
            patch.setattr(LoadedModel, "step", step)
            with pytest.raises(EngineUnavailableError, match="none left"):
                await tiny.complete(request("abc"))
        return await tiny.complete(request("abc"))

    assert len(asyncio.run(run()).completions) == 1


def test_several_loops_in_several_threads_share_the_batch(
    tiny: LocalEngine, tiny_reference: Reference
) -> None:
    prompts = _prompts(4)
    found: dict[int, tuple[int, ...]] = {}

    def work(i: int) -> None:
        reply = asyncio.run(tiny.complete(request(prompts[i])))
        found[i] = reply.completions[0].token_ids

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [found[i] for i in range(4)] == [tiny_reference.greedy(p, 16) for p in prompts]


def _open(folder: Path, **settings: Any) -> LocalEngine:
    # bfloat16, as the session's engine holds the float32 instance.
    return connect(f"local:{folder}", threads=1, **settings)


def test_lower_priority_numbers_go_first_and_equals_in_order(tiny_folder: Path) -> None:
    from dataclasses import replace

    engine = _open(tiny_folder, max_batch=1)
    order: list[str] = []

    async def ask(name: str, priority: int) -> None:
        await engine.complete(replace(request(name), priority=priority))
        order.append(name)

    async def run() -> None:
        await engine.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(engine.complete(request("z", max_tokens=60)))
            await until(lambda: _counts(engine).num_running == 1)
            for name, priority in (("a", 5), ("b", 0), ("c", 5), ("d", -1)):
                group.create_task(ask(name, priority))
        await engine.aclose()

    asyncio.run(run())

    assert order == ["d", "b", "a", "c"]


def test_requests_wait_while_the_cache_is_full(tiny_folder: Path) -> None:
    engine = _open(tiny_folder, max_tokens_in_cache=100)
    most = 0

    async def run() -> list[Reply]:
        nonlocal most
        await engine.start()
        calls = [
            asyncio.create_task(engine.complete(request((i + 3,) * 10, max_tokens=30)))
            for i in range(7)
        ]
        # One that is too large for the limit by itself is served alone.
        calls.append(asyncio.create_task(engine.complete(request((4,) * 150, max_tokens=5))))
        while not all(call.done() for call in calls):
            most = max(most, _counts(engine).num_running)
            await asyncio.sleep(0.001)
        await engine.aclose()
        return [call.result() for call in calls]

    replies = asyncio.run(run())

    assert len(replies) == 8
    assert most <= 2


def test_engines_of_one_model_share_it_and_other_settings_are_refused(tiny_folder: Path) -> None:
    first = _open(tiny_folder, max_batch=2)
    with pytest.raises(ConfigError, match="max_batch=2"):
        _open(tiny_folder, max_batch=3)
    second = _open(tiny_folder, max_batch=2)

    async def run() -> None:
        await first.start()
        assert second.stats is first.stats
        call = asyncio.create_task(first.complete(request("ab", max_tokens=400)))
        await until(lambda: _counts(first).num_running == 1)
        await first.aclose()
        with pytest.raises(EngineError, match="closed"):
            await call
        with pytest.raises(EngineError, match="closed"):
            await first.complete(request("ab"))
        await second.complete(request("ab"))
        await second.aclose()
        third = _open(tiny_folder, max_batch=3)
        await third.complete(request("ab"))
        await third.aclose()

    asyncio.run(run())


def test_a_damaged_model_is_a_typed_error_and_can_be_tried_again(
    tiny_folder: Path, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "broken"
    shutil.copytree(tiny_folder, folder)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    engine = _open(folder)

    async def run() -> None:
        with pytest.raises(ModelNotFoundError, match="broken"):
            await engine.complete(request("ab"))
        weights.write_bytes(whole)
        await engine.complete(request("ab"))
        await engine.aclose()

    asyncio.run(run())


def test_the_interpreter_ends_while_a_request_runs(tiny_folder: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from motet.engine import Request, Sampling\n"
        "from motet.serving.local import connect\n"
        "async def main():\n"
        "    engine = connect(sys.argv[1])\n"
        "    await engine.start()\n"
        "    sampling = Sampling(max_tokens=500)\n"
        "    asked = Request(model=None, prompt='ab', sampling=sampling, n=20)\n"
        "    task = asyncio.create_task(engine.complete(asked))\n"
        "    await asyncio.sleep(0.05)\n"
        "    sys.exit(7)\n"
        "asyncio.run(main())\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, f"local:{tiny_folder}?threads=1"],
        timeout=60,
        capture_output=True,
    )

    assert done.returncode == 7
    assert b"Fatal" not in done.stderr


def test_it_says_what_it_can(tiny: LocalEngine, tiny_folder: Path) -> None:
    assert tiny.url == f"local:{tiny_folder}?dtype=float32"
    assert tiny.context_tokens == 512
    assert tiny.max_concurrency == 64
    assert Capability.GRAMMAR in tiny.capabilities
    assert Capability.EMBED not in tiny.capabilities
