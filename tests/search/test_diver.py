"""DIVER: spans by their own probability and by what they say about the input."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial as bound
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, SearchError
from motet.search.diver import Diver, DiverProblem
from motet.search.driver import SearchResult, search
from motet.search.partials import Partial
from motet.search.spending import Limits, Spend
from motet.search.tokens import Token
from motet.search.tools import FAILED, UNPAID
from motet.testing import check_search

NEXT: dict[str, dict[str, float]] = {
    "": {"r": 0.5, "g": 0.4, "z": 0.1},
    "r": {"e": 0.9, "o": 0.1},
    "re": {"d": 1.0},
    "red": {" ": 0.5, "$": 0.5},
    "g": {"o": 0.95, "x": 0.05},
    "go": {"$": 0.6, "d": 0.4},
}
"""What comes next behind a text; all else ends."""
INPUT: dict[str, float] = {"red": 0.1, "go": 0.6}
"""Probability of the input behind a text; behind all else it is 0.2."""


def next_of(text: str) -> dict[str, float]:
    return NEXT.get(text, {"$": 1.0})


def top_tokens(partials: Sequence[Partial], k: int) -> list[list[Token]]:
    found = []
    for each in partials:
        ordered = sorted(next_of(each.text).items(), key=lambda item: -item[1])[:k]
        found.append(
            [Token("" if t == "$" else t, math.log(p), is_last=t == "$") for t, p in ordered]
        )
    return found


def input_logprob(partials: Sequence[Partial]) -> list[float]:
    return [math.log(INPUT.get(each.text, 0.2)) for each in partials]


def toy(**changes: Any) -> DiverProblem:
    return replace(DiverProblem(top_tokens=top_tokens, input_logprob=input_logprob), **changes)


def run(algorithm: Diver, problem: DiverProblem | None = None, **settings: Any) -> SearchResult:
    return asyncio.run(search(algorithm, problem or toy(), **settings))


def first_spans(result: SearchResult) -> dict[str, float]:
    return {node.step.text: node.score for node in result.tree if node.depth == 1}


def test_a_span_goes_on_to_the_next_divergence():
    """red stops before two plausible tokens, go likewise; z is not plausible."""
    result = run(Diver(max_tokens=1, max_span=8), limits=Limits(max_steps=1))

    assert set(first_spans(result)) == {"r", "g"}
    result = run(Diver(), limits=Limits(max_steps=1))
    assert set(first_spans(result)) == {"red", "go"}


def test_the_score_is_probability_and_information():
    """log p(span) + weight * log p(input | span), at the numbers of the table."""
    result = run(Diver(weight=2.0), limits=Limits(max_steps=1))

    assert first_spans(result) == pytest.approx(
        {
            "red": math.log(0.5 * 0.9 * 1.0) + 2 * math.log(0.1),
            "go": math.log(0.4 * 0.95) + 2 * math.log(0.6),
        }
    )
    assert result.best.text == "go"


def test_without_weight_the_likeliest_span_is_taken():
    """No likelihood of the input is asked for."""
    result = run(Diver(weight=0.0), toy(input_logprob=lambda batch: 1 / 0))

    assert result.best.text.startswith("red")
    assert result.error is None
    assert result.spend.scores == 0


@given(st.floats(0, 10), st.booleans())
def test_one_plausible_token_at_each_place_is_greedy(weight, per_token):
    """With alpha = 1 only the likeliest is plausible, where there are no equals."""
    result = run(
        Diver(alpha=1.0, weight=weight, per_token=per_token),
        toy(
            top_tokens=lambda partials, k: [each[:1] for each in top_tokens(partials, k)],
            input_logprob=lambda batch: 1 / 0,
        ),
    )

    assert result.best.text == "red "
    assert all(node.step.num_tokens == 1 for node in result.tree if node.step)


@given(
    st.lists(st.floats(0.01, 1), min_size=2, max_size=4),
    st.lists(st.floats(0.01, 1), min_size=4, max_size=4),
    st.floats(0, 4),
    st.booleans(),
)
def test_the_shared_constant_changes_no_choice(shares, likely, weight, per_token):
    """log p(input | text so far) is the same for all spans, so it may be left out."""
    names = "abcd"[: len(shares)]

    def tokens(partials: Sequence[Partial], k: int) -> list[list[Token]]:
        logs = [math.log(share / sum(shares)) for share in shares]
        first = [Token(name, log) for name, log in zip(names, logs, strict=True)]
        return [[Token("", 0.0, is_last=True)] if each.steps else first for each in partials]

    problem = DiverProblem(
        top_tokens=tokens,
        input_logprob=lambda batch: [
            math.log(likely["abcd".index(each.text)]) if each.text else -3.0 for each in batch
        ],
    )
    algorithm = Diver(alpha=0.01, weight=weight, per_token=per_token)
    without = run(algorithm, problem)
    with_base = run(replace(algorithm, with_base=True), problem)

    assert with_base.best.text == without.best.text


@given(st.lists(st.lists(st.floats(0.05, 1), min_size=3, max_size=3), min_size=2, max_size=2))
def test_information_of_a_joint_table_is_exact(table):
    """PMI of a span is log p(input | span) / p(input), which is 0 where they are independent."""
    total = sum(map(sum, table))
    joint = [[cell / total for cell in row] for row in table]
    p_input = [sum(row[x] for row in joint) for x in range(3)]
    p_span = [sum(row) for row in joint]

    def tokens(partials: Sequence[Partial], k: int) -> list[list[Token]]:
        first = [Token(str(y), math.log(p_span[y])) for y in (0, 1)]
        return [[Token("", 0.0, is_last=True)] if each.steps else first for each in partials]

    for x in range(3):

        def likely(batch: Sequence[Partial], x: int = x) -> list[float]:
            return [
                math.log(joint[int(each.text)][x] / p_span[int(each.text)])
                if each.text
                else math.log(p_input[x])
                for each in batch
            ]

        algorithm = Diver(alpha=1e-6, with_base=True)
        result = run(
            algorithm,
            DiverProblem(top_tokens=tokens, input_logprob=likely),
            limits=Limits(max_steps=1),
        )

        pmi = {node.step.text: node.step.data["pmi"] for node in result.tree if node.step}
        for y in (0, 1):
            wanted = math.log(joint[y][x] / (p_span[y] * p_input[x]))
            assert pmi[str(y)] == pytest.approx(wanted, abs=1e-9)
            score = first_spans(result)[str(y)]
            assert score == pytest.approx(math.log(p_span[y]) + wanted, abs=1e-9)


def test_a_span_that_says_nothing_of_the_input_has_no_information():
    """The input is as likely with it as without."""
    problem = toy(input_logprob=lambda batch: [-4.0] * len(batch))

    result = run(Diver(with_base=True), problem)

    assert {node.step.data["pmi"] for node in result.tree if node.depth == 1} == {0.0}
    assert result.best.text == run(Diver(weight=0.0)).best.text


def test_length_counts_unless_it_is_taken_out():
    """A long span of likely tokens loses against a short one by its sum, and wins by its mean."""
    table = {"": {"s": 0.5, "l": 0.5}, "s": {"$": 1.0}, "l": {"m": 0.8}, "lm": {"n": 0.9}}

    def tokens(partials: Sequence[Partial], k: int) -> list[list[Token]]:
        return [
            [
                Token("" if t == "$" else t, math.log(p), is_last=t == "$")
                for t, p in table.get(each.text, {"$": 1.0}).items()
            ]
            for each in partials
        ]

    problem = toy(top_tokens=tokens, input_logprob=lambda batch: [-1.0] * len(batch))

    assert run(Diver(max_span=3), problem).best.text == "s"
    assert run(Diver(max_span=3, per_token=True), problem).best.text == "lmn"


def test_a_span_is_no_longer_than_its_most():
    """Nor than what is left of the text's length."""
    result = run(Diver(max_span=2), limits=Limits(max_steps=1))
    assert set(first_spans(result)) == {"re", "go"}

    short = run(Diver(max_tokens=2))
    assert short.best.partial.num_tokens == 2


def test_an_end_within_a_span_ends_it():
    """Nothing is asked for behind it."""
    seen = []

    def tokens(partials: Sequence[Partial], k: int) -> list[list[Token]]:
        seen.extend(partials)
        ends = [Token("x", math.log(0.5)), Token("", math.log(0.5), is_last=True)]
        return [[Token("", 0.0, is_last=True)] if each.steps else ends for each in partials]

    result = run(Diver(), toy(top_tokens=tokens))

    assert result.best.partial.is_finished
    assert result.num_steps == 1
    assert not any(each.is_finished for each in seen)
    assert {node.step.num_tokens for node in result.tree if node.step} == {1, 2}


def test_the_likely_share_is_of_the_highest():
    """alpha = 0.8 admits 0.4 beside 0.5, alpha = 0.81 does not; 0.1 needs 0.2."""
    for alpha, names in [(0.8, {"red", "go"}), (0.81, {"r"}), (0.2, {"red", "go", "z"})]:
        result = run(Diver(alpha=alpha), limits=Limits(max_steps=1))
        assert set(first_spans(result)) == names


def test_spans_are_followed_and_rated_in_batches():
    """One look for all spans at each length, one likelihood for all spans of a place."""
    looks: list[int] = []
    rated: list[int] = []

    def tokens(partials: Sequence[Partial], k: int) -> Any:
        looks.append(len(partials))
        return top_tokens(partials, k)

    def likely(partials: Sequence[Partial]) -> Any:
        rated.append(len(partials))
        return input_logprob(partials)

    result = run(Diver(), toy(top_tokens=tokens, input_logprob=likely), limits=Limits(max_steps=1))

    assert (looks, rated) == ([1, 2, 2, 1], [2])
    assert result.spend == Spend(proposals=6, tokens=6, scores=2)


@pytest.mark.parametrize("name", ["max_proposals", "max_tokens", "max_scores"])
@pytest.mark.parametrize("most", range(14))
def test_a_limit_ends_it_with_whole_choices(name, most):
    """No span is chosen among those that happened to be paid for."""
    whole = run(Diver(alpha=0.2))

    result = run(Diver(alpha=0.2), limits=Limits(**{name: most}))

    assert getattr(result.spend, name.removeprefix("max_")) <= most
    assert result.best is None or whole.best.text.startswith(result.best.text)
    assert list(result.tree) == list(whole.tree)[: len(result.tree)]


@pytest.mark.parametrize("field", ["top_tokens", "input_logprob"])
@pytest.mark.parametrize("lost", [FAILED, UNPAID])
def test_what_is_lost_is_never_made_up(field, lost):
    """With nothing to choose by, the text ends as far as it has come."""
    result = run(Diver(), toy(**{field: lambda batch, *rest: [lost] * len(batch)}))

    assert (result.best, result.error) == (None, None)
    assert result.why == ("limit" if lost is UNPAID else "stuck")


def test_a_choice_of_which_a_part_was_unpaid_is_not_made():
    """A span that nobody paid to rate would lose for that alone."""
    result = run(Diver(), toy(input_logprob=lambda batch: [UNPAID, -1.0]))

    assert (result.why, result.best, len(result.tree)) == ("limit", None, 1)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"top_tokens": lambda p, k: [[Token("x", 0.5)]]}, "top_tokens gave 0.5"),
        ({"top_tokens": lambda p, k: [None]}, "must give a sequence of Token"),
        ({"input_logprob": lambda p: [0.5] * len(p)}, "input_logprob gave 0.5"),
        ({"input_logprob": lambda p: [math.nan] * len(p)}, "input_logprob gave nan"),
        ({"input_logprob": lambda p: [-math.inf] * len(p)}, "input_logprob gave -inf"),
        ({"input_logprob": lambda p: [-1.0]}, "1 results for a batch of 2"),
    ],
)
def test_a_callable_that_breaks_its_contract_is_a_search_error(changes, what):
    """The error names the callable and what it gave."""
    result = run(Diver(), toy(**changes))

    assert result.why == "failed"
    with pytest.raises(SearchError, match=what):
        raise result.error


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": 0},
        {"alpha": 1.1},
        {"alpha": math.nan},
        {"weight": -1},
        {"k": 0},
        {"max_span": 0},
        {"max_tokens": 0},
    ],
)
def test_settings_are_checked(settings):
    """The error names the setting and its value."""
    [(name, value)] = settings.items()

    with pytest.raises(ConfigError, match=f"{name} is {value!r}"):
        Diver(**settings)


@pytest.mark.parametrize("algorithm", [Diver(), Diver(alpha=0.05, with_base=True, per_token=True)])
def test_it_keeps_the_laws_of_searches(algorithm):
    """Limits, seeds, resumption, losses."""
    names = ("top_tokens", "input_logprob")

    asyncio.run(check_search(algorithm, bound(toy), batched=names, lossy=names))
