"""Constraints of text, as a mask over the vocabulary, by llguidance."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from motet.engine import Constraint
from motet.errors import RequestRejectedError

if TYPE_CHECKING:
    from motet.serving.local.constraint import Grammar, GrammarCompiler, Matcher


_NAMED_TOKEN = re.compile(r"<[^<>\s]+>")
"""Where a Lark grammar names tokens of the model."""


def constraint_problem(rule: Mapping[str, Any]) -> str:
    """Say why a constraint of these parameters cannot hold with any model, or return ''.

    It is compiled over the 256 bytes, of which every vocabulary's texts are made. A grammar that
    names the model's own tokens is taken to be sound. Asking again is free.
    """
    if rule["kind"] == "grammar" and _NAMED_TOKEN.search(rule["value"]):
        return ""
    return _problem_over_bytes(rule["kind"], json.dumps(rule["value"]))


@lru_cache(maxsize=256)
def _problem_over_bytes(kind: str, written: str) -> str:
    try:
        _byte_compiler().compile(_constraint(kind, written))
    except ImportError:
        return ""
    except RequestRejectedError as exc:
        return str(exc)
    return ""


@lru_cache(maxsize=1)
def _byte_compiler() -> GrammarCompiler:
    from llguidance import LLTokenizer

    from motet.serving.local.constraint import GrammarCompiler

    vocabulary = LLTokenizer("byte")
    return GrammarCompiler(None, vocabulary.vocab_size, frozenset(), vocabulary=vocabulary)


def _constraint(kind: Any, written: str) -> Constraint:
    value = json.loads(written)
    return Constraint(kind, tuple(value) if kind == "choice" else value)


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
        return self._compiler.compile(_constraint(kind, written))
