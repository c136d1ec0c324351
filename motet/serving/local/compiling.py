"""Make a request's rules ready for its completions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from motet.decoding import Length, Trie
from motet.serving.decoding.trie import TokenTrie
from motet.serving.local.masks import MakeMask, make_grammar, make_length, make_trie

if TYPE_CHECKING:
    from motet.engine import Constraint
    from motet.serving.local.rule_set import Masked, RuleSet
    from motet.serving.local.server import Parts


def compile_masks(rules: RuleSet, constraint: Constraint | None, parts: Parts) -> list[MakeMask]:
    """Return what makes the masks of one completion: those of `rules`, and of `constraint`.

    Raises:
        RequestRejectedError: A constraint or a member of a trie is wrong.
    """
    makers = [_compile(masked, parts) for masked in rules.masked]
    if constraint is not None:
        makers.append(partial(make_grammar, parts.grammars.compile(constraint)))
    return makers


def _compile(masked: Masked, parts: Parts) -> MakeMask:
    rule, is_weighted = masked.rule, masked.is_weighted
    eos_ids = parts.model.eos_ids
    if isinstance(rule, Length):
        return partial(make_length, rule.min_tokens, rule.max_tokens, eos_ids)
    if isinstance(rule, Trie):
        members = [parts.prompts.encode_part("members", member) for member in rule.members]
        return partial(make_trie, TokenTrie(members), eos_ids, is_weighted=is_weighted)
    grammar = parts.grammars.compile(rule.constraint)
    return partial(make_grammar, grammar, is_weighted=is_weighted)
