"""Plain values that every floor shares: messages, prices, JSON."""

from __future__ import annotations

import math
import operator
import sys
from array import array
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from motet.errors import ConfigError, MotetError, is_final

T = TypeVar("T")

JSON: TypeAlias = "None | bool | int | float | str | list[JSON] | dict[str, JSON]"
Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool that a model asked for. Its texts are data."""

    id: str
    name: str
    arguments: str
    """JSON text as the model wrote it; it may be malformed."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """Only in an assistant's turn."""
    tool_call_id: str | None = None
    """Only in a tool's turn: the call that it answers."""

    @staticmethod
    def system(content: str) -> Message:
        return Message("system", content)

    @staticmethod
    def user(content: str) -> Message:
        return Message("user", content)

    @staticmethod
    def assistant(content: str) -> Message:
        return Message("assistant", content)


Chat: TypeAlias = tuple[Message, ...]
"""Turns in order. A chat that ends with an assistant's turn asks to continue that turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs, in the user's currency per million tokens."""

    prompt: float
    completion: float
    cached_prompt: float | None = None
    """Of prompt tokens that the engine had in its cache; as `prompt` where None."""

    def __post_init__(self) -> None:
        for name in ("prompt", "completion", "cached_prompt"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ConfigError(f"price {name} is {value}; it must be 0 or more")


@dataclass(frozen=True, slots=True)
class Scores:
    """Log-probabilities of given answers to a prompt."""

    candidates: tuple[str, ...]
    logprobs: tuple[float, ...]
    """Of each candidate as a whole, in nats."""
    tokens: tuple[int, ...]
    """How many tokens each candidate has."""

    @property
    def best(self) -> str:
        """The most likely candidate; the first of equals."""
        return self.candidates[max(range(len(self.logprobs)), key=self.logprobs.__getitem__)]

    @property
    def probabilities(self) -> dict[str, float]:
        """Probability of each candidate, given that the answer is one of them."""
        highest = max(self.logprobs)
        shares = [math.exp(logprob - highest) for logprob in self.logprobs]
        return {c: s / sum(shares) for c, s in zip(self.candidates, shares, strict=True)}

    @property
    def mass(self) -> float:
        """Probability that the answer begins with one of the candidates, if none begins another."""
        return sum(math.exp(logprob) for logprob in self.logprobs)


@dataclass(frozen=True, slots=True)
class Rewards:
    """What a reward model gives a prompt: one number, or one for each step of a solution."""

    values: tuple[float, ...]
    """In the order of the steps; at least one. Higher is better; from 0 to 1 where the model has
    classes, of which one's probability it is."""

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError("values is (); rewards are at least one number")

    @property
    def last(self) -> float:
        """That of the whole text, or of its last step."""
        return self.values[-1]

    @property
    def min(self) -> float:
        return min(self.values)

    @property
    def prod(self) -> float:
        return math.prod(self.values)

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / len(self.values)


@dataclass(frozen=True, slots=True)
class Embedding:
    """A text as a vector. Its numbers are rounded to float32, as which they are journaled."""

    values: tuple[float, ...]
    """At least one."""

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError("values is (); an embedding is at least one number")
        try:
            rounded = array("f", self.values)
        except TypeError as exc:
            raise ConfigError(f"values is {self.values!r:.80}; it must be numbers") from exc
        if not all(map(math.isfinite, rounded)):
            raise ConfigError("values holds a number that is not finite in float32")
        object.__setattr__(self, "values", tuple(rounded))

    def cosine(self, other: Embedding) -> float:
        """Return the cosine of the angle between the two, from -1 to 1; 0 where one is all zeros.

        Raises:
            ConfigError: They have not as many numbers, so they are of different models.
        """
        if len(self.values) != len(other.values):
            raise ConfigError(
                f"the embeddings have {len(self.values)} and {len(other.values)} numbers; those of "
                "different models cannot be compared"
            )
        lengths = math.hypot(*self.values) * math.hypot(*other.values)
        if not lengths:
            return 0.0
        product = math.fsum(map(operator.mul, self.values, other.values))
        return max(-1.0, min(1.0, product / lengths))

    def to_text(self) -> str:
        """Write the numbers as base64 of little-endian float32."""
        return b64encode(_little_endian(array("f", self.values)).tobytes()).decode("ascii")

    @staticmethod
    def from_text(text: str) -> Embedding:
        """Read what `to_text` wrote.

        Raises:
            ConfigError: It is none.
        """
        numbers = array("f")
        try:
            numbers.frombytes(b64decode(text, validate=True))
        except ValueError as exc:
            raise ConfigError(f"{text[:40]!r} is no embedding: {exc}") from exc
        return Embedding(tuple(_little_endian(numbers)))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        def read(value: Any) -> Embedding:
            if isinstance(value, Embedding):
                return value
            if not isinstance(value, str):
                raise ValueError(f"an embedding is written as a text, not {value!r:.40}")  # noqa: TRY004
            try:
                return cls.from_text(value)
            except ConfigError as exc:
                raise ValueError(str(exc)) from exc

        return core_schema.no_info_plain_validator_function(
            read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                cls.to_text, when_used="json"
            ),
        )


def _little_endian(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What became of a call: its value, or the error it failed with."""

    _value: T | None = None
    error: MotetError | None = None

    @property
    def is_success(self) -> bool:
        return self.error is None

    @property
    def is_final(self) -> bool:
        """Whether trying again would give the same, as far as the kind of failure tells."""
        return self.error is None or is_final(self.error)

    @property
    def value(self) -> T:
        """The value; raises the error of a call that failed."""
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]
