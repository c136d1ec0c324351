"""Model-SAT: planted readers, orders, calibration, rows."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

import motet
from motet import Capability, Model
from motet.engine import Request
from motet.errors import ConfigError, DataError, EngineUnavailableError, RunFailedError
from motet.programs import route
from motet.programs.choices import Choice
from motet.programs.model_sat import (
    ModelSat,
    capability_score,
    capability_texts,
    capability_training_rows,
    fit_calibration,
)
from motet.routing.capability_rows import CapabilityRow
from motet.routing.deciding import CheapestReaching, WorthItsPrice
from motet.routing.outcomes import Outcomes
from motet.routing.row_files import write_json_lines
from motet.testing import ScriptedEngine

np = pytest.importorskip("numpy")

RESULTS = {
    "small": {"sums": 0.9, "poems": 0.1, "maps": 0.5},
    "large": {"sums": 0.8, "poems": 0.9, "maps": 0.5},
}
BEST = CheapestReaching(min_score=1.0)
FREE = {"small": 0.0, "large": 0.0}


def text_of(request: Request) -> str:
    return str(request.prompt[-1].content)  # type: ignore[union-attr]


def odds(share: float) -> tuple[float, float]:
    return (math.log(share), math.log1p(-share))


def aptitude(request: Request) -> tuple[float, float]:
    """A monotone reader: says Yes as often as the model was right in the question's category."""
    text = text_of(request)
    category = re.findall(r"<question>\n(\w+)", text)[0]
    share = int(re.findall(rf"{category}: (\d+)%", text)[0]) / 100
    return odds(min(max(share, 0.001), 0.999))


def first_line(request: Request) -> tuple[float, float]:
    """A reader that goes by the first category that it sees."""
    return odds(int(re.findall(r"(\d+)%", text_of(request))[0]) / 100 * 0.98 + 0.01)


def reader(script: Any = aptitude) -> Model:
    return Model(ScriptedEngine(script, capabilities=frozenset({Capability.SCORE})), "reader")


def requests(model: Model) -> list[Request]:
    return model.engine.requests  # type: ignore[union-attr]


def models(*names: str) -> dict[str, Model]:
    return {name: Model(ScriptedEngine([f"by {name}"]), name) for name in names}


def routed(question: str, by: ModelSat, *names: str) -> Any:
    found = motet.run(route(question, among=models(*(names or RESULTS)), by=by), store=None)
    return found.value


def value_of(ref: Any) -> Any:
    return motet.run(ref, store=None).value


def test_the_model_that_was_best_in_the_questions_category_answers() -> None:
    by: Choice = ModelSat(reader(), RESULTS, rule=BEST, prices=FREE)

    assert routed("sums of 2", by).text == "by small"  # type: ignore[arg-type]
    assert routed("poems of rain", by).text == "by large"  # type: ignore[arg-type]


def test_a_model_that_got_nothing_right_is_never_chosen_by_a_monotone_reader() -> None:
    results = {"none": dict.fromkeys(RESULTS["small"], 0.0), **RESULTS}
    by = ModelSat(reader(), results, rule=BEST, prices={**FREE, "none": 0.0})

    for question in ("sums", "poems", "maps"):
        assert routed(question, by, *results).decision.model != "none"


def test_another_model_changes_no_other_models_score() -> None:
    two = routed("maps", ModelSat(reader(), RESULTS, rule=BEST, prices=FREE)).decision
    more = {**RESULTS, "new": {"maps": 0.7, "chess": 1.0}}
    three = routed(
        "maps", ModelSat(reader(), more, rule=BEST, prices={**FREE, "new": 0.0}), *more
    ).decision

    assert {name: three.estimates[name] for name in RESULTS} == two.estimates


def test_scores_do_not_depend_on_the_order_that_the_categories_come_in() -> None:
    """Even of a reader that goes by the first line; more orders bring its mean nearer."""
    turned = {name: dict(reversed(own.items())) for name, own in RESULTS.items()}
    found = [
        routed("maps", ModelSat(reader(first_line), results, rule=BEST, prices=FREE)).decision
        for results in (RESULTS, turned)
    ]

    assert found[0].estimates == found[1].estimates
    many = ModelSat(reader(first_line), RESULTS, rule=BEST, prices=FREE, num_orders=60)
    assert routed("maps", many).decision.estimates["small"] == pytest.approx(0.5, abs=0.1)


def test_a_score_is_the_mean_over_the_orders() -> None:
    model = reader(
        lambda r: odds(0.9 if text_of(r).index("sums") < text_of(r).index("maps") else 0.3)
    )
    texts = ["sums: 1% right\nmaps: 1% right", "maps: 1% right\nsums: 1% right"]

    assert value_of(capability_score("q", model=model, abilities=texts)) == pytest.approx(0.6)
    assert len(requests(model)) == 2


def planted(num: int = 400) -> tuple[Any, Outcomes]:
    """A reader that says more than is true: p where p squared comes true."""
    rng = np.random.default_rng(0)
    said = rng.uniform(0.02, 0.98, (num, 2))
    scores = (rng.random((num, 2)) < said**2).astype(float)
    outcomes = Outcomes(
        prompts=tuple(f"q{row}" for row in range(num)),
        models=("small", "large"),
        scores=scores,
        costs=np.ones(scores.shape),
    )
    return said, outcomes


def test_an_isotonic_calibration_finds_what_comes_true() -> None:
    """0.7 means 0.49 here; a map that is the identity, or the wrong way round, is far from that."""
    said, outcomes = planted(4000)

    found = fit_calibration(said, outcomes)

    for p in (0.3, 0.5, 0.7, 0.9):
        assert found.apply("small", p) == pytest.approx(p * p, abs=0.07)
    assert found.apply("never seen", 0.7) == found.apply("small", 0.7)


def test_a_temperature_cools_a_reader_that_is_too_sure() -> None:
    """Planted log-odds are three times what they should be, so that the temperature is 3."""
    rng = np.random.default_rng(1)
    true = rng.normal(0, 1, (4000, 2))
    said = 1 / (1 + np.exp(-3 * true))
    scores = (rng.random(true.shape) < 1 / (1 + np.exp(-true))).astype(float)
    outcomes = Outcomes(
        prompts=tuple(map(str, range(4000))), models=("a", "b"), scores=scores, costs=scores
    )

    found = fit_calibration(said, outcomes, how="temperature")

    assert found.pooled.value == pytest.approx(3, rel=0.1)  # type: ignore[union-attr]
    assert found.apply("a", 1 / (1 + math.exp(-3))) == pytest.approx(
        1 / (1 + math.exp(-1)), abs=0.02
    )
    assert 0 < found.apply("a", 0.0) < found.apply("a", 1.0) < 1


def test_a_calibrated_route_does_not_pay_for_what_the_reader_only_says() -> None:
    """It says 0.4 of the dear model and 0.1 of the cheap one, where 0.16 and 0.01 come true."""
    said, outcomes = planted(4000)
    model = reader(lambda r: odds(0.4 if "80%" in text_of(r) else 0.1))
    rule, prices = WorthItsPrice(willingness=4.0), {"small": 0.0, "large": 1.0}
    fitted = fit_calibration(said, outcomes)

    bare = routed("sums", ModelSat(model, RESULTS, rule=rule, prices=prices)).decision
    by = ModelSat(model, RESULTS, rule=rule, prices=prices, calibration=fitted)
    calibrated = routed("sums", by).decision

    assert (bare.model, calibrated.model) == ("large", "small")
    assert calibrated.estimates["large"] == pytest.approx(0.16, abs=0.05)
    assert calibrated.estimates["small"] == pytest.approx(0.01, abs=0.03)


def test_a_calibration_of_each_model_undoes_a_readers_favour() -> None:
    """It says 0.9 of `small`, which is right on three of ten, and 0.6 of `large`, right on nine."""
    said = np.tile([0.9, 0.6], (10, 1))
    scores = np.array([[row < 3, row < 9] for row in range(10)], dtype=float)
    outcomes = Outcomes(
        prompts=tuple(map(str, range(10))), models=("small", "large"), scores=scores, costs=scores
    )
    model = reader(lambda r: odds(0.6 if "80%" in text_of(r) else 0.9))

    pooled = fit_calibration(said, outcomes)
    own = fit_calibration(said, outcomes, is_by_model=True)

    assert own.apply("small", 0.9) == pytest.approx(0.3)
    assert own.apply("large", 0.6) == pytest.approx(0.9)
    assert pooled.apply("small", 0.9) >= pooled.apply("large", 0.6)
    by = ModelSat(model, RESULTS, rule=BEST, prices=FREE, calibration=own)
    assert routed("sums", by).decision.model == "large"


def test_a_model_that_is_always_right_has_no_calibration_of_its_own() -> None:
    scores = np.array([[1.0, 0.0], [1.0, 1.0]])
    outcomes = Outcomes(prompts=("p", "q"), models=("a", "b"), scores=scores, costs=scores)

    found = fit_calibration(np.full((2, 2), 0.5), outcomes, is_by_model=True)

    assert set(found.by_model) == {"b"}


def test_what_is_unknown_counts_for_nothing() -> None:
    """Neither a probability without a score nor a score without a probability."""
    scores = np.array([[1.0, np.nan], [0.0, 1.0], [1.0, 1.0]])
    outcomes = Outcomes(prompts=("p", "q", "r"), models=("a", "b"), scores=scores, costs=scores)
    said = np.array([[0.9, 0.1], [0.1, 0.9], [np.nan, 0.9]])

    found = fit_calibration(said, outcomes)

    assert found.apply("a", 0.1) == 0.0
    assert found.apply("a", 0.9) == 1.0


@pytest.mark.parametrize(
    ("said", "scores", "settings", "error", "match"),
    [
        ([[0.5, 0.5]], [[1, 1]], {}, DataError, "all 2 answers are right"),
        ([[0.5, 0.5]], [[0, 0]], {}, DataError, "all 2 answers are wrong"),
        ([[0.5, 1.5]], [[0, 1]], {}, DataError, "outside 0 to 1"),
        ([[0.5]], [[0, 1]], {}, DataError, "shape"),
        ([["x", "y"]], [[0, 1]], {}, DataError, "no array of numbers"),
        ([[np.nan, np.nan]], [[0, 1]], {}, DataError, "no prompt has"),
        ([[0.5, 0.5]], [[0, 1]], {"how": "platt"}, ConfigError, "how is 'platt'"),
        ([[0.5, 0.5]], [[0, 1]], {"right_from": 2}, ConfigError, "right_from is 2"),
    ],
)
def test_what_cannot_be_fitted_is_told(
    said: Any, scores: Any, settings: Any, error: type[Exception], match: str
) -> None:
    values = np.array(scores, dtype=float)
    outcomes = Outcomes(prompts=("p",), models=("a", "b"), scores=values, costs=values)

    with pytest.raises(error, match=match):
        fit_calibration(said, outcomes, **settings)


def test_a_model_that_cannot_be_judged_is_passed_over() -> None:
    def script(request: Request) -> Any:
        return EngineUnavailableError("away") if "80%" in text_of(request) else odds(0.1)

    decision = routed("sums", ModelSat(reader(script), RESULTS, rule=BEST, prices=FREE)).decision

    assert decision.model == "small"
    away = ModelSat(reader(lambda _: EngineUnavailableError("x")), RESULTS, rule=BEST, prices=FREE)
    with pytest.raises(RunFailedError) as failed:
        routed("sums", away)
    assert isinstance(failed.value.__cause__, EngineUnavailableError)


def test_training_rows_are_what_the_reader_is_asked(tmp_path: Path) -> None:
    model = reader(lambda _: odds(0.5))
    [text, _] = capability_texts(RESULTS)["small"]
    rows = [
        CapabilityRow(group=3, model="small", abilities=text, query="sums?", is_right=is_right)
        for is_right in (True, False)
    ]

    write_json_lines(capability_training_rows(rows), tmp_path / "rows.jsonl")
    value_of(capability_score("sums?", model=model, abilities=[text]))

    first, second = map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())
    asked = [{"role": m.role, "content": m.content} for m in requests(model)[0].prompt]  # type: ignore[union-attr]
    assert first == {"prompt": asked, "label": "Yes", "group": 3, "model": "small"}
    assert second["label"] == "No"


def test_settings_change_the_identity() -> None:
    said, outcomes = planted()
    model = reader()
    chosen = [
        ModelSat(model, RESULTS, rule=BEST),
        ModelSat(model, RESULTS, rule=BEST, num_orders=3),
        ModelSat(model, RESULTS, rule=BEST, seed=1),
        ModelSat(model, RESULTS, rule=BEST, keywords={"sums": ["add"]}),
        ModelSat(model, RESULTS, rule=BEST, calibration=fit_calibration(said, outcomes)),
        ModelSat(
            model, RESULTS, rule=BEST, calibration=fit_calibration(said, outcomes, is_by_model=True)
        ),
    ]

    assert len({each.identity for each in chosen}) == len(chosen)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda m: ModelSat(m, {}, rule=BEST), "results is empty"),
        (lambda m: ModelSat(m, {"a": {}}, rule=BEST), "results is empty"),
        (lambda m: ModelSat(m, {"a": {"x": 2.0}}, rule=BEST), r"results\['x'\]"),
        (lambda m: ModelSat(m, RESULTS, rule=BEST, num_orders=0), "num is 0"),
        (lambda m: capability_score("q", model=m, abilities=[]), "abilities is"),
    ],
)
def test_wrong_settings_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(reader())


def test_a_model_without_results_is_refused_before_a_call() -> None:
    model = reader()

    with pytest.raises(RunFailedError, match="there are results of small, large"):
        routed("sums", ModelSat(model, RESULTS, rule=BEST), "small", "other")
    assert requests(model) == []


@pytest.mark.model
def test_a_small_model_reads_two_orders() -> None:
    """Mechanics only: a probability, from two scores."""
    smol = Model("local:smollm2")
    texts = capability_texts(RESULTS)["small"]

    result = motet.run(capability_score("2 + 2?", model=smol, abilities=texts), store=None)

    assert 0 < result.value < 1
    assert result.usage.calls >= 2
