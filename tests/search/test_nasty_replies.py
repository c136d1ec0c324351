"""What a model writes takes bounded time to read, whatever it is."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.programs.frontier.tasks import TASKS, GameValue
from motet.search.answers import canonical, extract_answer, maths_answer
from motet.search.numbers_game import NumbersGame
from motet.search.thoughts import read_value, read_vote

MOST_S = 2.5
"""CPU time of one text, on a slow machine."""
GAME: Any = {"numbers": [3, 5, 7, 50], "target": 22, "is_all": False}
PIECES = [
    "1e99999999", "1e-99999999", "1.5e9999999999", "10^{99999999}", "10**10**10", "9^9^9^9", "2^-",
    "9" * 5000, "0." + "3" * 55, "1,", "(", ")", "[", "{", "}", "|", "\\{", "\\left(", "\\frac",
    "\\frac{1}{", "\\frac{1e99999999}{3}", "\\sqrt", "\\sqrt{", "\\sqrt[24]{", "200!", "!", "!!",
    "\\binom{200}{100}", "\\sin((x+b)^{19})", "\\sin((", "+b)^{19})", "ln ", "(x+1)^{64}",
    "(x+y+z)^{30}", "/(x^{63}+2)", "x^{4000}", "\\overline{3}", "_{", "^{", "\\pm", "=", "<",
    "\\cup", "\\begin{pmatrix}", "\\end{pmatrix}", "\\\\", "&", "\\text{and}", "%", " ", "\n",
    "+", "-", "*", "/", "1", "x", "i", ".", "the answer is ", "#### ", "\\boxed{", "best choice is ",
    "1e99999999 + 5 = 6 (left: 3 5 7)\n", "3 + 5 = 1e99999999 (left: 7 50)\n",
    "3 + 5 = 8 (left: 1e99999999 7 50)\n", "50 / 7 = 50/7\n",
]  # fmt: skip
READERS: dict[str, Callable[[str], Any]] = {
    "canonical": canonical,
    "maths_answer": maths_answer,
    **{
        f"extract_answer, {how}": lambda text, how=how: extract_answer(text, how)  # type: ignore[misc]
        for how in ("final", "number", "choice", "text")
    },
    **{
        f"is_right, {name}": lambda text, task=task: task.is_right(  # type: ignore[misc]
            text, GAME if task.is_checkable else "5"
        )
        for name, task in TASKS.items()
    },
    **{f"answer_of, {name}": task.answer_of for name, task in TASKS.items()},
    "gold": lambda text: TASKS["gsm8k"].is_right("5", text),
    "game value": GameValue("countdown", GAME),
    "steps of a game": NumbersGame((3, 5, 7, 50), 22).pool_of,
    "verifier of a game": NumbersGame((3, 5, 7, 50), 22).verify,
    "value": read_value,
    "vote": lambda text: read_vote(text, 5),
}


def check(text: str) -> None:
    for name, reader in READERS.items():
        began_s = time.process_time()
        reader(text)
        assert time.process_time() - began_s < MOST_S, (name, text[:300])


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["", "The answer is ", "\\boxed{", "#### "]),
    st.lists(st.tuples(st.sampled_from(PIECES), st.integers(1, 30)), min_size=1, max_size=8),
)
def test_no_text_takes_long_to_read(start: str, pieces: list[tuple[str, int]]) -> None:
    """Answers, grades, votes and steps are read of any text within a bounded time, and no reader
    raises.
    """
    text = start + "".join(piece * num for piece, num in pieces)
    check(text)
    check(text[:480])


@pytest.mark.parametrize("text", PIECES)
def test_one_nasty_piece_is_read_at_once(text: str) -> None:
    """A number of a hundred million digits in six characters is not worked out."""
    check(text)
    check(f"The answer is {text}.")


def functions_of_functions(depth: int, power: int) -> str:
    text = "x"
    for _ in range(depth):
        text = f"\\sin(({text}+b)^{{{power}}})"
    return text


@pytest.mark.parametrize(
    "text",
    [
        functions_of_functions(9, 19),
        functions_of_functions(20, 9),
        "\\frac" * 99 + "1",
        "\\sqrt" * 99 + "x",
        "ln " * 160 + "x",
        "2^-" * 160 + "2",
        "+".join(f"1/(x+{number})" for number in range(50)),
        "best choice is " * 4000,
        "best choice is " + "1" * 5000,
    ],
)
def test_towers_have_an_end(text: str) -> None:
    """Functions of powers of functions, and arguments without braces, are read to a depth."""
    check(text)


def test_a_number_too_large_to_work_out_stands_for_itself() -> None:
    """It has no value, and votes as it is written; one of an exponent that is small has its own."""
    assert maths_answer("The answer is 1e99999999.") == "1e99999999"
    assert canonical("1.5e3") == "1500"
    assert canonical("1e-2") == canonical("0.01")
