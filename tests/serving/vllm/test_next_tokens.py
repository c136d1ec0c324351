"""Next tokens on a real vLLM server, and steering by them, against transformers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import motet
from motet import Model
from motet.engine import Capability, Reply, Request, Sampling
from motet.errors import CapabilityError
from motet.programs.solution import Solution
from motet.programs.steer import steer
from motet.search.steering import Steering
from motet.search.text_potentials import TextCondition
from motet.types import Message
from tests.serving.vllm.conftest import Server
from tests.serving.vllm.http import ask, run

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]

CHAT = (Message.user("Name a colour."),)


def asked(written: tuple[int, ...] = (), k: int = -1, **fields: Any) -> Request:
    return Request(
        model=None, prompt=CHAT, sampling=Sampling(), next_tokens=k, written=written, **fields
    )


def exact(folder: Any, prompt: tuple[int, ...], written: tuple[int, ...]) -> list[Any]:
    """Return float64 log-probabilities `[V]` behind each beginning of what is written."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = network(torch.tensor([prompt + written])).logits[0]
    return list(torch.log_softmax(logits.double(), -1)[len(prompt) - 1 :])


def test_a_server_tells_what_transformers_computes(vllm_server: Server) -> None:
    """Whole vocabulary and the 20 likeliest, behind each beginning of a greedy answer."""

    async def act(engine: Any) -> Any:
        await engine.prepare()
        assert Capability.NEXT_TOKENS in engine.capabilities
        greedy = await engine.complete(ask(CHAT, max_tokens=6, temperature=0.0))
        written = greedy.completions[0].token_ids
        tokens = await engine.tokens()
        prompt = await tokens.encode(CHAT)
        begun = [written[:n] for n in range(len(written))]
        some = await asyncio.gather(*(engine.complete(asked(each, 20)) for each in begun))
        whole = [await engine.complete(asked(each)) for each in begun[:2]]
        texts = [await tokens.decode(each, prompt) for each in begun]
        return prompt, written, some, whole, texts

    prompt, written, some, whole, texts = run(vllm_server, act)
    rows = exact(vllm_server.folder, prompt, written)

    for n, (reply, row) in enumerate(zip(some, rows, strict=False)):
        told = reply.next_tokens
        assert list(told.logprobs) == pytest.approx([float(row[t]) for t in told.ids], abs=2e-3)
        assert told.ids[0] == written[n]
        assert list(told.ids[:20]) == sorted(
            told.ids[:20], key=lambda t: -told.logprobs[list(told.ids).index(t)]
        )
        assert set(told.ends) & set(told.ids)
        assert told.text == texts[n]
    for reply, row in zip(whole, rows, strict=False):
        told = reply.next_tokens
        assert list(told.ids) == list(range(len(row)))
        assert list(told.logprobs) == pytest.approx(row.tolist(), abs=2e-3)
        assert len(told.texts) == len(told.ids)
        assert [told.texts[t] for t in some[0].next_tokens.ids] == list(some[0].next_tokens.texts)
    assert [reply.usage.prompt_tokens for reply in some] == [
        len(prompt) + n for n in range(len(some))
    ]


def test_other_requests_at_once_change_nothing(vllm_server: Server) -> None:
    async def act(engine: Any) -> tuple[Reply, Reply]:
        alone = await engine.complete(asked((), 20))
        others = [
            engine.complete(ask("Tell me of the sea.", max_tokens=8, temperature=1.0, seed=n))
            for n in range(6)
        ]
        scored = engine.complete(
            Request(model=None, prompt="a", sampling=Sampling(), candidates=("b", "c"))
        )
        among, *_ = await asyncio.gather(engine.complete(asked((), 20)), *others, scored)
        return alone, among

    alone, among = run(vllm_server, act)

    one, other = alone.next_tokens, among.next_tokens
    assert one is not None
    assert other is not None
    assert list(one.ids) == list(other.ids)
    assert list(one.logprobs) == pytest.approx(list(other.logprobs), abs=1e-3)


def solved(server: Server, **settings: Any) -> Solution:
    model = Model(f"{server.url}/v1#{server.model}")
    value: Solution = motet.run(steer(CHAT, model=model, **settings), store=None).value
    return value


def test_one_token_to_choose_from_is_greedy(vllm_server: Server) -> None:
    """With one token beside the end, and the end refused until then, the text is the engine's."""

    async def act(engine: Any) -> str:
        reply = await engine.complete(ask(CHAT, max_tokens=8, temperature=0.0))
        text: str = reply.completions[0].text
        return text

    greedy = run(vllm_server, act)

    found = solved(
        vllm_server,
        top_k=1,
        potential=TextCondition(lambda text: text == greedy, greedy.startswith),
        algorithm=Steering(n=1, max_tokens=8),
    )

    assert found.text == greedy


def test_the_condition_holds_on_every_answer(vllm_server: Server) -> None:
    def is_lower(text: str) -> bool:
        return text == text.lower() and len(text) < 40

    found = solved(
        vllm_server,
        potential=TextCondition(is_lower, is_lower),
        algorithm=Steering(n=4, max_tokens=10),
        top_k=200,
    )

    assert found.candidates
    assert all(is_lower(each.text) for each in found.candidates)
    assert found.notes["log_z"] is not None
    assert found.notes["log_z"] < 0  # type: ignore[operator]


def test_a_server_of_the_ordinary_limit_is_told_of_its_flag(start_vllm: Any) -> None:
    """A server without motet's flags tells 20 tokens, and an error names what would tell more."""
    server = start_vllm(is_stock=True, more_flags=("--max-logprobs", "20"))

    async def act(engine: Any) -> Any:
        with pytest.raises(CapabilityError, match="--max-logprobs -1"):
            await engine.complete(asked((), 21))
        with pytest.raises(CapabilityError, match="the whole vocabulary"):
            await engine.complete(asked())
        return await engine.complete(asked((), 20))

    assert len(run(server, act).next_tokens.ids) in (20, 21)
