"""The tree that a search has built: who came from whom, with what score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import core_schema

from motet.digest import digest_bytes, encode
from motet.search.partials import Partial, Step

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


@dataclass(frozen=True, slots=True)
class Node:
    """A partial solution in the tree; it holds its last step only."""

    id: int
    """Its place, counted from 0, the root; a parent stands before its children."""
    parent: int | None
    depth: int
    step: Step | None
    """None at the root."""
    score: float | None = None
    visits: int = 0
    value: float | None = None
    """Mean return of the visits, where the search keeps one."""


class Tree:
    """An append-only tree. Adding returns a new one, which shares all that was there before.

    A tree that was added to once is added to at no cost; to grow two trees out of the same one
    copies it.
    """

    __slots__ = ("_nodes", "_size")

    def __init__(self) -> None:
        self._nodes = [Node(0, None, 0, None)]
        self._size = 1

    @classmethod
    def of(cls, nodes: Sequence[Node]) -> Tree:
        """Return a tree of `nodes`, in the order of their ids.

        Raises:
            ValueError: There is no root, an id is not its place, a parent does not stand before its
                child, or a depth is not the parent's and one.
        """
        if not nodes:
            raise ValueError("a tree has a root at least")
        for place, node in enumerate(nodes):
            if node.id != place or (node.parent is None) != (place == 0):
                raise ValueError(f"node {node.id} stands at place {place}")
            if node.parent is not None and not 0 <= node.parent < place:
                raise ValueError(f"the parent of node {place} is {node.parent}")
            depth = 0 if node.parent is None else nodes[node.parent].depth + 1
            if node.depth != depth or (node.step is None) != (place == 0):
                raise ValueError(f"node {place} is not what its parent says")
        tree = cls()
        tree._nodes, tree._size = list(nodes), len(nodes)
        return tree

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, node: int) -> Node:
        if not 0 <= node < self._size:
            raise IndexError(f"the tree has no node {node}")
        return self._nodes[node]

    def __iter__(self) -> Iterator[Node]:
        return (self._nodes[i] for i in range(self._size))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tree) or len(self) != len(other):
            return False
        return self._nodes is other._nodes or list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Tree of {self._size}>"

    @property
    def identity(self) -> str:
        """Tells it from other trees where it is an input or a value of a call."""
        pieces: list[bytes] = []
        encode(list(self), pieces, repr)
        return f"tree:{digest_bytes(b''.join(pieces))}"

    def grown(self, children: Sequence[tuple[int, Step, float | None]]) -> tuple[Tree, list[int]]:
        """Return the tree with `children` as (parent, step, score), and their ids."""
        nodes = self._nodes if len(self._nodes) == self._size else self._nodes[: self._size]
        ids = []
        for parent, step, score in children:
            if not 0 <= parent < len(nodes):
                raise IndexError(f"the tree has no node {parent}")
            ids.append(len(nodes))
            nodes.append(Node(len(nodes), parent, nodes[parent].depth + 1, step, score))
        tree = object.__new__(Tree)
        tree._nodes, tree._size = nodes, len(nodes)
        return tree, ids

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Written as the list of its nodes."""
        return core_schema.no_info_after_validator_function(
            cls.of,
            handler(list[Node]),
            serialization=core_schema.plain_serializer_function_ser_schema(
                list, info_arg=False, return_schema=handler(list[Node])
            ),
        )

    def path(self, node: int) -> list[int]:
        """Return the ids from the root to `node`."""
        found = [node]
        while (parent := self[found[-1]].parent) is not None:
            found.append(parent)
        return found[::-1]

    def partial(self, node: int) -> Partial:
        """Return the partial solution that `node` stands for."""
        steps = (self[each].step for each in self.path(node))
        return Partial(tuple(step for step in steps if step is not None))

    def children(self) -> dict[int, list[int]]:
        """Return the ids of each node's children; nodes without any are left out."""
        found: dict[int, list[int]] = {}
        for node in self:
            if node.parent is not None:
                found.setdefault(node.parent, []).append(node.id)
        return found
