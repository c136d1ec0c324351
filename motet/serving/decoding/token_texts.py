"""Texts of single tokens, as they stand in the middle of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet.serving.decoding.texts import INCOMPLETE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


class TokenTexts:
    """What each token of a tokenizer adds to a text; safe from several threads."""

    def __init__(self, backend: Any, special_ids: Collection[int] = ()) -> None:
        """Make it of a tokenizer of the package `tokenizers`."""
        self._backend = backend
        self._special_ids = frozenset(special_ids)
        # Some tokenizers drop the space that a text begins with, so a token stands before each.
        self._anchor: list[int] = list(backend.encode(".", add_special_tokens=False).ids)
        self._known: dict[int, str] = {}

    def of(self, ids: Sequence[int]) -> tuple[str, ...]:
        """Return the texts of tokens, each by itself; special tokens have none."""
        missing = [token for token in dict.fromkeys(ids) if token not in self._known]
        shown = [token for token in missing if token not in self._special_ids]
        texts = self._backend.decode_batch([[*self._anchor, token] for token in shown])
        start = len(self._backend.decode(self._anchor))
        found = dict.fromkeys(missing, "")
        found |= {token: text[start:] for token, text in zip(shown, texts, strict=True)}
        self._known |= found
        return tuple(self._known[token] for token in ids)

    def joined(self, ids: Sequence[int]) -> str:
        """Return the text of tokens that stand behind others."""
        pieces = self.of(ids)
        if not any(INCOMPLETE in piece for piece in pieces):
            return "".join(pieces)
        kept = [token for token in ids if token not in self._special_ids]
        start = len(self._backend.decode(self._anchor))
        return str(self._backend.decode([*self._anchor, *kept])[start:])
