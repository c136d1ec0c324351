"""DoLa on a real server that keeps hidden states of its layers, by HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from motet.decoding import dola
from motet.errors import RequestRejectedError
from tests.serving.vllm.http import ask, run
from tests.serving.vllm.layer_reference import DolaReference

pytestmark = pytest.mark.vllm

PROMPTS = ("The capital of France is", "Once upon a time there was a")
MAX_TOKENS = 12


def test_a_server_with_layers_carries_dola_out_by_row(
    start_vllm: Any, dola_reference: DolaReference
) -> None:
    """Its tokens are the reference's, plain requests beside it stay plain, other layers are 400."""
    server = start_vllm(has_layers=True)
    reference = dola_reference

    async def act(engine: Any) -> Any:
        kinds = dict(engine.decoding_rules)
        asked = [
            ask(tuple(reference.tokenizer(p)["input_ids"]), max_tokens=MAX_TOKENS, **settings)
            for p in PROMPTS
            for settings in ({"decoding": dola("high")}, {})
        ]
        replies = await asyncio.gather(*(engine.complete(each) for each in asked))
        with pytest.raises(RequestRejectedError, match="layers"):
            await engine.complete(ask("x", decoding=dola([1])))
        return kinds, replies

    kinds, replies = run(server, act)

    assert kinds["dola"] == "processor, V1 runner"
    # The even layers of the upper half of 30.
    layers = range(16, 30, 2)
    found = [list(reply.completions[0].token_ids) for reply in replies]
    kinds_of_prompts = [(prompt, chosen) for prompt in PROMPTS for chosen in (layers, ())]
    expected = [
        reference.greedy(prompt, MAX_TOKENS, chosen, guess=guess)
        for (prompt, chosen), guess in zip(kinds_of_prompts, found, strict=True)
    ]
    assert found == expected
    assert replies[0].decoding == "dola: processor, V1 runner"
