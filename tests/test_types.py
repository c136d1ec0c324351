"""Plain values: messages, prices, outcomes."""

import dataclasses
import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from motet import Message, Outcome, Price
from motet.errors import ConfigError, EmptyReplyError
from motet.types import Embedding, Rewards


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_messages_are_made_by_role(role: str) -> None:
    """Each constructor is the role of its name, the content untouched."""
    message = getattr(Message, role)("text\n")

    assert message == Message(role, "text\n")  # type: ignore[arg-type]
    assert message.tool_calls == ()


def test_messages_are_frozen_and_hashable() -> None:
    """A message is a value."""
    message = Message.user("a")

    with pytest.raises(dataclasses.FrozenInstanceError):
        message.content = "b"  # type: ignore[misc]
    assert len({message, Message.user("a"), Message.user("b")}) == 2


@pytest.mark.parametrize("name", ["prompt", "completion", "cached_prompt"])
@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_a_bad_price_is_refused(name: str, value: float) -> None:
    """A negative price, or one that is no number, is named."""
    prices = {"prompt": 1.0, "completion": 1.0, name: value}

    with pytest.raises(ConfigError, match=name):
        Price(**prices)


def test_a_price_may_be_zero() -> None:
    """What runs at home is free."""
    price = Price(prompt=0, completion=0)

    assert price.cached_prompt is None


def test_an_outcome_is_a_value_or_an_error() -> None:
    """Reading a failure's value raises its error; None is a value like others."""
    error = EmptyReplyError("empty")
    success: Outcome[None] = Outcome(None)
    failure: Outcome[None] = Outcome(error=error)

    assert success.is_success
    assert success.value is None
    assert not failure.is_success
    with pytest.raises(EmptyReplyError) as caught:
        _ = failure.value
    assert caught.value is error


def test_rewards_are_read_as_one_number_four_ways() -> None:
    """By hand; of one number all are that number."""
    rewards = Rewards((0.5, 0.2, 0.8))

    assert (rewards.last, rewards.min) == (0.8, 0.2)
    assert (rewards.prod, rewards.mean) == pytest.approx((0.08, 0.5))
    one = Rewards((0.3,))
    assert one.last == one.min == one.prod == one.mean == 0.3
    with pytest.raises(ConfigError, match="values"):
        Rewards(())


FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
VECTORS = st.lists(FLOAT32, min_size=1, max_size=8)


@given(VECTORS)
def test_an_embedding_comes_back_from_its_text_bit_by_bit(values: list[float]) -> None:
    """Also as a field that pydantic writes."""
    embedding = Embedding(tuple(values))

    assert Embedding.from_text(embedding.to_text()).values == tuple(values)
    written = TypeAdapter(dict[str, Embedding]).dump_json({"a": embedding})
    assert TypeAdapter(dict[str, Embedding]).validate_json(written)["a"] == embedding
    assert json.loads(written) == {"a": embedding.to_text()}


def test_the_text_of_an_embedding_is_base64_of_little_endian_float32() -> None:
    """By hand: 1.0 and -2.0 are 0000803f and 000000c0."""
    text = b64encode(bytes.fromhex("0000803f000000c0")).decode()

    assert Embedding((1.0, -2.0)).to_text() == text
    assert Embedding.from_text(text) == Embedding((1.0, -2.0))


def test_numbers_of_an_embedding_are_rounded_to_float32() -> None:
    """So that what is computed and what is read from the journal are equal."""
    assert Embedding((0.1,)).values == (0.10000000149011612,)
    assert Embedding((0.1,)) == Embedding((0.10000000149011612,))


def test_golden_cosines() -> None:
    """By hand; the length does not matter, and a vector of zeros is like nothing."""
    east, north, slope = Embedding((3.0, 0.0)), Embedding((0.0, 0.5)), Embedding((4.0, 3.0))

    assert east.cosine(north) == 0.0
    assert east.cosine(slope) == pytest.approx(0.8)
    assert slope.cosine(north) == pytest.approx(0.6)
    assert east.cosine(Embedding((-7.0, 0.0))) == -1.0
    assert east.cosine(Embedding((0.0, 0.0))) == 0.0


@given(
    st.integers(1, 8).flatmap(lambda n: st.tuples(*[st.lists(FLOAT32, min_size=n, max_size=n)] * 2))
)
def test_cosines_are_symmetric_and_between_minus_one_and_one(
    pair: tuple[list[float], list[float]],
) -> None:
    """A vector that is not all zeros has 1 with itself."""
    one, other = (Embedding(tuple(values)) for values in pair)

    assert -1.0 <= one.cosine(other) <= 1.0
    assert one.cosine(other) == other.cosine(one)
    if any(abs(value) > 1e-18 for value in one.values):
        assert one.cosine(one) == pytest.approx(1.0)


def test_embeddings_of_different_models_are_not_compared() -> None:
    with pytest.raises(ConfigError, match="2 and 1 numbers"):
        Embedding((1.0, 2.0)).cosine(Embedding((1.0,)))


@pytest.mark.parametrize("values", [(), (float("nan"),), (1.0, float("inf")), (1e39,), ("a",)])
def test_an_embedding_is_finite_numbers(values: Any) -> None:
    with pytest.raises(ConfigError, match="values"):
        Embedding(values)


@pytest.mark.parametrize("text", ["", "AAA", "AAAA", "AACAfw==", "é"])
def test_what_is_no_text_of_an_embedding_is_refused(text: str) -> None:
    """Nothing, half a group, three bytes, an infinity, and other letters."""
    with pytest.raises(ConfigError):
        Embedding.from_text(text)
