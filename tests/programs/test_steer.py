"""Steering as programs: exact over an enumerable model, paid once, ended by budgets, nested."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import motet
from motet import Budget, Model
from motet.engine import Capability, Request
from motet.errors import (
    BudgetExhaustedError,
    CapabilityError,
    ConfigError,
    EngineUnavailableError,
    RequestRejectedError,
    RunFailedError,
    TooFewSurvivorsError,
)
from motet.next_tokens import NextTokens
from motet.programs.scorers import Check, RewardModel
from motet.programs.solution import Solution
from motet.programs.steer import steer, steer_steps
from motet.search.algorithm import rng
from motet.search.particles import Particles
from motet.search.potentials import Condition
from motet.search.spending import Limits
from motet.search.steering import Steering
from motet.search.text_potentials import TextCondition, TextWeight
from motet.testing import ScriptedEngine, toy_lm

ABLE = frozenset({Capability.NEXT_TOKENS})
LONG = 8
"""More tokens than the model ever says."""


def no_aa(text: str) -> bool:
    return "aa" not in text


def has_b(text: str) -> bool:
    return "b" in text


NO_AA = TextCondition(no_aa, no_aa)


def toy(script: Any = None) -> ScriptedEngine:
    def tell(request: Request) -> Any:
        return toy_lm.next_tokens(request.written)

    return ScriptedEngine(script or tell, capabilities=ABLE)


def run(ref: Any, **settings: Any) -> Solution:
    value: Solution = motet.run(ref, **{"store": None, **settings}).value
    return value


def steered(engine: ScriptedEngine, **settings: Any) -> Any:
    given = {"top_k": None, "algorithm": Steering(n=4, max_tokens=LONG), **settings}
    return steer("q", model=Model(engine), **given)


def mean_z(num: int, **settings: Any) -> float:
    engine = toy()
    found = motet.run(
        motet.successful([steered(engine, seed=seed, **settings) for seed in range(num)]),
        store=None,
    ).value
    logs = [each.notes["log_z"] for each in found]
    return sum(0.0 if log is None else math.exp(log) for log in logs) / num


@pytest.mark.parametrize(
    "settings",
    [
        {"potential": NO_AA},
        {"potential": NO_AA, "algorithm": Steering(n=4, max_tokens=LONG, proposal="model")},
        {"potential": NO_AA, "algorithm": Steering(n=3, max_tokens=LONG, copies=2)},
        {"potential": TextWeight(lambda text: 0.0 if no_aa(text) else -math.inf)},
        {"critic": Check(no_aa)},
        {"critic": Check(no_aa), "critic_at": "token"},
    ],
    ids=["local", "model", "copies", "weight", "critic", "critic at tokens"],
)
def test_the_estimate_of_the_mean_weight_is_unbiased(settings: dict[str, Any]) -> None:
    assert mean_z(150, **settings) == pytest.approx(toy_lm.Z, abs=0.06)


def test_a_condition_that_shows_only_at_the_end_is_weighed_then() -> None:
    assert mean_z(150, potential=TextCondition(has_b)) == pytest.approx(toy_lm.Z_WITH_B, abs=0.08)


def test_many_particles_come_close_to_the_posterior_and_each_text_is_asked_for_once() -> None:
    engine = toy()

    found = run(steered(engine, potential=NO_AA, algorithm=Steering(n=2000, max_tokens=LONG)))

    shares = {each.text: each.score for each in found.candidates}
    assert shares == pytest.approx(toy_lm.POSTERIOR, abs=0.03)
    asked = Counter(request.written for request in engine.requests)
    assert set(asked.values()) == {1}
    assert len(asked) == len(toy_lm.POSTERIOR)


def test_the_condition_holds_for_every_answer() -> None:
    for seed in range(30):
        found = run(steered(toy(), potential=NO_AA, seed=seed))
        assert found.candidates
        assert all(no_aa(each.text) and each.is_finished for each in found.candidates)


def test_one_particle_without_potential_is_plain_sampling_by_the_seeds_numbers() -> None:
    """Without a potential nothing weighs; the token is where the seed's number falls."""
    for seed in range(20):
        found = run(
            steered(toy(), algorithm=Steering(n=1, max_tokens=LONG, ess_threshold=0), seed=seed)
        )

        written: tuple[int, ...] = ()
        while True:
            point = rng(seed, len(written), 1).random()
            p_a, p_b, _ = toy_lm.shares(written)
            if point >= p_a + p_b:
                break
            written += (toy_lm.A if point < p_a else toy_lm.B,)
        assert found.text == toy_lm.text(written)
        assert found.notes["log_z"] == pytest.approx(0, abs=1e-6)


def test_fewer_tokens_than_there_are_cut_the_model_to_them_and_the_end() -> None:
    """With one token beside the end, the answers are those of the renormalised model."""
    engine = toy()
    found = run(steered(engine, top_k=1, algorithm=Steering(n=1000, max_tokens=LONG)))

    stop = [toy_lm.FIRST[2] / (toy_lm.FIRST[0] + toy_lm.FIRST[2]), 0.3 / 0.8, 0.3 / 0.8]
    expected = {"": stop[0], "a": (1 - stop[0]) * stop[1]}
    expected["aa"] = (1 - stop[0]) * (1 - stop[1]) * stop[2]
    expected["aaa"] = 1 - sum(expected.values())
    assert {e.text: e.score for e in found.candidates} == pytest.approx(expected, abs=0.04)
    assert {request.next_tokens for request in engine.requests} == {1}


def test_temperature_takes_probabilities_to_a_power() -> None:
    found = run(
        steered(toy(), temperature=0.5, algorithm=Steering(n=1000, max_tokens=1, ess_threshold=0))
    )

    shares = [p**2 for p in toy_lm.FIRST]
    ended = sum(e.score or 0 for e in found.candidates if e.text == "")
    # Texts of one letter are made to end, and weigh as such.
    weights = {
        "a": shares[0] * 0.3**2 / (0.5**2 + 0.2**2 + 0.3**2),
        "b": shares[1] * 0.5**2 / (0.4**2 + 0.1**2 + 0.5**2),
        "": shares[2],
    }
    assert ended == pytest.approx(weights[""] / sum(weights.values()), abs=0.03)


def test_an_answer_that_was_made_to_end_is_not_finished() -> None:
    found = run(steered(toy(), algorithm=Steering(n=8, max_tokens=1)))

    assert {each.text: each.is_finished for each in found.candidates} == {
        **{each.text: False for each in found.candidates},
        **{each.text: True for each in found.candidates if not each.text},
    }
    assert any(not each.is_finished for each in found.candidates)


def test_several_ends_count_as_one() -> None:
    """Half of the end's probability under another id leaves the answers as they are."""

    def tell(request: Request) -> NextTokens:
        told = toy_lm.next_tokens(request.written)
        half = told.logprobs[2] - math.log(2)
        return NextTokens(
            range(4), [*told.logprobs[:2], half, half], ("a", "b", "", ""), (2, 3), told.text
        )

    one = run(steered(toy(), potential=NO_AA, seed=5))
    two = run(steered(toy(tell), potential=NO_AA, seed=5))
    assert [(e.text, pytest.approx(e.score)) for e in two.candidates] == [
        (e.text, e.score) for e in one.candidates
    ]
    found = run(steered(toy(tell), top_k=4, algorithm=Steering(n=1000, max_tokens=LONG)))
    shares = {each.text: each.score for each in found.candidates}
    assert shares[""] == pytest.approx(toy_lm.FIRST[2], abs=0.03)


@pytest.mark.parametrize("top_k", [None, 3])
def test_a_token_that_cannot_follow_is_not_drawn_for_want_of_another(top_k: int | None) -> None:
    """Servers write -9999 for no chance at all; the model never says four letters."""
    four = TextCondition(lambda text: len(text) == 4)

    with pytest.raises(RunFailedError, match="weighs anything"):
        run(steered(toy(), potential=four, top_k=top_k))


def test_rejection_comes_close_to_the_posterior_too() -> None:
    algorithm = Steering(n=1000, max_tokens=LONG, proposal="rejection")
    found = run(steered(toy(), potential=TextCondition(no_aa, no_aa), algorithm=algorithm))
    shares = {each.text: each.score for each in found.candidates}
    assert shares == pytest.approx(toy_lm.POSTERIOR, abs=0.04)


def test_potentials_on_tokens_and_on_texts_do_the_same() -> None:
    def ids_hold_no_aa(tokens: tuple[int, ...]) -> bool:
        return no_aa(toy_lm.text(tokens))

    by_ids = Condition(ids_hold_no_aa, ids_hold_no_aa)
    for seed in range(5):
        one = run(steered(toy(), potential=NO_AA, seed=seed))
        other = run(steered(toy(), potential=by_ids, seed=seed))
        assert one.candidates == other.candidates


def test_a_character_of_two_tokens_is_seen_whole() -> None:
    """Tokens 0 and 1 are the halves of a letter, behind which token 3 stands."""
    said = (0, 1, 3)

    def tell(request: Request) -> NextTokens:
        at = len(request.written)
        logprobs = [0.0 if token == [*said, 2][at] else -9999.0 for token in range(4)]
        text = ("", "\ufffd", "é", "éx")[at]
        return NextTokens(range(4), logprobs, ("\ufffd", "\ufffd", "", "x"), (2,), text)

    for top_k in (None, 2):
        found = run(
            steered(
                toy(tell),
                potential=TextCondition(lambda text: text == "éx", "éx".startswith),
                top_k=top_k,
            )
        )

        assert (found.text, found.notes["log_z"]) == ("éx", pytest.approx(0))


def test_it_answers_as_a_model() -> None:
    @motet.prompt(user="{{ q }}")
    def ask(q: str) -> str:
        raise NotImplementedError

    only_b = TextCondition(lambda text: text == "b", lambda text: text in ("", "b"))
    model = steer.as_model(model=Model(toy()), potential=only_b, top_k=None)

    assert motet.run(ask.on(model)("q"), store=None).value == "b"


def test_a_budget_ends_it_with_its_best_so_far() -> None:
    engine = toy()

    found = run(steered(engine, seed=1), budget=Budget(max_calls=2))

    assert found.why == "limit"
    assert found.candidates
    assert any(not each.is_finished for each in found.candidates)
    assert len(engine.requests) <= 2


def test_a_budget_that_holds_no_request_is_the_error() -> None:
    with pytest.raises(RunFailedError) as failed:
        run(steered(toy()), budget=Budget(max_tokens=1))

    assert isinstance(failed.value.__cause__, BudgetExhaustedError)


def test_limits_end_it_with_a_reason() -> None:
    found = run(steered(toy(), limits=Limits(max_proposals=1), seed=1))

    assert found.why == "limit"
    assert found.spend.proposals == 1


@pytest.mark.parametrize("most", [1, 3, 6])
def test_a_killed_search_asks_no_paid_prefix_again(tmp_path: Path, most: int) -> None:
    store, served = str(tmp_path / "runs.db"), toy()

    def ref() -> Any:
        return steered(served, potential=NO_AA, algorithm=Steering(n=20, max_tokens=LONG))

    whole = run(ref())
    num_asked = len(served.requests)
    served.requests.clear()
    run(ref(), store=store, budget=Budget(max_calls=most))
    num_paid = len(served.requests)

    assert run(ref(), store=store) == whole
    assert 0 < num_paid <= most
    assert len(served.requests) == num_asked
    assert len({request.written for request in served.requests}) == num_asked


@pytest.mark.parametrize("top_k", [None, 3])
def test_after_an_outage_that_follows_a_lost_sample_it_is_resumed(
    tmp_path: Path, top_k: int | None
) -> None:
    store, asked, state = str(tmp_path / "runs.db"), Counter[tuple[int, ...]](), ["well"]

    def tell(request: Request) -> Any:
        asked[request.written] += 1
        if request.written == (toy_lm.A,) and asked[request.written] == 1 and state != ["back"]:
            return RequestRejectedError("not this time", status=400)
        if len(request.written) == 2 and state == ["away"]:
            return EngineUnavailableError("away")
        return toy_lm.next_tokens(request.written)

    def ref() -> Any:
        return steered(toy(tell), top_k=top_k, algorithm=Steering(n=30, max_tokens=LONG))

    straight = run(ref())
    asked.clear()
    state[0] = "away"
    with pytest.raises(RunFailedError) as failed:
        run(ref(), store=store)
    asked.clear()
    state[0] = "back"

    assert run(ref(), store=store, resume=failed.value.run_id) == straight
    assert asked
    assert all(len(each) >= 2 for each in asked)


def test_an_engine_that_is_away_fails_the_run() -> None:
    with pytest.raises(RunFailedError) as failed:
        run(steered(toy(lambda request: EngineUnavailableError("away"))))

    assert isinstance(failed.value.__cause__, EngineUnavailableError)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"top_k": 0}, "top_k is 0"),
        ({"temperature": 0}, "temperature is 0"),
        ({"critic_at": "ends"}, "critic_at is 'ends'"),
        ({"potential": no_aa}, "potential is <function no_aa"),
        ({"algorithm": Particles()}, "algorithm is Particles"),
        ({"algorithm": "steering(nn=2)"}, "did you mean 'n'"),
        ({"critic": "gut"}, "scorer is 'gut'"),
    ],
)
def test_wrong_settings_are_told_before_a_token_is_spent(
    changed: dict[str, Any], said: str
) -> None:
    served = toy()

    with pytest.raises(RunFailedError, match=said) as failed:
        run(steered(served, **changed))

    assert isinstance(failed.value.__cause__, ConfigError)
    assert not served.requests


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"delimiter": ""}, "delimiter is ''"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"algorithm": Steering()}, "algorithm is Steering"),
        ({"algorithm": "particle(n=2)"}, "did you mean 'particles'"),
        ({"proposal": "none"}, "proposal is 'none'"),
        ({"top_k": 1.5}, "top_k is 1.5"),
    ],
)
def test_wrong_settings_of_steps_are_told_before_a_token_is_spent(
    changed: dict[str, Any], said: str
) -> None:
    served = toy()

    with pytest.raises(RunFailedError, match=said) as failed:
        run(stepped(served, **changed))

    assert isinstance(failed.value.__cause__, ConfigError)
    assert not served.requests


def test_an_engine_that_tells_no_next_tokens_is_refused() -> None:
    inner = steer.as_model(model=Model(toy()))
    for model in (Model(ScriptedEngine()), inner):
        with pytest.raises(RunFailedError, match="next.tokens") as failed:
            run(steer("q", model=model))
        assert isinstance(failed.value.__cause__, CapabilityError)


def test_a_critic_that_fails_on_the_way_ends_it_with_the_reason() -> None:
    def broken(text: str) -> float:
        return 1 / (2 - len(text))

    found = run(steered(toy(), critic=Check(broken), critic_at="token", seed=2))

    assert found.why == "failed"
    assert found.error is not None
    assert "a potential failed" in found.error


def test_a_critic_beyond_one_is_told() -> None:
    with pytest.raises(RunFailedError, match="the critic gave 2"):
        run(steered(toy(), critic=Check(lambda text: 2.0), critic_at="token"))


def stepped(engine: ScriptedEngine, **settings: Any) -> Any:
    given: dict[str, Any] = {
        "scorer": Check(no_aa),
        "delimiter": "b",
        "top_k": None,
        "max_tokens": LONG,
        "algorithm": Particles(n=4, weight="bernoulli", target="final"),
        **settings,
    }
    return steer_steps("q", model=Model(engine), **given)


def test_steps_of_steered_tokens_are_weighed_without_bias() -> None:
    """Tokens by one condition and steps by another: Z is that of both."""
    engine = toy()
    refs = [
        stepped(engine, potential=TextCondition(has_b), seed=seed, proposal="model")
        for seed in range(150)
    ]
    found = motet.run(motet.successful(refs), store=None).value

    exact = sum(toy_lm.probability(s) for s in toy_lm.strings() if has_b(s) and no_aa(s))
    mean = sum(math.exp(e.notes["log_z"]) for e in found if e.notes.get("log_z") is not None) / 150
    assert mean == pytest.approx(exact, abs=0.08)


def saying(text: str) -> ScriptedEngine:
    """A model that says one text, a byte a token."""
    raw = text.encode()
    pieces = tuple(bytes([byte]).decode("utf-8", "replace") for byte in range(256))

    def tell(request: Request) -> NextTokens:
        at = len(request.written)
        said = raw[at] if at < len(raw) else 256
        logprobs = [0.0 if token == said else -9999.0 for token in range(257)]
        told = bytes(request.written).decode("utf-8", "replace")
        return NextTokens(range(257), logprobs, (*pieces, ""), (256,), told)

    return toy(tell)


@pytest.mark.parametrize("top_k", [None, 2])
def test_a_delimiter_whose_character_is_split_over_tokens_ends_a_step(top_k: int | None) -> None:
    seen = []

    def score(text: str) -> float:
        seen.append(text)
        return 0.5

    found = run(
        stepped(
            saying("好的。是的。对"),
            scorer=Check(score),
            delimiter="。",
            max_tokens=60,
            top_k=top_k,
        )
    )

    assert found.text == "好的。是的。对"
    assert list(dict.fromkeys(seen)) == ["好的。", "好的。是的。", "好的。是的。对"]


def test_long_answers_of_split_characters_are_whole() -> None:
    said = "你好世界" * 60
    algorithm = Steering(n=2, max_tokens=800)

    found = run(
        steered(
            saying(said), potential=TextCondition(said.startswith), top_k=2, algorithm=algorithm
        )
    )

    assert (found.text, found.is_finished) == (said, True)


def test_a_budget_ends_steps_with_the_best_so_far() -> None:
    reasons = set()
    for most in range(1, 9):
        try:
            found = run(stepped(toy(), seed=3), budget=Budget(max_calls=most))
        except RunFailedError as exc:
            assert isinstance(exc.__cause__, BudgetExhaustedError)
            continue
        assert found.error is None
        assert found.candidates
        reasons.add(found.why)

    assert reasons == {"limit", "done"}


def test_an_answer_that_the_potential_forbids_is_never_the_value() -> None:
    impossible = TextCondition(lambda text: False)
    for ref in (steered(toy(), potential=impossible), stepped(toy(), potential=impossible)):
        with pytest.raises(RunFailedError, match="weighs anything") as failed:
            run(ref)
        assert isinstance(failed.value.__cause__, TooFewSurvivorsError)


def test_its_text_may_name_the_algorithm() -> None:
    assert run(steered(toy(), algorithm="steering(n=3, max_tokens=4)")) == run(
        steered(toy(), algorithm=Steering(n=3, max_tokens=4))
    )
    assert run(stepped(toy(), algorithm="particles(n=3)")) == run(
        stepped(toy(), algorithm=Particles(n=3))
    )


@dataclass(frozen=True)
class Asked:
    """A scorer that asks a model."""

    model: Model

    def __call__(self, question: Any, text: str) -> Any:
        return judged.on(self.model)(text)


@motet.prompt(user="{{ text }}")
def judged(text: str) -> float:
    raise NotImplementedError


@pytest.mark.parametrize("critic_at", ["end", "token"])
def test_an_engine_that_goes_away_within_a_critics_batch_fails_the_run_which_is_resumed(
    tmp_path: Path, critic_at: str
) -> None:
    store, is_away, num_asked = str(tmp_path / "runs.db"), [True], Counter[str]()

    def judge(request: Request) -> Any:
        if is_away[0] and request.prompt[-1].content == "b":
            return EngineUnavailableError("away")
        num_asked[request.prompt[-1].content] += 1
        return "0.5"

    critic, served = Asked(Model(ScriptedEngine(judge))), toy()

    def ref() -> Any:
        return steered(
            served,
            critic=critic,
            critic_at=critic_at,
            algorithm=Steering(n=40, max_tokens=LONG),
        )

    with pytest.raises(RunFailedError) as failed:
        run(ref(), store=store)
    assert isinstance(failed.value.__cause__, EngineUnavailableError)
    is_away[0] = False
    found = run(ref(), store=store, resume=failed.value.run_id)

    assert found.why == "done"
    assert set(num_asked.values()) == {1}


def test_equal_texts_are_scored_once_without_a_cache_too(tmp_path: Path) -> None:
    asked = Counter[str]()

    def judge(request: Request) -> Any:
        asked[request.prompt[-1].content] += 1
        return "0.5"

    for ref in (
        steered(toy(), critic=Asked(Model(ScriptedEngine(judge))), critic_at="token"),
        stepped(toy(), scorer=Asked(Model(ScriptedEngine(judge)))),
    ):
        asked.clear()
        run(ref, store=str(tmp_path / "runs.db"), cache=False)
        assert set(asked.values()) == {1}


def test_what_an_engine_or_a_critic_lacks_is_told_before_a_token_is_spent() -> None:
    for make, setting in ((steered, "critic"), (stepped, "scorer")):
        for scorer, error, said in (
            (RewardModel(Model(toy())), CapabilityError, f"{setting} is .* lacks reward"),
            ("self", CapabilityError, f"{setting} is .* lacks score"),
            (5, ConfigError, f"{setting} is 5"),
        ):
            served = toy()
            with pytest.raises(RunFailedError, match=said) as failed:
                run(make(served, **{setting: scorer}))
            assert isinstance(failed.value.__cause__, error)
            assert not served.requests


@pytest.mark.parametrize("top_k", [None, 3])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, 2.0])
def test_an_engine_whose_logprobs_are_none_is_told(wrong: float, top_k: int | None) -> None:
    def tell(request: Request) -> NextTokens:
        return NextTokens(range(3), [wrong, -1.0, -2.0], ("a", "b", ""), (2,), "")

    with pytest.raises(RunFailedError, match="NaN or above 0"):
        run(steered(toy(tell), top_k=top_k))
