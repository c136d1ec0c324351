"""Next tokens of vLLM in this process, against what it generates and its server tells."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from motet.engine import Capability, Reply, Request, Sampling
from motet.errors import ConfigError, RequestRejectedError
from motet.serving.vllm.engine import VllmEngine, connect
from tests.serving.vllm.test_inprocess import COUNT, URL, request

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def engine() -> VllmEngine:
    pytest.importorskip("vllm")
    return connect(URL)


def asked(written: tuple[int, ...] = (), k: int = -1, **fields: Any) -> Request:
    return Request(
        model=None, prompt=COUNT, sampling=Sampling(), next_tokens=k, written=written, **fields
    )


def test_the_distribution_is_the_one_that_is_sampled_from(engine: VllmEngine) -> None:
    """Each greedy token comes first, with its own logprob and text; the whole sums to one."""

    async def run() -> tuple[Reply, list[Reply], Reply]:
        greedy = await engine.complete(request(COUNT, max_tokens=6, logprobs=3))
        ids = greedy.completions[0].token_ids
        some = [engine.complete(asked(ids[:n], 3)) for n in range(len(ids))]
        return greedy, await asyncio.gather(*some), await engine.complete(asked())

    greedy, some, every = asyncio.run(run())

    completion = greedy.completions[0]
    for reply, chosen in zip(some, completion.logprobs, strict=True):
        told = reply.next_tokens
        assert told is not None
        assert told.ids[0] == chosen.token_id
        assert told.logprobs[0] == pytest.approx(chosen.logprob, abs=1e-3)
        assert told.texts[0] == chosen.token
        assert len(told.ids) == 3 + (not set(told.ends) & set(told.ids[:3]))
        assert set(told.ends) & set(told.ids)
    last = some[-1].next_tokens
    assert last is not None
    assert completion.text.startswith(last.text)
    whole, first = every.next_tokens, some[0].next_tokens
    assert whole is not None
    assert first is not None
    assert math.fsum(map(math.exp, whole.logprobs)) == pytest.approx(1, abs=1e-3)
    assert [whole.logprobs[t] for t in first.ids] == pytest.approx(first.logprobs, abs=1e-4)
    assert [whole.texts[t] for t in first.ids] == list(first.texts)


def test_what_does_not_go_with_it_is_refused(engine: VllmEngine) -> None:
    cases = [
        (asked(k=0), ConfigError, "next_tokens is 0"),
        (asked(n=2), ConfigError, "does not go with n"),
        (asked((10**6,)), RequestRejectedError, "written token 1000000"),
    ]
    for wrong, error, said in cases:
        with pytest.raises(error, match=said):
            asyncio.run(engine.complete(wrong))


def test_an_engine_that_tells_logprobs_of_another_kind_does_not_offer_it() -> None:
    pytest.importorskip("vllm")
    other = connect(URL, logprobs_mode="processed_logprobs")

    assert Capability.NEXT_TOKENS not in other.capabilities
    assert Capability.NEXT_TOKENS in connect(URL).capabilities
