"""Plain values: messages, prices, outcomes."""

import dataclasses

import pytest

from motet import Message, Outcome, Price
from motet.errors import ConfigError, EmptyReplyError
from motet.types import Rewards


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
