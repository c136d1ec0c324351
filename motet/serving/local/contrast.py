"""What a completion's logits are compared with: another prompt's, or those of earlier layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motet.decoding import AdaCad, Cad, Dola
from motet.serving.decoding import guidance
from motet.serving.decoding.layers import candidate_layers, contrasted
from motet.serving.local.rule_set import Paired, RuleSet

if TYPE_CHECKING:
    from motet.serving.local.model import LoadedModel


@dataclass(frozen=True, slots=True)
class Seen:
    """Logits of a step besides those of the prompt's last layer."""

    partner: Any = None
    """float `[V]` of the other prompt."""
    early: Any = None
    """float `[K, V]` of the K candidate layers."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """The rules of a completion that compare distributions."""

    paired: Paired | None = None
    dola: Dola | None = None
    layers: tuple[int, ...] = ()
    """The K candidate layers of `dola`."""

    def mixed(self, logits: Any, seen: Seen) -> Any:
        """Return `logits` `[V]` mixed with the other prompt's; they stay as they are."""
        rule = self.paired
        if rule is None:
            return logits
        if isinstance(rule, Cad):
            return guidance.cad(logits, seen.partner, rule.alpha)
        if isinstance(rule, AdaCad):
            return guidance.adacad(logits, seen.partner, rule.floor)
        return guidance.guided(logits, seen.partner, rule.gamma)

    def contrasted(self, logits: Any, seen: Seen) -> Any:
        """Return `logits` `[V]` contrasted with earlier layers; they stay as they are."""
        rule = self.dola
        if rule is None:
            return logits
        mature, early = logits.unsqueeze(0), seen.early.unsqueeze(0)
        return contrasted(mature, early, rule.relative_top, rule.divergence)[0]


def make_contrast(rules: RuleSet, model: LoadedModel) -> Contrast | None:
    """Return what the completions of a request compare, or None.

    Raises:
        ConfigError: The model lacks a layer that a rule names.
    """
    if rules.paired is None and rules.dola is None:
        return None
    layers: list[int] = []
    if rules.dola is not None:
        is_tied = bool(model.network.config.tie_word_embeddings)
        layers = candidate_layers(rules.dola.layers, model.num_layers, is_tied=is_tied)
    return Contrast(rules.paired, rules.dola, tuple(layers))
