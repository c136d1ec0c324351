"""Constraints as masks over the vocabulary, by llguidance."""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from motet.errors import RequestRejectedError

if TYPE_CHECKING:
    from motet.engine import Constraint


class Grammar:
    """A compiled constraint; each completion takes a matcher of its own."""

    def __init__(self, matcher: Any, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size

    def matcher(self) -> Matcher:
        """Return a matcher at the grammar's beginning."""
        return Matcher(self._matcher.deep_copy(), self._vocab_size)


class Matcher:
    """Where one completion stands in its grammar. V is the size of the vocabulary."""

    def __init__(self, matcher: Any, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size

    def allowed(self) -> Any:
        """Return bool numpy array `[V]`: the tokens that may come next.

        Raises:
            RequestRejectedError: No text can match, or the grammar became too complex.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        if self._matcher.is_error():
            raise RequestRejectedError(
                f"the constraint cannot go on: {self._matcher.get_error()}", status=400
            )
        mask = np.unpackbits(bits, bitorder="little")[: self._vocab_size]
        if mask.size < self._vocab_size:
            mask = np.pad(mask, (0, self._vocab_size - mask.size))
        return mask.astype(bool)

    def consume(self, token: int) -> None:
        """Go on by a token that `allowed` permits.

        Raises:
            RequestRejectedError: The grammar takes no such token, or became too complex.
        """
        if not self._matcher.consume_token(token):
            raise RequestRejectedError(
                f"the constraint cannot go on: {self._matcher.get_error()}", status=400
            )

    @property
    def is_complete(self) -> bool:
        """Whether the grammar is matched and nothing may follow."""
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()


class GrammarCompiler:
    """Compiles constraints for one tokenizer; safe from several threads."""

    def __init__(
        self, tokenizer: Any, vocab_size: int, eos_ids: frozenset[int], *, vocabulary: Any = None
    ) -> None:
        """Take a tokenizer of transformers, or llguidance's own form of one as `vocabulary`."""
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._eos_ids = sorted(eos_ids)
        self._lock = threading.Lock()
        self._vocabulary = vocabulary

    def compile(self, constraint: Constraint) -> Grammar:
        """Compile `constraint`, or say why it is none.

        Raises:
            RequestRejectedError: It is not valid, or no text at all can match it.
        """
        from llguidance import LLMatcher

        try:
            source = _grammar_source(constraint)
            vocabulary = self._get_vocabulary()
            matcher = LLMatcher(vocabulary, source, log_level=0)
        except (ValueError, TypeError) as exc:
            raise _rejected(constraint, str(exc)) from exc
        if matcher.is_error():
            raise _rejected(constraint, matcher.get_error())
        grammar = Grammar(matcher, self._vocab_size)
        try:
            is_possible = grammar.matcher().allowed().any()
        except RequestRejectedError as exc:
            raise _rejected(constraint, "no text can match it") from exc
        if not is_possible:
            raise _rejected(constraint, "no text can match it")
        return grammar

    def _get_vocabulary(self) -> Any:
        with self._lock:
            if self._vocabulary is None:
                from llguidance.hf import from_tokenizer

                self._vocabulary = from_tokenizer(
                    self._tokenizer, n_vocab=self._vocab_size, eos_token=self._eos_ids
                )
            return self._vocabulary


def _grammar_source(constraint: Constraint) -> str:
    """Return llguidance's own form of the constraint."""
    from llguidance import LLMatcher

    value = constraint.value
    if constraint.kind == "json_schema":
        compact = {"whitespace_flexible": False}
        return str(LLMatcher.grammar_from_json_schema(value, overrides=compact))
    if constraint.kind == "choice":
        if isinstance(value, str) or not all(isinstance(text, str) and text for text in value):
            raise ValueError("choices must be texts that are not empty")
        if not value:
            raise ValueError("there are no choices")
        return str(LLMatcher.grammar_from_regex("|".join(_literal(text) for text in value)))
    if not isinstance(value, str):
        raise TypeError(f"its value is a {type(value).__name__}, not a text")
    if constraint.kind == "regex":
        return str(LLMatcher.grammar_from_regex(value))
    return str(LLMatcher.grammar_from_lark(value))


def _literal(text: str) -> str:
    """Escape `text` as Rust's regular expressions want it: only the characters with a meaning."""
    return re.sub(r"[\\.+*?()|\[\]{}^$#&\-~/]", lambda found: "\\" + found[0], text)


def _rejected(constraint: Constraint, why: str) -> RequestRejectedError:
    shown = json.dumps(constraint.value, default=str)
    shown = shown if len(shown) <= 200 else shown[:200] + "..."
    return RequestRejectedError(
        f"constraint {constraint.kind} {shown} is not valid: {why.strip()}", status=400
    )
