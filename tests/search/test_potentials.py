from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import SearchError
from motet.search.potentials import (
    Condition,
    ModelPotential,
    Potential,
    Product,
    Twist,
    normalised_row,
)
from motet.testing import toy_lm as toy
from motet.testing.potential_laws import check_potential

TEXTS = [toy.ids(text) for text in toy.strings()]


def no_aa(tokens) -> bool:
    return "aa" not in toy.text(tokens)


def has_b(tokens) -> bool:
    return toy.B in tokens


NO_AA = Condition(no_aa, can_hold=no_aa)
HAS_B = Condition(has_b)
MODEL = ModelPotential(toy.next_logprobs, toy.END)
GUESS = Twist(lambda texts: [0.3 * len(text) - 1.0 for text in texts])
POTENTIALS = [NO_AA, HAS_B, MODEL, GUESS, NO_AA * HAS_B, NO_AA * MODEL * GUESS]


def check(potential: Potential, texts=TEXTS) -> None:
    asyncio.run(check_potential(potential, texts, size=3, end=toy.END))


@pytest.mark.parametrize("potential", POTENTIALS, ids=lambda p: type(p).__name__)
def test_each_potential_keeps_the_laws_and_telescopes_on_every_string(potential) -> None:
    check(potential)


@pytest.mark.parametrize("potential", POTENTIALS, ids=lambda p: type(p).__name__)
@given(text=st.sampled_from(TEXTS))
def test_changes_along_a_text_add_up_to_what_it_weighs(potential, text) -> None:
    async def sums() -> tuple[float, float]:
        [total] = await potential.prefix([()])
        for n, token in enumerate((*text, toy.END)):
            [row] = await potential.logw_next([text[:n]], 3, toy.END)
            total += float(row[token])
        [complete] = await potential.complete([text])
        return total, complete

    added, complete = asyncio.run(sums())

    assert added == pytest.approx(complete) or added == complete == -math.inf


def test_a_product_adds_the_log_weights_of_its_factors_and_is_flat() -> None:
    product = NO_AA * (HAS_B * GUESS)

    assert isinstance(product, Product)
    assert product.factors == (NO_AA, HAS_B, GUESS)
    assert asyncio.run(product.complete([(0, 1), (0, 0, 1), (0,)])) == [0.0, -math.inf, -math.inf]
    assert asyncio.run(product.prefix([(0, 1), (0, 0)])) == [pytest.approx(-0.4), -math.inf]


def test_a_models_probability_is_a_potential() -> None:
    found = asyncio.run(MODEL.complete([toy.ids(text) for text in toy.strings()]))

    assert [math.exp(each) for each in found] == pytest.approx(
        [toy.probability(text) for text in toy.strings()]
    )


class Broken(Potential):
    """A right potential but for one call."""

    def __init__(self, law: str) -> None:
        self._law = law

    async def prefix(self, texts):
        if self._law == "batch" and len(texts) > 1:
            return [1.0] * len(texts)
        if self._law == "revived":
            return [-math.inf if text == (0,) else 0.0 for text in texts]
        if self._law == "nan":
            return [math.nan] * len(texts)
        return [0.0] * len(texts)

    async def complete(self, texts):
        if self._law == "batch":
            return [0.0] * len(texts)
        return await self.prefix(texts)

    async def logw_next(self, texts, size, end):
        rows = await super().logw_next(texts, size, end)
        if self._law == "end":
            rows[0][end] += 1
        if self._law == "sum":
            rows[0][0] += 1
        if self._law == "size":
            return [row[:-1] for row in rows]
        return rows


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ("batch", "in a batch than alone"),
        ("revived", "behind what is forbidden"),
        ("nan", "is nan"),
        ("end", "not complete - prefix"),
        ("sum", "add up to"),
        ("size", "no 3 numbers"),
    ],
)
def test_the_check_names_the_law_that_a_potential_breaks(law, message) -> None:
    with pytest.raises(AssertionError, match=message):
        check(Broken(law))


def test_a_check_of_texts_that_may_end_though_forbidden_fails() -> None:
    class Ends(Broken):
        async def complete(self, texts):
            return [0.0] * len(texts)

    with pytest.raises(AssertionError, match="may not be begun"):
        check(Ends("revived"), [(0,)])


def test_logits_become_logprobs_whatever_their_scale() -> None:
    row = normalised_row([5.0, 5.0 + math.log(3), -math.inf])

    assert [math.exp(each) for each in row] == pytest.approx([0.25, 0.75, 0.0])


@pytest.mark.parametrize("row", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf], [], [[0.0]]])
def test_a_row_without_a_distribution_is_refused(row) -> None:
    with pytest.raises(SearchError, match="next_logprobs"):
        normalised_row(row)
