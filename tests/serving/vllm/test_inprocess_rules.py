"""Decoding rules on vLLM in this process; what they compute is tested where they are written."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from motet.decoding import cfg, choice, length, regex, stops_at, trie, weighted
from motet.engine import Reply, Request
from motet.errors import ConfigError, PromptTooLongError, RequestRejectedError
from motet.serving.decoding import wire
from motet.serving.decoding.token_engine import TokenReply, TokenRequest
from motet.serving.vllm.engine import VllmEngine, connect
from motet.serving.vllm.inprocess import textless_ids
from motet.serving.vllm.token_api import TokenApi
from tests.serving.decoding import tokenizers_made
from tests.serving.vllm.test_inprocess import COUNT, FRANCE, URL, request

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def engine() -> VllmEngine:
    pytest.importorskip("vllm")
    return connect(URL)


def ruled(prompt: Any, *rules: Any, partner: Any = None, **settings: Any) -> Request:
    return replace(request(prompt, decoding=rules, **settings), partner=partner)


def ask(engine: VllmEngine, asked: Request) -> Reply:
    return asyncio.run(engine.complete(asked))


def test_the_probe_tells_the_runner_and_what_it_carries_out(engine: VllmEngine) -> None:
    asyncio.run(engine.prepare())

    rules = engine.decoding_rules

    assert rules["constraint"] == "structured outputs"
    assert rules["stop"] == "stop strings"
    for kind in ("cfg", "cad", "adacad", "trie", "length", "weighted"):
        assert rules[kind] == "processor, V1 runner"


def test_guidance_of_one_is_plain_decoding(engine: VllmEngine) -> None:
    plain = ask(engine, request(COUNT))

    guided = ask(engine, ruled(COUNT, cfg(gamma=1.0), partner=()))

    assert guided.completions[0].text == plain.completions[0].text
    assert guided.decoding.startswith("cfg: processor, V1 runner")
    assert guided.model == "smollm2"


def test_guidance_changes_the_text_and_streams_it(engine: VllmEngine) -> None:
    told: list[str] = []
    asked = ruled(COUNT, cfg(gamma=3.0, negative="Be short."), partner=(5, 6, 7), max_tokens=24)

    async def run() -> Reply:
        return await engine.complete(asked, lambda _, text: told.append(text))

    reply = asyncio.run(run())

    assert (
        reply.completions[0].text != ask(engine, request(COUNT, max_tokens=24)).completions[0].text
    )
    assert "".join(told) == reply.completions[0].text


def test_a_trie_allows_its_members_only(engine: VllmEngine) -> None:
    members = (" blue", " blueish", " red")

    reply = ask(engine, ruled(FRANCE, trie(members), n=6, temperature=1.5, seed=1))

    assert {c.text for c in reply.completions} <= set(members)


def test_a_weighted_choice_has_weights(engine: VllmEngine) -> None:
    reply = ask(engine, ruled(FRANCE, weighted(choice([" Paris", " Lyon"])), n=2, temperature=1.0))

    assert all(c.log_weight is not None and c.log_weight < 0 for c in reply.completions)


def test_rules_that_vllm_has_itself_go_to_it(engine: VllmEngine) -> None:
    reply = ask(
        engine, ruled(COUNT, regex(r"[A-Z][a-z]+! [A-Z][a-z]+"), stops_at("!"), max_tokens=60)
    )

    assert reply.completions[0].text.endswith("!")
    assert reply.completions[0].stop_reason == "!"


def test_a_length_ends_the_text_as_the_model_would(engine: VllmEngine) -> None:
    reply = ask(engine, ruled(COUNT, length(min_tokens=2, max_tokens=5), max_tokens=60))

    assert reply.completions[0].finish_reason == "stop"
    assert reply.usage.completion_tokens <= 6


CONTEXT = 2048
LONG = (504,) * (CONTEXT - 10)
"""A prompt that leaves room for ten tokens."""


@pytest.mark.parametrize("longer", ["main", "partner"])
def test_a_pair_that_fills_the_context_keeps_what_there_is(engine: VllmEngine, longer: str) -> None:
    prompts = (LONG, (5, 6, 7)) if longer == "main" else ((5, 6, 7), LONG)
    rules = (cfg(gamma=1.1), length(min_tokens=50))

    reply = ask(engine, ruled(prompts[0], *rules, partner=prompts[1], max_tokens=5000))

    [found] = reply.completions
    assert (len(found.token_ids), found.finish_reason) == (10, "length")
    assert found.text


def test_a_weighted_completion_that_fills_the_context_has_its_weight(engine: VllmEngine) -> None:
    reply = ask(engine, ruled(LONG, weighted(regex("[a-z ]{400}")), max_tokens=5000))

    [found] = reply.completions
    assert (len(found.token_ids), found.finish_reason) == (10 - wire.WEIGHT_TOKENS, "length")
    assert found.log_weight is not None


@pytest.mark.parametrize(
    ("rule", "partner"), [(cfg(gamma=1.1), (5, 6)), (weighted(regex("a")), None)]
)
def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(
    engine: VllmEngine, rule: Any, partner: Any
) -> None:
    with pytest.raises(PromptTooLongError) as caught:
        ask(engine, ruled((*LONG, *LONG), rule, partner=partner))

    assert (caught.value.prompt_tokens, caught.value.max_tokens) == (2 * len(LONG), CONTEXT)


@pytest.mark.parametrize(
    ("rule", "extra"),
    [
        (cfg(gamma=1.1), {"stop_token_ids": [5]}),
        (weighted(regex("a")), {"ignore_eos": False}),
        (length(max_tokens=3), {"vllm_xargs": {wire.FIELD: "other"}}),
    ],
)
def test_extra_fields_never_replace_what_motet_writes(
    engine: VllmEngine, rule: Any, extra: Any
) -> None:
    name = wire.FIELD if "vllm_xargs" in extra else next(iter(extra))
    with pytest.raises(ConfigError, match=name):
        ask(engine, ruled(FRANCE, rule, partner=(5, 6), extra=extra))


def test_text_behind_a_prompt_keeps_its_first_space() -> None:
    made = tokenizers_made.sentencepiece_like()
    live: Any = SimpleNamespace(tokenizer=SimpleNamespace(backend_tokenizer=made))
    api = TokenApi(SimpleNamespace(), live)  # type: ignore[arg-type]
    prompt, answer = tuple(made.encode("a b").ids), tuple(made.encode("c d").ids)

    assert asyncio.run(api.decode(answer, after=prompt)) == " c d"
    assert asyncio.run(api.decode(answer)) == "c d"


def test_ids_that_no_token_has_serve_beside_special_ones() -> None:
    made = tokenizers_made.byte_level()
    size = made.get_vocab_size()
    tokenizer = SimpleNamespace(backend_tokenizer=made, all_special_ids=[0, 1])

    assert textless_ids(tokenizer, size) == {0, 1}
    assert textless_ids(tokenizer, size + 1) == {0, 1, size}
    assert textless_ids(tokenizer, size + 64) == {0, 1, size + 62, size + 63}


def tokens(engine: VllmEngine, **fields: Any) -> TokenReply:
    async def run() -> TokenReply:
        api = TokenApi(engine, await engine._live())
        ids = await api.encode(FRANCE)
        sampling = request(FRANCE, **fields.pop("settings", {})).sampling
        return await api.generate(TokenRequest(prompt_ids=ids, sampling=sampling, **fields))

    return asyncio.run(run())


def test_the_whole_distribution_comes_with_the_first_token(engine: VllmEngine) -> None:
    import math

    reply = tokens(engine, is_distribution_wanted=True, settings={"max_tokens": 1, "logprobs": 2})

    assert math.fsum(math.exp(p) for p in reply.distribution.values()) == pytest.approx(1, abs=1e-3)
    assert max(reply.distribution, key=reply.distribution.__getitem__) == reply.token_ids[0]
    assert len(reply.logprobs[0].top) == 2


def test_a_stop_token_ends_it_and_is_told(engine: VllmEngine) -> None:
    first = tokens(engine).token_ids

    reply = tokens(engine, stop_token_ids=(first[1],))

    assert reply.token_ids == first[:2]
    assert (reply.finish_reason, reply.stop_reason) == ("stop", first[1])


def test_tokens_stream_with_their_text(engine: VllmEngine) -> None:
    told: list[tuple[tuple[int, ...], str]] = []

    async def run() -> TokenReply:
        api = TokenApi(engine, await engine._live())
        asked = TokenRequest(prompt_ids=await api.encode(COUNT), sampling=request("").sampling)
        return await api.generate(asked, lambda ids, text: told.append((ids, text)))

    reply = asyncio.run(run())

    assert tuple(token for ids, _ in told for token in ids) == reply.token_ids
    assert "".join(text for _, text in told) == reply.text


def test_ids_and_texts_go_back_and_forth(engine: VllmEngine) -> None:
    async def run() -> tuple[str, tuple[int, ...], tuple[int, ...]]:
        api = TokenApi(engine, await engine._live())
        ids = await api.encode_bare(" Paris, <|im_end|>")
        return await api.decode((*ids, *api.eos_ids)), ids, await api.encode_bare("")

    text, ids, none = asyncio.run(run())

    assert text == " Paris, <|im_end|>"
    assert len(ids) > 3
    assert none == ()


def test_rules_that_the_processor_refuses_are_a_rejected_request(engine: VllmEngine) -> None:
    wrong = wire.write(rules=[{"rule": "cfg", "gamma": -1.0}], pair=("p", "main"), sync=0)

    with pytest.raises(RequestRejectedError):
        tokens(engine, wire=wrong)
