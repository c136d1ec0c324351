"""Constraints of text, as a mask over the vocabulary, by llguidance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from motet.engine import Constraint

if TYPE_CHECKING:
    from motet.serving.local.constraint import Grammar, GrammarCompiler, Matcher


class GrammarMask:
    """Where one completion stands in its grammar."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher

    def advance(self, tokens: Sequence[int]) -> None:
        """Go on by generated tokens.

        Raises:
            RequestRejectedError: The grammar takes no such token.
        """
        for token in tokens:
            self._matcher.consume(token)

    def mask(self, logits: Any) -> None:
        """Set all of `logits`, float `[V]`, to -inf but the tokens that may come next."""
        import torch

        allowed = torch.from_numpy(self._matcher.allowed()).to(logits.device)
        logits.masked_fill_(~allowed[: logits.shape[0]], float("-inf"))


class ConstraintCompiler:
    """Compiles constraints for a tokenizer that is loaded when the first one comes."""

    def __init__(
        self, tokenizer: Callable[[], Any], vocab_size: int, eos_ids: Iterable[int]
    ) -> None:
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._eos_ids = frozenset(eos_ids)
        self._compiler: GrammarCompiler | None = None
        self._compiled = lru_cache(maxsize=64)(self._compile)

    def mask(self, rule: Mapping[str, Any]) -> GrammarMask:
        """Return a mask at the beginning of the constraint of a rule's parameters.

        Raises:
            RequestRejectedError: It is not valid, or no text can match it.
        """
        grammar = self._compiled(rule["kind"], json.dumps(rule["value"]))
        return GrammarMask(grammar.matcher())

    def _compile(self, kind: Any, written: str) -> Grammar:
        if self._compiler is None:
            from motet.serving.local.constraint import GrammarCompiler

            self._compiler = GrammarCompiler(self._tokenizer(), self._vocab_size, self._eos_ids)
        value = json.loads(written)
        return self._compiler.compile(Constraint(kind, tuple(value) if kind == "choice" else value))
