"""Paired rules: two prompts, one continuation."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from motet.decoding import PairedRule, adacad, cad, cfg, regex
from motet.engine import Constraint, Reply, Request, Usage
from motet.errors import ConfigError, PromptTooLongError, RequestRejectedError
from motet.serving.local import LocalEngine
from motet.types import Message
from tests.serving.local.conftest import Reference, request, until

WORDS = (
    "the river carried old stories past seven quiet towns while nobody was counting days".split()
)


def _ids(rng: random.Random, most: int) -> tuple[int, ...]:
    return tuple(rng.randrange(3, 259) for _ in range(rng.randint(1, most)))


def _pairs(count: int, most: int = 150) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    rng = random.Random(6)
    return [(_ids(rng, most), _ids(rng, most)) for _ in range(count)]


def _paired(prompt: Any, partner: Any, rule: PairedRule, **settings: Any) -> Request:
    more = settings.pop("more", None)
    rules = (rule,) if more is None else (rule, more)
    return replace(request(prompt, decoding=rules, **settings), partner=partner)


Mix = Callable[[Any, Any], Any]


def _with_gamma(gamma: float) -> Mix:
    def mix(p: Any, q: Any) -> Any:
        return q + gamma * (p - q)

    return mix


def _with_divergence(floor: float) -> Mix:
    def mix(p: Any, q: Any) -> Any:
        middle = ((p.exp() + q.exp()) / 2).log()
        alpha = float((p.exp() * (p - middle) + q.exp() * (q - middle)).sum() / 2)
        return p + max(alpha, floor) * (p - q)

    return mix


RULES: list[tuple[PairedRule, Mix]] = [
    (cfg(1.0), _with_gamma(1.0)),
    (cfg(1.5), _with_gamma(1.5)),
    (cfg(2.0), _with_gamma(2.0)),
    (cad(1.0), _with_gamma(2.0)),
    (adacad(), _with_divergence(0.0)),
]
MORE_RULES: list[tuple[PairedRule, Mix]] = [
    (cfg(0.0), _with_gamma(0.0)),
    (cad(0.5), _with_gamma(1.5)),
    (adacad(floor=2.0), _with_divergence(2.0)),
]


def _name(value: Any) -> str:
    return value.identity if isinstance(value, PairedRule) else ""


def _reference(
    reference: Reference, prompts: tuple[tuple[int, ...], tuple[int, ...]], mix: Mix, count: int
) -> tuple[int, ...]:
    """Two caches, one token for both in every step, in double precision where rows are mixed."""
    from transformers import DynamicCache

    network = reference.network
    ends = network.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    caches = [DynamicCache(config=network.config) for _ in prompts]
    fed: list[Any] = [torch.tensor([ids]) for ids in prompts]
    found: list[int] = []
    with torch.inference_mode():
        while len(found) < count and not (found and found[-1] in ends):
            p, q = (
                torch.log_softmax(network(ids, past_key_values=cache).logits[0, -1].double(), -1)
                for ids, cache in zip(fed, caches, strict=True)
            )
            found.append(int(mix(p, q).argmax()))
            fed = [torch.tensor([[found[-1]]])] * 2
    return tuple(found)


async def _among_others(
    engine: LocalEngine, asked: list[Request], others: list[Any]
) -> list[Reply]:
    """Ask all at once, every third a little later, among `others`."""
    async with asyncio.TaskGroup() as group:
        for i, prompt in enumerate(others):
            group.create_task(engine.complete(request(prompt, max_tokens=20, seed=i)))
        tasks = []
        for i, each in enumerate(asked):
            if i % 3 == 2:
                await asyncio.sleep(0.01)
            tasks.append(group.create_task(engine.complete(each)))
    return [task.result() for task in tasks]


@pytest.mark.parametrize(("rule", "mix"), [*RULES, *MORE_RULES], ids=_name)
def test_a_pair_equals_a_loop_over_two_caches(
    tiny: LocalEngine, tiny_reference: Reference, rule: PairedRule, mix: Mix
) -> None:
    pairs = _pairs(20)
    asked = [_paired(*pair, rule, max_tokens=4 + i) for i, pair in enumerate(pairs)]
    others = [ids for ids, _ in _pairs(36)[20:]]

    async def run() -> tuple[list[Reply], list[Reply]]:
        alone = [await tiny.complete(each) for each in asked]
        return alone, await _among_others(tiny, asked, others)

    alone, together = asyncio.run(run())

    expected = [_reference(tiny_reference, pair, mix, 4 + i) for i, pair in enumerate(pairs)]
    assert [r.completions[0].token_ids for r in alone] == expected
    assert [r.completions[0].token_ids for r in together] == expected


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("rule", "mix"), [RULES[1], RULES[4]], ids=_name)
def test_a_pair_on_smollm2_equals_a_loop_over_two_caches(
    smollm2: LocalEngine, smollm2_reference: Reference, rule: PairedRule, mix: Mix
) -> None:
    rng = random.Random(3)
    pairs = [
        (
            f"Note {i}. " + " ".join(rng.choices(WORDS, k=rng.choice([1, 3, 10, 30, 90]))),
            f"Page {i}: " + " ".join(rng.choices(WORDS, k=rng.choice([1, 3, 10, 30, 90]))),
        )
        for i in range(20)
    ]
    asked = [_paired(*pair, rule, max_tokens=6 + i % 7) for i, pair in enumerate(pairs)]
    others = [" ".join(rng.choices(WORDS, k=5 * i + 1)) for i in range(16)]

    async def run() -> tuple[list[Reply], list[Reply]]:
        alone = [await smollm2.complete(each) for each in asked]
        return alone, await _among_others(smollm2, asked, others)

    alone, together = asyncio.run(run())

    expected = []
    for i, pair in enumerate(pairs):
        ids: Any = tuple(tuple(smollm2_reference.tokenizer.encode(text)) for text in pair)
        expected.append(_reference(smollm2_reference, ids, mix, 6 + i % 7))
    assert [r.completions[0].token_ids for r in alone] == expected
    assert [r.completions[0].token_ids for r in together] == expected


@pytest.mark.parametrize("rule", [cfg(1.0), cad(0.0)], ids=lambda rule: rule.identity)
@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 1.0, "seed": 4}, {"repetition_penalty": 1.3, "frequency_penalty": 0.5}],
    ids=["greedy", "sampled", "penalised"],
)
def test_without_guidance_it_is_plain_decoding(
    tiny: LocalEngine, rule: PairedRule, settings: dict[str, Any]
) -> None:
    async def run() -> list[tuple[Any, Any]]:
        found = []
        for prompt, partner in _pairs(8):
            plain = await tiny.complete(request(prompt, **settings))
            paired = await tiny.complete(_paired(prompt, partner, rule, **settings))
            found.append((plain.completions, paired.completions))
        return found

    assert all(plain == paired for plain, paired in asyncio.run(run()))


def test_equal_prompts_are_plain_decoding(tiny: LocalEngine) -> None:
    async def run() -> list[tuple[Any, Any]]:
        found = []
        for prompt, _ in _pairs(5):
            plain = await tiny.complete(request(prompt))
            paired = await tiny.complete(_paired(prompt, prompt, cfg(3.0)))
            found.append((plain.completions, paired.completions))
        return found

    assert all(plain == paired for plain, paired in asyncio.run(run()))


def test_an_empty_partner_is_the_prompts_last_token(tiny: LocalEngine) -> None:
    async def run() -> tuple[Reply, Reply]:
        prompt = _pairs(1)[0][0]
        empty = await tiny.complete(_paired(prompt, (), cfg(2.0)))
        return empty, await tiny.complete(_paired(prompt, prompt[-1:], cfg(2.0)))

    empty, last = asyncio.run(run())

    assert empty.completions == last.completions
    assert empty.usage.prompt_tokens == last.usage.prompt_tokens


def test_a_partner_may_be_a_chat_or_a_text(tiny: LocalEngine) -> None:
    async def run() -> list[Reply]:
        chat = (Message.user("ab"),)
        text = "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n"
        return [await tiny.complete(_paired("xyz", p, cfg(2.0))) for p in (chat, text)]

    as_chat, as_text = asyncio.run(run())

    assert as_chat.completions == as_text.completions


def test_a_seeded_pair_does_not_depend_on_the_batch(tiny: LocalEngine) -> None:
    asked = [
        _paired(*pair, cfg(1.5), temperature=1.0, seed=i, n=1 + i % 3, top_p=0.9 if i % 2 else None)
        for i, pair in enumerate(_pairs(12, most=60))
    ]

    async def run() -> tuple[list[Reply], list[Reply]]:
        alone = [await tiny.complete(each) for each in asked]
        return alone, list(await asyncio.gather(*map(tiny.complete, asked)))

    alone, together = asyncio.run(run())

    assert [r.completions for r in alone] == [r.completions for r in together]
    assert len(alone[2].completions) == len({c.token_ids for c in alone[2].completions}) == 3


def test_streams_stop_texts_and_constraints_hold_for_pairs(tiny: LocalEngine) -> None:
    texts = ["", "", ""]

    def on_delta(index: int, text: str) -> None:
        texts[index] += text

    async def run() -> tuple[Reply, Reply]:
        free = _paired("abc", "de", cfg(1.5), n=3, temperature=1.0, seed=5, max_tokens=60)
        whole = await tiny.complete(free)
        stop = tuple(c.text[20:22] for c in whole.completions)
        cut = replace(free, sampling=free.sampling.updated({"stop": stop}))
        stopped = await tiny.complete(cut, on_delta)
        assert texts == [c.text for c in stopped.completions]
        for one, other in zip(whole.completions, stopped.completions, strict=True):
            assert other.stop_reason in stop
            assert one.text.startswith(other.text + (other.stop_reason or ""))
        both = replace(
            _paired("abc", "de", cfg(1.5), n=20, temperature=1.5, more=regex("[a-f]{3,6}")),
            constraint=Constraint("regex", "[d-z]+"),
        )
        return stopped, await tiny.complete(both)

    _, held = asyncio.run(run())

    assert all(3 <= len(c.text) <= 6 and set(c.text) <= set("def") for c in held.completions)


def test_both_prompts_and_both_rows_are_counted(tiny: LocalEngine) -> None:
    prompt, partner = tuple(range(10, 110)), tuple(range(200, 100, -2))
    asked = _paired(prompt, partner, cfg(1.5), n=3, temperature=1.0, max_tokens=5)

    async def run() -> tuple[Reply, int, Reply]:
        assert tiny.stats is not None
        before = tiny.stats.num_computed_tokens
        first = await tiny.complete(asked)
        return first, tiny.stats.num_computed_tokens - before, await tiny.complete(asked)

    first, computed, again = asyncio.run(run())

    generated = sum(len(c.token_ids) for c in first.completions)
    assert first.usage == Usage(150, 2 * generated, 0, 1)
    # The last token of a prompt is computed for each of three completions, in both rows.
    assert computed <= 150 + 2 * 2 + 2 * generated
    assert again.usage.cached_tokens == 96 + 48
    assert first.decoding == "cfg: in the step"


def test_a_cancelled_pair_leaves_with_both_rows(tiny: LocalEngine) -> None:
    async def run() -> int:
        stats = tiny.stats
        assert stats is not None
        asked = _paired("ab", "cd", cfg(1.5), n=2, max_tokens=400, temperature=1.0)
        call = asyncio.create_task(tiny.complete(asked))
        await until(lambda: stats.num_running == 4)
        steps = stats.num_steps
        call.cancel()
        await until(lambda: stats.num_running == 0)
        return stats.num_steps - steps

    assert asyncio.run(run()) <= 2


def test_pairs_take_turns_where_one_completion_fits(tiny_folder: Any) -> None:
    from motet.serving.local import connect

    engine = connect(f"local:{tiny_folder}", threads=1, max_batch=1, max_tokens_in_cache=40)

    async def run() -> list[Reply]:
        asked = [_paired(*pair, cfg(1.5), max_tokens=9) for pair in _pairs(5, most=100)]
        asked += [replace(asked[0], priority=-i) for i in range(3)]
        replies = await asyncio.gather(*map(engine.complete, asked))
        await engine.aclose()
        return list(replies)

    assert len(asyncio.run(asyncio.wait_for(run(), 60))) == 8


def test_a_shared_beginning_is_computed_once_for_both_rows(tiny: LocalEngine) -> None:
    shared = tuple(range(3, 203))

    async def run() -> int:
        assert tiny.stats is not None
        before = tiny.stats.num_computed_tokens
        await tiny.complete(_paired((*shared, 5, 6), (*shared, 9), cfg(1.5), max_tokens=1))
        return tiny.stats.num_computed_tokens - before

    assert asyncio.run(run()) <= 200 + 4


@pytest.mark.parametrize(("main", "partner"), [(160, 161), (161, 160), (160, 160), (1, 1)])
def test_one_prompt_may_begin_the_other(
    tiny: LocalEngine, tiny_reference: Reference, main: int, partner: int
) -> None:
    long = tuple(range(250, 80, -1))
    pair = long[:main], long[:partner]

    async def run() -> Reply:
        return await tiny.complete(_paired(*pair, cfg(2.0), n=2, max_tokens=6))

    reply = asyncio.run(asyncio.wait_for(run(), 30))

    expected = _reference(tiny_reference, pair, _with_gamma(2.0), 6)
    assert [c.token_ids for c in reply.completions] == [expected] * 2


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (request("ab", decoding=(cfg(1.5),)), ConfigError, "partner is None"),
        (replace(request("ab"), partner="cd"), ConfigError, "partner"),
        (_paired("ab", "cd", cfg(1.5), more=cad(0.5)), ConfigError, "one of them"),
        (_paired("ab", (4,) * 600, cfg(1.5)), PromptTooLongError, "600"),
        (_paired("ab", (4, 999), cfg(1.5)), RequestRejectedError, "999"),
    ],
)
def test_a_wrong_pair_is_refused(
    tiny: LocalEngine, asked: Request, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        asyncio.run(tiny.complete(asked))


def test_the_divergence_is_in_nats() -> None:
    """The loop that the engine is compared with gives the number that is published for it."""
    p = torch.log_softmax(torch.tensor([2.0, 1.0, 0.0]).double(), 0)
    q = torch.log_softmax(torch.ones(3).double(), 0)

    found = torch.softmax(_with_divergence(0.0)(p, q), 0).tolist()

    assert found == pytest.approx([0.684271, 0.235013, 0.080716], abs=1e-6)
    assert math.isclose(sum(found), 1.0)
