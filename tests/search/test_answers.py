"""Answers of one value have one canonical form, however they are written."""

import gzip
import importlib
import itertools
import json
import os
import random
import re
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from motet.search import answers
from motet.search.answers import canonical, extract_answer, maths_answer, normalised

SAME = [
    [r"\frac{1}{2}", "1/2", "0.5", ".5", r"\dfrac12", r"\frac{2}{4}", r"2^{-1}", "$0.50$", r"50\times 10^{-2}"],
    ["1234", "1,234", "1,234.0", r"1{,}234", r"1,\!234", r"\$1,234", "+1234", "1234."],
    [r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt2}", r"\sqrt{\frac12}", r"\sqrt{0.5}", r"2^{-1/2}"],
    [r"2\sqrt{3}", r"\sqrt{12}", "2sqrt(3)", r"\sqrt3\cdot 2", r"\frac{6}{\sqrt{3}}", "12^{1/2}"],
    [r"3\sqrt[3]{2}", r"\sqrt[3]{54}"],
    ["7/2", r"3\frac{1}{2}", r"3\frac12", "3 1/2", "3.5", r"\frac72"],
    [r"0.\overline{3}", "1/3", r"\frac13"],
    ["90", r"90^\circ", r"90^{\circ}", "90°", r"90\text{ degrees}", "90 degrees"],
    ["50", r"50\%", "50%"],
    ["15", r"15\mbox{ cm}^2", r"15 \text{ cm}^{2}", "15 cm", "15 square inches"],
    [r"2\pi r", r"2 r \pi", r"r\cdot 2\pi", "2πr"],
    [r"\frac{\pi}{4}", r"\pi/4", r"0.25\pi"],
    ["(x+1)(x-1)", "x^2-1", r"x^2 - 1", r"(x-1)(1+x)", r"\frac{x^4-1}{x^2+1}"],
    [r"\frac{x}{x+1}", r"1-\frac{1}{x+1}", r"\frac{2x}{2x+2}"],
    ["(3,4)", "(3, 4)", r"\left(3, 4\right)", r"\left( \frac{6}{2},4.0 \right)"],
    ["[0,1)", r"\left[0,1\right)", "x \\in [0,1)"],
    [r"(-\infty,2)\cup(3,\infty)", r"(3,\infty) \cup (-\infty, 2)", "(-∞,2)∪(3,∞)"],
    [r"\{1,2,3\}", "3,2,1", r"\{3, 1, 2\}", "1, 2, 3", "1, 2 and 3", "{1,2,3}", "1,2,3,3"],
    [r"1\pm\sqrt{2}", r"1-\sqrt2, 1+\sqrt2", r"1 \mp \sqrt{2}"],
    [r"\begin{pmatrix}1/2\\-1\end{pmatrix}", r"\begin{bmatrix} 0.5 \\ -1 \end{bmatrix}"],
    ["x=5", "5", "x = 5.0", r"\text{Total} = 5"],
    ["x>5", "5<x"],
    [r"x\le 2", r"2 \geq x", "x<=2", "x ≤ 2"],
    ["2x+3y=6", "4x = 12-6y", r"y+\frac{2}{3}x-2=0"],
    ["(1+i)/2", r"\frac{1}{1-i}", r"\frac12+\frac12 i"],
    [r"\text{Navin}", "navin", r"\textbf{Navin}", "Navin."],
    [r"\text{(B)}", "(B)", "B"],
    [r"\binom{5}{2}", "10", r"\frac{5!}{3!2!}"],
    ["10^{3}", "1000", "1e3", r"1 \times 10^3"],
    [r"|-3|", "3", r"\sqrt{9}"],
    [r"\cot x", r"\cot(x)", r"\cot{x}"],
]  # fmt: skip
DIFFERENT = [
    "1/2", "2", "-1/2", "(1,2)", "[1,2]", "(1,2]", r"\{1,2\}", "(2,1)", "x", "y", "xy", "x+y", "x^2",
    r"\sqrt{x}", r"\sqrt{2}", r"\sqrt{3}", r"\sqrt[3]{2}", r"\sqrt{-1}", r"\pi", "3.14", "3.14159265358979", "A", "B", "a",
    "yes", "no", r"204_5", "204", r"204_6", r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{vmatrix}1\\2\end{vmatrix}",
    r"\begin{pmatrix}1&2\end{pmatrix}", "x<1", r"x\le 1", "x>1", "x=1,y=2", "x=2,y=1", "x+y=1", "3:4", r"\infty", r"-\infty",
    r"\sqrt{x^2}", "(-8,-2)", "12:30", r"\sin x", r"\sin 2x", r"2\sin x", r"\sin^2 x", r"\emptyset", r"\sqrt{1+\sqrt2}",
    r"\theta", "x_1", "x_2", r"\log_2 3", r"\log_3 2", r"2^{n}", r"2^{n+1}", "1/0", "2^3^2", "64", "512", "east", "west",
]  # fmt: skip


@pytest.mark.parametrize("group", SAME, ids=lambda group: group[0])
def test_ways_to_write_a_value_have_one_form(group: list[str]) -> None:
    """Fractions, decimals, roots, units, tuples, sets and so on: one value, one text."""
    forms = {each: canonical(each) for each in group}

    assert len(set(forms.values())) == 1, forms


def test_values_that_differ_have_forms_that_differ() -> None:
    """No two answers of a long list of near misses, nor two groups of equals, fall together."""
    listed = [canonical(each) for each in DIFFERENT]
    groups = [canonical(group[0]) for group in SAME]

    assert None not in listed
    assert len(set(listed)) == len(listed), [x for x in DIFFERENT if listed.count(canonical(x)) > 1]
    assert len(set(groups)) == len(groups)


@pytest.mark.parametrize("empty", ["", "  ", "$$", "\n", "."])
def test_an_empty_answer_is_none(empty: str) -> None:
    """Nothing is no answer; it has no form that could be voted for."""
    assert canonical(empty) is None


def test_an_empty_box_has_no_vote() -> None:
    """A solution whose box is empty states nothing, and is not merged with what cannot be read."""
    assert maths_answer(r"so \boxed{}") is None
    assert maths_answer("no statement") is None
    assert maths_answer(r"so \boxed{\frac{2}{4}}") == maths_answer("The answer is 0.5.") == "1/2"


@pytest.mark.parametrize(
    "answer",
    ["__import__('os').system('true')", "lambda: 0", r"\input{file}", "exec(1)", "1;2;import os"],
)
def test_code_is_never_evaluated(answer: str) -> None:
    """What looks like code stands for itself or for letters; it is read, never run."""
    assert isinstance(canonical(answer), str)


def test_a_whole_reply_is_not_kept_in_memory() -> None:
    """Its form is that of any text, but neither is remembered; those of an answer are."""
    reply, answer = "So it is " + "0x1f " * 1000, "1/2 of 7531"
    before = answers._remembered.cache_info()

    form = canonical(reply)

    assert form == normalised(reply)
    assert answers._remembered.cache_info() == before
    assert canonical(answer) is canonical(answer)
    assert answers._remembered.cache_info().hits == before.hits + 1


@pytest.mark.parametrize(
    "answer",
    [
        "9" * 400,
        "10^{10^{10^{10}}}",
        "((x+1)^{60})^{60}",
        "(x+y+z+1)^{99}",
        "(" * 250 + ")" * 250,
        r"\{" * 100 + "1" + r"\}" * 100,
        "√" * 500,
        r"\sqrt" * 90 + "2",
        "-" * 499 + "1",
        "1+" * 249 + "1",
        r"\sqrt{99999999999999999989}",
        r"\frac{1}{" + "+".join(rf"\sqrt{{{p}}}" for p in (2, 3, 5, 7, 11, 13, 17)) + "}",
        "200!" + "!" * 50,
        "{" * 499,
        " " * 499 + "a",
        "1 " * 240,
        r"\frac" * 99,
        "x^{99}/(x^{98}+1)",
        "2^{3999}" * 50,
        "1," * 249,
    ],
)
def test_the_work_on_an_answer_is_bounded(answer: str) -> None:
    """Towers of powers, deep nesting and large sums end at once, with some form."""
    start = time.monotonic()

    assert answers._canonical(answer) is not None
    assert time.monotonic() - start < 5


def terms(atoms: list[str], forms: list[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        st.integers(-9, 9).map(str) | st.sampled_from(atoms),
        lambda inner: st.builds(
            lambda form, a, b: form.format(a, b), st.sampled_from(forms), inner, inner
        ),
        max_leaves=5,
    )


RING = ["({}+{})", "({}-{})", r"{}\cdot ({})"]
FIELD = [*RING, r"\frac{{{}}}{{{}}}"]
NUMBERS = terms([r"\sqrt{2}", r"\sqrt{6}", "i"], FIELD)
QUOTIENTS = terms(["x"], FIELD)
SUMS = terms(["x", "y", r"\pi", "i", r"\sqrt{2}"], RING)
TERMS = NUMBERS | QUOTIENTS | SUMS
TRIPLES = st.one_of(*(st.tuples(kind, kind, kind) for kind in (NUMBERS, QUOTIENTS, SUMS)))


@given(TERMS)
def test_a_canonical_form_is_its_own(term: str) -> None:
    """The form of a readable answer, read again, has the same form."""
    form = canonical(term)

    assert form is None or canonical(form) == form or form == normalised(term)


@given(TRIPLES)
def test_the_laws_of_arithmetic_hold(triple: tuple[str, str, str]) -> None:
    """Of numbers with roots, of quotients of one variable and of sums of several, sums and
    products commute and distribute, and what is added and taken away is gone."""
    a, b, c = (f"({each})" for each in triple)
    assume(all(canonical(f"{each}-{each}") == "0" for each in (a, b, c)))

    assert canonical(f"{a}+{b}") == canonical(f"{b}+{a}")
    assert canonical(f"{a}{b}") == canonical(f"{b}{a}")
    assert canonical(f"{a}({b}+{c})") == canonical(f"{a}{b}+{a}{c}")
    assert canonical(f"{a}+{b}-{b}") == canonical(a)


def valued(text: str, value: complex) -> st.SearchStrategy[tuple[str, complex | None]]:
    return st.just((text, value))


OPERATIONS: list[tuple[str, Any]] = [
    ("({}+{})", lambda x, y: x + y),
    ("({}-{})", lambda x, y: x - y),
    (r"{}\cdot ({})", lambda x, y: x * y),
    (r"\frac{{{}}}{{{}}}", lambda x, y: x / y if abs(y) > 1e-9 else None),
]


def combined(operation: tuple[str, Any], x: Any, y: Any) -> tuple[str, complex | None]:
    is_known = x[1] is not None and y[1] is not None
    return operation[0].format(x[0], y[0]), operation[1](x[1], y[1]) if is_known else None


VALUED: st.SearchStrategy[tuple[str, complex | None]] = st.recursive(
    st.integers(-4, 4).map(lambda n: (str(n), complex(n)))
    | valued(r"\sqrt{2}", 2**0.5)
    | valued(r"\sqrt{8}", 8**0.5)
    | valued("i", 1j),
    lambda inner: st.builds(combined, st.sampled_from(OPERATIONS), inner, inner),
    max_leaves=5,
)


@given(VALUED, VALUED)
def test_forms_are_equal_just_where_floats_say_so(
    one: tuple[str, complex | None], other: tuple[str, complex | None]
) -> None:
    """Of random expressions of numbers, roots and i, checked by complex floats."""
    assume(one[1] is not None and other[1] is not None)
    assert one[1] is not None and other[1] is not None

    assert (canonical(one[0]) == canonical(other[0])) == (abs(one[1] - other[1]) < 1e-9)


@given(st.fractions(max_denominator=999), st.fractions(max_denominator=999))
def test_rational_numbers_are_equal_just_where_they_are(a: Fraction, b: Fraction) -> None:
    """Written as LaTeX fractions and as quotients, two numbers fall together only if equal."""
    left = canonical(rf"\frac{{{a.numerator * 3}}}{{{a.denominator * 3}}}")
    right = canonical(f"{b.numerator}/{b.denominator}")

    assert (left == right) == (a == b)


@given(st.text(max_size=60))
def test_any_text_has_a_form_or_is_empty(text: str) -> None:
    """Whatever a model writes is taken; only an answer that folds to nothing has no form."""
    assert (canonical(text) is None) == (not normalised(text))


def _records(path: str) -> list[dict[str, Any]]:
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    with gzip.open(Path(folder) / path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _rewritten(answer: str) -> list[str]:
    forms = [
        f"${answer}$",
        f" {answer} ",
        rf"\({answer}\)",
        answer.replace("\\frac", "\\dfrac"),
        answer.replace("(", "\\left(").replace(")", "\\right)"),
        answer + ".",
    ]
    if answer.lstrip("-").isdigit():
        value = int(answer)
        forms += [f"{value:,}", f"{answer}.0", rf"\frac{{{2 * value}}}{{2}}", rf"{answer}\%"]
        forms += [
            rf"{answer}\text{{ cm}}",
            f"x={answer}",
            rf"\sqrt[3]{{{value**3}}}" if abs(value) < 1000 else answer,
        ]
    return forms  # fmt: skip


def test_gold_answers_of_math_equal_themselves_written_otherwise() -> None:
    """Every answer of the set is read, and equals itself in other spellings."""
    answers = {str(record["answer"]) for record in _records("math/problems.jsonl.gz")}
    wrong = [
        (answer, form)
        for answer in answers
        for form in _rewritten(answer)
        if canonical(form) != canonical(answer)
    ]

    assert len(answers) > 250
    assert wrong == []


def test_gold_answers_of_other_value_never_merge() -> None:
    """Numeric gold answers fall together only where their values do, checked by floats."""
    answers = sorted({str(record["answer"]) for record in _records("math/problems.jsonl.gz")})
    answers += sorted({str(record["gold"]) for record in _records("gsm8k/test.jsonl.gz")})
    values = {a: v for a in answers if (v := _float(a)) is not None}
    pairs = list(itertools.combinations(values, 2))
    sample = random.Random(0).sample(pairs, min(len(pairs), 20_000))

    assert len(values) > 300
    for a, b in sample:
        assert (canonical(a) == canonical(b)) == (abs(values[a] - values[b]) < 1e-9), (a, b)


def _float(answer: str) -> float | None:
    """Value of a plain number or fraction, by Python's own arithmetic."""
    form = re.sub(r"\\d?frac\{(\d+)\}\{(\d+)\}", r"\1/\2", answer)
    try:
        return float(Fraction(form.replace(",", "")))
    except ValueError:
        return None


def test_sampled_answers_are_graded_as_their_authors_did() -> None:
    """On 87 problems of 8 samples canonical equality with the gold answer is the data set's own
    symbolic verdict, but for one gold answer that it misreads."""
    wrong = [
        (record["gold"], prediction)
        for record in _records("qwen_bon8/samples.jsonl.gz")
        for prediction, is_right in zip(record["preds"], record["correct"], strict=True)
        if (canonical(prediction) == canonical(record["gold"])) != bool(is_right)
    ]

    assert wrong == [("10{,}000", "10000")]


def test_extraction_is_as_in_self_consistency() -> None:
    """The program and the searches read answers by one function."""
    module = importlib.import_module("motet.programs.self_consistency")

    assert module.extract_answer is extract_answer
