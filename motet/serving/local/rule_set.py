"""The decoding rules of a request, read and sorted by what carries them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from motet.decoding import (
    AdaCad,
    Cad,
    Cfg,
    Constrained,
    Dola,
    Length,
    Rule,
    Stop,
    Trie,
    Weighted,
)
from motet.engine import DecodingRule, LogitsRule, Request
from motet.errors import ConfigError

Paired: TypeAlias = Cfg | Cad | AdaCad
Masking: TypeAlias = Trie | Length | Constrained

KINDS: Final = tuple(
    rule.kind for rule in (Cfg, Cad, AdaCad, Dola, Trie, Length, Stop, Constrained, Weighted)
)
HOW: Final = "in the step"


@dataclass(frozen=True, slots=True)
class Masked:
    """A rule that leaves some tokens out."""

    rule: Masking
    is_weighted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """The rules of one request."""

    paired: Paired | None = None
    dola: Dola | None = None
    own: tuple[LogitsRule, ...] = ()
    masked: tuple[Masked, ...] = ()
    stops: tuple[str, ...] = ()
    """Texts that end a completion, `Sampling.stop` included."""
    kept_stops: frozenset[str] = frozenset()
    """Those of them that stay in the text."""
    how: str = ""
    """What `Reply.decoding` says."""


def read_rules(request: Request) -> RuleSet:
    """Sort the rules of `request`.

    Raises:
        ConfigError: A rule is unknown, stands against another, or lacks the other prompt.
    """
    paired: list[Paired] = []
    dola: list[Dola] = []
    own: list[LogitsRule] = []
    masked: list[Masked] = []
    stops: list[Stop] = []
    for rule in request.sampling.decoding:
        if isinstance(rule, (Cfg, Cad, AdaCad)):
            paired.append(rule)
        elif isinstance(rule, Dola):
            dola.append(rule)
        elif isinstance(rule, Stop):
            stops.append(rule)
        elif isinstance(rule, (Trie, Length, Constrained)):
            masked.append(Masked(rule))
        elif isinstance(rule, Weighted):
            masked.append(Masked(rule.rule, is_weighted=True))
        elif isinstance(rule, LogitsRule):
            own.append(rule)
        else:
            raise ConfigError(
                f"decoding holds {_name(rule)}, which cannot be called and is no rule that the "
                f"local engine knows; it knows {', '.join(KINDS)}"
            )
    for several in (paired, dola):
        if len(several) > 1:
            names = " and ".join(map(_name, several))
            raise ConfigError(f"decoding holds {names}; one of them can hold at a time")
    _check_partner(request, paired)
    return RuleSet(
        paired=paired[0] if paired else None,
        dola=dola[0] if dola else None,
        own=tuple(own),
        masked=tuple(masked),
        stops=(*request.sampling.stop, *(stop.text for stop in stops)),
        kept_stops=frozenset(stop.text for stop in stops if stop.is_kept)
        - {*request.sampling.stop, *(stop.text for stop in stops if not stop.is_kept)},
        how=_how(request.sampling.decoding),
    )


def _check_partner(request: Request, paired: Sequence[Paired]) -> None:
    if request.partner is not None and not paired:
        raise ConfigError("partner is given, but no rule of decoding takes another prompt")
    if paired and request.partner is None:
        rule = paired[0]
        raise ConfigError(f"partner is None; {_name(rule)} needs the other prompt")


def _how(rules: Sequence[DecodingRule]) -> str:
    kinds = dict.fromkeys(r.kind if isinstance(r, Rule) else r.identity for r in rules)
    return "; ".join(f"{kind}: {HOW}" for kind in kinds)


def _name(rule: Any) -> str:
    return str(getattr(rule, "identity", None) or repr(rule))
