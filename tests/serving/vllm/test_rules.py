"""Decoding rules on a real vLLM server, as a program states them."""

from __future__ import annotations

import asyncio
import json
import math
import re
from typing import Any

import pytest

import motet
from motet import Completion, Message, Model, prompt
from motet.decoding import (
    adacad,
    cfg,
    choice,
    grammar,
    json_schema,
    length,
    regex,
    stops_at,
    stops_before,
    trie,
    weighted,
)
from motet.engine import Request
from tests.serving.decoding.reference import PairedReference
from tests.serving.vllm.http import ask, run
from tests.serving.vllm.pair_prompts import pair_prompts

pytestmark = pytest.mark.vllm

SAMPLES = 500
MAX_TOKENS = 20


@prompt(system="You are a pirate.", user="{{ context }} {{ question }}", keep_cut_off=True)
def say(question: str, context: str = "") -> str:
    raise NotImplementedError


@prompt(user="{{ question }}")
def complete(question: str) -> Completion:
    raise NotImplementedError


def unrelated(count: int) -> list[Request]:
    return [
        ask(f"Tell me a long story about the number {i}.", max_tokens=60, temperature=1.0, seed=i)
        for i in range(count)
    ]


def token_ids(server: Any, requests: list[Request], others: list[Request]) -> list[list[int]]:
    async def act(engine: Any) -> list[list[int]]:
        beside = [asyncio.create_task(engine.complete(each)) for each in others]
        found = await asyncio.gather(*(engine.complete(each) for each in requests))
        await asyncio.gather(*beside)
        return [list(reply.completions[0].token_ids) for reply in found]

    return run(server, act)


@pytest.mark.parametrize(
    ("rule", "strength"),
    [
        (cfg(1.5), 1.5),
        (adacad(floor=0.0, negative="x"), 0.0),
    ],
    ids=lambda value: value.identity if hasattr(value, "identity") else "",
)
@pytest.mark.parametrize("num_others", [0, 16])
def test_two_prompts_give_the_tokens_of_the_formula(
    vllm_server: Any,
    paired_reference: PairedReference,
    rule: Any,
    strength: float,
    num_others: int,
) -> None:
    pairs = pair_prompts(paired_reference.tokenizer)
    pairs = pairs if num_others else pairs[::3]
    requests = [
        ask(tuple(main), partner=tuple(partner), max_tokens=MAX_TOKENS, decoding=rule)
        for main, partner in pairs
    ]
    found = token_ids(vllm_server, requests, unrelated(num_others))
    expected = [
        paired_reference.greedy(main, partner, rule.kind, strength, MAX_TOKENS, guess=guess)
        for (main, partner), guess in zip(pairs, found, strict=True)
    ]
    assert found == expected


def test_gamma_one_is_plain_decoding(vllm_server: Any) -> None:
    prompts = ["Name three fruits.", "Why is the sky blue?", "Describe the sea."]
    plain = token_ids(vllm_server, [ask(p, max_tokens=24) for p in prompts], [])
    guided = token_ids(
        vllm_server,
        [ask(p, max_tokens=24, decoding=cfg(1.0), partner=(1, 2, 3)) for p in prompts],
        [],
    )
    assert guided == plain


def test_seeded_guidance_is_reproducible_and_samples_differ(vllm_server: Any) -> None:
    request = ask(
        "Tell me a story.",
        max_tokens=24,
        temperature=1.0,
        seed=7,
        n=3,
        decoding=cfg(1.5),
        partner=(Message.user("Be dull."),),
    )

    async def act(engine: Any) -> list[list[str]]:
        beside = [asyncio.create_task(engine.complete(each)) for each in unrelated(6)]
        again = [[c.text for c in (await engine.complete(request)).completions] for _ in range(2)]
        await asyncio.gather(*beside)
        return again

    first, second = run(vllm_server, act)
    assert first == second
    assert len(set(first)) == 3


def test_a_program_states_a_rule_and_its_record_says_who_carried_it_out(
    vllm_server: Any, tmp_path: Any
) -> None:
    model = Model(f"{vllm_server.url}/v1")
    bound = say.on(
        model,
        max_tokens=16,
        temperature=0.0,
        decoding=cfg(gamma=2.0, negative="You are a bore.") & stops_before("\n"),
    )
    assert motet.plan(bound("Who are you?")).problems == ()
    store = str(tmp_path / "runs.db")
    result = motet.run(bound("Who are you?"), store=store)
    assert isinstance(result.value, str)
    assert "\n" not in result.value
    again = motet.run(bound("Who are you?"), store=store)
    assert again.value == result.value
    assert again.usage.tokens == 0


def test_streamed_guidance_is_the_text_of_the_reply(vllm_server: Any) -> None:
    request = ask(
        "Describe the sea.",
        max_tokens=40,
        decoding=cfg(1.5) & stops_at("."),
        partner=(Message.user("Be dull."),),
    )

    async def act(engine: Any) -> tuple[Any, list[str]]:
        pieces: list[str] = []
        reply = await engine.complete(request, lambda _, text: pieces.append(text))
        return reply, pieces

    reply, pieces = run(vllm_server, act)
    assert reply.completions[0].text == "".join(pieces)
    assert reply.completions[0].text.endswith(".")
    assert len(pieces) > 3
    assert reply.decoding.startswith("cfg & stop: processor, V1 runner")


# ---- constraints ---------------------------------------------------------------------------------

DIGITS = re.compile(r"[a-z]{2,5}-[0-9]{1,3}")
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["age"],
    "additionalProperties": False,
}
COLOURS = ["red", "green", "blue", "dark red"]
TOOLS = ["search_web", "search_files", "open", "open_file"]


def is_schema(text: str) -> bool:
    found = json.loads(text)
    return set(found) == {"age"} and isinstance(found["age"], int)


CONSTRAINTS: dict[str, tuple[Any, Any]] = {
    "regex": (regex(DIGITS.pattern), lambda c: DIGITS.fullmatch(c.text)),
    "json": (json_schema(SCHEMA), lambda c: is_schema(c.text)),
    "choice": (choice(COLOURS), lambda c: c.text in COLOURS),
    "grammar": (
        grammar('start: "(" ("a" | "b")+ ")"'),
        lambda c: re.fullmatch(r"\([ab]+\)", c.text),
    ),
    "trie": (trie(TOOLS), lambda c: c.text in TOOLS),
    "length": (
        length(min_tokens=3, max_tokens=8),
        lambda c: 3 <= len([t for t in c.token_ids if t != 2]) <= 8,
    ),
    "weighted": (weighted(trie(TOOLS)), lambda c: c.text in TOOLS and c.log_weight < 0),
    "guided": (cfg(1.5) & regex(DIGITS.pattern), lambda c: DIGITS.fullmatch(c.text)),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_constraint_holds_on_hundreds_of_wild_samples(vllm_server: Any, name: str) -> None:
    rule, is_kept = CONSTRAINTS[name]

    bound = complete.on(
        Model(f"{vllm_server.url}/v1"), temperature=1.5, max_tokens=64, decoding=rule
    )
    # Rules that choose the token themselves take a request and more for each sample.
    samples = SAMPLES // 5 if name in ("weighted", "guided") else SAMPLES
    asked = [bound.samples(20)(f"Number {i}: say something.") for i in range(samples // 20)]
    rows: Any = motet.run(motet.settled(asked), store=None).value
    found = [completion for row in rows for completion in row.value]
    # A grammar that ran into max_tokens is cut off, and is no whole text.
    whole = [c for c in found if c.finish_reason == "stop"]
    assert len(whole) >= samples * 0.9
    assert all(is_kept(c) for c in whole)


def test_weights_estimate_how_likely_the_model_keeps_the_rule(
    vllm_server: Any,
) -> None:
    """The mean of the weights is the probability of the tools, which scoring gives exactly."""

    async def act(engine: Any) -> tuple[list[float], float]:
        question = ask("Say: open", temperature=1.0)
        scored = await engine.complete(
            Request(
                model=None,
                prompt=question.prompt,
                sampling=question.sampling,
                candidates=tuple(f"{tool}<|im_end|>" for tool in TOOLS),
            )
        )
        total = sum(math.exp(sum(t.logprob for t in c.logprobs)) for c in scored.completions)
        request = ask(
            "Say: open",
            temperature=1.0,
            seed=1,
            max_tokens=32,
            n=200,
            decoding=weighted(trie(TOOLS)),
        )
        reply = await engine.complete(request)
        return [math.exp(c.log_weight) for c in reply.completions], total

    weights, total = run(vllm_server, act)
    mean = sum(weights) / len(weights)
    variance = sum((w - mean) ** 2 for w in weights) / (len(weights) - 1)
    assert abs(mean - total) <= 3 * math.sqrt(variance / len(weights)) + 1e-9
