"""Potentials on texts: they keep the laws, and see whole characters only."""

from __future__ import annotations

import asyncio
import itertools
import math

import pytest

from motet.errors import SearchError
from motet.search.potentials import (
    Condition,
    ModelPotential,
    Potential,
    SomeTokens,
    as_row,
)
from motet.search.text_potentials import KnownTexts, TextCondition, TextWeight
from motet.testing import check_potential
from motet.testing import toy_lm as toy

HALVES = ("\ufffd", "\ufffd", "x", "")
"""Two tokens that are the bytes of one letter, then an ordinary one, and one without text."""
END = 4


def letters() -> KnownTexts:
    return KnownTexts(pieces=dict(enumerate("ab")))


def halves() -> KnownTexts:
    """Every text of up to four of the tokens, as a tokenizer decodes it."""
    texts = KnownTexts(pieces=dict(enumerate(HALVES)))
    for size in range(5):
        for tokens in itertools.product(range(4), repeat=size):
            raw = b"".join((b"\xc3", b"\xa9", b"x", b"")[token] for token in tokens)
            texts.exact[tokens] = raw.decode("utf-8", "replace")
    return texts


def texts_of(size: int, most: int) -> list[tuple[int, ...]]:
    return [t for n in range(most + 1) for t in itertools.product(range(size), repeat=n)]


def test_conditions_and_weights_on_texts_keep_the_laws_of_potentials() -> None:
    for potential in (
        TextCondition(lambda text: "b" in text, lambda text: "aa" not in text),
        TextWeight(lambda text: -float(len(text)), lambda text: -text.count("a") / 2),
        TextWeight(lambda text: -math.inf if "bb" in text else 0.0),
    ):
        over = potential.over(letters())
        asyncio.run(check_potential(over, texts_of(2, 3), size=3, end=toy.END))


def test_a_condition_on_texts_is_that_on_their_tokens() -> None:
    on_text = TextCondition(lambda t: "aa" not in t, lambda t: "aa" not in t).over(letters())

    def holds(tokens: tuple[int, ...]) -> bool:
        return "aa" not in toy.text(tokens)

    on_ids = Condition(holds, holds)
    for text in texts_of(2, 3):
        for which in ("prefix", "complete"):
            [one] = asyncio.run(getattr(on_text, which)([text]))
            [other] = asyncio.run(getattr(on_ids, which)([text]))
            assert one == other
        [row] = asyncio.run(on_text.logw_next([text], 3, toy.END))
        [same] = asyncio.run(on_ids.logw_next([text], 3, toy.END))
        assert row.tolist() == same.tolist()


def test_parts_of_a_character_add_nothing_until_it_is_whole() -> None:
    texts = halves()

    assert texts.so_far((0,)) == ""
    assert texts.so_far((0, 1)) == ""
    assert texts.so_far((0, 1, 2)) == "éx"
    assert texts.whole((0, 1)) == "é"
    assert texts.behind((0, 1), (2, 0, 3)) == ["éx", "é", "é"]
    assert texts.behind((0,), (1, 2)) == ["", "\ufffdx"]


def by_bytes(text: str) -> tuple[KnownTexts, tuple[int, ...]]:
    """A text of one token a byte, whose exact texts are known up to its last token."""
    raw = text.encode()
    pieces = {byte: bytes([byte]).decode("utf-8", "replace") for byte in range(256)}
    exact = {tuple(raw[:n]): raw[:n].decode("utf-8", "replace") for n in range(len(raw))}
    return KnownTexts(pieces, exact), tuple(raw)


@pytest.mark.parametrize("said", ["你好，世界", "🙂👍🏽🙂", "สวัสดี", "naïve"])
def test_characters_of_several_tokens_are_seen_while_the_text_goes_on(said: str) -> None:
    """The last one may wait for one token more; nothing that was shown is taken back."""
    texts, tokens = by_bytes(said)

    shown = [texts.so_far(tokens[:n]) for n in range(len(tokens) + 1)]

    for n, text in enumerate(shown):
        last = said.encode()[: max(n - 1, 0)].decode(errors="ignore")
        assert said.startswith(text)
        assert text.startswith(last)
        assert "\ufffd" not in text
    assert all(later.startswith(text) for text, later in itertools.pairwise(shown))


def test_a_long_text_of_split_characters_is_put_together_at_once() -> None:
    texts, tokens = by_bytes("好" * 1000)

    assert texts.so_far(tokens) == "好" * 999
    assert texts.whole(tokens) == "好" * 999
    assert KnownTexts(texts.pieces).so_far((*tokens, ord("x"))) == "x"


def test_what_tokens_add_makes_the_text_of_them_all() -> None:
    texts = halves()
    for tokens in texts_of(4, 4):
        pieces = [texts.added(tokens[:n], token) for n, token in enumerate(tokens)]
        last = texts.added(tokens, END, is_last=True)
        assert "".join([*pieces, last]) == texts.exact[tokens]


def test_some_tokens_weigh_what_they_weigh_among_all() -> None:
    holds = Condition(lambda tokens: toy.B in tokens, lambda tokens: len(tokens) < 3)
    model = ModelPotential(toy.next_logprobs, toy.END)
    weight = TextWeight(lambda t: -float(len(t)), lambda t: -t.count("a") / 2).over(letters())
    both: Potential = holds * weight
    for potential in (holds, model, weight, both):
        for text in texts_of(2, 2):
            [every] = asyncio.run(potential.logw_next([text], 3, toy.END))
            for some in ((2,), (1, 0), (0, 2, 1)):
                [row] = asyncio.run(potential.logw_some([text], [some], toy.END))
                assert row.tolist() == [every[token] for token in some]


def test_a_model_of_some_tokens_gives_the_others_no_chance() -> None:
    def likely(texts: list[tuple[int, ...]]) -> list[SomeTokens]:
        return [SomeTokens((2, 0), (math.log(0.1), math.log(0.3))) for _ in texts]

    model = ModelPotential(likely, toy.END)

    [row] = asyncio.run(model.logw_next([()], 3, toy.END))

    assert row.tolist() == pytest.approx([math.log(0.75), -math.inf, math.log(0.25)])


@pytest.mark.parametrize(
    ("some", "said"),
    [
        (SomeTokens((1, 1), (0.0, 0.0)), "2 logits for 2 tokens, 1 of them different"),
        (SomeTokens((1,), (0.0, 0.0)), "2 logits for 1 tokens"),
        (SomeTokens((), ()), "nothing that may follow"),
        (SomeTokens((1, 2), (0.0, math.nan)), "NaN"),
    ],
)
def test_malformed_rows_are_refused(some: SomeTokens, said: str) -> None:
    with pytest.raises(SearchError, match=said):
        as_row(some)
