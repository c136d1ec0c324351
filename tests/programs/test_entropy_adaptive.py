"""Entropy-adaptive decoding: when the models take turns, and who wrote what."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import motet
from motet import Budget, Capability, Completion, Model, RunFailedError
from motet.engine import Request, TokenLogprob
from motet.errors import BudgetExhaustedError, CapabilityError, MotetError
from motet.programs import cascade, entropy_adaptive, route
from motet.programs.confidences import Scored
from motet.programs.entropy_adaptive import AdaptiveAnswer, Switch, Turn, entropy_bits
from motet.programs.scorers import Check
from motet.routing.router import Decision
from motet.testing import ScriptedEngine

SURE, UNSURE = (1.0,), (0.25, 0.25, 0.25, 0.25)


def token(text: str, shares: tuple[float, ...]) -> TokenLogprob:
    names = [text, *[f"~{i}" for i in range(1, len(shares))]]
    top = tuple((name, math.log(share)) for name, share in zip(names, shares, strict=True))
    return TokenLogprob(text, top[0][1], top=top)


@pytest.mark.parametrize(
    ("shares", "bits"), [((0.5, 0.25, 0.25), 1.5), ((1.0,), 0.0), ((0.5, 0.25), 1.5)]
)
def test_entropy_is_in_bits_and_the_rest_counts_as_one_outcome(
    shares: tuple[float, ...], bits: float
) -> None:
    assert entropy_bits(token("a", shares)) == pytest.approx(bits)


def test_where_all_tokens_are_alike_the_bound_is_the_entropy_of_the_whole_vocabulary() -> None:
    """Twenty alternatives of 49,152 tokens hold little of the probability."""
    assert entropy_bits(token("a", (1 / 49152,) * 20)) == pytest.approx(math.log2(49152))


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=40), st.integers(1, 40))
def test_the_entropy_is_never_above_the_true_one(weights: list[int], alternatives: int) -> None:
    shares = tuple(w / sum(weights) for w in sorted(weights, reverse=True))
    true = -sum(p * math.log2(p) for p in shares)
    assert entropy_bits(token("a", shares[:alternatives])) <= true + 1e-9


@given(st.lists(st.floats(0, 8), min_size=1, max_size=60), st.floats(0, 8), st.floats(0, 8))
def test_a_higher_threshold_gives_the_large_model_no_more(
    entropies: list[float], one: float, other: float
) -> None:
    def num_large(threshold: float) -> int:
        switch = Switch(threshold)
        return sum(switch.step(each) is not None and switch.side == "large" for each in entropies)

    assert num_large(max(one, other)) <= num_large(min(one, other))


def test_the_rolling_mean_and_the_turns_are_those_of_the_card() -> None:
    switch = Switch(2.0, window=3)
    means, sides = [], []
    for entropy in (0.5, 1.0, 3.0, 3.0, 3.0, 0.2):
        switch.step(entropy)
        means.append(switch.mean)
        sides.append(switch.side)
    assert means == pytest.approx([0.5, 0.75, 1.5, 2.3333, 3.0, 2.0667], abs=1e-4)
    assert sides == ["small", "small", "small", "large", "large", "large"]


@given(st.lists(st.floats(0, 8), min_size=1, max_size=60), st.integers(1, 8))
def test_a_model_stays_for_its_least_time(entropies: list[float], least: int) -> None:
    switch = Switch(2.0, min_stay=least)
    places = [i for i, entropy in enumerate(entropies) if switch.step(entropy)]
    assert all(b - a >= least for a, b in zip(places, places[1:], strict=False))


LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Writer:
    """Writes the alphabet on from wherever it stands, unsure at the letters it is told."""

    def __init__(self, unsure: str, upper: bool) -> None:
        self.unsure = unsure
        self.upper = upper

    def __call__(self, request: Request) -> Any:
        chat: Any = request.prompt
        written = chat[-1].content if chat[-1].role == "assistant" else ""
        start = len(written)
        letters = LETTERS[start : start + request.sampling.max_tokens]
        shown = letters.upper() if self.upper else letters
        is_end = start + len(letters) == len(LETTERS)
        return Completion(
            shown,
            "stop" if is_end else "length",
            logprobs=tuple(
                token(s, UNSURE if a in self.unsure else SURE)
                for s, a in zip(shown, letters, strict=True)
            ),
        )


def answer(unsure: str = "", **settings: Any) -> tuple[Any, list[ScriptedEngine]]:
    engines = [ScriptedEngine(Writer(unsure, upper)) for upper in (False, True)]
    ref = entropy_adaptive(
        "q",
        small=Model(engines[0], "small"),
        large=Model(engines[1], "large"),
        **{"window": 1, "threshold": 1.0, **settings},
    )
    return motet.run(ref, store=None).value, engines


def test_the_large_model_writes_where_the_small_one_is_unsure() -> None:
    found, _ = answer("fgh")
    # The token that tells of the doubt stays; so does the one that tells of its end.
    assert found.text == "abcdefGHI" + LETTERS[9:]
    assert (found.small_tokens, found.large_tokens, found.switches) == (23, 3, 2)
    assert found.turns == (Turn("small", 6), Turn("large", 3), Turn("small", 17))
    assert found.is_finished


@pytest.mark.parametrize("chunk", [1, 2, 5, 16, 40])
def test_the_chunk_changes_requests_but_not_the_text(chunk: int) -> None:
    found, _ = answer("fghqr", chunk=chunk)
    assert found == answer("fghqr", chunk=3)[0]


def test_an_infinite_threshold_leaves_all_to_the_small_model() -> None:
    found, engines = answer("fgh", threshold=math.inf)
    assert (found.text, found.large_tokens) == (LETTERS, 0)
    assert engines[1].requests == []


def test_a_threshold_below_zero_leaves_all_to_the_large_model() -> None:
    found, engines = answer("fgh", threshold=-1.0)
    assert (found.text, found.small_tokens) == (LETTERS.upper(), 0)
    assert engines[0].requests == []


def test_the_answer_ends_at_its_most_tokens() -> None:
    found, _ = answer("", max_tokens=7, chunk=4)
    assert found.text == LETTERS[:7]
    assert not found.is_finished


def test_an_engine_without_logprobs_fails_typed() -> None:
    engine = ScriptedEngine(lambda _: Completion("", "length"))
    ref = entropy_adaptive("q", small=Model(engine), large=Model(engine))
    with pytest.raises(MotetError, match="no logprobs"):
        motet.run(ref, store=None)


@pytest.mark.parametrize("lacking", [Capability.LOGPROBS, Capability.CONTINUE])
def test_a_model_that_cannot_take_turns_is_refused_before_anything_is_asked(lacking: Any) -> None:
    able = ScriptedEngine(Writer("fgh", upper=False))
    unable = ScriptedEngine(able._script, capabilities=able.capabilities - {lacking})

    with pytest.raises(RunFailedError, match=f"large is .* lacks {lacking}") as caught:
        motet.run(entropy_adaptive("q", small=Model(able), large=Model(unable)), store=None)

    assert isinstance(caught.value.__cause__, CapabilityError)
    assert able.requests == []


def test_a_budget_that_ends_leaves_what_is_written() -> None:
    engines = [ScriptedEngine(Writer("", upper)) for upper in (False, True)]

    def written(max_calls: int) -> AdaptiveAnswer:
        ref = entropy_adaptive("q", small=Model(engines[0]), large=Model(engines[1]), chunk=5)
        value: AdaptiveAnswer = motet.run(ref, store=None, budget=Budget(max_calls=max_calls)).value
        return value

    assert (written(2).text, written(2).is_finished) == (LETTERS[:10], False)
    with pytest.raises(RunFailedError) as caught:
        written(0)
    assert isinstance(caught.value.__cause__, BudgetExhaustedError)


class Always:
    """Chooses the model of one name."""

    identity = "always"

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, names: Any) -> list[Any]:
        assert self.name in names
        return []

    async def __call__(self, question: Any, names: Any) -> Decision:
        return Decision(model=self.name, reason="always", price=None, estimates={})


def turning(**settings: Any) -> Model:
    models = {
        side: Model(ScriptedEngine(Writer("fgh", upper)), side)
        for side, upper in (("small", False), ("large", True))
    }
    return entropy_adaptive.as_model(**models, **{"window": 1, "threshold": 1.0, **settings})


def test_a_router_may_choose_the_models_in_turns_among_models_alone() -> None:
    among = {"alone": Model(ScriptedEngine(lambda r: "alone")), "in turns": turning()}
    found = motet.run(route("q", among=among, by=Always("in turns")), store=None)
    assert found.value.text == "abcdefGHI" + LETTERS[9:]
    assert found.value.decision.model == "in turns"


def test_as_a_stage_an_answer_that_is_not_finished_is_passed_over() -> None:
    large = Model(ScriptedEngine(lambda r: "large"), "large")
    sure = Scored(Check(lambda text: 1.0))

    def answered(max_tokens: int) -> Any:
        stages = [turning(max_tokens=max_tokens), large]
        ref = cascade("q", stages=stages, thresholds=[0.5], confidence=sure)
        return motet.run(ref, store=None).value

    assert answered(26).text == "abcdefGHI" + LETTERS[9:]
    assert answered(7).text == "large"
    assert "CutOffReplyError" in answered(7).stages[0].why


def test_a_threshold_that_is_no_number_is_refused() -> None:
    with pytest.raises(MotetError, match="threshold is nan"):
        answer("", threshold=math.nan)


@pytest.mark.parametrize("name", ["window", "min_stay", "max_tokens", "chunk", "alternatives"])
def test_settings_out_of_range_are_named(name: str) -> None:
    with pytest.raises(MotetError, match=f"{name} is 0"):
        answer("", **{name: 0})
