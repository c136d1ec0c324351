"""Minimax: matrix games, dominance, and a game that need not be lost."""

import asyncio
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.errors import ConfigError
from motet.search.driver import search
from motet.search.environment import Outcome
from motet.search.games import GameProblem
from motet.search.matrix_game import maximin, mixed_equilibrium
from motet.search.minimax import Minimax
from motet.search.spending import Limits
from motet.search.tools import FAILED
from tests.search.script import solve
from tests.search.test_mcts import states


def matrix_game(matrix, **changes):
    given = {
        "start": "",
        "list_own": lambda states: [[str(i) for i in range(len(matrix))] for _ in states],
        "list_other": lambda states: [[str(j) for j in range(len(matrix[0]))] for _ in states],
        "simulate": lambda triples: [Outcome(f"{a},{b}") for _, a, b in triples],
        "value": lambda states: [
            matrix[int(state.split(",")[0])][int(state.split(",")[1])] for state in states
        ],
        "fall_back_move": lambda state: "safe",
    }
    return GameProblem(**(given | changes))


matrices = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.lists(st.integers(-5, 5), min_size=n, max_size=n), min_size=1, max_size=4)
)


@settings(max_examples=40, deadline=None)
@given(matrices)
def test_the_maximin_move_is_chosen(matrix):
    """With exact values, and with its value."""
    result = solve(Minimax(depth=1), matrix_game(matrix))

    value, row = maximin(matrix)
    assert (result.best.text, result.best.score) == (str(row), value)


@settings(max_examples=40, deadline=None)
@given(matrices)
def test_nash_mixes_as_the_matrix_game_does(matrix):
    """With the game's value."""
    result = solve(Minimax(depth=1, backup="nash"), matrix_game(matrix))

    value, mix = mixed_equilibrium(matrix)
    assert result.notes["value"] == pytest.approx(value)
    assert list(result.notes["mix"].values()) == pytest.approx(mix)
    assert result.notes["mix"][result.best.text] > 0


def test_a_saddle_point_is_found_by_both():
    """Then the pure move is worth what the mix is."""
    game = matrix_game([[3, 5, 4], [1, 9, 0], [2, 6, 8]])

    for backup in ("maximin", "nash"):
        result = solve(Minimax(depth=1, backup=backup), game)
        assert (result.best.text, result.best.score) == ("0", pytest.approx(3))


def test_nash_draws_its_move_from_the_mix():
    """Pennies: both sides about as often; the same seed the same."""
    game = matrix_game([[1, -1], [-1, 1]])
    algorithm = Minimax(depth=1, backup="nash")

    sides = [solve(algorithm, game, seed=seed).best.text for seed in range(200)]

    assert sides.count("0") == pytest.approx(100, abs=30)
    assert solve(algorithm, game, seed=3).best.text == sides[3]


@settings(max_examples=40, deadline=None)
@given(matrices, st.sampled_from(["maximin", "nash"]), st.integers(0, 50))
def test_a_strictly_dominated_move_is_never_chosen(matrix, backup, seed):
    """A row that is one less than another everywhere."""
    dominated = [min(column) - 1 for column in zip(*matrix, strict=True)]

    result = solve(Minimax(depth=1, backup=backup), matrix_game([dominated, *matrix]), seed=seed)

    assert result.best.text != "0"


def test_one_reply_and_one_level_is_greedy():
    """The move of the greatest value."""
    result = solve(Minimax(depth=1), matrix_game([[1], [7], [3]]))

    assert result.best.text == "1"


def test_leaves_are_valued_in_one_batch():
    """Siblings and cousins, so that values are on one scale."""
    batches = []
    game = matrix_game(
        [[0, 1], [2, 3]],
        simulate=lambda triples: [Outcome(f"{state}{a}{b}") for state, a, b in triples],
        value=lambda states: batches.append(len(states)) or [float(len(s)) for s in states],
    )

    result = solve(Minimax(depth=2), game)

    assert batches == [16]
    assert result.num_steps == 3


def test_two_levels_see_a_trap():
    """What looks good now and is lost after the next move."""

    def simulate(triples):
        return [Outcome(f"{state}{a}") for state, a, _ in triples]

    values = {"0": 9, "1": 1, "00": -5, "01": -4, "10": 1, "11": 2}
    game = matrix_game(
        [[0], [0]], simulate=simulate, value=lambda states: [values[state] for state in states]
    )

    assert solve(Minimax(depth=1), game).best.text == "0"
    deep = solve(Minimax(depth=2), game)
    assert (deep.best.text, deep.best.score) == ("1", 2)


def test_illegal_moves_twice_make_the_fall_back_move():
    """As the calculator's move."""
    game = matrix_game(
        [[1]],
        is_legal=lambda state, move: move == "safe",
        value=lambda states: [1.0] * len(states),
    )

    assert solve(Minimax(depth=1), game).best.text == "safe"


def test_without_any_reply_the_first_move_is_made():
    """The other player's moves could not be listed."""
    game = matrix_game([[1], [2]], list_other=lambda states: [FAILED] * len(states))

    assert solve(Minimax(depth=1), game).best.text == "0"


def test_a_reply_whose_value_failed_is_left_out():
    """The others decide, in both backups."""
    matrix = [[0, 9], [5, 5]]

    def value(states):
        return [
            FAILED if state == "0,0" else matrix[int(state[0])][int(state[2])] for state in states
        ]

    for backup in ("maximin", "nash"):
        assert (
            solve(Minimax(depth=1, backup=backup), matrix_game(matrix, value=value)).best.text
            == "0"
        )


def test_a_limit_ends_it_with_what_is_known():
    """Values that were not paid for are left out."""
    result = solve(Minimax(depth=1), matrix_game([[1, 2], [9, 9]]), limits=Limits(max_scores=2))

    assert (result.why, result.spend.scores, result.best.text) == ("limit", 2, "0")


def test_a_step_is_a_function_of_its_state():
    """Also of the state as it reads back."""
    state = states(Minimax(depth=2), matrix_game([[0, 1], [2, 3]], value=lambda s: [1.0] * len(s)))

    assert state.is_valued


LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]


def winner(board):
    for a, b, c in LINES:
        if board[a] != "." and board[a] == board[b] == board[c]:
            return board[a]
    return None


def free(board):
    return [str(i) for i, mark in enumerate(board) if mark == "."]


def put(board, place, mark):
    place = int(place)
    return board[:place] + mark + board[place + 1 :]


@cache
def exact(board, mark):
    """What the game is worth to X when `mark` is to move."""
    won = winner(board)
    if won or not free(board):
        return {"X": 1.0, "O": -1.0, None: 0.0}[won]
    values = [exact(put(board, place, mark), "O" if mark == "X" else "X") for place in free(board)]
    return max(values) if mark == "X" else min(values)


def reply(state, ours, theirs):
    """X moves, then O; a reply that X has taken goes to the first free place."""
    board = put(state, ours, "X")
    if not winner(board) and free(board):
        board = put(board, theirs if theirs in free(board) else free(board)[0], "O")
    is_end = winner(board) is not None or not free(board)
    return Outcome(board, exact(board, "X") if is_end else 0.0, is_end)


def tic_tac_toe(board):
    return GameProblem(
        start=board,
        list_own=lambda states: [free(state) for state in states],
        list_other=lambda states: [free(state) for state in states],
        simulate=lambda triples: [reply(*each) for each in triples],
        value=lambda states: [exact(state, "X") for state in states],
        fall_back_move=lambda state: free(state)[0],
    )


@pytest.mark.parametrize("opening", [".........", "O........", "....O....", ".O......."])
def test_tic_tac_toe_is_never_lost(opening):
    """Against every course of replies, whoever begins."""
    moves = {}

    async def play(board):
        if board not in moves:
            moves[board] = (await search(Minimax(depth=1), tic_tac_toe(board))).best.text
        board = put(board, moves[board], "X")
        if winner(board) or not free(board):
            assert winner(board) != "O"
            return 1
        courses = 0
        for place in free(board):
            after = put(board, place, "O")
            assert winner(after) != "O"
            courses += await play(after) if free(after) else 1
        return courses

    assert asyncio.run(play(opening)) > 5


def test_two_pairs_deep_sees_the_same_value():
    """Depth 2 with exact leaves is worth what depth 1 is."""
    board = "X...O...."

    values = [solve(Minimax(depth=d), tic_tac_toe(board)).notes["value"] for d in (1, 2)]

    assert values == [exact(board, "X")] * 2


@pytest.mark.parametrize(("setting", "value"), [("depth", 0), ("backup", "max")])
def test_a_wrong_setting_is_named(setting, value):
    """With its value."""
    with pytest.raises(ConfigError, match=f"{setting} is {value!r}"):
        Minimax(**{setting: value})


def test_the_tree_has_moves_and_replies_with_what_they_are_worth():
    """A move is worth its worst reply, a reply what the position behind it is worth."""
    result = solve(
        Minimax(depth=2),
        matrix_game(
            [[0, 1], [2, 3]],
            simulate=lambda triples: [Outcome(f"{state}{a}{b}") for state, a, b in triples],
            value=lambda states: [float(int(state, 2)) for state in states],
        ),
    )

    # Behind "10" the best move is 1 (10 1 x), of which the worst reply is 0: 1010, so 10.
    scores = {
        "".join(step.text for step in result.tree.partial(node.id).steps): node.score
        for node in result.tree
    }
    assert len(scores) == 1 + 2 + 4 + 8 + 16
    assert (scores["1011"], scores["101"], scores["10"], scores["1"]) == (11, 10, 10, 10)
    assert (scores["0"], result.best.node) == (2, result.candidates[0].node)
    assert result.notes["values"] == {"0": 2, "1": 10}
    assert [(each.text, each.score) for each in result.candidates] == [("1", 10), ("0", 2)]
    assert all(result.tree.partial(each.node) == each.partial for each in result.candidates)
