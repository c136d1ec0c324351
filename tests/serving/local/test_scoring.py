"""Candidates: the logprob of fixed continuations."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from motet.decoding import cfg
from motet.engine import Capability, Reply, Request, Usage
from motet.errors import ConfigError, PromptTooLongError, RequestRejectedError
from motet.serving.local import LocalEngine, connect
from motet.types import Message
from tests.serving.local.conftest import Reference, request, until


def _asked(prompt: Any, candidates: Any, **settings: Any) -> Request:
    return replace(request(prompt, **settings), candidates=tuple(candidates))


def _ids(rng: random.Random, count: int) -> tuple[int, ...]:
    return tuple(rng.randrange(3, 259) for _ in range(count))


def _exact(
    reference: Reference, prompt: tuple[int, ...], candidate: tuple[int, ...]
) -> list[float]:
    lines = reference.logprobs(prompt, candidate)
    return [float(line[token]) for line, token in zip(lines, candidate, strict=True)]


def _values(reply: Reply) -> list[list[float]]:
    return [[each.logprob for each in c.logprobs] for c in reply.completions]


def test_logprobs_equal_a_full_recompute_alone_and_among_others(
    tiny: LocalEngine, tiny_reference: Reference
) -> None:
    """Prompts of 1 to 300 tokens, candidates of 1 to 150 that may begin alike or be equal."""
    rng = random.Random(8)
    asked = []
    for length in (1, 2, 16, 17, 90, 300):
        candidates = [_ids(rng, rng.randint(1, 150)) for _ in range(6)]
        candidates += [candidates[0], candidates[1][:3], (*candidates[2], 9), (7,)]
        asked.append(_asked(_ids(rng, length), candidates))

    async def run() -> tuple[list[Reply], list[Reply]]:
        alone = [await tiny.complete(each) for each in asked]
        others = [tiny.complete(request(_ids(rng, 50), max_tokens=30)) for _ in range(8)]
        together = await asyncio.gather(*map(tiny.complete, asked), *others)
        return alone, together[: len(asked)]

    alone, together = asyncio.run(run())

    for each, one, other in zip(asked, alone, together, strict=True):
        prompt: Any = each.prompt
        for candidate, values, again in zip(
            each.candidates, _values(one), _values(other), strict=True
        ):
            ids: Any = candidate
            exact = _exact(tiny_reference, prompt, ids)
            assert values == pytest.approx(exact, abs=1e-4)
            assert again == pytest.approx(exact, abs=1e-4)


@pytest.mark.model
def test_on_smollm2_logprobs_equal_a_full_recompute(
    smollm2: LocalEngine, smollm2_reference: Reference
) -> None:
    prompt = "The capital of France is"
    candidates = (" Paris.", " London, the city of the Thames.", "🦜", " Paris")

    reply = asyncio.run(smollm2.complete(_asked(prompt, candidates)))

    tokenizer = smollm2_reference.tokenizer
    ids = tuple(tokenizer.encode(prompt))
    for text, completion, values in zip(candidates, reply.completions, _values(reply), strict=True):
        own = tuple(tokenizer.encode(text))
        assert completion.text == text
        assert completion.token_ids == own
        assert values == pytest.approx(_exact(smollm2_reference, ids, own), abs=1e-4)
    totals = [sum(values) for values in _values(reply)]
    assert totals[0] > totals[1]


def test_candidates_come_back_in_order_with_their_tokens(tiny: LocalEngine) -> None:
    chat = (Message.user("Which?"),)

    reply = asyncio.run(tiny.complete(_asked(chat, ["yes", (5, 6), "ü"], n=3, temperature=1.0)))

    assert [c.text for c in reply.completions[::2]] == ["yes", "ü"]
    assert [len(c.token_ids) for c in reply.completions] == [3, 2, 2]
    assert {c.finish_reason for c in reply.completions} == {"stop"}
    for completion in reply.completions:
        assert tuple(each.token_id for each in completion.logprobs) == completion.token_ids
        assert all(each.logprob < 0 for each in completion.logprobs)
    assert [each.token for each in reply.completions[0].logprobs] == ["y", "e", "s"]


@pytest.mark.parametrize("cached", [0, 64])
@pytest.mark.parametrize("most", [1, 3, 64])
def test_the_prompt_is_computed_once(tiny_folder: Any, cached: int, most: int) -> None:
    engine = connect(
        f"local:{tiny_folder}", threads=1, max_batch=most, prefix_cache_mb=cached, prefill_chunk=64
    )
    rng = random.Random(2)
    prompt = _ids(rng, 200)
    candidates = [_ids(rng, 5) for _ in range(12)]

    async def run() -> tuple[Reply, int, int]:
        await engine.start()
        assert engine.stats is not None
        reply = await engine.complete(_asked(prompt, candidates))
        computed = engine.stats.num_computed_tokens
        await until(lambda: engine.stats is not None and engine.stats.num_running == 0)
        again = await engine.complete(_asked((*prompt, 4), candidates))
        await engine.aclose()
        return reply, computed, again.usage.cached_tokens

    reply, computed, from_cache = asyncio.run(asyncio.wait_for(run(), 60))

    # The last token of the prompt is computed with each candidate, a candidate's last token never.
    assert computed == 199 + 12 * 5
    assert reply.usage == Usage(200 + 60, 0, 0, 1)
    assert from_cache == (192 if cached else 0)


def test_memory_for_one_row_serves_many_candidates(tiny_folder: Any) -> None:
    engine = connect(f"local:{tiny_folder}", threads=1, max_tokens_in_cache=20, prefix_cache_mb=0)

    async def run() -> tuple[Reply, Reply]:
        asked = _asked((5,) * 40, [(4,), (9, 9), (8,) * 7])
        replies = await asyncio.gather(engine.complete(asked), engine.complete(request("abc")))
        await engine.aclose()
        return replies[0], replies[1]

    scored, generated = asyncio.run(asyncio.wait_for(run(), 60))

    assert [len(values) for values in _values(scored)] == [1, 2, 7]
    assert generated.completions[0].token_ids


def test_cancelled_scoring_leaves_the_batch(tiny: LocalEngine) -> None:
    rng = random.Random(4)
    asked = _asked(_ids(rng, 400), [_ids(rng, 90) for _ in range(100)])

    async def run() -> None:
        stats = tiny.stats
        assert stats is not None
        call = asyncio.create_task(tiny.complete(asked))
        await until(lambda: stats.num_waiting > 0)
        call.cancel()
        await until(lambda: stats.num_running == stats.num_waiting == 0)
        await tiny.complete(request("abc"))

    asyncio.run(run())


def test_it_says_that_it_scores(tiny: LocalEngine) -> None:
    assert Capability.SCORE in tiny.capabilities


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (_asked("ab", [""]), RequestRejectedError, "no tokens"),
        (_asked("ab", [()]), RequestRejectedError, "no tokens"),
        (_asked("ab", [(4, 259)]), RequestRejectedError, "candidates token 259"),
        (_asked("ab", [(4,), (4,) * 511]), PromptTooLongError, "512"),
        (replace(_asked("ab", ["c"]), partner="d"), ConfigError, "partner must be None"),
        (
            replace(_asked("ab", ["c"], decoding=(cfg(),)), partner="d"),
            ConfigError,
            "one prompt",
        ),
    ],
)
def test_wrong_candidates_are_refused(
    tiny: LocalEngine, asked: Request, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        asyncio.run(tiny.complete(asked))


def test_other_salts_share_no_prefix(tiny: LocalEngine) -> None:
    prompt = _ids(random.Random(9), 100)

    async def run() -> list[int]:
        found = []
        for salt in (None, None, "a", "a", "b"):
            asked = replace(request(prompt, max_tokens=1), cache_salt=salt)
            found.append((await tiny.complete(asked)).usage.cached_tokens)
        at_once = [replace(request(prompt, max_tokens=30), cache_salt=s) for s in ("c", "d")]
        replies = await asyncio.gather(*map(tiny.complete, at_once))
        return found + [reply.usage.cached_tokens for reply in replies]

    assert asyncio.run(run()) == [0, 96, 0, 96, 0, 0, 0]
