"""Minimax for two-player games in which both move at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from pydantic import JsonValue

from motet.search.algorithm import Found, rng
from motet.search.games import GameTools
from motet.search.matrix_game import maximin, mixed_equilibrium
from motet.search.partials import Candidate, Partial, Step
from motet.search.settings import one_of, whole
from motet.search.tree import Tree

Rows: TypeAlias = dict[str, dict[str, float]]
"""What each of our moves gets against each reply."""


@dataclass(frozen=True, slots=True)
class Position:
    """A state of the game in the tree."""

    state: JsonValue
    parent: int | None = None
    own: str = ""
    other: str = ""
    """The moves that led here."""
    depth: int = 0
    is_terminal: bool = False
    value: float | None = None
    """At a leaf."""


@dataclass(frozen=True, slots=True)
class MinimaxState:
    seed: int
    positions: tuple[Position, ...] = ()
    """A parent stands before its children."""
    open: tuple[int, ...] = ()
    """Of the last level, where the game goes on."""
    fall_back: str | None = None
    """The first of our moves at the start."""
    depth: int = 0
    is_valued: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimax:
    """Look `depth` moves of both players ahead, value the leaves, and back the values up.

    Each step of the search plays one level: our moves times the other player's, all positions of
    the level in one batch. The last step values the leaves. With `maximin` a move is worth what it
    gets against the other's best reply; with `nash` a position is worth its value as a matrix
    game, and our move is drawn from the mix that gets it.

    Source: sethkarten/pokechamp (PokéChamp, Karten et al. 2025). Departures: no shortcut before
    the search; `nash`; states are copied, so that siblings cannot spoil each other. Where a value
    is not known the backup goes by the replies that have one.

    `notes` has what the position is worth (`value`), each move's least value (`values`) and the
    mix that the move was drawn from.
    """

    depth: int = 2
    backup: Literal["maximin", "nash"] = "maximin"

    def __post_init__(self) -> None:
        whole("depth", self.depth)
        one_of("backup", self.backup, ("maximin", "nash"))

    def init(self, seed: int) -> MinimaxState:
        return MinimaxState(seed)

    async def step(self, state: MinimaxState, tools: GameTools) -> MinimaxState:
        """Play one level, or value the leaves."""
        if not state.positions:
            start = Position(copy.deepcopy(tools.game.start))
            state = replace(state, positions=(start,), open=(0,))
        if state.open and state.depth < self.depth:
            return await self._deepened(state, tools)
        inner = {each.parent for each in state.positions}
        leaves = [
            place
            for place, each in enumerate(state.positions)
            if place not in inner and place and not each.is_terminal
        ]
        values = await tools.value([state.positions[place].state for place in leaves])
        positions = list(state.positions)
        for place, value in zip(leaves, values, strict=True):
            positions[place] = replace(positions[place], value=value)
        return replace(state, positions=tuple(positions), is_valued=True)

    async def _deepened(self, state: MinimaxState, tools: GameTools) -> MinimaxState:
        states = [state.positions[place].state for place in state.open]
        own, other = await tools.list_own(states), await tools.list_other(states)
        crossed = [
            (place, a, b)
            for place, ours, theirs in zip(state.open, own, other, strict=True)
            for a in ours
            for b in theirs
        ]
        outcomes = await tools.simulate(
            [(state.positions[place].state, a, b) for place, a, b in crossed]
        )
        added, open_places = list(state.positions), []
        for (place, a, b), outcome in zip(crossed, outcomes, strict=True):
            if outcome is None:
                continue
            is_terminal = outcome.is_terminal
            if not is_terminal:
                open_places.append(len(added))
            added.append(
                Position(
                    outcome.state,
                    place,
                    a,
                    b,
                    state.depth + 1,
                    is_terminal,
                    outcome.reward if is_terminal else None,
                )
            )
        return replace(
            state,
            positions=tuple(added),
            open=tuple(open_places),
            fall_back=own[0][0] if not state.depth else state.fall_back,
            depth=state.depth + 1,
        )

    def is_done(self, state: MinimaxState) -> bool:
        return state.is_valued

    def found(self, state: MinimaxState) -> Found:
        worth, rows = self._valued(state.positions)
        if 0 not in rows:
            if state.fall_back is None:
                return Found(best=None)
            return Found(best=Candidate(Partial((Step(state.fall_back, is_last=True),))))
        value, mix = self._backed_up(rows[0])
        least = {move: min(rows[0][move].values()) for move in mix}
        tree, ids = _drawn(state.positions, worth, rows)
        candidates = [
            Candidate(Partial((Step(move, is_last=True),)), least[move], ids[0, move])
            for move in mix
        ]
        chosen = rng(state.seed).choices(candidates, list(mix.values()))[0]
        others = sorted(candidates, key=lambda each: (-mix[each.text], -least[each.text]))
        best = replace(chosen, score=value)
        return Found(
            best=best,
            is_elected=True,
            candidates=(best, *(each for each in others if each is not chosen)),
            tree=tree,
            notes={"mix": dict(mix), "value": value, "values": dict(least)},
        )

    def _valued(self, positions: Sequence[Position]) -> tuple[list[float | None], dict[int, Rows]]:
        """Return what each position is worth, and where it was backed up the values that it has
        by our move and the reply.
        """
        worth = [position.value for position in positions]
        rows: dict[int, Rows] = {}
        for place in range(len(positions) - 1, -1, -1):
            position = positions[place]
            if place in rows:
                # Positions are read last first; the first move of equals is to be taken.
                rows[place] = {
                    move: dict(reversed(replies.items()))
                    for move, replies in reversed(rows[place].items())
                }
                worth[place] = self._backed_up(rows[place])[0]
            value = worth[place]
            if position.parent is not None and value is not None:
                rows.setdefault(position.parent, {}).setdefault(position.own, {})[
                    position.other
                ] = value
        return worth, rows

    def _backed_up(self, rows: Rows) -> tuple[float, dict[str, float]]:
        """Return what a position is worth, and the probability of each of our moves."""
        moves = list(rows)
        replies = list(dict.fromkeys(reply for move in moves for reply in rows[move]))
        if self.backup == "nash" and all(len(rows[move]) == len(replies) for move in moves):
            value, mix = mixed_equilibrium([[rows[a][b] for b in replies] for a in moves])
            return value, dict(zip(moves, mix, strict=True))
        value, best = maximin([list(rows[move].values()) for move in moves])
        return value, {move: float(place == best) for place, move in enumerate(moves)}


def _drawn(
    positions: Sequence[Position], worth: Sequence[float | None], rows: Mapping[int, Rows]
) -> tuple[Tree, dict[tuple[int, str], int]]:
    """Return the positions as a tree of moves and replies, and where the moves of each stand."""
    nodes = [0] * len(positions)
    ids: dict[tuple[int, str], int] = {}
    grown: list[tuple[int, Step, float | None]] = []
    for place, position in enumerate(positions):
        if position.parent is None:
            continue
        key = (position.parent, position.own)
        if key not in ids:
            replies = rows.get(position.parent, {}).get(position.own)
            least = min(replies.values()) if replies else None
            grown.append((nodes[position.parent], Step(position.own, is_last=not key[0]), least))
            ids[key] = len(grown)
        grown.append((ids[key], Step(position.other), worth[place]))
        nodes[place] = len(grown)
    return Tree().grown(grown)[0], ids
