"""What serves tokens: the `Engine` protocol, requests, replies, sampling."""

from __future__ import annotations

import enum
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from motet.errors import ConfigError
from motet.next_tokens import NextTokens
from motet.types import JSON, Chat, Embedding, ToolCall

FinishReason: TypeAlias = Literal["stop", "length", "refusal", "tool_calls", "abort"]


class Capability(enum.StrEnum):
    """What an engine can do beyond plain chat completions."""

    LOGPROBS = "logprobs"
    LOGITS_PROCESSORS = "logits_processors"
    GRAMMAR = "grammar"
    SCORE = "score"
    REWARD = "reward"
    """Gives the numbers of a reward model."""
    NEXT_TOKENS = "next_tokens"
    """Gives distributions of the next token."""
    EMBED = "embed"
    """Gives texts as vectors."""
    HIDDEN_STATES = "hidden_states"
    LORA = "lora"
    PREFIX_CACHE = "prefix_cache"
    CONTINUE = "continue"
    """Continues an unfinished assistant message."""
    SEED = "seed"
    STREAM = "stream"


@runtime_checkable
class DecodingRule(Protocol):
    """What shapes the choice of tokens: one of `motet.decoding`, or a `LogitsRule` of one's own."""

    @property
    def identity(self) -> str:
        """Name and parameters as one string: part of the cache key."""
        ...


@runtime_checkable
class LogitsRule(DecodingRule, Protocol):
    """A function on next-token logits, run inside the engine's step.

    Needs `Capability.LOGITS_PROCESSORS`.
    """

    def __call__(self, prompt_ids: Sequence[int], output_ids: Sequence[int], logits: Any) -> Any:
        """Return the logits to sample from.

        Args:
            prompt_ids: Token ids of the prompt.
            output_ids: Token ids generated so far.
            logits: float tensor `[V]`, V = vocabulary size; must not be changed in place.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to sample a completion. None leaves a setting to the engine's default."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    max_tokens: int = 1024
    """Most tokens of one completion; what a budget reserves."""
    stop: tuple[str, ...] = ()
    """Texts that end a completion; they are not part of it."""
    seed: int | None = None
    """None derives one from the run's seed and the call's id."""
    logprobs: int | None = None
    """How many alternatives to report a token, besides the one chosen; 0 reports only that."""
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    decoding: tuple[DecodingRule, ...] = ()
    """Rules that hold together, in order; one rule, or several joined by `&`, will do."""
    extra: Mapping[str, JSON] = field(default_factory=dict)
    """Fields sent to the engine as they are, such as vLLM's own."""

    def __post_init__(self) -> None:
        for name in Sampling.__slots__:
            object.__setattr__(self, name, _checked(name, getattr(self, name)))

    def updated(self, changes: Mapping[str, Any]) -> Sampling:
        """Return a copy with `changes`; an unknown name is a `ConfigError`."""
        if not changes:
            return self
        for name in changes:
            if name not in Sampling.__slots__:
                known = ", ".join(sorted(Sampling.__slots__))
                raise ConfigError(f"unknown sampling setting {name!r}; known are {known}")
        # What stays was checked before; programs bind prompts in their innermost loops.
        changed = object.__new__(Sampling)
        for name in Sampling.__slots__:
            value = _checked(name, changes[name]) if name in changes else getattr(self, name)
            object.__setattr__(changed, name, value)
        return changed


_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0.0, math.inf),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.0, math.inf),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "logprobs": (0, math.inf),
}
_WHOLE = frozenset({"top_k", "seed", "logprobs", "max_tokens"})


def _checked(name: str, value: Any) -> Any:
    """Return the setting `name` as it is kept.

    Raises:
        ConfigError: It is not what the setting takes.
    """
    if name == "stop":
        return _checked_stop(value)
    if name == "decoding":
        return _checked_decoding(value)
    if name == "extra":
        if type(value) is not dict and not isinstance(value, Mapping):
            raise ConfigError(f"extra is {value!r}; it must map field names to values")
        return value
    if value is None and name != "max_tokens":
        return value
    if name in _RANGES:
        _check_range(name, value, *_RANGES[name])
    if name in _WHOLE and (isinstance(value, bool) or not isinstance(value, int)):
        raise ConfigError(f"{name} is {value!r}; it must be a whole number")
    if name == "top_p" and value == 0:
        raise ConfigError("top_p is 0; it must be above 0")
    if name == "top_k" and value < 1 and value != -1:
        raise ConfigError(f"top_k is {value}; it must be at least 1, or -1 for all")
    if name == "max_tokens" and value < 1:
        raise ConfigError(f"max_tokens is {value!r}; it must be at least 1")
    return value


def _checked_stop(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"stop is {value!r}; it must be a list")
    found = tuple(value)
    if not all(isinstance(text, str) for text in found):
        raise ConfigError(f"stop is {found!r}; it must be texts")
    if any(not text for text in found):
        raise ConfigError("stop holds an empty string")
    return found


def _checked_decoding(value: Any) -> tuple[DecodingRule, ...]:
    if type(value) is tuple and not value:
        return ()
    if isinstance(value, DecodingRule):
        value = (value,)
    elif hasattr(value, "rules"):
        value = tuple(value.rules)
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"decoding is {value!r}; it must be a list")
    found = tuple(value)
    if not all(isinstance(rule, DecodingRule) for rule in found):
        raise ConfigError(f"decoding is {found!r}; it must be decoding rules")
    return found


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not low <= value <= min(high, sys.float_info.max):
        bound = f"between {low} and {high}" if high < math.inf else f"{low} or more"
        raise ConfigError(f"{name} is {value!r}; it must be {bound}")


@dataclass(frozen=True, slots=True)
class Constraint:
    """What the whole text of a completion must match."""

    kind: Literal["json_schema", "choice", "regex", "grammar"]
    value: Any
    """A JSON schema as a dict, a tuple of texts, a regular expression, or a Lark grammar."""


class Meter(Protocol):
    """Holds what answering a call uses within what is reserved for it."""

    def take(self, most: Usage) -> None:
        """Set `most` aside for a request that is about to be sent.

        Raises:
            BudgetExhaustedError: It goes beyond what is reserved, and no more is to be had now.
        """
        ...

    def settle(self, most: Usage, used: Usage) -> None:
        """Count what the request used, and give back the rest of what `take` set aside."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: a prompt, and n completions of it."""

    model: str | None
    """The model's name at the engine; None where the engine has one only."""
    prompt: Chat | str | tuple[int, ...]
    """A chat, a raw text, or token ids. A chat that ends with an assistant's turn is continued."""
    sampling: Sampling
    n: int = 1
    constraint: Constraint | None = None
    priority: int = 0
    """Lower is served first, where the engine has priorities."""
    request_id: str | None = None
    partner: Chat | str | tuple[int, ...] | None = None
    """The other prompt of a paired rule; an empty tuple is the prompt's last token alone."""
    candidates: tuple[str | tuple[int, ...], ...] = ()
    """Continuations to score instead of generating: the reply has one completion for each, with
    the logprob of each of its tokens after the prompt. A text is tokenised by itself. Needs
    `Capability.SCORE`; sampling does not matter."""
    is_rewarded: bool = False
    """Whether the prompt is to be rewarded instead of completed. It is then taken as it is: an
    assistant's turn at its end is whole. Needs `Capability.REWARD`; of the sampling only `extra`
    matters."""
    next_tokens: int | None = None
    """How many of the likeliest next tokens to tell, instead of completing the prompt; -1 is the
    whole vocabulary. Needs `Capability.NEXT_TOKENS`; of the sampling only `extra` matters."""
    written: tuple[int, ...] = ()
    """Token ids that stand behind the prompt when next tokens are asked for."""
    are_texts_wanted: bool = True
    """Whether next tokens come with their texts."""
    is_embedded: bool = False
    """Whether the prompt is to be given as a vector instead of being completed; it is taken as it
    is. Needs `Capability.EMBED`; of the sampling only `extra` matters."""
    cache_salt: str | None = None
    """Requests of different salts share no prefix cache, where the engine can part them."""
    meter: Meter | None = field(default=None, compare=False, repr=False)
    """Asked before each request that an engine makes of this one, where it makes several; its
    `BudgetExhaustedError` ends the call. None where no budget asks."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token and its log-probability in nats."""

    token: str
    logprob: float
    token_id: int | None = None
    top: tuple[tuple[str, float], ...] = ()
    """The most likely tokens at this place with their logprobs, best first."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What the engine returned for one prompt, once."""

    text: str
    finish_reason: FinishReason = "stop"
    stop_reason: str | None = None
    """The stop text that ended it, where one did."""
    token_ids: tuple[int, ...] = ()
    """Empty where the engine does not report them."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """Empty unless asked for."""
    refusal: str | None = None
    reasoning: str | None = None
    """Thinking that the server parted from the text."""
    tool_calls: tuple[ToolCall, ...] = ()
    log_weight: float | None = None
    """Log of the importance weight, in nats, where a `weighted` rule held."""
    violation: str | None = None
    """Identity of a decoding rule that the whole text breaks, although the engine was to hold it."""
    num_tokens: int | None = field(default=None, compare=False)
    """As a prompt's value, where the engine names no tokens: this one's share of those that its
    reply used. None where `token_ids` tell, or nothing does."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, and model calls, that were paid for."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    """All tokens generated, thinking included."""
    cached_tokens: int = 0
    """Prompt tokens that the engine had in its cache; part of `prompt_tokens`."""
    calls: int = 0

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.calls + other.calls,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """The completions of one request, in index order, and what they used."""

    completions: tuple[Completion, ...]
    usage: Usage
    model: str = ""
    decoding: str = ""
    """How the decoding rules were carried out, such as `cfg: processor, V1 runner`."""
    rewards: tuple[tuple[float, ...], ...] = ()
    """What a reward model gave, instead of completions: for the prompt, or for each step in it, the
    number of each of its classes, before any activation."""
    embedding: Embedding | None = None
    """The prompt as a vector, instead of completions."""
    next_tokens: NextTokens | None = None
    """What may come next, instead of completions."""


OnDelta: TypeAlias = Callable[[int, str], None]
"""Called with the completion's index and its next piece of text."""


@runtime_checkable
class Engine(Protocol):
    """Serves completions. Cancelling `complete` aborts the request in the engine.

    `complete` makes one attempt: retries, limits of concurrency and budgets are the runtime's.
    Every failure is an `EngineError`; foreign errors are mapped before they leave.
    """

    @property
    def url(self) -> str:
        """Identity of the engine; part of the cache key."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    @property
    def context_tokens(self) -> int | None:
        """Most tokens of prompt and completion together; None where unknown."""
        ...

    @property
    def max_concurrency(self) -> int:
        """Most requests to keep in flight."""
        ...

    async def complete(self, request: Request, on_delta: OnDelta | None = None) -> Reply:
        """Answer `request`; with `on_delta`, report text while it is generated."""
        ...

    async def count_tokens(self, prompt: Chat | str | tuple[int, ...]) -> int | None:
        """Return the exact number of prompt tokens, or None where the engine cannot say."""
        ...

    async def aclose(self) -> None:
        """Release connections; requests in flight are aborted.

        An engine whose connections belong to an event loop also releases them when the loop
        shuts down (its asynchronous generators are closed then), since nobody may call this.
        """
        ...


@runtime_checkable
class RuleEngine(Protocol):
    """An engine that carries out rules of `motet.decoding`."""

    @property
    def decoding_rules(self) -> Mapping[str, str]:
        """Kinds of rules that it carries out, each with how, such as `processor, V1 runner`."""
        ...


@runtime_checkable
class SelectiveEngine(Protocol):
    """An engine on which not all settings go with all of its rules."""

    def rule_problem(self, sampling: Sampling) -> str | None:
        """Say which of these settings cannot hold beside the rules among them; None if all can."""
        ...


@runtime_checkable
class MeteredEngine(Protocol):
    """An engine that answers some requests by several of its own."""

    async def most_usage(self, request: Request) -> Usage | None:
        """Return the most that answering `request` uses, as far as can be told before.

        None is a request for each completion, and for each side of a pair. What may take more for
        reasons that show only later asks `Request.meter` for it.
        """
        ...


@runtime_checkable
class LearningEngine(Protocol):
    """An engine that has to be asked what it can do."""

    async def prepare(self) -> None:
        """Learn what the engine can do; again is free.

        Raises:
            EngineError: It cannot be asked now; it is then taken to be able to do the least.
        """
        ...
