"""Whatever a model writes is graded, and soon."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.grading.choices import multiple_choice
from motet.grading.exact_match import exact_match, token_f1
from motet.grading.instruction_following import Instruction, instruction_following
from motet.grading.literals import literal
from motet.grading.maths import maths, number

SIZE = 100_000
SECONDS = 5.0
"""For all graders of one text; each takes milliseconds unless its work grows with the square."""

TEXTS = {
    "letters": "a" * SIZE,
    "digits": "9" * SIZE,
    "spaces": " " * SIZE + "x",
    "lines": "\n" * SIZE + "x",
    "NUL": "\x00" * SIZE,
    "lone surrogates": "\ud800" * SIZE,
    "stops": "a. " * (SIZE // 3),
    "stars": "*" * SIZE,
    "open emphasis": "****a" * (SIZE // 5),
    "minus signs": "-" * SIZE,
    "dollars": "$" * SIZE,
    "backslashes": "\\" * SIZE,
    "quotes": "'" * SIZE,
    "titles": "<<" * (SIZE // 2),
    "round brackets": "(" * SIZE,
    "square brackets": "[" * SIZE,
    "nested list": "[" * (SIZE // 2) + "]" * (SIZE // 2),
    "nested objects": '{"a":' * (SIZE // 5),
    "a shorter nested list": "[" * 5_000,
    "shorter minus signs": "-" * 9_000 + "1",
    "boxes": r"\boxed{" * (SIZE // 7),
    "fractions": r"\frac{" * (SIZE // 6),
    "hashes": "#" * SIZE,
    "hashed lines": "####\n" * (SIZE // 5),
    "statements": "answer is " * (SIZE // 10),
    "answer and spaces": "answer" + " " * SIZE,
    "marked letters": "(A)" * (SIZE // 3),
    "short nested roots": r"\sqrt{" * 60 + "2" + "}" * 60,
    "tower": "9**9**9**9",
    "tower in LaTeX": "9^{9^{9^9}}",
    "tower of powers": "((9^{400})^{400})^{400}",
    "power of a sum": "(a+b+c+d+e+f)^{400}",
    "product of sums": "(a+b+c+d)" * 50,
    "power of roots": r"(\sqrt2+\sqrt3+\sqrt5+\sqrt7)^{40}",
    "factorial": "10000000!",
    "binomial": r"\binom{10000000}{5000000}",
    "exponent": "1e99999999",
    "percent of an exponent": r"1e99999999\%",
    "signs": r"\pm" * 90 + "1",
}

SETTINGS: dict[str, dict[str, Any]] = {
    "keywords:existence": {"keywords": ["zz"]},
    "keywords:forbidden_words": {"forbidden_words": ["zz"]},
    "keywords:frequency": {"keyword": "aa", "relation": "at least", "frequency": 9},
    "keywords:letter_frequency": {
        "letter": "z",
        "let_relation": "at least",
        "let_frequency": 1,
    },
    "length_constraints:number_words": {"relation": "at least", "num_words": 10**6},
    "length_constraints:number_sentences": {"relation": "at least", "num_sentences": 10**6},
    "length_constraints:number_paragraphs": {"num_paragraphs": 3},
    "length_constraints:nth_paragraph_first_word": {
        "num_paragraphs": 1,
        "nth_paragraph": 1,
        "first_word": "zz",
    },
    "detectable_content:number_placeholders": {"num_placeholders": 10**6},
    "detectable_content:postscript": {"postscript_marker": "P.P.S"},
    "detectable_format:number_bullet_lists": {"num_bullets": 10**6},
    "detectable_format:number_highlighted_sections": {"num_highlights": 10**6},
    "detectable_format:multiple_sections": {"section_spliter": "S", "num_sections": 10**6},
    "detectable_format:json_format": {},
    "detectable_format:title": {},
    "combination:two_responses": {},
    "change_case:capital_word_frequency": {
        "capital_frequency": 10**6,
        "capital_relation": "at least",
    },
}
INSTRUCTIONS = [Instruction(id=name, settings=given) for name, given in SETTINGS.items()]

GRADERS: dict[str, Callable[[str], object]] = {
    "maths": lambda text: maths(text, ["5"]).verdict,
    "number": lambda text: number(text, ["5"]).verdict,
    "literal": lambda text: literal(text, ["[1]"]).verdict,
    "choice": lambda text: multiple_choice(text, "A", ["one", "two"]).verdict,
    "exact match": lambda text: exact_match(text, ["one"]).verdict,
    "F1": lambda text: token_f1(text, ["one"]),
    "maths gold": lambda text: maths("5", [text]).verdict,
    "literal gold": lambda text: literal("5", [text]).verdict,
    "instructions": lambda text: instruction_following(text, INSTRUCTIONS).strict,
}


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_texts_are_graded_soon(name: str) -> None:
    """100 kB, deep nesting, control characters, lone surrogates, and powers that no memory holds
    end with a grade that is never "right"."""
    began = time.perf_counter()
    grades = {grader: grade(TEXTS[name]) for grader, grade in GRADERS.items()}

    assert time.perf_counter() - began < SECONDS
    assert "right" not in {v for k, v in grades.items() if k != "choice"}


@given(st.text(alphabet=st.characters(codec=None), min_size=1, max_size=80))
def test_any_text_is_graded_the_same_twice(text: str) -> None:
    """No grader raises, and none remembers."""
    for name, grade in GRADERS.items():
        if text.strip() or "gold" not in name:
            assert grade(text) == grade(text)
