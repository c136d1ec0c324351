"""The client of paired rows: whatever the engine's timing, the tokens are those of the mixture."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.decoding import (
    cfg,
    choice,
    length,
    regex,
    stops_at,
    stops_before,
    trie,
    weighted,
)
from motet.engine import FinishReason, Request, Sampling, Usage
from motet.errors import ConfigError, EngineUnavailableError, PromptTooLongError
from motet.serving.decoding import paired_rows
from motet.serving.decoding.rule_client import complete
from motet.serving.decoding.texts import cut_at_stop
from motet.serving.decoding.token_engine import OnTokens, TokenReply, TokenRequest
from motet.types import Chat

VOCABULARY = 12
EOS = 2
LETTERS = "ab$defghijkl"


def due(main: tuple[int, ...], partner: tuple[int, ...]) -> int:
    """The token that the mixture of two prompts gives: any fixed function of both will do."""
    return random.Random(repr((main, partner))).choices(
        range(VOCABULARY), [3, 3, 1, *[2] * (VOCABULARY - 3)]
    )[0]


@pytest.fixture(scope="module", autouse=True)
def without_waits() -> Iterator[None]:
    """Rounds that bring nothing follow each other at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paired_rows, "_ROUND_WAIT_S", 0.0)
        yield


class Row:
    def __init__(self, request: TokenRequest) -> None:
        wired = json.loads(request.wire)
        self.request = request
        self.name, self.role = wired["pair"]
        self.sync = wired["sync"]
        self.out: list[int] = []
        self.told = 0
        """Characters that were streamed."""
        self.ended: asyncio.Future[TokenReply] = asyncio.get_running_loop().create_future()

    @property
    def ids(self) -> tuple[int, ...]:
        return (*self.request.prompt_ids, *self.out)


class UnreliableEngine:
    """Steps rows at random: partners come late, are preempted, or are met half-prefilled."""

    runner = "V1"
    eos_ids = frozenset({EOS})
    special_ids = frozenset[int]()

    def __init__(
        self, seed: int, *, chance_together: float = 0.7, context: int | None = None
    ) -> None:
        self.context_tokens = context
        self._random = random.Random(seed)
        self._chance = chance_together
        self._rows: list[Row] = []
        self._listeners: dict[int, OnTokens] = {}
        self.num_requests = 0

    async def encode(self, prompt: Chat | str | tuple[int, ...]) -> tuple[int, ...]:
        assert isinstance(prompt, tuple)
        return prompt  # type: ignore[return-value]

    async def encode_bare(self, text: str) -> tuple[int, ...]:
        return tuple(LETTERS.index(c) for c in text)

    async def decode(self, token_ids: tuple[int, ...], after: tuple[int, ...] = ()) -> str:
        return "".join(LETTERS[i] for i in token_ids if i != EOS)

    async def generate(
        self, request: TokenRequest, on_tokens: OnTokens | None = None
    ) -> TokenReply:
        self.num_requests += 1
        num_prompt = len(request.prompt_ids)
        if self.context_tokens is not None and num_prompt >= self.context_tokens:
            raise PromptTooLongError("full", prompt_tokens=num_prompt, max_tokens=None)
        for _ in range(self._random.randrange(3)):
            await asyncio.sleep(0)
        row = Row(request)
        if on_tokens is not None:
            self._listeners[id(row)] = on_tokens
        self._rows.append(row)
        while not row.ended.done():
            if self._rows[0] is row:
                self._step()
            await asyncio.sleep(0)
        return row.ended.result()

    def _step(self) -> None:
        for main in [r for r in self._rows if r.role == "main"]:
            partner = next(
                (r for r in self._rows if r.name == main.name and r.role == "partner"), None
            )
            kind = self._random.random()
            if partner is not None and len(partner.out) == len(main.out) and kind < self._chance:
                token = due(main.ids, partner.ids)
                self._give(main, token)
                self._give(partner, token)
            elif partner is not None and kind < self._chance + 0.1:
                # Met in the middle of its prefill: what was mixed is rubbish, and the partner's
                # own sample is thrown away.
                self._give(main, self._random.randrange(VOCABULARY))
            elif kind > 0.95:
                self._give(main, main.sync)
        for partner in [r for r in self._rows if r.role == "partner"]:
            is_alone = not any(r.name == partner.name and r.role == "main" for r in self._rows)
            if is_alone and self._random.random() < 0.5:
                self._give(partner, partner.sync)

    def _give(self, row: Row, token: int) -> None:
        if row not in self._rows:
            return
        row.out.append(token)
        text = "".join(LETTERS[i] for i in row.out if i not in (EOS, row.sync))
        stop = next((s for s in row.request.sampling.stop if s in text), None)
        most = min(row.request.sampling.max_tokens, self._room(row))
        has_ended = stop is not None or token in (row.sync, EOS) or len(row.out) >= most
        if id(row) in self._listeners:
            # As vLLM does: what may begin a stop text comes late, at the end with the last token.
            held = max((len(s) for s in row.request.sampling.stop), default=1) - 1
            seen = text if has_ended else text[: len(text) - held]
            self._listeners[id(row)]((token,), seen[row.told :])
            row.told = max(row.told, len(seen))
        if stop is not None:
            self._end(row, "stop", stop)
        elif token == row.sync:
            self._end(row, "stop", token)
        elif token == EOS:
            self._end(row, "stop", None)
        elif has_ended:
            self._end(row, "length", None)

    def _room(self, row: Row) -> int:
        return (
            10**6
            if self.context_tokens is None
            else self.context_tokens - len(row.request.prompt_ids)
        )

    def _end(self, row: Row, finish: FinishReason, reason: str | int | None) -> None:
        self._rows.remove(row)
        text = "".join(LETTERS[i] for i in row.out)
        row.ended.set_result(
            TokenReply(
                token_ids=tuple(row.out),
                text=text,
                finish_reason=finish,
                stop_reason=reason,
                usage=Usage(len(row.request.prompt_ids), len(row.out), 0, 1),
            )
        )


def expected(main: tuple[int, ...], partner: tuple[int, ...], most: int) -> list[int]:
    out: list[int] = []
    while len(out) < most and EOS not in out:
        out.append(due((*main, *out), (*partner, *out)))
    return out


def answer(
    engine: Any,
    most: int,
    *,
    partner: tuple[int, ...] = (8, 9),
    on_delta: Any = None,
    n: int = 1,
    **sampling: Any,
) -> list[Any]:
    request = Request(
        model="m",
        prompt=(5, 6, 7),
        partner=partner,
        sampling=Sampling(temperature=0.0, max_tokens=most, **{"decoding": cfg(1.5), **sampling}),
        n=n,
    )
    return list(asyncio.run(complete(engine, request, on_delta)).completions)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), most=st.integers(1, 25))
def test_no_timing_of_the_engine_changes_a_token(seed: int, most: int) -> None:
    [found] = answer(UnreliableEngine(seed), most)

    assert list(found.token_ids) == expected((5, 6, 7), (8, 9), most)
    is_ended = EOS in found.token_ids
    assert found.finish_reason == ("stop" if is_ended else "length")


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_what_is_streamed_is_the_text_of_the_reply(seed: int) -> None:
    pieces: list[str] = []
    [found] = answer(
        UnreliableEngine(seed), 20, on_delta=lambda _, text: pieces.append(text), stop=("gh", "k")
    )

    whole = "".join(LETTERS[i] for i in expected((5, 6, 7), (8, 9), 20) if i != EOS)
    text, stop = cut_at_stop(whole, ("gh", "k"))
    assert found.text == text == "".join(pieces)
    assert found.stop_reason == stop


def test_several_completions_are_several_pairs() -> None:
    engine = UnreliableEngine(1)
    found = answer(engine, 8, n=3)

    assert [list(c.token_ids) for c in found] == [expected((5, 6, 7), (8, 9), 8)] * 3
    assert engine.num_requests >= 6


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    room=st.integers(1, 9),
    partner=st.lists(st.integers(3, 11), min_size=1, max_size=6),
)
def test_a_pair_at_the_contexts_end_has_what_there_is(
    seed: int, room: int, partner: list[int]
) -> None:
    longest = max(3, len(partner))
    [found] = answer(UnreliableEngine(seed, context=longest + room), 25, partner=tuple(partner))

    assert list(found.token_ids) == expected((5, 6, 7), tuple(partner), room)
    assert found.finish_reason == ("stop" if EOS in found.token_ids else "length")


@pytest.mark.parametrize("partner", [(8, 9), (8, 9, 10, 11)])
def test_a_prompt_as_long_as_the_context_is_refused_with_both_numbers(
    partner: tuple[int, ...],
) -> None:
    longest = max(3, len(partner))
    engine = UnreliableEngine(1, context=longest)

    with pytest.raises(PromptTooLongError) as caught:
        answer(engine, 5, partner=partner)

    assert (caught.value.prompt_tokens, caught.value.max_tokens) == (longest, longest)
    assert engine.num_requests == 0


def test_a_pair_that_never_meets_is_given_up() -> None:
    with pytest.raises(EngineUnavailableError, match="did not meet"):
        answer(UnreliableEngine(3, chance_together=-1.0), 8)


def test_two_constraints_are_refused() -> None:
    with pytest.raises(ConfigError, match="two constraints"):
        answer(UnreliableEngine(1), 4, decoding=regex("a") & choice(["a"]))


@pytest.mark.parametrize("rule", [cfg(1.5), weighted(trie(["ab"]))])
def test_penalties_are_refused_where_the_processor_chooses(rule: Any) -> None:
    engine = UnreliableEngine(1)
    with pytest.raises(ConfigError, match="presence_penalty is 1.0"):
        answer(engine, 4, presence_penalty=1.0, decoding=rule)
    assert engine.num_requests == 0


@pytest.mark.parametrize("name", ["top_p", "seed", "presence_penalty", "stop", "logprobs"])
def test_settings_that_would_be_passed_over_are_refused_by_name(name: str) -> None:
    engine = UnreliableEngine(1)
    with pytest.raises(ConfigError, match=f"extra has '{name}'"):
        answer(engine, 4, extra={name: 1})
    assert engine.num_requests == 0


def test_penalties_that_change_nothing_are_taken() -> None:
    neutral = {"presence_penalty": 0.0, "frequency_penalty": 0, "repetition_penalty": 1.0}

    assert answer(UnreliableEngine(1), 4, **neutral) == answer(UnreliableEngine(1), 4)


def test_stop_rules_need_no_processor() -> None:
    asked: list[TokenRequest] = []

    class Plain(UnreliableEngine):
        async def generate(
            self, request: TokenRequest, on_tokens: OnTokens | None = None
        ) -> TokenReply:
            asked.append(request)
            return TokenReply(token_ids=(0,), text="a", finish_reason="stop", stop_reason="!")

    [found] = answer(Plain(1), 4, decoding=stops_at("!") & stops_before("?"))

    assert found.text == "a!"
    assert asked[0].wire == ""
    assert asked[0].sampling.stop == ("!", "?")


class Stock(UnreliableEngine):
    """A server without motet's processor."""

    runner = ""


@pytest.mark.parametrize("rule", [trie(["ab"]), length(max_tokens=3), weighted(trie(["ab"]))])
def test_a_rule_that_nothing_would_carry_out_is_refused(rule: Any) -> None:
    engine = Stock(1)
    with pytest.raises(ConfigError, match="motet's processor"):
        answer(engine, 4, decoding=rule)
    assert engine.num_requests == 0


def test_logprobs_of_a_mixture_are_refused() -> None:
    with pytest.raises(ConfigError, match="logprobs is 2"):
        answer(UnreliableEngine(1), 4, logprobs=2)
