"""Contrast of layers: equal to a loop over the network's own hidden states."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from motet.decoding import Dola, cfg, dola, regex
from motet.engine import Reply
from motet.errors import ConfigError
from motet.serving.local import LocalEngine
from motet.serving.local.model import LoadedModel
from tests.serving.local.conftest import Reference, request

WORDS = (
    "the river carried old stories past seven quiet towns while nobody was counting days".split()
)


def _contrasted(mature: Any, early: list[Any], rule: Dola) -> Any:
    """One step in double precision, by the definition."""
    p = torch.softmax(mature.double(), -1)
    best, base = -1.0, p
    for logits in early:
        q = torch.softmax(logits.double(), -1)
        m = (p + q) / 2
        if rule.divergence == "jsd":
            distance = float((p * (p / m).log() + q * (q / m).log()).sum() / 2)
        else:
            distance = float((m * (m / p).log() + m * (m / q).log()).sum() / 2)
        if distance > best:
            best, base = distance, q
    return torch.where(p >= rule.relative_top * p.max(), (p / base).log(), -torch.inf)


def _reference(
    reference: Reference, prompt: tuple[int, ...], layers: list[int], rule: Dola, count: int
) -> tuple[int, ...]:
    """Recompute everything for each token."""
    network = reference.network
    ends = network.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    found: list[int] = []
    with torch.inference_mode():
        while len(found) < count and not (found and found[-1] in ends):
            out = network(torch.tensor([[*prompt, *found]]), output_hidden_states=True)
            early = [network.lm_head(out.hidden_states[n][0, -1]) for n in layers]
            found.append(int(_contrasted(out.logits[0, -1], early, rule).argmax()))
    return tuple(found)


@pytest.mark.parametrize(
    ("rule", "layers"),
    [
        (dola([0, 1]), [0, 1]),
        (dola("low", relative_top=0.0), [0]),
        (dola([1, 0], divergence="reference", relative_top=0.02), [1, 0]),
    ],
    ids=lambda value: value.identity if isinstance(value, Dola) else "",
)
def test_it_equals_a_loop_over_hidden_states_among_other_requests(
    tiny: LocalEngine, tiny_reference: Reference, rule: Dola, layers: list[int]
) -> None:
    rng = random.Random(2)
    prompts = [tuple(rng.randrange(3, 259) for _ in range(rng.randint(1, 150))) for _ in range(10)]

    async def run() -> list[Reply]:
        asked = [request(prompt, decoding=(rule,)) for prompt in prompts]
        others = [request(prompt[::-1], max_tokens=20) for prompt in prompts]
        replies = await asyncio.gather(*map(tiny.complete, [*asked, *others]))
        for each, reply in zip(others, replies[10:], strict=True):
            assert not isinstance(each.prompt, str)
            expected = tiny_reference.greedy(tuple(each.prompt), 20)  # type: ignore[arg-type]
            assert reply.completions[0].token_ids == expected
        return replies[:10]

    for prompt, reply in zip(prompts, asyncio.run(run()), strict=True):
        expected = _reference(tiny_reference, prompt, layers, rule, 16)
        assert reply.completions[0].token_ids == expected


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "layers"),
    [(dola(), list(range(16, 30, 2))), (dola("low"), [2, 4, 6, 8, 10, 12, 14])],
    ids=["high", "low"],
)
def test_on_smollm2_it_equals_a_loop_over_hidden_states(
    smollm2: LocalEngine, smollm2_reference: Reference, rule: Dola, layers: list[int]
) -> None:
    rng = random.Random(5)
    prompts = [f"Note {i}. " + " ".join(rng.choices(WORDS, k=3 + 9 * i)) for i in range(6)]

    async def run() -> list[Reply]:
        asked = [request(prompt, decoding=(rule,), max_tokens=12) for prompt in prompts]
        others = [request(prompt[5:], max_tokens=12) for prompt in prompts]
        return list(await asyncio.gather(*map(smollm2.complete, [*asked, *others])))[:6]

    for prompt, reply in zip(prompts, asyncio.run(run()), strict=True):
        ids = tuple(smollm2_reference.tokenizer.encode(prompt))
        expected = _reference(smollm2_reference, ids, layers, rule, 12)
        assert reply.completions[0].token_ids == expected


def test_a_constraint_that_forbids_all_that_is_kept_takes_the_last_layers_choice(
    tiny: LocalEngine,
) -> None:
    """With relative_top 1 only the likeliest token is kept, which is no digit."""
    digits = regex("[0-9]{8}")

    async def run() -> list[Reply]:
        both = dola([0, 1], relative_top=1.0), digits
        return [await tiny.complete(request("abc", decoding=rules)) for rules in (both, (digits,))]

    contrasted, plain = asyncio.run(run())

    assert contrasted.completions == plain.completions
    assert contrasted.decoding == "dola: in the step; constraint: in the step"


def test_it_holds_together_with_a_pair(tiny: LocalEngine, tiny_reference: Reference) -> None:
    """With relative_top 1 the contrast leaves what the mixture of the prompts likes best."""

    async def run() -> list[Reply]:
        guided = replace(request("abc", decoding=(cfg(2.0),)), partner="xy")
        rules = (dola([0, 1], relative_top=1.0), cfg(2.0))
        both = replace(guided, sampling=guided.sampling.updated({"decoding": rules}))
        return [await tiny.complete(guided), await tiny.complete(both)]

    guided, both = asyncio.run(run())

    assert guided.completions == both.completions


def test_nothing_is_collected_where_nobody_asks(
    tiny: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    early = LoadedModel._early

    def counted(self: LoadedModel, chunks: Any, plan: Any, hidden: Any) -> Any:
        asked.append(sum(bool(chunk.layers) for chunk in chunks))
        return early(self, chunks, plan, hidden)

    monkeypatch.setattr(LoadedModel, "_early", counted)

    asyncio.run(tiny.complete(request("abc", max_tokens=3)))
    assert asked == []
    # A prompt of several chunks needs the layers after its last token only.
    asyncio.run(tiny.complete(request((5,) * 400, max_tokens=3, decoding=(dola([0, 1]),))))
    assert len(asked) == 3


@pytest.mark.parametrize("layers", [[2], [0, 7], "high"])
def test_layers_that_the_model_lacks_are_refused(tiny: LocalEngine, layers: Any) -> None:
    """The upper half of two layers is layer 1, which is odd."""
    with pytest.raises(ConfigError, match="layers"):
        asyncio.run(tiny.complete(request("abc", decoding=(dola(layers),))))
