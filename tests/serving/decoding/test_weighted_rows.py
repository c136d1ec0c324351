"""The client of weighted rows: the weight behind the text, and the token that ends the row."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from motet.decoding import trie, weighted
from motet.engine import Completion, Request, Sampling, Usage
from motet.errors import ConfigError, PromptTooLongError
from motet.serving.decoding.rule_client import complete
from motet.serving.decoding.token_engine import OnTokens, TokenReply, TokenRequest
from motet.serving.decoding.weights import write_end
from motet.serving.decoding.wire import WEIGHT_TOKENS
from motet.types import Chat
from tests.serving.decoding.tokenizers_made import sentencepiece_like

pytest.importorskip("tokenizers")

TOKENIZER = sentencepiece_like()
BOS, EOS = 1, 2


class WeighingEngine:
    """Generates `answer` with a weight of -0.5, as motet's processor writes it."""

    runner = "V1"
    eos_ids = frozenset({EOS})

    def __init__(
        self,
        answer: tuple[int, ...] = (),
        *,
        special_ids: tuple[int, ...] = (BOS, EOS),
        context: int | None = None,
    ) -> None:
        self._answer = answer
        self.special_ids = frozenset(special_ids)
        self.context_tokens = context
        self.asked: list[TokenRequest] = []

    async def encode(self, prompt: Chat | str | tuple[int, ...]) -> tuple[int, ...]:
        assert isinstance(prompt, str)
        return tuple(TOKENIZER.encode(prompt).ids)

    async def encode_bare(self, text: str) -> tuple[int, ...]:
        return tuple(TOKENIZER.encode(text).ids)

    async def decode(self, token_ids: tuple[int, ...], after: tuple[int, ...] = ()) -> str:
        whole: str = TOKENIZER.decode([*after, *token_ids])
        return whole.removeprefix(TOKENIZER.decode(list(after)))

    async def generate(
        self, request: TokenRequest, on_tokens: OnTokens | None = None
    ) -> TokenReply:
        self.asked.append(request)
        wired = json.loads(request.wire)
        room = request.sampling.max_tokens
        if self.context_tokens is not None:
            room = min(room, self.context_tokens - len(request.prompt_ids))
        kept = self._answer[: wired["max"]]
        ending = "stop" if kept == self._answer else "length"
        ids = (*kept, *write_end(ending, -0.5, wired["sync"]))[:room]  # type: ignore[arg-type]
        is_whole = ids[-1] == wired["sync"]
        return TokenReply(
            token_ids=ids,
            text="",
            finish_reason="stop" if is_whole else "length",
            stop_reason=wired["sync"] if is_whole else None,
            usage=Usage(len(request.prompt_ids), len(ids), 0, 1),
        )


def answer(engine: Any, *, members: Any = ("a", "b"), most: int = 9) -> Completion:
    request = Request(
        model="small",
        prompt="a b",
        sampling=Sampling(max_tokens=most, decoding=weighted(trie(members))),
    )
    [found] = asyncio.run(complete(engine, request)).completions
    return found


def ids(text: str) -> tuple[int, ...]:
    return tuple(TOKENIZER.encode(text).ids)


def test_the_text_is_what_stands_behind_the_prompt() -> None:
    found = answer(WeighingEngine(ids("c d")))

    assert (found.text, found.finish_reason, found.log_weight) == (" c d", "stop", -0.5)


def test_the_contexts_end_leaves_room_for_the_weight() -> None:
    whole = ids("c d a")
    for room in range(1, len(whole) + 1):
        context = len(ids("a b")) + room + WEIGHT_TOKENS
        found = answer(WeighingEngine(whole, context=context))

        assert found.token_ids == whole[:room]
        assert found.finish_reason == ("length" if room < len(whole) else "stop")
        assert found.log_weight == -0.5


def test_a_prompt_that_leaves_no_room_for_the_weight_is_refused() -> None:
    num_prompt = len(ids("a b"))
    context = num_prompt + WEIGHT_TOKENS
    engine = WeighingEngine(context=context)

    with pytest.raises(PromptTooLongError, match="its weight") as caught:
        answer(engine)

    assert (caught.value.prompt_tokens, caught.value.max_tokens) == (num_prompt, context)
    assert engine.asked == []


@pytest.mark.parametrize("special_ids", [(), (EOS,)])
def test_a_model_without_a_token_that_can_end_the_row_is_refused(
    special_ids: tuple[int, ...],
) -> None:
    engine = WeighingEngine(special_ids=special_ids)

    with pytest.raises(ConfigError, match=r"model 'small' has no special token"):
        answer(engine)

    assert engine.asked == []


def test_a_member_of_the_trie_never_ends_the_row() -> None:
    engine = WeighingEngine((BOS, 300), special_ids=(BOS, EOS, 0))
    found = answer(engine, members=[(BOS, 300)])

    assert found.token_ids == (BOS, 300)
    assert engine.asked[0].stop_token_ids == (0,)
    with pytest.raises(ConfigError, match="no special token"):
        answer(engine, members=[(BOS, 300), (0, 0)])
