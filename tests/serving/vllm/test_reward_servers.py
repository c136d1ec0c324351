"""Reward models on real vLLM servers, against the same weights computed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import motet
from motet import Budget, Message, Model, RunFailedError, prompt
from motet.engine import Capability
from motet.errors import ConfigError, PromptTooLongError
from motet.programs.scorers import ProcessReward, RewardModel, logistic
from motet.types import Rewards
from tests.serving.vllm.http import ask, run

if TYPE_CHECKING:
    from tests.serving.vllm.conftest import Server
    from tests.serving.vllm.reward_models import OutcomeReference, ProcessReference

pytestmark = pytest.mark.vllm

FLAGS = ("--dtype", "float32", "--max-model-len", "512", "--runner", "pooling")
QUESTIONS = ("What is 2 + 2?", "Name a prime above ten.")
SOLUTIONS = ("Two and two.\n\nThat is 4.\n\nThe answer is 4.", "11", "Twelve?\n\nNo: 13.")
CASES = [(question, solution) for question in QUESTIONS for solution in SOLUTIONS]


@prompt(user="{{ question }}", assistant="{{ answer }}")
def judged(question: str, answer: str) -> str:
    raise NotImplementedError


def turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


@pytest.fixture(scope="module")
def outcome(
    _servers: Callable[..., Server], smollm2: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, OutcomeReference]]:
    from tests.serving.vllm.reward_models import OutcomeReference

    folder = tmp_path_factory.mktemp("orm")
    reference = OutcomeReference(smollm2, folder)
    with ExitStack() as stack:
        yield _servers(stack, {"model": folder, "flags": FLAGS}), reference


@pytest.fixture(scope="module")
def process(
    _servers: Callable[..., Server], smollm2: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, ProcessReference]]:
    from tests.serving.vllm.reward_models import ProcessReference

    folder = tmp_path_factory.mktemp("prm")
    reference = ProcessReference(smollm2, folder)
    pooler = json.dumps({"tok_pooling_type": "STEP", "step_tag_id": reference.tag_id})
    flags = (*FLAGS, "--pooler-config", pooler)
    with ExitStack() as stack:
        yield _servers(stack, {"model": folder, "is_stock": True, "flags": flags}), reference


def test_an_outcome_reward_model_gives_its_own_numbers(
    outcome: tuple[Server, OutcomeReference],
) -> None:
    """Within 1e-4 of transformers, many at once; the budget holds exactly what is used."""
    server, reference = outcome
    model = Model(f"{server.url}/v1")
    expected = [reference.reward(turns(*case)) for case in CASES]
    assert max(expected) - min(expected) > 0.1

    raw = [judged.on(model).rewards()(*case) for case in CASES]
    result = motet.run(motet.settled(raw), store=None)
    size = result.usage.prompt_tokens
    found = [outcome.value.values for outcome in result.value]
    assert found == [(pytest.approx(each, abs=1e-4),) for each in expected]

    again = motet.run(motet.settled(raw), store=None, budget=Budget(max_tokens=size))
    assert [each.is_success for each in again.value] == [True] * len(CASES)

    scored = motet.run(RewardModel(model)(*CASES[0]), store=None).value
    assert scored == pytest.approx(logistic(expected[0]), abs=1e-4)


def test_a_reward_server_completes_nothing(outcome: tuple[Server, OutcomeReference]) -> None:
    """It says so by a typed error, asked before or not; its context is held."""
    server, _ = outcome

    async def act(engine: Any) -> Any:
        for given in ((1, 2), (Message.user("x"),)):
            with pytest.raises(ConfigError, match="pooler"):
                await engine.complete(ask(given))
        return engine

    for is_prepared in (True, False):
        engine = run(server, act, is_prepared=is_prepared)
        assert engine.capabilities & {Capability.REWARD, Capability.LOGPROBS, Capability.SCORE} == {
            Capability.REWARD
        }
    with pytest.raises(RunFailedError) as caught:
        motet.run(judged.on(f"{server.url}/v1").rewards()("a", "b " * 600), store=None)
    assert isinstance(caught.value.__cause__, PromptTooLongError)


def test_a_process_reward_model_gives_one_number_a_step(
    process: tuple[Server, ProcessReference],
) -> None:
    """The STEP pooler's rows are torch's at the tags, in order; each aggregate is theirs."""
    server, reference = process
    model = Model(f"{server.url}/v1")
    for question, solution in CASES:
        steps = solution.split("\n\n")
        expected = reference.rewards(turns(question, "".join(s + "<extra_0>" for s in steps)))
        assert len(expected) == len(steps)
        by_hand = Rewards(tuple(expected))

        refs = {
            aggregate: ProcessReward(model, aggregate)(question, solution)
            for aggregate in ("last", "min", "prod", "mean")
        }
        values = motet.run(motet.settled(list(refs.values())), store=None).value

        assert {name: outcome.value for name, outcome in zip(refs, values, strict=True)} == {
            name: pytest.approx(getattr(by_hand, name), abs=1e-4) for name in refs
        }


def test_a_tag_that_is_not_the_servers_is_an_error(
    process: tuple[Server, ProcessReference],
) -> None:
    """Another text gets no row, so there is no reward to be had."""
    server, _ = process
    scorer = ProcessReward(Model(f"{server.url}/v1"), step_tag="<other>")

    with pytest.raises(RunFailedError, match="step tag"):
        motet.run(scorer("q", "a\n\nb"), store=None)
    tagged = motet.run(
        judged.on(f"{server.url}/v1").rewards(1)("q <extra_0>", "a<extra_0>"), store=None
    ).value
    assert len(tagged.values) == 2
