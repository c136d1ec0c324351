"""Reward-guided decoding as a program: which token is chosen, who is asked, what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import motet
from motet import Budget, Model
from motet.engine import Capability, Completion, Request
from motet.errors import CapabilityError, ConfigError, RunFailedError
from motet.next_tokens import NextTokens
from motet.programs.reward_guided import reward_guided
from motet.programs.scorers import Check, RewardModel
from motet.programs.solution import Solution
from motet.search.transfer_q import TransferQ
from motet.testing import ScriptedEngine, toy_lm

ABLE = frozenset({Capability.NEXT_TOKENS, Capability.CONTINUE})
ARGS = TransferQ(rollout_tokens=0, k=3, weight=20.0, max_tokens=8)


def answers(request: Request) -> Any:
    """The toy model's tokens; a rollout goes on with `b` where the text ends with one."""
    if request.next_tokens is not None:
        return toy_lm.next_tokens(request.written)
    said = request.prompt[-1].content if request.prompt[-1].role == "assistant" else ""
    text = "b" * request.sampling.max_tokens if said.endswith("b") else "a"
    return tuple(Completion(text, token_ids=(1,) * len(text)) for _ in range(request.n))


def engine(script: Any = answers) -> ScriptedEngine:
    return ScriptedEngine(script, capabilities=ABLE)


def run(ref: Any, **settings: Any) -> Solution:
    value: Solution = motet.run(ref, **{"store": None, **settings}).value
    return value


def share_of_b(text: str) -> float:
    return text.count("b") / 8


def guided(served: ScriptedEngine, **settings: Any) -> Any:
    given = {"reward": Check(share_of_b), "algorithm": ARGS, **settings}
    return reward_guided("q", model=Model(served), **given)


def test_args_adds_the_reward_of_the_text_so_far_to_each_tokens_logprob() -> None:
    """An eighth of reward, 20 times, beats the odds against `b` as long as it may come."""
    served = engine()

    found = run(guided(served))

    assert (found.text, found.is_finished) == ("bbb", True)
    assert [request.written for request in served.requests] == [(), (1,), (1, 1), (1, 1, 1)]
    assert {request.next_tokens for request in served.requests} == {3}


def test_without_weight_the_likeliest_tokens_are_taken_and_nothing_is_rewarded() -> None:
    seen: list[str] = []

    def watched(text: str) -> float:
        seen.append(text)
        return 0.0

    plain = TransferQ(rollout_tokens=0, k=3, weight=0.0, max_tokens=8)
    found = run(guided(engine(), reward=Check(watched), algorithm=plain))

    assert found.text == "aaa"
    assert not seen


def test_a_token_is_rewarded_by_where_the_baseline_takes_it() -> None:
    """The rewards are of what the baseline wrote behind each token, greedily."""
    served, baseline = engine(), engine()
    seen: list[str] = []

    def watched(text: str) -> float:
        seen.append(text)
        return share_of_b(text)

    algorithm = TransferQ(rollout_tokens=4, k=3, weight=6.0, max_tokens=8)
    found = run(
        guided(served, reward=Check(watched), baseline=Model(baseline), algorithm=algorithm)
    )

    assert {"aa", "bbbbb", ""} <= set(seen)
    assert found.text == "bbb"
    assert not any(request.next_tokens for request in baseline.requests)
    assert {request.sampling.temperature for request in baseline.requests} == {0.0}
    assert {request.sampling.max_tokens for request in baseline.requests} == {4}
    assert baseline.requests[0].prompt[-1].content in ("a", "b")


def test_several_rollouts_are_sampled_and_their_mean_counts() -> None:
    baseline = engine()
    algorithm = TransferQ(rollout_tokens=2, num_rollouts=3, k=2, max_tokens=2)

    run(guided(engine(), baseline=Model(baseline), algorithm=algorithm))

    assert {request.n for request in baseline.requests} == {3}
    assert {request.sampling.temperature for request in baseline.requests} == {1.0}


def test_indirect_transfer_weighs_by_the_baselines_own_reward() -> None:
    algorithm = TransferQ(
        rollout_tokens=0, k=3, weight=10.0, max_tokens=1, transfer="indirect", beta=0.1
    )
    likes_a = Check(lambda text: text.count("a") / 8)

    found = run(guided(engine(), baseline_reward=likes_a, algorithm=algorithm))

    assert found.text == "b"
    with pytest.raises(RunFailedError, match="baseline_reward is None"):
        run(guided(engine(), algorithm=algorithm))


def test_a_letter_of_two_tokens_comes_out_whole() -> None:
    def tell(request: Request) -> NextTokens:
        at = len(request.written)
        logprobs = [0.0 if token == (0, 1, 2)[at] else -50.0 for token in range(3)]
        return NextTokens(
            range(3), logprobs, ("\ufffd", "\ufffd", ""), (2,), ("", "\ufffd", "é")[at]
        )

    plain = TransferQ(rollout_tokens=0, k=3, weight=0.0)

    assert run(guided(engine(tell), algorithm=plain)).text == "é"


def test_a_budget_ends_it_with_the_text_so_far() -> None:
    found = run(guided(engine()), budget=Budget(max_calls=2))

    assert (found.text, found.is_finished, found.why) == ("bb", False, "limit")


def test_a_killed_search_asks_nothing_again(tmp_path: Path) -> None:
    store, served = str(tmp_path / "runs.db"), engine()
    algorithm = TransferQ(rollout_tokens=2, k=3, weight=2.0, max_tokens=8)

    def ref() -> Any:
        return guided(served, algorithm=algorithm)

    whole = run(ref())
    num_asked = len(served.requests)
    served.requests.clear()
    run(ref(), store=store, budget=Budget(max_calls=4))

    assert run(ref(), store=store) == whole
    assert len(served.requests) == num_asked


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"algorithm": 3}, "algorithm is 3"),
        ({"algorithm": "transfer-q(kk=2)"}, "no setting 'kk'"),
        ({"reward": 5}, "reward is 5"),
        ({"baseline_reward": 5}, "baseline_reward is 5"),
        ({"algorithm": TransferQ(score_base="logit")}, "score_base is 'logit'"),
        ({"reward": "gut"}, "scorer is 'gut'"),
        ({"rollout_temperature": -1.0}, "rollout_temperature is -1"),
    ],
)
def test_wrong_settings_are_told_before_a_token_is_spent(
    changed: dict[str, Any], said: str
) -> None:
    served = engine()

    with pytest.raises(RunFailedError, match=said) as failed:
        run(guided(served, **changed))

    assert isinstance(failed.value.__cause__, ConfigError)
    assert not served.requests


def test_an_engine_that_tells_no_next_tokens_is_refused() -> None:
    with pytest.raises(RunFailedError, match="next_tokens") as failed:
        run(guided(ScriptedEngine()))
    assert isinstance(failed.value.__cause__, CapabilityError)


def test_what_an_engine_lacks_is_told_before_a_token_is_spent() -> None:
    able = frozenset({Capability.NEXT_TOKENS})
    unable = Model(ScriptedEngine(answers, capabilities=able))
    rolling = TransferQ(max_tokens=4)
    for changed, said in (
        ({"reward": RewardModel(unable)}, "reward is .* lacks reward"),
        ({"baseline_reward": RewardModel(unable)}, "baseline_reward is .* lacks reward"),
        ({"baseline": unable, "algorithm": rolling}, "baseline is .* lacks continue"),
    ):
        served, settings = engine(), dict[str, Any](changed)
        with pytest.raises(RunFailedError, match=said) as failed:
            run(guided(served, **settings))
        assert isinstance(failed.value.__cause__, CapabilityError)
        assert not served.requests
    found = run(reward_guided("q", model=unable, reward=Check(share_of_b), algorithm=ARGS))
    assert found.text


def test_its_text_may_name_the_algorithm() -> None:
    text = "transfer-q(rollout_tokens=0, k=3, weight=20.0, max_tokens=8)"

    assert run(guided(engine(), algorithm=text)) == run(guided(engine(), algorithm=ARGS))
    assert run(guided(engine(), algorithm="transfer_q(max_tokens=2)")) != run(guided(engine()))
