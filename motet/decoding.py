"""Decoding rules as a program states them: data, which the engines carry out.

    ask.on(model, decoding=cfg(gamma=1.5, negative="You are rude.") & regex(r"[A-Z].*"))

A rule holds no tensor and imports none; the formulas stand in `motet.serving.decoding`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeAlias

from motet.engine import Constraint, DecodingRule, Sampling
from motet.errors import ConfigError
from motet.types import JSON, Chat, Message

Divergence: TypeAlias = Literal["jsd", "reference"]
Texts: TypeAlias = Sequence[str | Sequence[int]]
_NEUTRAL = (("presence_penalty", 0.0), ("frequency_penalty", 0.0), ("repetition_penalty", 1.0))


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules that hold together, in order; what `&` makes."""

    rules: tuple[DecodingRule, ...]

    def __and__(self, other: DecodingRule | Rules) -> Rules:
        return Rules((*self.rules, *_parts(other)))

    def __iter__(self) -> Any:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)


def _parts(rule: Any) -> tuple[DecodingRule, ...]:
    if isinstance(rule, Rules):
        return rule.rules
    if isinstance(rule, DecodingRule):
        return (rule,)
    raise ConfigError(f"{rule!r} is no decoding rule")


class Rule:
    """Base of the rules that motet has; each is a frozen dataclass of plain values."""

    kind: ClassVar[str]
    """Name of the rule, also where it travels to an engine."""

    def parameters(self) -> dict[str, JSON]:
        """The rule's settings as JSON values; those at None are left out."""
        found = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in found.items() if value is not None}

    @property
    def identity(self) -> str:
        """Name and parameters as one text: part of the cache's key."""
        written = json.dumps(self.parameters(), sort_keys=True, separators=(",", ":"))
        return f"{self.kind}{written}"

    def __and__(self, other: DecodingRule | Rules) -> Rules:
        return Rules((self, *_parts(other)))

    def __rand__(self, other: DecodingRule) -> Rules:
        return Rules((*_parts(other), self))


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        return [value.role, value.content]
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value


class PairedRule(Rule):
    """A rule that mixes the next-token distributions of two prompts into one continuation."""

    without: str | None
    negative: str | Chat | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cfg(PairedRule):
    """See `cfg`."""

    kind: ClassVar[str] = "cfg"
    gamma: float
    negative: str | Chat | None = None
    without: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cad(PairedRule):
    """See `cad`."""

    kind: ClassVar[str] = "cad"
    alpha: float
    without: str | None = None
    negative: str | Chat | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaCad(PairedRule):
    """See `adacad`."""

    kind: ClassVar[str] = "adacad"
    floor: float
    without: str | None = None
    negative: str | Chat | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dola(Rule):
    """See `dola`."""

    kind: ClassVar[str] = "dola"
    layers: Literal["low", "high"] | tuple[int, ...]
    relative_top: float
    divergence: Divergence


@dataclass(frozen=True, slots=True, kw_only=True)
class Trie(Rule):
    """See `trie`."""

    kind: ClassVar[str] = "trie"
    members: tuple[str | tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Length(Rule):
    """See `length`."""

    kind: ClassVar[str] = "length"
    min_tokens: int | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(Rule):
    """See `stops_at` and `stops_before`."""

    kind: ClassVar[str] = "stop"
    text: str
    is_kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Constrained(Rule):
    """See `regex`, `json_schema`, `choice` and `grammar`."""

    kind: ClassVar[str] = "constraint"
    constraint: Constraint

    def parameters(self) -> dict[str, JSON]:
        return {"kind": self.constraint.kind, "value": _plain(self.constraint.value)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted(Rule):
    """See `weighted`."""

    kind: ClassVar[str] = "weighted"
    rule: Trie | Constrained

    def parameters(self) -> dict[str, JSON]:
        return {"rule": self.rule.kind, **self.rule.parameters()}


def choosing_problem(sampling: Sampling) -> str | None:
    """Say what of `sampling` cannot hold where a rule chooses the token outside vLLM's sampler.

    Paired and weighted rules do so. The local engine has no such bound.
    """
    choosing = [rule for rule in sampling.decoding if isinstance(rule, (PairedRule, Weighted))]
    if not choosing:
        return None
    kind = choosing[0].kind
    for name, neutral in _NEUTRAL:
        value = getattr(sampling, name)
        if value is not None and value != neutral:
            return f"{name} is {value}; a {kind} rule chooses the token itself on vLLM, without it"
    if sampling.logprobs is not None:
        return f"logprobs is {sampling.logprobs}; vLLM reports none of what a {kind} rule chooses"
    for name in sampling.extra:
        if name in Sampling.__slots__:
            return f"extra has {name!r}, which a {kind} rule would pass over; set {name} by itself"
    return None


def cfg(
    gamma: float = 1.5, *, negative: str | Chat | None = None, without: str | None = None
) -> Cfg:
    """Classifier-free guidance: push the answer towards the prompt, away from another.

    log p(w) is proportional to log p(w | other) + gamma (log p(w | prompt) - log p(w | other)).

    Args:
        gamma: 1 is plain decoding, 0 follows the other prompt alone.
        negative: The other prompt: a text that replaces the system turn (or comes as one), or a
            whole chat. None is the prompt's last token alone.
        without: Instead of `negative`, the prompt's parameter that the other prompt leaves empty.

    Source: Sanchez et al. 2023, https://arxiv.org/abs/2306.17806.
    """
    _check_number("gamma", gamma, 0.0)
    return Cfg(gamma=float(gamma), **_other(negative, without))


def cad(
    alpha: float = 0.5, *, without: str | None = None, negative: str | Chat | None = None
) -> Cad:
    """Context-aware decoding: weigh what the context adds to what the model remembers.

    The logits are (1 + alpha) z(context, question) - alpha z(question).

    Args:
        alpha: 0 is plain decoding; 1 for short answers, 0.5 for summaries in the paper.
        without: The prompt's parameter that holds the context; it is empty in the other prompt.
        negative: Instead of `without`, the other prompt, as for `cfg`.

    Source: Shi et al. 2023, https://arxiv.org/abs/2305.14739.
    """
    _check_number("alpha", alpha, 0.0)
    return Cad(alpha=float(alpha), **_other(negative, without))


def adacad(
    *, floor: float = 0.0, without: str | None = None, negative: str | Chat | None = None
) -> AdaCad:
    """Context-aware decoding whose alpha is, at every token, how far the two prompts disagree.

    alpha is the Jensen-Shannon divergence of the two distributions, in nats, at most ln 2.

    Args:
        floor: Least alpha; the paper takes 0.3 for long outputs.
        without: The prompt's parameter that holds the context; it is empty in the other prompt.
        negative: Instead of `without`, the other prompt, as for `cfg`.

    Source: Wang et al. 2024, https://arxiv.org/abs/2409.07394.
    """
    _check_number("floor", floor, 0.0)
    return AdaCad(floor=float(floor), **_other(negative, without))


def dola(
    layers: Literal["low", "high"] | Sequence[int] = "high",
    *,
    relative_top: float = 0.1,
    divergence: Divergence = "jsd",
) -> Dola:
    """Contrast the last layer with the earlier one that differs most.

    Args:
        layers: Candidates: even layers of the lower or the upper half, or their numbers.
        relative_top: Tokens below this share of the most likely one's probability are left out.
        divergence: `jsd` as the paper says, or `reference` as its code computes.

    Source: Chuang et al. 2023, https://arxiv.org/abs/2309.03883.
    """
    if isinstance(layers, str):
        if layers not in ("low", "high"):
            raise ConfigError(f"layers is {layers!r}; it must be 'low', 'high' or layer numbers")
        chosen: Any = layers
    else:
        chosen = tuple(layers)
        if not chosen or any(type(n) is not int or n < 0 for n in chosen):
            raise ConfigError(f"layers is {layers!r}; it must hold layer numbers from 0")
        if len(set(chosen)) != len(chosen):
            raise ConfigError(f"layers is {layers!r}; each number may stand once")
    _check_number("relative_top", relative_top, 0.0, 1.0)
    if divergence not in ("jsd", "reference"):
        raise ConfigError(f"divergence is {divergence!r}; it must be 'jsd' or 'reference'")
    return Dola(layers=chosen, relative_top=float(relative_top), divergence=divergence)


def trie(members: Texts) -> Trie:
    """Allow only the members, token by token; the completion ends with a member's last token.

    Args:
        members: Texts, which the engine tokenises each by itself, or token ids. One may begin
            another.
    """
    found = tuple(m if isinstance(m, str) else tuple(m) for m in _listed("members", members))
    if not found:
        raise ConfigError("members is empty; it must hold a text or token ids")
    for member in found:
        is_ids = isinstance(member, tuple) and all(type(t) is int and t >= 0 for t in member)
        if not member or not (isinstance(member, str) or is_ids):
            raise ConfigError(f"members holds {member!r}; each must be a text or token ids")
    return Trie(members=tuple(dict.fromkeys(found)))


def length(*, min_tokens: int | None = None, max_tokens: int | None = None) -> Length:
    """End the completion no earlier than `min_tokens` and no later than `max_tokens`.

    At `max_tokens` the model's own end of turn is chosen, so the reply counts as whole.
    """
    for name, value in (("min_tokens", min_tokens), ("max_tokens", max_tokens)):
        if value is not None and (type(value) is not int or value < 1):
            raise ConfigError(f"{name} is {value!r}; it must be at least 1")
    if min_tokens is None and max_tokens is None:
        raise ConfigError("length() takes min_tokens, max_tokens or both")
    if min_tokens is not None and max_tokens is not None and min_tokens > max_tokens:
        raise ConfigError(f"min_tokens is {min_tokens}, above max_tokens, {max_tokens}")
    return Length(min_tokens=min_tokens, max_tokens=max_tokens)


def stops_at(text: str) -> Stop:
    """End the completion behind `text`, which is kept."""
    return Stop(text=_text("text", text), is_kept=True)


def stops_before(text: str) -> Stop:
    """End the completion where `text` begins."""
    return Stop(text=_text("text", text), is_kept=False)


def regex(pattern: str) -> Constrained:
    """Allow only texts that the whole pattern matches."""
    try:
        re.compile(_text("pattern", pattern))
    except re.error as exc:
        raise ConfigError(f"pattern is {pattern!r}; it does not compile: {exc}") from exc
    return Constrained(constraint=Constraint("regex", pattern))


def json_schema(schema: Mapping[str, Any] | type) -> Constrained:
    """Allow only JSON of this schema: a dict, or a pydantic model's."""
    if isinstance(schema, type):
        schema = schema.model_json_schema()  # type: ignore[attr-defined]
    if not isinstance(schema, Mapping):
        raise ConfigError(f"schema is {schema!r}; it must be a JSON schema or a pydantic model")
    import jsonschema

    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except jsonschema.SchemaError as exc:
        raise ConfigError(f"schema is no JSON schema: {exc.message}") from exc
    return Constrained(constraint=Constraint("json_schema", dict(schema)))


def choice(options: Sequence[str]) -> Constrained:
    """Allow only one of `options`."""
    found = _listed("options", options)
    if not found or not all(isinstance(text, str) and text for text in found):
        raise ConfigError(f"options is {options!r}; it must hold texts that are not empty")
    return Constrained(constraint=Constraint("choice", found))


def grammar(lark: str) -> Constrained:
    """Allow only texts of a Lark grammar."""
    return Constrained(constraint=Constraint("grammar", _text("lark", lark)))


def weighted(rule: Trie | Constrained) -> Weighted:
    """Hold `rule`, and report what holding it has cost: `Completion.log_weight`.

    Masking alone distorts: a token that is forced looks as likely as one that was chosen. The
    weight is the sum, over the tokens, of the log of the probability that the model gave to all
    that the rule allowed. Samples with these weights are proper samples of the model under the
    rule; the mean of their exponentials estimates the probability that the model keeps it.

    Source: Lew et al. 2023, https://arxiv.org/abs/2306.03081. Departure: particles do not
    interact inside the engine's step; resampling is the caller's.
    """
    if not isinstance(rule, (Trie, Constrained)):
        raise ConfigError(f"weighted() takes a trie or a constraint, not {rule!r}")
    return Weighted(rule=rule)


def _other(negative: str | Chat | None, without: str | None) -> dict[str, Any]:
    if negative is not None and without is not None:
        raise ConfigError("give negative or without, not both")
    if without is not None and not (isinstance(without, str) and without.isidentifier()):
        raise ConfigError(f"without is {without!r}; it must name a parameter of the prompt")
    if negative is not None and not isinstance(negative, str):
        negative = tuple(negative)
        if not negative or not all(isinstance(m, Message) for m in negative):
            raise ConfigError(f"negative is {negative!r}; it must be a text or messages")
    return {"negative": negative, "without": without}


def _listed(name: str, value: Iterable[Any]) -> tuple[Any, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ConfigError(f"{name} is {value!r}; it must be a list")
    return tuple(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} is {value!r}; it must be a text that is not empty")
    return value


def _check_number(name: str, value: float, low: float, high: float = math.inf) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        bound = f"between {low:g} and {high:g}" if high < math.inf else f"{low:g} or more"
        raise ConfigError(f"{name} is {value!r}; it must be {bound}")
