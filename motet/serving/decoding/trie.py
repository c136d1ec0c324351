"""A trie of token ids, and its mask over the vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


class TokenTrie:
    """Sequences of token ids; a node is a number, 0 the root."""

    def __init__(self, members: Iterable[Sequence[int]]) -> None:
        self._children: list[dict[int, int]] = [{}]
        self._members: set[int] = set()
        for member in members:
            node = 0
            for token in member:
                children = self._children[node]
                if token not in children:
                    children[token] = len(self._children)
                    self._children.append({})
                node = children[token]
            self._members.add(node)
        if not self._members:
            raise ValueError("members is empty; it must hold token ids")

    def after(self, node: int, token: int) -> int | None:
        """Return the node that `token` leads to, or None where no member goes on so."""
        return self._children[node].get(token)

    def allowed(self, node: int) -> tuple[int, ...]:
        """Return the tokens that go on from `node`, without the end of turn."""
        return tuple(self._children[node])

    def is_member(self, node: int) -> bool:
        """Say whether a member ends at `node`; the end of turn is then allowed."""
        return node in self._members


class TrieMask:
    """Where one completion stands in a trie."""

    def __init__(self, trie: TokenTrie, eos_ids: Iterable[int]) -> None:
        """Stand at the root; a member ends with one of `eos_ids`."""
        self._trie = trie
        self._eos_ids = tuple(sorted(eos_ids))
        self._node = 0
        self._has_ended = False

    def advance(self, tokens: Sequence[int]) -> None:
        """Go on by generated tokens.

        Raises:
            ValueError: No member goes on so.
        """
        for token in tokens:
            if self._has_ended:
                raise ValueError(f"token {token} stands behind the end of turn")
            node = self._trie.after(self._node, token)
            if node is not None:
                self._node = node
            elif token in self._eos_ids and self._trie.is_member(self._node):
                self._has_ended = True
            else:
                raise ValueError(f"no member of the trie goes on with token {token}")

    def allowed(self) -> list[int]:
        """Return the tokens that may come next, the end of turn among them."""
        if self._has_ended:
            return list(self._eos_ids)
        found = list(self._trie.allowed(self._node))
        if self._trie.is_member(self._node):
            found += [token for token in self._eos_ids if token not in found]
        return found

    def mask(self, logits: Any) -> None:
        """Set all of `logits`, float `[V]`, to -inf but the tokens that may come next."""
        allowed = [token for token in self.allowed() if token < logits.shape[0]]
        kept = logits[allowed]
        logits.fill_(float("-inf"))
        logits[allowed] = kept
