"""Both orders of many pairs: consistency, position and agreement, and published sets."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import DataError
from motet.judging.datasets import read_autoj, read_judgebench, read_llmbar
from motet.judging.orders import accuracy, report_orders
from motet.judging.verdicts import WINNERS, PairVerdict, Winner, reconcile, tally

Pair = tuple[PairVerdict, PairVerdict]


def data(name: str) -> Path:
    folder = os.environ.get("MOTET_DATA")
    if not folder:
        pytest.skip("MOTET_DATA names no folder of data sets")
    return Path(folder) / name


def expected(name: str) -> Any:
    return json.loads((data(name) / "expected.json").read_text())


def pair(first: Any, second: Any) -> Pair:
    return PairVerdict(winner=first), PairVerdict(winner=second, order="BA")


def test_a_judge_that_always_says_a_decides_nothing() -> None:
    """`Always A` gives ties only, consistency 0 and the largest preference for the first place."""
    pairs = [pair("A", "A")] * 10

    report = report_orders(pairs, ["A"] * 10)

    assert tally(reconcile(*each).winner for each in pairs).ties == 10
    assert (report.consistency, report.first_position_preference) == (0, 0.5)
    assert report.agreement == 0


def test_a_steady_judge_prefers_no_place() -> None:
    """A judge that follows the response is consistent and takes either place as often."""
    report = report_orders([pair("A", "B"), pair("B", "A"), pair("tie", "tie")])

    assert (report.consistency, report.first_position_preference) == (1, 0)
    assert report.agreement is None


def test_being_right_needs_both_orders() -> None:
    """Agreement counts what is right in both orders, ties included, of the pairs that were read."""
    pairs = [pair("A", "B"), pair("A", "A"), pair("tie", "tie"), pair("A", "B"), pair("error", "B")]

    report = report_orders(pairs, ["A", "A", "tie", "B", "A"])

    assert (report.num_pairs, report.num_errors) == (5, 1)
    assert report.agreement == 0.5
    assert report.consistency == 0.75


@given(
    said=st.lists(
        st.tuples(st.sampled_from(WINNERS), st.sampled_from(WINNERS), st.sampled_from(WINNERS[:3])),
        min_size=1,
    )
)
def test_agreement_is_never_above_consistency(said: Any) -> None:
    """Both are shares of the same pairs, and who is right twice is steady."""
    pairs = [pair(first, second) for first, second, _ in said]
    if all("error" in row[:2] for row in said):
        with pytest.raises(DataError, match="none could be read"):
            report_orders(pairs)
        return

    report = report_orders(pairs, [label for _, _, label in said])

    assert report.agreement is not None
    assert report.agreement <= report.consistency


def test_bad_labels_are_refused() -> None:
    """Labels must be as many as pairs, and no errors."""
    with pytest.raises(DataError, match="2 labels for 1 pairs"):
        report_orders([pair("A", "B")], ["A", "B"])
    with pytest.raises(DataError, match="label 0 is 'error'"):
        report_orders([pair("A", "B")], ["error"])
    with pytest.raises(DataError, match="no verdicts"):
        accuracy([], [])
    with pytest.raises(DataError, match="of 0 pairs none"):
        report_orders([])


def test_an_unreadable_verdict_is_not_right() -> None:
    """Accuracy counts errors as wrong, and not as half right."""
    assert accuracy(["A", "error", "tie", "B"], ["A", "A", "A", "A"]) == 0.25


# ---- the published sets ----------------------------------------------------------------------


def test_auto_j_has_its_agreement_and_consistency() -> None:
    """Auto-J's verdicts in both orders give the numbers of the set, ties being a class."""
    pairs, said = read_autoj(data("autoj")), expected("autoj")
    judged: list[Any] = [each.verdicts["autoj-13b"] for each in pairs]

    report = report_orders(judged, [each.majority for each in pairs])

    assert report.agreement is not None
    assert 100 * report.agreement == pytest.approx(said["autoj13b_agreement_pct"], abs=0.005)
    assert 100 * report.consistency == pytest.approx(said["autoj13b_consistency_pct"], abs=0.005)
    labels = Counter(each.majority for each in pairs)
    assert {"0": labels["A"], "1": labels["B"], "2": labels["tie"]} == said["labels"]


def test_llmbar_has_its_325_accuracies() -> None:
    """Each judge with each prompt on each subset is right as often as computed for the set."""
    pairs, said = read_llmbar(data("llmbar")), expected("llmbar")
    subsets = {name: part for name, part in said.items() if not name.startswith("full_set")}

    found: dict[tuple[str, str], float] = {}
    for subset, part in subsets.items():
        for judge in part["accuracy_pct"]:
            rows = [each for each in pairs if each.group == subset and judge in each.verdicts]
            chosen = [verdict.chosen for each in rows for verdict in each.verdicts[judge]]
            labels: list[Winner] = [each.majority for each in rows for _ in range(2)]
            found[subset, judge] = 100 * accuracy(chosen, labels)

    assert len(found) == 325
    assert found == {
        (subset, judge): pytest.approx(value, abs=0.006)
        for subset, part in subsets.items()
        for judge, value in part["accuracy_pct"].items()
    }


def test_judgebench_has_its_accuracies() -> None:
    """Counted by majority over both orders, each judge has the accuracy of the set."""
    pairs, said = read_judgebench(data("judgebench")), expected("judgebench")
    kinds = {
        "reasoning": "livebench-reasoning",
        "math": "livebench-math",
        "coding": "livecodebench",
        "knowledge": "mmlu-pro",
        "overall": "",
    }

    checked = 0
    for model, part in said.items():
        for judge, rates in part.get("accuracy_pct", {}).items():
            for kind, rate in rates.items():
                rows = [e for e in pairs if e.group.startswith(f"{model}/{kinds[kind]}")]
                winners = [reconcile(*e.verdicts[judge], rule="majority").winner for e in rows]
                right = 100 * accuracy(winners, [e.majority for e in rows])
                assert right == pytest.approx(rate, abs=0.006), (judge, kind)
                checked += 1
    assert checked == 35
