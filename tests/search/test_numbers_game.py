"""Game of 24 and Countdown: moves, solver, verifier, and searches that play them."""

import asyncio
import gzip
import json
import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations_with_replacement, permutations, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.errors import ConfigError
from motet.search.astar import AStar
from motet.search.beam import Beam
from motet.search.best_of_n import BestOfN
from motet.search.driver import search
from motet.search.numbers_game import NumbersGame, Player, play
from motet.search.partials import Partial, Step
from motet.search.spending import NOTHING, Limits
from motet.search.thoughts import VALUE_OF_WORD
from motet.search.tools import Ask
from motet.search.tree_of_thoughts import DepthFirstThoughts, TreeOfThoughts

ALL_GAMES = [NumbersGame(each) for each in combinations_with_replacement(range(1, 14), 4)]
FOUR = st.lists(st.integers(1, 13), min_size=4, max_size=4).map(tuple)


def expressions(numbers: tuple[int, ...]) -> Iterator[Fraction]:
    """Values of every expression over all of `numbers`, by brute force over orders and shapes."""
    if len(numbers) == 1:
        yield Fraction(numbers[0])
    for cut in range(1, len(numbers)):
        for a, b in product(expressions(numbers[:cut]), expressions(numbers[cut:])):
            yield from (a + b, a - b, a * b, *([a / b] if b else []))


def written(text: str, *, is_last: bool = False) -> Partial:
    return Partial((Step(text, is_last=is_last),))


def test_1362_games_of_four_cards_can_be_won() -> None:
    """Of the 1,820 hands of values 1 to 13, as many as the game's published list has."""
    assert len(ALL_GAMES) == 1820
    assert sum(game.is_solvable() for game in ALL_GAMES) == 1362


@given(st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple), st.integers(0, 30))
def test_the_solver_is_brute_force(numbers: tuple[int, ...], target: int) -> None:
    """A game can be won where some expression over all its numbers has the target's value."""
    wanted = any(target in set(expressions(order)) for order in permutations(numbers))

    assert NumbersGame(numbers, target).is_solvable() is wanted


def test_a_negative_number_at_hand_can_still_win() -> None:
    """From -24, 2 and 3 the way leads over 2 - 3."""
    game = NumbersGame((1, 2, 3, 25))
    pool = game.pool_of("1 - 25 = -24 (left: -24 2 3)")

    assert pool is not None
    assert game.is_solvable(pool)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple), st.integers(1, 30))
def test_countdown_may_leave_numbers(numbers: tuple[int, ...], target: int) -> None:
    """It can be won where some of its numbers make the target."""
    some = {part for n in range(1, len(numbers) + 1) for part in permutations(numbers, n)}
    wanted = any(target in set(expressions(part)) for part in some)

    assert NumbersGame(numbers, target, uses_all=False).is_solvable() is wanted


def test_natural_steps_can_be_too_few() -> None:
    """3, 3, 8, 8 makes 24 by a fraction only; 25, 50, 75 makes 50 with no step below 1."""
    assert NumbersGame((3, 3, 8, 8)).is_solvable()
    assert not NumbersGame((3, 3, 8, 8), is_natural=True).is_solvable()
    assert NumbersGame((25, 50, 75), 50, uses_all=False, is_natural=True).is_solvable()


def test_steps_are_written_as_in_the_prompts() -> None:
    """Two numbers, what they make, and what is left, in order; fractions stay exact."""
    game = NumbersGame((4, 13, 8, 6))
    texts = [text for text, _ in game.moves(game.start)]

    assert "4 + 8 = 12 (left: 6 12 13)\n" in texts
    assert "8 / 6 = 4/3 (left: 4/3 4 13)\n" in texts
    assert "4 - 6 = -2 (left: -2 8 13)\n" in texts
    assert len(texts) == len(set(texts)) == 36


@given(FOUR, st.booleans(), st.data())
def test_what_a_step_leaves_is_read_back(
    numbers: tuple[int, ...], is_natural: bool, data: Any
) -> None:
    """The steps' text alone says what is at hand, and the answer's expression has its value."""
    game = NumbersGame(numbers, is_natural=is_natural)
    pool, text = game.start, ""
    while moves := game.moves(pool):
        move, pool = data.draw(st.sampled_from(moves))
        text += move
        read = game.pool_of(text)
        assert read is not None
        assert [value for value, _ in read] == [value for value, _ in pool]
        for value, _ in read:
            if len(read) == 1 and value.denominator == 1 and value >= 0:
                reached = NumbersGame(numbers, int(value), is_natural=is_natural)
                assert reached.verify(text + reached.answer(read))


@pytest.mark.parametrize(
    "text",
    [
        "4 + 8 = 13 (left: 6 13 13)",
        "4 + 8 = 12 (left: 6 12)",
        "5 + 8 = 13 (left: 6 13 13)",
        "4 + 4 = 8 (left: 6 8 13)",
        "4 / 0 = 4 (left: 6 8 13)",
        "4 + 8",
        "4 + 8 = twelve (left: 6 12 13)",
        "4 + 8 = 12 (left: 6 12 13)\n4 + 6 = 10 (left: 10 13)",
        "4 + 8 = 1e99999999 (left: 6 12 13)",
    ],
)
def test_a_wrong_step_leaves_nothing(text: str) -> None:
    """Wrong sums, numbers that are not at hand and broken lines are no steps."""
    assert NumbersGame((4, 6, 8, 13)).pool_of(text) is None


@pytest.mark.parametrize(
    ("expression", "is_right"),
    [
        ("Answer: (4 * 5) + (10 - 6) = 24", True),
        ("4 + 5 = 9 (left: 6 9 10)\nAnswer: 4*5 - 6 + 10 = 24\n", True),
        ("(4 * 5) + (10 - 6)", True),
        ("Answer: (4 * 5) + (10 - 6) = 25", False),
        ("Answer: 4 * 6 = 24", False),
        ("Answer: (4 * 5) + (10 - 6) + 5 - 5 = 24", False),
        ("Answer: 4 * 5 + 4 * (10 - 6) / 4 = 24", False),
        ("Answer: 24", False),
        ("Answer: (4 * 5) + (10 - 6) = 24 = 24", False),
        ("Answer: 10 ** 6 // 4 % 5", False),
        ("Answer: (lambda: 24)()", False),
        ("Answer: __import__('os').getpid()", False),
        ("Answer: 4 + 5 + 6 + 10 - 1", False),
        ("Answer: 4 / (5 - 5) = 24", False),
        ("Answer: " + "(" * 150 + "24", False),
        ("Answer: " + "-" * 399 + "24", False),
        ("Answer: 4 5 6 10", False),
        ("", False),
    ],
)
def test_the_verifier_is_exact(expression: str, is_right: bool) -> None:
    """Each number once, the target's value, arithmetic alone; nothing of it is run."""
    assert NumbersGame((4, 5, 6, 10)).verify(expression) is is_right


@pytest.mark.parametrize("number", ["0x18", "2_4", "24or 24", "+24", "24 # 24", f"({' ' * 400}24)"])
def test_numbers_are_plain_digits(number: str) -> None:
    """Other spellings of a number, and what is longer than any expression, are wrong."""
    assert NumbersGame((24,)).verify("24")
    assert not NumbersGame((24,)).verify(number + " ")


def test_fractions_on_the_way_are_exact() -> None:
    """8 / (3 - 8 / 3) is 24, and no rounding is in the way."""
    assert NumbersGame((3, 3, 8, 8)).verify("8 / (3 - 8 / 3) = 24")
    assert not NumbersGame((3, 3, 8, 8), is_natural=True).verify("8 / (3 - 8 / 3) = 24")


def test_countdown_takes_each_number_at_most_once() -> None:
    """Numbers may be left over; none may be taken twice."""
    game = NumbersGame((25, 50, 75, 3), 150, uses_all=False, is_natural=True)

    assert game.verify("50 * 3")
    assert game.verify("25 + 50 + 75 = 150")
    assert not game.verify("75 + 75 = 150")
    assert not game.verify("50 * 3 * (25 - 25)")


@given(FOUR)
@settings(max_examples=30)
def test_exact_values_say_who_can_still_win(numbers: tuple[int, ...]) -> None:
    """A game can be won just where one of its steps can; the words are those values."""
    player = Player(game=NumbersGame(numbers))
    [steps] = player.propose([Ask(Partial(), n=99)])
    children = [Partial((step,)) for step in steps]

    assert max(player.value(children)) == player.value([Partial()])[0]
    words = [VALUE_OF_WORD["sure" if v else "impossible"] for v in player.value(children)]
    assert player.judge(children) == words


def test_a_wrong_line_of_steps_is_worth_nothing() -> None:
    """A partial solution with a wrong step cannot win, though its numbers could."""
    player = Player(game=NumbersGame((4, 6, 8, 13)))

    assert player.value([written("4 + 8 = 13 (left: 6 13 13)\n")]) == [0.0]
    assert player.propose([Ask(written("4 + 8 = 13 (left: 6 13 13)\n"), n=5)]) == [[]]


def test_a_player_says_the_same_each_time() -> None:
    """Proposals and noisy values hang on the seed and the text alone, not on the batch."""
    game = NumbersGame((4, 5, 6, 10))
    player, again = (Player(game=game, seed=3, is_random=True, noise=0.7) for _ in range(2))
    other = Player(game=game, seed=4, is_random=True, noise=0.7)
    ask = Ask(Partial(), n=6)
    [steps] = player.propose([ask])
    children = [Partial((step,)) for step in steps]

    assert again.propose([ask, ask]) == [steps, steps]
    assert [again.value([each])[0] for each in children] == player.value(children)
    assert other.propose([ask]) != [steps]
    assert other.value(children) != player.value(children)
    assert len({step.text for step in steps}) == 6


@given(st.floats(0, 1), st.integers(0, 50))
def test_noise_is_a_share_of_the_value(noise: float, seed: int) -> None:
    """A value is the exact one but for at most `noise`."""
    game = NumbersGame((4, 5, 6, 10))
    player = Player(game=game, seed=seed, noise=noise)
    [steps] = player.propose([Ask(Partial(), n=99)])
    children = [Partial((step,)) for step in steps]

    exact = Player(game=game).value(children)
    for noisy, true in zip(player.value(children), exact, strict=True):
        assert abs(noisy - true) <= noise + 1e-12
        assert 0 <= noisy <= 1


def test_whole_games_are_legal_and_different() -> None:
    """Each of n whole games is one line of steps to an answer, within the tokens of a step."""
    game = NumbersGame((4, 5, 6, 10))
    player = Player(game=game)
    problem = player.problem
    [games] = player.propose([Ask(Partial(), n=50, is_whole=True)])

    assert len({each.text for each in games}) > 40
    for each in games:
        assert each.is_last
        *lines, last = each.text.splitlines()
        assert game.pool_of("\n".join(lines)) is not None
        assert last.startswith("Answer: ")
        assert problem.step_tokens is not None
        assert each.num_tokens <= problem.step_tokens


def _of_data() -> list[NumbersGame]:
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    path = Path(folder) / "tot_logs/game24.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [NumbersGame(tuple(map(int, json.loads(line)["x"].split()))) for line in file]


def _wins(algorithm: Any, games: list[NumbersGame]) -> list[bool]:
    async def won(game: NumbersGame) -> bool:
        result = await search(algorithm, Player(game=game).thoughts)
        return result.best is not None and game.verify(result.best.text)

    async def all_won() -> list[bool]:
        return [await won(game) for game in games]

    return asyncio.run(all_won())


@pytest.mark.parametrize("kept", [1, 5])
def test_a_tree_of_thoughts_wins_every_published_game(kept: int) -> None:
    """With exact values and all steps proposed, every game of the published run is won."""
    games = _of_data()

    assert all(game.is_solvable() for game in games)
    assert all(_wins(TreeOfThoughts(num_kept=kept, num_evaluations=1), games))
    assert len(games) == 74


def test_a_tree_of_thoughts_wins_every_game_that_can_be_won() -> None:
    """One survivor a level is enough where values are exact; what cannot be won is not."""
    games = ALL_GAMES[::5]
    wins = _wins(TreeOfThoughts(num_kept=1, num_evaluations=1), games)

    assert wins == [game.is_solvable() for game in games]
    assert 200 < sum(wins) < len(games)


def test_depth_first_thoughts_win_every_game_that_can_be_won() -> None:
    """The same by going deep, where what cannot be won is never gone into."""
    games = ALL_GAMES[::20]

    assert _wins(DepthFirstThoughts(num_evaluations=1), games) == [
        game.is_solvable() for game in games
    ]


@pytest.mark.parametrize(
    "algorithm", [AStar(k=99), Beam(n=99, width=99), AStar(k=99, cost="consistent", expand=2)]
)
def test_other_searches_win_with_exact_values(algorithm: Any) -> None:
    """With all steps proposed and exact values, A* and a beam of one win what can be won."""

    async def won(game: NumbersGame) -> bool:
        result = await search(algorithm, Player(game=game).problem)
        return result.best is not None and game.verify(result.best.text)

    games = [game for game in ALL_GAMES[::40] if game.is_solvable()]
    assert all(asyncio.run(won(game)) for game in games)


def test_countdown_is_won_by_a_search() -> None:
    """An answer is given as soon as the target is at hand, with numbers left over."""
    game = NumbersGame((25, 50, 75, 3, 6), 450, uses_all=False, is_natural=True)
    [won] = _wins(TreeOfThoughts(levels=6, num_evaluations=1, n=200), [game])

    assert won


def test_a_star_needs_a_third_of_the_tokens_of_best_of_n() -> None:
    """With the same noisy values A* is at least as often right as best-of-64, at a third of its
    tokens or less."""
    games = [game for game in ALL_GAMES if game.is_solvable()][::28]
    sampled = asyncio.run(play(BestOfN(n=64), games, noise=0.7))
    guided = asyncio.run(play(AStar(k=8, max_expansions=8, max_depth=4), games, noise=0.7))

    assert 0 < sampled.accuracy <= guided.accuracy
    assert 3 * guided.tokens <= sampled.tokens
    assert guided.scores <= sampled.scores


def test_what_is_played_is_counted() -> None:
    """Tokens and scores are the sums over the games, and accuracy is exact."""
    games = [NumbersGame((4, 5, 6, 10)), NumbersGame((1, 1, 1, 1))]
    played = asyncio.run(play(AStar(k=99), games, noise=0.0))
    each = [
        asyncio.run(play(AStar(k=99), [game], noise=0.0, seed=i)) for i, game in enumerate(games)
    ]

    assert played.accuracy == 0.5
    assert played.tokens == sum(one.tokens for one in each) > 0
    assert played.scores == sum(one.scores for one in each) > 0


def test_token_limits_hold_for_a_player() -> None:
    """A player's steps stay within what its problem says of them."""
    tools = Player(game=NumbersGame((13, 13, 13, 13))).problem.tools(
        Limits(max_tokens=2000), NOTHING
    )
    [steps] = asyncio.run(tools.propose([Ask(Partial(), n=4, is_whole=True)]))

    assert len(steps) == 4
    assert 0 < tools.spend.tokens <= 2000


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: NumbersGame(()), "numbers' length is 0"),
        (lambda: NumbersGame((1, -2)), "numbers is -2"),
        (lambda: NumbersGame((1, 2), -3), "target is -3"),
        (lambda: Player(game=NumbersGame((1,)), seed=-1), "seed is -1"),
        (lambda: Player(game=NumbersGame((1,)), noise=1.5), "noise is 1.5"),
    ],
)
def test_settings_out_of_range_are_named(make: Any, named: str) -> None:
    """The error says which setting is wrong, and its value."""
    with pytest.raises(ConfigError, match=named):
        make()
