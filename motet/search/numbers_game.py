"""Game of 24 and Countdown: moves, an exact solver, an exact verifier, and a problem to search."""

from __future__ import annotations

import ast
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from random import Random
from typing import Any, Final

from motet.errors import ConfigError
from motet.search.algorithm import Algorithm, rng
from motet.search.driver import search
from motet.search.partials import Partial, Step
from motet.search.settings import flag, number, several, whole
from motet.search.thoughts import VALUE_OF_WORD, ThoughtProblem
from motet.search.tools import Ask, Problem

Pool = tuple[tuple[Fraction, str], ...]
"""Numbers at hand, each with the expression that made it, the smallest first."""
_MOVE: Final = re.compile(r"\s*(\S+) ([-+*/]) (\S+) = (\S+) \(left: ([^()]*)\)\s*")
_FRACTION: Final = re.compile(r"-?\d{1,400}(?:/\d{1,400})?")
_EXPRESSION: Final = re.compile(r"[-+*/()0-9 ]{1,400}")
"""Longer ones are wrong, and cost no time."""
_WORD: Final = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class NumbersGame:
    """Reach `target` with `numbers`, by +, -, * and /, each number once.

    A step takes two numbers and puts back what they make: "4 + 8 = 12 (left: 6 12 13)"; the last
    one states the expression: "Answer: (4 + 8) * (13 - ...) = 24".
    """

    numbers: tuple[int, ...]
    target: int = 24
    uses_all: bool = True
    """Whether every number is used; else at most once each."""
    is_natural: bool = False
    """Whether no step may make a fraction or anything below 1."""

    def __post_init__(self) -> None:
        several("numbers", self.numbers)
        for each in self.numbers:
            whole("numbers", each, 0)
        whole("numbers' length", len(self.numbers))
        whole("target", self.target, 0)
        flag("uses_all", self.uses_all)
        flag("is_natural", self.is_natural)

    @property
    def start(self) -> Pool:
        return tuple(sorted((Fraction(n), str(n)) for n in self.numbers))

    def is_reached(self, pool: Pool) -> bool:
        """Whether the target is at hand, and may be the answer."""
        values = [value for value, _ in pool]
        return self.target in values and (len(pool) == 1 or not self.uses_all)

    def moves(self, pool: Pool) -> list[tuple[str, Pool]]:
        """Return the text of each different step, and what is at hand behind it."""
        found: dict[str, Pool] = {}
        for i, j in combinations(range(len(pool)), 2):
            rest = [each for k, each in enumerate(pool) if k not in (i, j)]
            for text, made in self._results(pool[i], pool[j]):
                left = tuple(sorted([*rest, made]))
                shown = " ".join(str(value) for value, _ in left)
                found.setdefault(f"{text} (left: {shown})\n", left)
        return list(found.items())

    def _results(
        self, low: tuple[Fraction, str], high: tuple[Fraction, str]
    ) -> Iterator[tuple[str, tuple[Fraction, str]]]:
        for (a, of_a), sign, (b, of_b) in (
            (low, "+", high),
            (low, "*", high),
            (high, "-", low),
            (low, "-", high),
            (high, "/", low),
            (low, "/", high),
        ):
            value = _calculated(a, sign, b)
            if value is None or (self.is_natural and (value < 1 or value.denominator > 1)):
                continue
            text = f"{a} {sign} {b} = {value}"
            yield text, (value, f"({of_a} {sign} {of_b})")

    def answer(self, pool: Pool) -> str:
        """Return the step that states what was reached: the target, or what there is."""
        value, made = next((each for each in pool if each[0] == self.target), pool[-1])
        bare = made[1:-1] if made.startswith("(") else made
        return f"Answer: {bare} = {value}\n"

    def pool_of(self, text: str) -> Pool | None:
        """Return what is at hand behind the steps in `text`; None where one of them is wrong."""
        pool = self.start
        for line in text.splitlines():
            if line.startswith("Answer:"):
                continue
            found = _MOVE.fullmatch(line)
            left = self._taken(pool, found.groups()) if found else None
            if left is None:
                return None
            pool = left
        return pool

    def _taken(self, pool: Pool, move: Sequence[str]) -> Pool | None:
        one, sign, other, result, left = move
        try:
            a, b, value = map(_fraction, (one, other, result))
            shown = sorted(map(_fraction, left.split()))
        except (ValueError, ZeroDivisionError):
            return None
        rest, taken = list(pool), []
        for wanted in (a, b):
            place = next((i for i, (each, _) in enumerate(rest) if each == wanted), None)
            if place is None:
                return None
            taken.append(rest.pop(place)[1])
        behind = tuple(sorted([*rest, (value, f"({taken[0]} {sign} {taken[1]})")]))
        is_right = _calculated(a, sign, b) == value and shown == [each for each, _ in behind]
        is_allowed = not self.is_natural or (value >= 1 and value.denominator == 1)
        return behind if is_right and is_allowed else None

    def is_solvable(self, pool: Pool | None = None) -> bool:
        """Whether the target can be reached, from the start or from `pool`; exact."""
        values = tuple(value for value, _ in (self.start if pool is None else pool))
        return _solvable(values, self.target, self.uses_all, self.is_natural)

    def verify(self, text: str) -> bool:
        """Whether the last line of `text` states a right expression; exact, and evaluates no code."""
        lines = text.strip().splitlines()
        line = lines[-1].removeprefix("Answer:") if lines else ""
        expression, _, stated = line.partition("=")
        if stated.strip() not in ("", str(self.target)) or not _EXPRESSION.fullmatch(expression):
            return False
        try:
            tree = ast.parse(expression.strip(), mode="eval").body
            used = Counter[int]()
            value = self._evaluated(tree, used)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return False
        given = Counter(self.numbers)
        is_fair = used == given if self.uses_all else used <= given
        return is_fair and value == self.target

    def _evaluated(self, tree: ast.expr, used: Counter[int]) -> Fraction:
        """Return the value, and count the numbers.

        Raises:
            ValueError: It is no number and no operation of the game.
        """
        if isinstance(tree, ast.Constant) and type(tree.value) is int:
            used[tree.value] += 1
            return Fraction(tree.value)
        sign = _SIGNS.get(type(tree.op)) if isinstance(tree, ast.BinOp) else None
        if not isinstance(tree, ast.BinOp) or sign is None:
            raise ValueError(f"{type(tree).__name__} is no operation of the game")
        one, other = self._evaluated(tree.left, used), self._evaluated(tree.right, used)
        value = _calculated(one, sign, other)
        if value is None or (self.is_natural and (value < 1 or value.denominator > 1)):
            raise ValueError("no such number in the game")
        return value


def _fraction(text: str) -> Fraction:
    """Return a number as steps write it.

    Raises:
        ValueError: It is written in another way: an exponent could take any time to work out.
    """
    if not _FRACTION.fullmatch(text):
        raise ValueError(f"{text[:20]} is no number of a step")
    return Fraction(text)


_SIGNS: Final[dict[type[ast.operator], str]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
}


def _calculated(a: Fraction, sign: str, b: Fraction) -> Fraction | None:
    if sign == "/":
        return a / b if b else None
    return {"+": a + b, "-": a - b, "*": a * b}[sign]


Values = tuple[Fraction, ...]


@lru_cache(maxsize=100_000)
def _solvable(values: Values, target: int, uses_all: bool, is_natural: bool) -> bool:
    sizes = [len(values)] if uses_all else range(1, len(values) + 1)
    solver = _Solver(is_natural, num_listed=4 if len(values) > 4 else 2)
    return any(
        solver.can_make(chosen, Fraction(target))
        for size in sizes
        for chosen in dict.fromkeys(combinations(sorted(values), size))
    )


class _Solver:
    """Says whether numbers can make a value, each used once.

    Of a few numbers all values are listed. More are split in two: for each value of the smaller
    part, the larger one would have to make one of six others.
    """

    def __init__(self, is_natural: bool, *, num_listed: int) -> None:
        self._is_natural = is_natural
        self._num_listed = num_listed
        self._listed: dict[Values, set[Fraction]] = {}
        self._known: dict[tuple[Values, Fraction], bool] = {}

    def can_make(self, values: Values, target: Fraction) -> bool:
        if len(values) <= self._num_listed:
            return target in self._all(values)
        if not self._is_allowed(target):
            return False
        key = (values, target)
        if key not in self._known:
            self._known[key] = any(
                self.can_make(large, wanted)
                for small, large in _splits(values)
                for made in self._all(small)
                for wanted in _wanted(target, made)
            ) or (not target and any(0 in self._all(small) for small, _ in _splits(values)))
        return self._known[key]

    def _all(self, values: Values) -> set[Fraction]:
        """Return every value that all of `values` make."""
        if len(values) == 1:
            return set(values)
        if values not in self._listed:
            self._listed[values] = {
                made
                for small, large in _splits(values)
                for one in self._all(small)
                for other in self._all(large)
                for made in _results(one, other)
                if self._is_allowed(made)
            }
        return self._listed[values]

    def _is_allowed(self, value: Fraction) -> bool:
        return not self._is_natural or (value >= 1 and value.denominator == 1)


def _splits(values: Values) -> Iterator[tuple[Values, Values]]:
    """Yield the ways to part sorted values in two, the smaller part first."""
    places = range(len(values))
    seen = set()
    for size in range(1, len(values) // 2 + 1):
        for chosen in combinations(places, size):
            small = tuple(values[place] for place in chosen)
            if small not in seen:
                seen.add(small)
                yield small, tuple(values[place] for place in places if place not in chosen)


def _results(one: Fraction, other: Fraction) -> Iterator[Fraction]:
    yield from (one + other, one * other, one - other, other - one)
    if other:
        yield one / other
    if one:
        yield other / one


def _wanted(target: Fraction, made: Fraction) -> Iterator[Fraction]:
    """Yield each value that makes `target` together with `made`, by any of the operations."""
    yield from (target - made, target + made, made - target)
    if made:
        yield target / made
        yield target * made
    if target and made:
        yield made / target


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """A scripted model that plays: it proposes legal steps and values what it sees.

    What it says of a text is the same each time: chance comes from the seed and the text.
    """

    game: NumbersGame
    seed: int = 0
    is_random: bool = False
    """Whether proposals come in random order, not in the order of the rules. Whole games are
    always random."""
    noise: float = 0.0
    """Share of pure chance in a value, from 0, exact, to 1."""

    def __post_init__(self) -> None:
        if not isinstance(self.game, NumbersGame):
            raise ConfigError(f"game is {self.game!r}; it must be a NumbersGame")
        whole("seed", self.seed, 0)
        flag("is_random", self.is_random)
        number("noise", self.noise, 0.0, 1.0)

    def propose(self, asks: Sequence[Ask]) -> list[list[Step]]:
        """Give for each at most `n` different next steps, or `n` whole games."""
        return [
            [self._game(ask.partial.text, i) for i in range(ask.n)]
            if ask.is_whole
            else self._steps(ask.partial.text, self._rng(ask.partial.text))[: ask.n]
            for ask in asks
        ]

    def value(self, partials: Sequence[Partial]) -> list[float]:
        """Give 1 where the target can be reached, 0 where not, as far as `noise` lets it."""
        exact = [float(self._is_right(each)) for each in partials]
        return [
            (1 - self.noise) * value + self.noise * self._rng(each.text, 1).random()
            for value, each in zip(exact, partials, strict=True)
        ]

    def judge(self, partials: Sequence[Partial]) -> list[float]:
        """Give the value of the words "sure" and "impossible"; exact."""
        words = ("sure" if self._is_right(each) else "impossible" for each in partials)
        return [VALUE_OF_WORD[word] for word in words]

    @property
    def problem(self) -> Problem:
        return Problem(propose=self.propose, score=self.value, step_tokens=self._most_tokens)

    @property
    def thoughts(self) -> ThoughtProblem:
        return ThoughtProblem(propose=self.propose, evaluators=(self.judge,))

    @property
    def _most_tokens(self) -> int:
        # Each of n - 1 moves and the answer has at most 4 words for a number, twice over.
        return 16 * (len(self.game.numbers) + 1) ** 2

    def _is_right(self, partial: Partial) -> bool:
        if partial.is_finished:
            return self.game.verify(partial.text)
        pool = self.game.pool_of(partial.text)
        return pool is not None and self.game.is_solvable(pool)

    def _steps(self, text: str, chance: Random | None) -> list[Step]:
        """Return all next steps, shuffled where there is chance."""
        pool = self.game.pool_of(text)
        if pool is None:
            return []
        moves = [] if self.game.is_reached(pool) else [text for text, _ in self.game.moves(pool)]
        if not moves:
            return [_step(self.game.answer(pool), is_last=True)]
        if chance is not None and self.is_random:
            chance.shuffle(moves)
        return [_step(move) for move in moves]

    def _game(self, text: str, number: int) -> Step:
        chance, written = self._rng(text, 2, number), ""
        while True:
            options = self._steps(text + written, None)
            if not options:
                return _step(written, is_last=True)
            step = chance.choice(options)
            written += step.text
            if step.is_last:
                return _step(written, is_last=True)

    def _rng(self, text: str, *place: int) -> Random:
        return rng(self.seed, zlib.crc32(text.encode()), *place)


def _step(text: str, *, is_last: bool = False) -> Step:
    return Step(text, is_last=is_last, num_tokens=len(_WORD.findall(text)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What an algorithm made of a set of games."""

    accuracy: float
    tokens: int
    scores: int


async def play(
    algorithm: Algorithm[Any, Any],
    games: Sequence[NumbersGame],
    *,
    noise: float = 0.5,
    seed: int = 0,
) -> Played:
    """Let a scripted player with noisy values search each game; the answers are judged exactly."""
    results = []
    for i, game in enumerate(games):
        player = Player(game=game, seed=seed + i, is_random=True, noise=noise)
        results.append(await search(algorithm, player.problem, seed=seed + i))
    right = [
        result.best is not None and game.verify(result.best.text)
        for game, result in zip(games, results, strict=True)
    ]
    return Played(
        accuracy=sum(right) / len(right),
        tokens=sum(result.spend.tokens for result in results),
        scores=sum(result.spend.scores for result in results),
    )
