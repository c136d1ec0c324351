"""Next tokens: the distribution behind a prompt and the ids that are written of its answer."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import replace
from typing import Any

import pytest

from motet.engine import Reply, Request, Sampling
from motet.errors import ConfigError, PromptTooLongError, RequestRejectedError
from motet.next_tokens import NextTokens
from motet.serving.local import LocalEngine
from motet.types import Message
from tests.serving.local.conftest import Reference, request

END = 2


def asked(prompt: Any, written: tuple[int, ...] = (), k: int = -1, **settings: Any) -> Request:
    made = Request(model=None, prompt=prompt, sampling=Sampling(), next_tokens=k, written=written)
    return replace(made, **settings)


def told(engine: LocalEngine, *requests: Request) -> list[NextTokens]:
    async def run() -> list[Reply]:
        return await asyncio.gather(*map(engine.complete, requests))

    found = [reply.next_tokens for reply in asyncio.run(run())]
    assert all(each is not None for each in found)
    return found  # type: ignore[return-value]


def ids(rng: random.Random, count: int) -> tuple[int, ...]:
    return tuple(rng.randrange(3, 259) for _ in range(count))


def test_the_distribution_is_that_of_a_full_recompute_alone_and_among_others(
    tiny: LocalEngine, tiny_reference: Reference
) -> None:
    rng = random.Random(4)
    shared = ids(rng, 40)
    pairs = [(ids(rng, n), ids(rng, m)) for n in (1, 17, 300) for m in (0, 1, 30)]
    pairs += [(shared, ids(rng, m)) for m in (0, 1, 2, 30)]
    requests = [asked(*pair) for pair in pairs]

    alone = [told(tiny, each)[0] for each in requests]
    together = told(tiny, *requests)

    for (prompt, written), one, other in zip(pairs, alone, together, strict=True):
        exact = tiny_reference.logprobs(prompt, (*written, 5))[-1].tolist()
        assert list(one.ids) == list(range(len(exact)))
        assert list(one.logprobs) == pytest.approx(exact, abs=1e-4)
        assert list(other.logprobs) == pytest.approx(exact, abs=1e-4)
        assert math.fsum(map(math.exp, one.logprobs)) == pytest.approx(1, abs=1e-5)


def test_k_tokens_are_the_best_of_the_whole_and_an_end(tiny: LocalEngine) -> None:
    prompt = ids(random.Random(1), 12)
    whole, one, some, all_of_them = told(
        tiny, asked(prompt), *(asked(prompt, k=k) for k in (1, 20, 100_000))
    )

    ranked = sorted(whole.ids, key=lambda token: (-whole.logprobs[token], token))
    assert END not in ranked[:20]
    assert list(one.ids) == [ranked[0], END]
    assert list(some.ids) == [*ranked[:20], END]
    assert list(all_of_them.ids) == ranked
    assert [whole.logprobs[each] for each in some.ids] == list(some.logprobs)
    assert some.ends == (END,)


def test_texts_are_those_of_the_tokens_and_of_what_is_written(tiny: LocalEngine) -> None:
    word = "né"
    written = tuple(asyncio.run(tiny._parts()).prompts.encode_part("text", word))
    half = written[:2]
    prompt = (Message.user("a"),)

    found, begun, bare = told(
        tiny,
        asked(prompt, written),
        asked(prompt, half, k=5),
        asked(prompt, written, k=5, are_texts_wanted=False),
    )

    assert found.text == word
    assert found.texts[written[0]] == "n"
    assert found.texts[written[1]] == "\ufffd"
    assert found.texts[END] == ""
    assert begun.text == "n\ufffd"
    assert len(begun.texts) == len(begun.ids)
    assert (bare.texts, bare.text) == ((), word)


def test_what_is_written_is_computed_behind_the_prompt_that_is_there(tiny: LocalEngine) -> None:
    prompt = ids(random.Random(2), 64)

    async def run() -> tuple[Reply, Reply]:
        first = await tiny.complete(asked(prompt))
        return first, await tiny.complete(asked(prompt, (7, 8)))

    first, second = asyncio.run(run())

    assert (first.usage.prompt_tokens, second.usage.prompt_tokens) == (64, 66)
    assert second.usage.cached_tokens >= 48
    assert second.usage.completion_tokens == 0


def test_settings_that_do_not_go_with_next_tokens_are_refused(tiny: LocalEngine) -> None:
    cases: list[tuple[Request, type[Exception], str]] = [
        (asked((5,), k=0), ConfigError, "next_tokens is 0"),
        (asked((5,), n=2), ConfigError, "does not go with n"),
        (asked((5,), candidates=("a",)), ConfigError, "does not go with candidates"),
        (asked((5,), sampling=Sampling(extra={"a": 1})), ConfigError, "extra has 'a'"),
        (replace(request((5,)), written=(1,)), ConfigError, "written is"),
        (asked((5,), (10**6,)), RequestRejectedError, "written token 1000000"),
        (asked((5,) * 500, (6,) * 12), PromptTooLongError, "512 tokens"),
    ]
    for wrong, error, message in cases:
        with pytest.raises(error, match=message):
            asyncio.run(tiny.complete(wrong))


@pytest.mark.model
def test_a_small_model_tells_what_transformers_computes(
    smollm2: LocalEngine, smollm2_reference: Reference
) -> None:
    chat = (Message.user("Name a colour."),)
    parts = asyncio.run(smollm2._parts())
    prompt = parts.prompts.encode(chat)
    greedy = asyncio.run(smollm2.complete(request(chat, max_tokens=12))).completions[0]
    written = greedy.token_ids

    found = told(smollm2, *(asked(chat, written[:n], 20) for n in range(len(written))))

    for n, each in enumerate(found):
        exact = smollm2_reference.logprobs(prompt, (*written[:n], 0))[-1]
        assert [float(exact[token]) for token in each.ids] == pytest.approx(
            list(each.logprobs), abs=1e-4
        )
        assert each.ids[0] == written[n] == int(exact.argmax())
        assert each.texts[0] == parts.model.decode([written[n]])
