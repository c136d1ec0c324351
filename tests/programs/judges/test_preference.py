"""Preference by the probabilities of one token: both orders, what is missing, what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

import motet
from motet import Model
from motet.engine import Capability, Completion, Request, TokenLogprob
from motet.errors import CapabilityError
from motet.programs.judges.preference import Preference, prefer
from motet.testing import ScriptedEngine


def named(m: float, other: float) -> Completion:
    """One token: m with its probability, M with the other's."""
    top = tuple((t, math.log(p)) for t, p in (("m", m), ("M", other)) if p)
    return Completion("m", "length", logprobs=(TokenLogprob("m", math.log(m or 1e-9), top=top),))


def silent() -> Completion:
    return Completion("x", "length", logprobs=(TokenLogprob("x", -0.01, top=(("x", -0.01),)),))


def is_a_first(request: Request) -> bool:
    text = request.prompt[-1].content  # type: ignore[union-attr]
    return text.index("answer a") < text.index("answer b")


def run(script: Any, **settings: Any) -> tuple[Preference, ScriptedEngine]:
    engine = ScriptedEngine(script)
    ref = prefer("q", "answer a", "answer b", model=Model(engine), **settings)
    return motet.run(ref, store=None).value, engine


def test_the_share_is_that_of_m_among_the_two_and_the_mean_of_both_orders() -> None:
    """A is m at first, then M."""
    found, engine = run(lambda r: named(0.6, 0.2) if is_a_first(r) else named(0.1, 0.3))

    assert found.by_order == pytest.approx((0.75, 0.75))
    assert found.share == pytest.approx(0.75)
    assert found.margins == pytest.approx((math.log(3), math.log(3)))
    assert found.masses == pytest.approx((0.8, 0.4))
    assert (found.winner, found.verdict.chosen, found.is_covered) == ("A", "A", False)
    assert [is_a_first(each) for each in engine.requests] == [True, False]
    assert {(r.sampling.max_tokens, r.sampling.logprobs) for r in engine.requests} == {(1, 20)}


@pytest.mark.parametrize("m", [0.3, 0.6, 0.79])
def test_a_judge_that_names_a_place_has_no_preference(m: float) -> None:
    """The orders cancel."""
    found, _ = run(lambda _: named(m, 0.8 - m))

    assert found.share == pytest.approx(0.5)
    assert found.winner == "tie"


def test_one_order_is_asked_where_one_is_wanted() -> None:
    found, engine = run(lambda _: named(0.2, 0.6), both_orders=False)

    assert found.share == pytest.approx(0.25)
    assert found.winner == "B"
    assert len(engine.requests) == 1


def test_a_name_that_is_missing_has_no_probability() -> None:
    found, _ = run(lambda r: named(0.9, 0) if is_a_first(r) else named(0.45, 0.45))

    assert found.by_order == pytest.approx((1.0, 0.5))
    assert found.margins[0] == math.inf


def test_an_order_without_both_names_makes_an_error() -> None:
    """The other order alone would favour a place; a tie would be invented."""
    found, _ = run(lambda r: named(0.9, 0.05) if is_a_first(r) else silent())

    assert (found.share, found.winner, found.verdict.winner) == (None, "error", "error")
    assert found.by_order[0] == pytest.approx(0.9 / 0.95)
    assert found.by_order[1] is None
    assert found.margins[1] is None


def test_an_engine_without_log_probabilities_is_refused_before_a_call() -> None:
    engine = ScriptedEngine(
        lambda _: "m", capabilities=frozenset(Capability) - {Capability.LOGPROBS}
    )

    with pytest.raises(CapabilityError, match="logprobs"):
        motet.run(prefer("q", "a", "b", model=Model(engine)), store=None)

    assert engine.requests == []
