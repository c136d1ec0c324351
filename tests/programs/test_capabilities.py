"""What engines must be able to do: found out before a token is paid."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import motet
from motet import Capability, Model, program
from motet.engine import Completion, Request
from motet.errors import CapabilityError, EngineUnavailableError, RunFailedError
from motet.programs import best_of_n, solve
from motet.programs.capabilities import goes_on
from motet.programs.scorers import (
    ChatProcessReward,
    Check,
    EmbeddingSimilarity,
    Grading,
    Jury,
    ProcessReward,
    RewardModel,
    SelfEvaluation,
)
from motet.search import Beam, BestOfN
from motet.search.adaptive import AdaptiveSampling
from motet.search.adaptive_consistency import AdaptiveConsistency
from motet.search.compute_optimal import ComputeOptimal
from motet.search.registry import ALGORITHMS, find_algorithm
from motet.search.revisions import Revisions
from motet.testing import ScriptedEngine
from motet.testing.stub_server import StubServer

PLAIN = frozenset({Capability.SEED})


def engine(*able: Capability, kind: Any = ScriptedEngine) -> Any:
    def answers(request: Request) -> Any:
        if request.candidates:
            return tuple(-1.0 for _ in request.candidates)
        if request.is_rewarded and "<extra_0>" in request.prompt[-1].content:
            return ((0.0, 1.0),)
        if request.is_rewarded or request.is_embedded:
            return (0.5,)
        return tuple(Completion("done", "stop", None, (1,)) for _ in range(request.n))

    return kind(answers, capabilities=frozenset(able))


class Asked(ScriptedEngine):
    """An engine that has to be asked; it then has what `learnt` holds, or is away."""

    learnt: frozenset[Capability] | None = frozenset()
    num_asked = 0

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._capabilities if not self.num_asked or self.learnt is None else self.learnt

    async def prepare(self) -> None:
        self.num_asked += 1
        if self.learnt is None:
            raise EngineUnavailableError("away")


class AskedOverHttp(Asked):
    """A server: what most can do is taken for granted until it was asked."""

    @property
    def url(self) -> str:
        return "http://somewhere/v1"


def scorers(model: Model) -> dict[Any, Capability]:
    return {
        "self": Capability.SCORE,
        "grade": Capability.SCORE,
        SelfEvaluation(model): Capability.SCORE,
        Grading(model): Capability.SCORE,
        ChatProcessReward(model): Capability.SCORE,
        RewardModel(model): Capability.REWARD,
        ProcessReward(model): Capability.REWARD,
        EmbeddingSimilarity(model): Capability.EMBED,
        Jury((Check(bool), RewardModel(model))): Capability.REWARD,
    }


def refused(ref: Any) -> str:
    with pytest.raises(RunFailedError) as failed:
        motet.run(ref, store=None)
    assert isinstance(failed.value.__cause__, CapabilityError)
    return str(failed.value)


@pytest.mark.parametrize("place", range(9))
def test_a_scorer_whose_engine_lacks_what_it_needs_is_refused_unpaid(place: int) -> None:
    """Each kind; what is missing is named, and nothing was proposed."""
    served = engine(*PLAIN)
    scorer, capability = list(scorers(Model(served)).items())[place]

    said = refused(solve("q", algorithm=BestOfN(n=2), model=Model(served), scorer=scorer))

    assert f"lacks {capability}" in said and "scorer" in said
    assert served.requests == []


@pytest.mark.parametrize("place", range(2, 9))
def test_a_scorer_whose_engine_has_it_is_not_held_up(place: int) -> None:
    """The search runs, with another engine as its writer."""
    able = engine(Capability.SCORE, Capability.REWARD, Capability.EMBED)
    scorer = list(scorers(Model(able)))[place]
    writer = Model(engine(*PLAIN))

    found = motet.run(solve("q", algorithm=BestOfN(n=2), model=writer, scorer=scorer), store=None)

    assert found.value.text == "done"


def test_a_program_that_answers_as_a_model_scores_nothing() -> None:
    """It is refused at once too."""
    served = engine(*PLAIN)
    inner = best_of_n.as_model(model=Model(served), verify=len, n=1)

    said = refused(
        solve("q", algorithm=BestOfN(n=2), model=Model(served), scorer=SelfEvaluation(inner))
    )

    assert "lacks score" in said
    assert served.requests == []


def test_a_search_by_steps_is_refused_where_no_turn_can_be_gone_on_with() -> None:
    """Before its first step is paid; one that draws whole answers runs there."""
    served = engine(*PLAIN)

    for algorithm in (
        Beam(n=4, width=2),
        "mcts",
        Revisions(),
        ComputeOptimal(algorithms=(Beam(),), bin=0),
    ):
        said = refused(solve("q", algorithm=algorithm, model=Model(served), scorer=Check(bool)))
        assert "model is" in said and "lacks continue" in said
    assert served.requests == []

    for algorithm in (BestOfN(n=2), ComputeOptimal(algorithms=(BestOfN(n=2),), bin=0)):
        ref = solve("q", algorithm=algorithm, model=Model(served), scorer=Check(bool))
        assert motet.run(ref, store=None).value.text == "done"


def test_a_program_as_the_model_goes_on_as_it_will() -> None:
    """Its chat may end with an unfinished turn: nothing is known against it."""

    @program
    def echo(question: str) -> str:
        return "done"

    ref = solve("q", algorithm=Beam(n=2, width=1), model=echo.as_model(), scorer=Check(bool))

    assert motet.run(ref, store=None).value.text.startswith("done")


def test_every_search_is_known_to_go_on_or_not() -> None:
    """Those that never do are these three; of a search of one's own it is not known."""
    whole = {name for name in ALGORITHMS if not goes_on(find_algorithm(name))}

    class Own(BestOfN):
        pass

    assert whole == {"adaptive-consistency", "adaptive-sampling", "best-of-n"}
    assert not goes_on(AdaptiveConsistency()) and not goes_on(AdaptiveSampling())
    assert not goes_on(Own(n=2)) and not goes_on(object())


def test_an_engine_that_has_to_be_asked_is_asked_first() -> None:
    """What it then has counts, for it and against it."""
    for learnt in (frozenset({Capability.SCORE}), frozenset[Capability]()):
        judge = engine(kind=Asked)
        judge.learnt = learnt
        writer = engine(*PLAIN)
        ref = solve(
            "q", algorithm=BestOfN(n=2), model=Model(writer), scorer=SelfEvaluation(Model(judge))
        )
        if learnt:
            assert motet.run(ref, store=None).value.text == "done"
        else:
            assert "lacks score" in refused(ref)
            assert writer.requests == []
        assert judge.num_asked >= 1


def test_of_a_server_what_most_can_do_is_asked_too() -> None:
    """One that cannot continue says so before the first step; elsewhere nobody need be asked."""
    for kind, is_refused in ((AskedOverHttp, True), (Asked, False)):
        served = engine(Capability.CONTINUE, kind=kind)
        ref = solve("q", algorithm=Beam(n=2, width=1), model=Model(served), scorer=Check(bool))
        if is_refused:
            assert "lacks continue" in refused(ref)
            assert served.requests == []
        else:
            assert motet.run(ref, store=None).value.text == "done"
            assert served.num_asked == 0


def test_an_engine_that_is_away_is_not_held_against_the_program() -> None:
    """Its calls will tell: the failure is the engine's, not one of capabilities."""
    judge = engine(kind=Asked)
    judge.learnt = None
    ref = solve(
        "q",
        algorithm=BestOfN(n=2),
        model=Model(engine(*PLAIN)),
        scorer=SelfEvaluation(Model(judge)),
    )

    with pytest.raises(RunFailedError, match="away") as failed:
        motet.run(ref, store=None)

    assert isinstance(failed.value.__cause__, EngineUnavailableError)


def test_a_server_named_by_its_url_is_asked_before_anything_is_paid() -> None:
    """One that is no vLLM server scores nothing; it got no completion to write."""

    async def act() -> tuple[str, int]:
        async with StubServer() as server:
            ref = solve("q", algorithm=BestOfN(n=2), model=Model(server.url), scorer="self")
            with pytest.raises(RunFailedError, match="lacks score") as failed:
                await motet.arun(ref, store=None)
            assert isinstance(failed.value.__cause__, CapabilityError)
            return str(failed.value), server.num_requests

    said, num_requests = asyncio.run(act())

    assert "scorer is http://" in said
    assert num_requests == 0
