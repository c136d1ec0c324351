"""Every setting of every algorithm against values that it cannot mean."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import fields, replace
from importlib import import_module
from typing import Any, get_type_hints

import pytest
from pydantic import ConfigDict, TypeAdapter, ValidationError

from motet.errors import ConfigError, SearchError
from motet.search.adaptive import isotonic, probability_of_yes
from motet.search.adaptive_consistency import AdaptiveConsistency
from motet.search.batching import Joined
from motet.search.compute_optimal import Bins, ComputeOptimal
from motet.search.coverage import PowerLaw, beta_coverage, coverage_curve, pass_at
from motet.search.drawing import to_svg, to_text
from motet.search.driver import SearchResult, search
from motet.search.numbers_game import NumbersGame, Player
from motet.search.partials import Step
from motet.search.presets import preset
from motet.search.refinement import Draft, Refinement, RefinementProblem
from motet.search.registry import ALGORITHMS
from motet.search.revisions import Revisions
from motet.search.spending import Limits
from motet.search.step_scores import StepScorer, split_steps
from motet.search.tree import Tree
from motet.testing.search import planted_problem
from tests.search.script import Script

VALUES = [None, "x", -1, math.nan, math.inf, True, [], (), 0.5, 10**30, 10**400, object()]
PLACES = [place.partition(":") for _, place in sorted(ALGORITHMS.items())]
KINDS: list[Any] = [getattr(import_module(module), name) for module, _, name in PLACES]
SETTINGS = [
    pytest.param(kind, each.name, id=f"{kind.__name__}-{each.name}")
    for kind in [*KINDS, Revisions, Refinement]
    for each in fields(kind)
]


def refine(drafts: Sequence[Draft]) -> list[list[Step]]:
    return [[Step(f"<<<{draft.text}{i}>>>") for i in range(draft.n)] for draft in drafts]


REFINING = RefinementProblem(
    response="y",
    critique="too long",
    refine=refine,
    judge=lambda texts, num: [["No"] * num for _ in texts],
)


def problem_of(kind: Any) -> Any:
    return REFINING if kind is Refinement else planted_problem()


def run(algorithm: Any, problem: Any, **limits: Any) -> SearchResult:
    async def bounded() -> SearchResult:
        async with asyncio.timeout(20):
            return await search(algorithm, problem, limits=Limits(**limits))

    return asyncio.run(bounded())


def is_admitted(kind: Any, name: str, value: Any) -> bool:
    """Whether the setting's type holds `value`, by pydantic in its strict mode."""
    adapter: Any = TypeAdapter(get_type_hints(kind)[name], config=ConfigDict(strict=True))
    try:
        adapter.validate_python(value)
    except (ValidationError, OverflowError):
        return False
    return True


@pytest.mark.parametrize(("kind", "name"), SETTINGS)
def test_a_setting_works_or_is_refused_with_its_name_before_anything_is_paid(
    kind: Any, name: str
) -> None:
    """What the type does not hold is always refused; the rest is refused or runs without error."""
    for value in VALUES:
        wrong: Any = {name: value}
        try:
            algorithm = kind(**wrong)
        except ConfigError as exc:
            assert f"{name} is " in str(exc), value  # noqa: PT017
            continue
        assert is_admitted(kind, name, value), f"{name}={value!r} is taken"
        result = run(algorithm, problem_of(kind), max_proposals=30, max_steps=30)
        assert result.error is None, f"{name}={value!r}: {result.error}"


FUNCTIONS = [
    pytest.param(kind, each.name, settings, id=f"{kind.__name__}-{each.name}")
    for kind in [*KINDS, Revisions]
    for each in fields(kind)
    for settings in [
        {"choose": "majority"}
        if {"choose", "extract"} <= {other.name for other in fields(kind)}
        else {"aggregate": "uniform"}
        if "aggregate" in {other.name for other in fields(kind)}
        else {}
    ]
    if callable(getattr(kind(), each.name)) or each.name == "cost"
]


@pytest.mark.parametrize(("kind", "name", "settings"), FUNCTIONS)
def test_a_setting_s_function_that_raises_is_a_search_error_that_names_it(
    kind: Any, name: str, settings: dict[str, Any]
) -> None:
    """In the result, or raised where there is no result yet; the foreign error is its cause."""

    def broken(*arguments: Any) -> Any:
        raise KeyError("planted")

    algorithm = kind(**{**settings, name: broken})
    try:
        error: Any = run(algorithm, planted_problem(), max_proposals=30).error
    except SearchError as exc:
        error = exc

    assert isinstance(error, SearchError)
    assert str(error).startswith(f"{name} failed: KeyError")
    assert isinstance(error.__cause__, KeyError)


@pytest.mark.parametrize(("kind", "name", "settings"), FUNCTIONS)
def test_a_setting_s_function_that_gives_another_type_is_a_search_error(
    kind: Any, name: str, settings: dict[str, Any]
) -> None:
    """Answers and keys are texts, costs and temperatures numbers."""
    algorithm = kind(**{**settings, name: lambda *arguments: ["planted"]})
    try:
        error: Any = run(algorithm, planted_problem(), max_proposals=30).error
    except SearchError as exc:
        error = exc

    assert isinstance(error, SearchError)
    assert f"{name} gave ['planted']" in str(error)


def test_a_function_that_fails_in_mid_search_leaves_the_best_so_far() -> None:
    """What the draws before it were paid for is not lost with the one that it cannot read."""
    script = Script(["A", "B", "A", "?"])

    def extract(text: str) -> str:
        return {"A": "A", "B": "B"}[text]

    result = run(AdaptiveConsistency(extract=extract, threshold=0.95), script.problem)

    assert (result.why, result.num_steps, result.spend.proposals) == ("failed", 3, 4)
    assert str(result.error) == "extract failed: KeyError: '?'"
    assert result.best is not None and result.best.text == "A"
    assert result.notes["votes"] == {"A": 2.0, "B": 1.0}


@pytest.mark.parametrize("name", ["refine", "judge", "read_refinement", "read_verdict"])
def test_a_refinement_problem_needs_functions(name: str) -> None:
    """A problem that lacks one is refused where it is made."""
    wrong: Any = {name: "x"}
    with pytest.raises(ConfigError, match=f"{name} is 'x'; it must be a function"):
        replace(REFINING, **wrong)


@pytest.mark.parametrize("name", ["read_refinement", "read_verdict"])
def test_a_reader_of_replies_that_raises_is_a_search_error(name: str) -> None:
    """What was judged before is kept."""
    wrong: Any = {name: lambda reply: 1 // 0}
    problem = replace(REFINING, **wrong)

    result = run(Refinement(), problem)

    assert (result.why, str(result.error)) == (
        "failed",
        f"{name} failed: ZeroDivisionError: integer division or modulo by zero",
    )


WRONG: list[Any] = ["x", -1, math.nan, math.inf, [], object()]


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("algorithms", lambda value: ComputeOptimal(algorithms=value, bin=0)),
        ("algorithms", lambda value: ComputeOptimal(algorithms=(value,), bin=0)),
        ("bins", lambda value: ComputeOptimal(algorithms=(Revisions(),), bins=value)),
        ("bin", lambda value: ComputeOptimal(algorithms=(Revisions(),), bin=value)),
        ("edges", Bins),
        ("edges", lambda value: Bins((0.1, value))),
        ("score_steps", lambda value: StepScorer(score_steps=value)),
        ("call", lambda value: Joined(value)),
        ("preset", preset),
        ("num_samples", lambda value: pass_at(1, value, 0)),
        ("num_points", lambda value: coverage_curve([(5, 2)], value)),
        ("alpha", lambda value: beta_coverage(2, value, 1.0)),
        ("k", lambda value: PowerLaw(-1.5, -0.5).coverage(value)),
        ("wanted", lambda value: PowerLaw(-1.5, -0.5).samples_for(value)),
        ("yes", lambda value: probability_of_yes(value, 0.0)),
        ("score", lambda value: isotonic([(value, 1.0)])),
        ("numbers", lambda value: NumbersGame(value)),
        ("numbers", lambda value: NumbersGame((1, value))),
        ("uses_all", lambda value: NumbersGame((1, 2), uses_all=value)),
        ("is_natural", lambda value: NumbersGame((1, 2), is_natural=value)),
        ("game", lambda value: Player(game=value)),
        ("is_random", lambda value: Player(game=NumbersGame((1, 2)), is_random=value)),
        ("noise", lambda value: Player(game=NumbersGame((1, 2)), noise=value)),
        ("best", lambda value: to_svg(Tree(), best=value)),
        ("best", lambda value: to_text(Tree(), best=value)),
    ],
)
def test_what_stands_beside_the_searches_refuses_wrong_values_by_name(name: str, make: Any) -> None:
    """A ConfigError, and no other one; edges and scores may be negative, log-probabilities too."""
    for value in WRONG:
        if value == -1 and name in {"yes", "score", "edges"} and make is not Bins:
            continue
        with pytest.raises(ConfigError, match=rf"{name} (is|holds) "):
            make(value)


@pytest.mark.parametrize("value", [-1, 5, "", None, b"\n\n"])
def test_a_delimiter_is_some_text(value: Any) -> None:
    """For the split itself and for the scorer, which also takes None for the proposed steps."""
    with pytest.raises(ConfigError, match=r"delimiter is .*; it must be some text"):
        split_steps("a", value)
    if value is not None:
        with pytest.raises(ConfigError, match=r"delimiter is .*; it must be some text"):
            StepScorer(score_steps=list, delimiter=value)
