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


def test_a_server_with_layers_carries_dola_out_by_row(start_vllm: Any, smollm2: Any) -> None:
    """Its tokens are the reference's, plain requests beside it stay plain, other layers are 400."""
    server = start_vllm(has_layers=True)
    reference = DolaReference(smollm2)

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
    expected = [reference.greedy(p, MAX_TOKENS, chosen) for p in PROMPTS for chosen in (layers, ())]
    assert [list(r.completions[0].token_ids) for r in replies] == expected
    assert replies[0].decoding == "dola: processor, V1 runner"
