"""Pairs mixed outside the engine, a token a request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from motet.decoding import cfg
from motet.engine import Completion, Request, Sampling, Usage
from motet.errors import ConfigError
from motet.serving.decoding.rule_client import complete
from motet.serving.decoding.texts import INCOMPLETE, decode_after
from motet.serving.decoding.token_engine import OnTokens, TokenReply, TokenRequest
from motet.types import Chat
from tests.serving.decoding.tokenizers_made import MAKERS, byte_level, sentencepiece_like

pytest.importorskip("torch")
pytest.importorskip("tokenizers")


class StockEngine:
    """Goes on as `answer` says, behind both prompts; it reports whole distributions."""

    runner = ""
    special_ids = frozenset[int]()

    def __init__(self, tokenizer: Any, answer: str, *, partner: str = "c") -> None:
        self._tokenizer = tokenizer
        self.context_tokens: int | None = None
        self.prompt, self.partner = (tuple(tokenizer.encode(text).ids) for text in ("a b", partner))
        eos = tokenizer.token_to_id("</s>")
        self.eos_ids = frozenset({eos})
        self._answer = (*tokenizer.encode(answer).ids, eos)
        self.asked: list[TokenRequest] = []

    async def encode(self, prompt: Chat | str | tuple[int, ...]) -> tuple[int, ...]:
        assert isinstance(prompt, tuple)
        return prompt  # type: ignore[return-value]

    async def encode_bare(self, text: str) -> tuple[int, ...]:
        raise AssertionError(text)

    async def decode(self, token_ids: tuple[int, ...], after: tuple[int, ...] = ()) -> str:
        async def plain(ids: tuple[int, ...]) -> str:
            return str(self._tokenizer.decode(list(ids)))

        return await decode_after(plain, token_ids, after)

    async def generate(
        self, request: TokenRequest, on_tokens: OnTokens | None = None
    ) -> TokenReply:
        self.asked.append(request)
        assert self.context_tokens is None or len(request.prompt_ids) < self.context_tokens
        is_main = request.prompt_ids[: len(self.prompt)] == self.prompt
        place = len(request.prompt_ids) - len(self.prompt if is_main else self.partner)
        due = self._answer[place]
        size = self._tokenizer.get_vocab_size()
        return TokenReply(
            token_ids=(due,),
            text="",
            finish_reason="length",
            distribution={token: 0.0 if token == due else -50.0 for token in range(size)},
            usage=Usage(len(request.prompt_ids), 1, 0, 1),
        )


def answer(engine: StockEngine, *, on_delta: Any = None, **settings: Any) -> Completion:
    request = Request(
        model="m",
        prompt=engine.prompt,
        partner=engine.partner,
        sampling=Sampling(
            **{"temperature": 0.0, "max_tokens": 40, "decoding": cfg(1.0), **settings}
        ),
    )
    [found] = asyncio.run(complete(engine, request, on_delta)).completions
    return found


@pytest.mark.parametrize("make", MAKERS)
def test_the_text_keeps_its_first_space_streamed_or_whole(make: Any) -> None:
    pieces: list[str] = []
    due = " c d" if make is byte_level else "c d"  # the others put the first space themselves

    streamed = answer(StockEngine(make(), due), on_delta=lambda _, text: pieces.append(text))
    whole = answer(StockEngine(make(), due))

    assert streamed.text == whole.text == "".join(pieces) == " c d"


@pytest.mark.parametrize("make", [sentencepiece_like, byte_level])
def test_a_character_of_several_tokens_is_streamed_when_it_is_whole(make: Any) -> None:
    pieces: list[str] = []

    found = answer(
        StockEngine(make(), "a\N{GRINNING FACE}b"), on_delta=lambda _, text: pieces.append(text)
    )

    assert "".join(pieces) == found.text
    assert found.text.endswith("a\N{GRINNING FACE}b")
    assert not any(INCOMPLETE in piece for piece in pieces)
    assert "\N{GRINNING FACE}" in pieces


def test_it_ends_before_a_stop_text() -> None:
    found = answer(StockEngine(sentencepiece_like(), "c d a"), stop=(" d",))

    assert (found.text, found.finish_reason, found.stop_reason) == (" c", "stop", " d")


@pytest.mark.parametrize("partner", ["c", "cdcdcdcd"])
def test_it_ends_where_the_longer_prompt_fills_the_context(partner: str) -> None:
    engine = StockEngine(byte_level(), "abcdabcd", partner=partner)
    engine.context_tokens = max(len(engine.prompt), len(engine.partner)) + 3

    found = answer(engine)

    assert (len(found.token_ids), found.finish_reason) == (3, "length")


def test_extra_fields_go_along_with_every_request() -> None:
    engine = StockEngine(byte_level(), "a")

    answer(engine, extra={"seed_word": 1})

    assert engine.asked
    assert all(request.sampling.extra == {"seed_word": 1} for request in engine.asked)


def test_what_is_asked_for_is_the_models_own_distribution() -> None:
    engine = StockEngine(byte_level(), "a")

    answer(engine, temperature=0.7, seed=3, top_p=0.9)

    neutral = Sampling(
        temperature=0.0,
        max_tokens=1,
        presence_penalty=0.0,
        frequency_penalty=0.0,
        repetition_penalty=1.0,
    )
    assert [request.sampling for request in engine.asked] == [neutral] * len(engine.asked)


def test_penalties_are_refused_before_a_token_is_asked_for() -> None:
    engine = StockEngine(byte_level(), "a")

    with pytest.raises(ConfigError, match="frequency_penalty"):
        answer(engine, frequency_penalty=0.5)

    assert engine.asked == []
