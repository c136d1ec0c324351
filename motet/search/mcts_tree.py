"""The tree of a Monte-Carlo search: a million nodes in columns, which rollouts change in place."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from pydantic import JsonValue
from pydantic_core import core_schema

from motet.errors import SearchError
from motet.search.environment import Outcome
from motet.search.partials import Partial, Step
from motet.search.tree import Node, Tree

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

UNREACHED: Final = 0
REACHED: Final = 1
TERMINAL: Final = 2
LOST: Final = 3
"""How a node stands: nobody was there; somebody was; it ends there; it cannot be reached."""


@dataclass(frozen=True, slots=True)
class Columns:
    """A tree as it is written."""

    steps: list[Step | None]
    parents: list[int]
    firsts: list[int]
    counts: list[int]
    visits: list[int]
    totals: list[float]
    values: list[float]
    rewards: list[float]
    marks: list[int]
    worlds: dict[int, JsonValue]
    turn: int


class MCTSTree:
    """Nodes by id, counted from 0, the root; a node's children have ids in a row.

    Rollouts change it in place, so the state that holds it is used up by its step: `turn` counts
    steps, and a state of an earlier turn cannot be stepped again. To keep a state, write it.
    """

    __slots__ = tuple(each.name for each in fields(Columns))

    steps: list[Step | None]
    parents: array[int]
    firsts: array[int]
    """The first child; 0 where children were not listed yet."""
    counts: array[int]
    """Number of children."""
    visits: array[int]
    totals: array[float]
    """Sum of the returns of the visits, or the greatest, as the search has it."""
    values: array[float]
    """What descending goes by: Q where visited, before that what the search starts with; -inf
    where the node cannot be reached."""
    rewards: array[float]
    """Of the step to the node; 0 before it is reached."""
    marks: array[int]
    worlds: dict[int, JsonValue]
    """The environment's states, of nodes that were reached."""
    turn: int

    def __init__(self, columns: Columns | None = None) -> None:
        if columns is None:
            columns = Columns([None], [-1], [0], [0], [0], [0.0], [0.0], [0.0], [0], {}, 0)
        self.steps = list(columns.steps)
        self.parents, self.firsts = array("i", columns.parents), array("i", columns.firsts)
        self.counts, self.visits = array("i", columns.counts), array("i", columns.visits)
        self.totals, self.values = array("d", columns.totals), array("d", columns.values)
        self.rewards, self.marks = array("d", columns.rewards), array("b", columns.marks)
        self.worlds, self.turn = dict(columns.worlds), columns.turn

    @classmethod
    def of(cls, columns: Columns) -> MCTSTree:
        """Return the tree that was written.

        Raises:
            ValueError: The columns are no tree.
        """
        size = len(columns.steps)
        if {len(getattr(columns, name)) for name in cls.__slots__[:-2]} != {size} or not size:
            raise ValueError("the columns differ in length")
        if sum(columns.counts) != size - 1:
            raise ValueError(f"of {size - 1} nodes {sum(columns.counts)} have a parent")
        for node in range(size):
            first, count = columns.firsts[node], columns.counts[node]
            if not 0 <= first <= first + count <= size or (first and first <= node):
                raise ValueError(f"the children of node {node} are {first} and {count} from there")
            if any(parent != node for parent in columns.parents[first : first + count]):
                raise ValueError(f"a child of node {node} names another parent")
        return cls(columns)

    def columns(self) -> Columns:
        """Return the tree as it is written."""
        lists: dict[str, Any] = {name: list(getattr(self, name)) for name in self.__slots__[:-2]}
        return Columns(**lists, worlds=dict(self.worlds), turn=self.turn)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls.of,
            handler(Columns),
            serialization=core_schema.plain_serializer_function_ser_schema(
                cls.columns, info_arg=False, return_schema=handler(Columns)
            ),
        )

    def __len__(self) -> int:
        return len(self.steps)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MCTSTree):
            return NotImplemented
        return self is other or all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<MCTSTree of {len(self)}, turn {self.turn}>"

    def check_turn(self, turn: int) -> None:
        """Refuse a state that was stepped before.

        Raises:
            SearchError: It was.
        """
        if turn != self.turn:
            raise SearchError(
                f"this state is of turn {turn}, and its tree of turn {self.turn}: "
                "a step takes its state over; write a state to step it twice"
            )

    def is_reached(self, node: int) -> bool:
        return 0 < self.marks[node] < LOST

    def is_lost(self, node: int) -> bool:
        return self.marks[node] == LOST

    def is_listed(self, node: int) -> bool:
        """Whether the children of `node` are known, be there any or not."""
        return self.firsts[node] > 0

    def children(self, node: int) -> range:
        first = self.firsts[node]
        return range(first, first + self.counts[node])

    def path(self, node: int) -> list[int]:
        """Return the ids from the root to `node`."""
        found = [node]
        while (parent := self.parents[found[-1]]) >= 0:
            found.append(parent)
        return found[::-1]

    def partial(self, node: int) -> Partial:
        """Return the partial solution that `node` stands for."""
        return Partial(tuple(step for each in self.path(node) if (step := self.steps[each])))

    def list_children(
        self, node: int, steps: Sequence[Step], values: Sequence[float] | None = None
    ) -> range:
        """Add the children of `node`; of steps with equal texts only the first.

        Args:
            node: Whose children were not listed before.
            steps: What leads to them.
            values: What they are worth before anybody was there; None is each step's prior, 0
                where it has none.

        Raises:
            SearchError: A value is not finite.
        """
        if values is None:
            values = [step.prior or 0.0 for step in steps]
        if not math.isfinite(sum(values)):
            raise SearchError(f"the priors of the steps are {list(values)}; they must be finite")
        if len({step.text for step in steps}) < len(steps):
            firsts: dict[str, tuple[Step, float]] = {}
            for step, value in zip(steps, values, strict=True):
                firsts.setdefault(step.text, (step, value))
            steps, values = [step for step, _ in firsts.values()], [v for _, v in firsts.values()]
        first, num = len(self.steps), len(steps)
        self.firsts[node], self.counts[node] = first, num
        self.steps.extend(steps)
        self.values.extend(values)
        self.parents.extend([node] * num)
        for column in (self.firsts, self.counts, self.visits):
            column.frombytes(bytes(num * column.itemsize))
        self.totals.frombytes(bytes(num * 8))
        self.rewards.frombytes(bytes(num * 8))
        self.marks.frombytes(bytes(num))
        return range(first, first + num)

    def reach(self, node: int, outcome: Outcome) -> None:
        """Note where the step to `node` led."""
        self.rewards[node] = outcome.reward
        if outcome.state is not None:
            self.worlds[node] = outcome.state
        self.marks[node] = TERMINAL if outcome.is_terminal else REACHED
        step = self.steps[node]
        if outcome.is_terminal and step is not None and not step.is_last:
            self.steps[node] = replace(step, is_last=True)

    def lose(self, node: int) -> None:
        """Note that `node` cannot be reached; nobody descends to it any more."""
        self.marks[node] = LOST
        self.values[node] = -math.inf

    def back_up(self, path: Sequence[int], returns: Sequence[float], *, is_max: bool) -> None:
        """Count a visit of each node of `path` with its return, last node first in `returns`.

        A node is then worth the mean of its returns, or the greatest where `is_max`.
        """
        visits, totals, values = self.visits, self.totals, self.values
        for node, value in zip(reversed(path), returns, strict=True):
            num = visits[node] + 1
            visits[node] = num
            if is_max:
                totals[node] = values[node] = max(totals[node], value) if num > 1 else value
            else:
                totals[node] += value
                values[node] = totals[node] / num

    def view(self) -> Tree:
        """Return it for readers; made when it is first looked at, as it is then."""
        return _LateTree(len(self), self._nodes)

    def _nodes(self) -> list[Node]:
        found: list[Node] = []
        for node, step in enumerate(self.steps):
            parent = self.parents[node] if node else None
            visits = self.visits[node]
            found.append(
                Node(
                    node,
                    parent,
                    0 if parent is None else found[parent].depth + 1,
                    step,
                    self.rewards[node] if self.is_reached(node) and node else None,
                    visits,
                    self.values[node] if visits else None,
                )
            )
        return found


def distinct_steps(steps: Iterable[Step]) -> list[Step]:
    """Return the first step of each text, in order."""
    firsts: dict[str, Step] = {}
    for step in steps:
        firsts.setdefault(step.text, step)
    return list(firsts.values())


class _LateTree(Tree):
    """A tree whose nodes are made when somebody looks."""

    __slots__ = ("_make",)

    def __init__(self, size: int, make: Callable[[], list[Node]]) -> None:
        self._size = size
        self._make = make

    def __getattr__(self, name: str) -> Any:
        if name != "_nodes":
            raise AttributeError(name)
        self._nodes = self._make()
        return self._nodes
