"""Candidates scored by vLLM in this process, against logprobs of a forced text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from motet.engine import Reply, Request, Sampling, Usage
from motet.errors import PromptTooLongError, RequestRejectedError
from motet.serving.vllm.engine import VllmEngine, connect
from tests.serving.vllm.test_inprocess import FRANCE, URL, request

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]

CANDIDATES = (" Paris", " Paris, the city", " London", (7042, 30))


@pytest.fixture(scope="module")
def engine() -> VllmEngine:
    pytest.importorskip("vllm")
    return connect(URL)


def scored(prompt: object, candidates: Sequence[object]) -> Request:
    return Request(model=None, prompt=prompt, sampling=Sampling(), candidates=tuple(candidates))  # type: ignore[arg-type]


def values(reply: Reply) -> list[list[float]]:
    return [[token.logprob for token in each.logprobs] for each in reply.completions]


def test_scores_are_the_models_logprobs(engine: VllmEngine) -> None:
    """The reference generates each candidate by force, one allowed token after the other."""

    async def forced(prompt: tuple[int, ...], ids: tuple[int, ...]) -> list[float]:
        found = []
        for at, token in enumerate(ids):
            reply = await engine.complete(
                request(
                    prompt + ids[:at],
                    max_tokens=1,
                    logprobs=0,
                    temperature=1.0,
                    extra={"allowed_token_ids": [token]},
                )
            )
            found.append(reply.completions[0].logprobs[0].logprob)
        return found

    async def run() -> tuple[Reply, list[list[float]]]:
        reply = await engine.complete(scored(FRANCE, CANDIDATES))
        prompt = (await engine._live()).encoder.encode(FRANCE)
        return reply, [await forced(prompt, c.token_ids) for c in reply.completions]

    reply, expected = asyncio.run(run())

    for line, wanted in zip(values(reply), expected, strict=True):
        assert line == pytest.approx(wanted, abs=1e-4)
    assert [c.text for c in reply.completions] == [
        " Paris",
        " Paris, the city",
        " London",
        " Paris.",
    ]
    assert [t.token for t in reply.completions[1].logprobs] == [" Paris", ",", " the", " city"]


def test_a_candidate_is_scored_alike_alone_and_among_others(engine: VllmEngine) -> None:
    async def run() -> tuple[Reply, list[Reply]]:
        together = await engine.complete(scored(FRANCE, CANDIDATES))
        return together, [await engine.complete(scored(FRANCE, (c,))) for c in CANDIDATES]

    together, alone = asyncio.run(run())

    for line, reply in zip(values(together), alone, strict=True):
        assert line == pytest.approx(values(reply)[0], abs=1e-4)


def test_scores_and_likely_tokens_are_right_side_by_side(engine: VllmEngine) -> None:
    """On its V1 runner vLLM itself would lose the likely tokens of the one here."""
    likely = request("Once upon a time", logprobs=4, max_tokens=24)

    async def run() -> tuple[list[Reply], list[Reply]]:
        apart = [await engine.complete(likely), await engine.complete(scored(FRANCE, CANDIDATES))]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(engine.complete(each))
                for _ in range(4)
                for each in (likely, scored(FRANCE, CANDIDATES))
            ]
        return apart, [task.result() for task in tasks]

    apart, together = asyncio.run(run())

    for i, reply in enumerate(together):
        if i % 2:
            for line, expected in zip(values(reply), values(apart[1]), strict=True):
                assert line == pytest.approx(expected, abs=1e-4)
            continue
        for token, expected_token in zip(
            reply.completions[0].logprobs, apart[0].completions[0].logprobs, strict=True
        ):
            assert [name for name, _ in token.top] == [name for name, _ in expected_token.top]


def test_the_prompt_is_computed_once(engine: VllmEngine) -> None:
    prompt = "Seven quiet towns stood along the old river, and each had a story. " * 30
    candidates = [f" The {word} town" for word in ("first", "second", "third", "last")]

    reply = asyncio.run(engine.complete(scored(prompt, candidates)))

    num_prompt = asyncio.run(engine.count_tokens(prompt))
    assert num_prompt is not None
    computed = reply.usage.prompt_tokens - reply.usage.cached_tokens
    asks = reply.usage.completion_tokens
    assert asks == 6
    # Beside the prompt, each request computes at most one block of 32 tokens and its own.
    assert computed <= num_prompt + (asks - 1) * (32 + 4)


def test_more_tokens_than_one_request_may_name_are_asked_in_parts(engine: VllmEngine) -> None:
    reply = asyncio.run(engine.complete(scored(FRANCE, [(token,) for token in range(300)])))

    assert reply.usage.completion_tokens == 3
    assert len({line[0] for line in values(reply)}) > 200


def test_wrong_candidates_are_refused(engine: VllmEngine) -> None:
    with pytest.raises(RequestRejectedError, match="candidates"):
        asyncio.run(engine.complete(scored(FRANCE, [(999_999,)])))
    with pytest.raises(RequestRejectedError, match="candidates"):
        asyncio.run(engine.complete(scored(FRANCE, [""])))
    with pytest.raises(PromptTooLongError):
        asyncio.run(engine.complete(scored((5,) * 2040, [(5,) * 20])))


def test_what_scores_use_is_known_before_to_the_token(engine: VllmEngine) -> None:
    """So a budget can reserve it; the prompt counts once for each of the four places."""
    asked = scored(FRANCE, CANDIDATES)

    async def run() -> tuple[Usage | None, Usage]:
        return await engine.most_usage(asked), (await engine.complete(asked)).usage

    most, used = asyncio.run(run())

    assert most is not None
    assert most.tokens == used.tokens
    assert most.completion_tokens == 4
