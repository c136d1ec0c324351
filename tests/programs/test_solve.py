"""Searches as programs: their calls are a run's calls."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import pytest

import motet
from motet import Budget, Model
from motet.engine import Capability, Completion, Request
from motet.errors import (
    BudgetExhaustedError,
    CapabilityError,
    ConfigError,
    EngineUnavailableError,
    PromptTooLongError,
    RunFailedError,
    TooFewSurvivorsError,
)
from motet.programs import mixture_of_agents, solve
from motet.programs.scorers import Check, Grading, Jury, SelfEvaluation
from motet.programs.solution import Solution
from motet.search import Beam, BestOfN, Limits, Mbr, TreeOfThoughts
from motet.testing import ScriptedEngine

DEPTH = 3


def written(request: Request) -> str:
    last = request.prompt[-1]
    return last.content if last.role == "assistant" else ""


def numbers(request: Request) -> Any:
    """Steps that are numbers below 100; the fourth is the last. Whole answers are four steps."""
    chance = random.Random(f"{request.sampling.seed} {written(request)}")
    is_last = written(request).count("\n\n") >= DEPTH
    if not request.sampling.stop:
        left = DEPTH + 1 - written(request).count("\n\n")
        texts = [
            "\n\n".join(str(chance.randrange(100)) for _ in range(left)) for _ in range(request.n)
        ]
        return tuple(Completion(text, "stop", None, (1, 2, 3)) for text in texts)
    stop = None if is_last else "\n\n"
    return tuple(
        Completion(str(chance.randrange(100)), "stop", stop, (1, 2)) for _ in range(request.n)
    )


def quality(text: str) -> float:
    return sum(int(number) for number in text.split()) / 400


def engine(**settings: Any) -> ScriptedEngine:
    return ScriptedEngine(numbers, **settings)


def run(ref: Any, **settings: Any) -> Solution:
    value: Solution = motet.run(ref, **{"store": None, **settings}).value
    return value


def test_a_step_keeps_its_delimiter_and_the_next_goes_on_behind_it() -> None:
    served = engine()

    found = run(
        solve("q", algorithm=Beam(n=4, width=2), model=Model(served), scorer=Check(quality))
    )

    assert found.is_finished
    assert found.text.count("\n\n") == DEPTH
    seen = {written(request) for request in served.requests}
    assert "" in seen
    assert all(text == "" or text.endswith("\n\n") for text in seen)
    assert found.why == "done"


def test_the_best_is_the_best_scored_and_the_tree_holds_it() -> None:
    found = run(
        solve("q", algorithm=Beam(n=8, width=4), model=Model(engine()), scorer=Check(quality))
    )

    assert found.score == pytest.approx(quality(found.text))
    finished = [each for each in found.candidates if each.is_finished]
    assert found.score == max(each.score for each in finished)
    assert found.text in {found.tree.partial(node.id).text for node in found.tree}


def test_samples_of_one_place_share_a_request() -> None:
    served = engine()

    run(solve("q", algorithm=BestOfN(n=6), model=Model(served), scorer=Check(quality)))

    assert [request.n for request in served.requests] == [6]


def test_a_budget_ends_the_search_with_its_best_so_far() -> None:
    ref = solve("q", algorithm=Beam(n=8, width=4), model=Model(engine()), scorer=Check(quality))

    found = run(ref, budget=Budget(max_calls=2))

    assert (found.why, found.is_finished) == ("limit", False)
    assert found.text


def test_a_budget_too_small_for_the_first_step_is_told() -> None:
    ref = solve("q", algorithm=Beam(), model=Model(engine()), scorer=Check(quality))

    with pytest.raises(RunFailedError) as failed:
        run(ref, budget=Budget(max_tokens=5))

    assert isinstance(failed.value.__cause__, BudgetExhaustedError)


def test_limits_of_the_search_are_kept() -> None:
    limits = Limits(max_proposals=5)

    found = run(
        solve("q", algorithm=Beam(), model=Model(engine()), scorer=Check(quality), limits=limits)
    )

    assert found.spend.proposals <= 5
    assert found.why == "limit"


def test_a_killed_search_asks_nothing_again(tmp_path: Path) -> None:
    store = str(tmp_path / "runs.db")
    served = engine()

    def ref() -> Any:
        return solve("q", algorithm=Beam(n=8, width=4), model=Model(served), scorer=Check(quality))

    whole = run(ref(), seed=3)
    asked = len(served.requests)
    served.requests.clear()
    first = motet.run(ref(), store=store, seed=3, budget=Budget(max_calls=3))
    assert first.value.why == "limit"
    served.requests.clear()

    second = run(ref(), store=store, seed=3)

    assert second == whole
    assert len(served.requests) == asked - 3


def test_an_engine_that_is_away_fails_the_run_instead_of_ending_the_search() -> None:
    def away(request: Request) -> Any:
        return EngineUnavailableError("away") if written(request) else numbers(request)

    ref = solve("q", algorithm=Beam(), model=Model(ScriptedEngine(away)), scorer=Check(quality))

    with pytest.raises(RunFailedError) as failed:
        run(ref)

    assert isinstance(failed.value.__cause__, EngineUnavailableError)


def test_steps_need_an_engine_that_continues() -> None:
    unable = Model(engine(capabilities=frozenset()))
    with pytest.raises(RunFailedError) as failed:
        run(solve("q", algorithm=Beam(), model=unable, scorer=Check(quality)))
    assert isinstance(failed.value.__cause__, CapabilityError)

    assert run(solve("q", algorithm=BestOfN(n=2), model=unable, scorer=Check(quality))).text


def test_a_scorer_that_fails_everywhere_leaves_nothing_to_show() -> None:
    ref = solve("q", algorithm=Beam(), model=Model(engine()), scorer=Check(lambda text: 1 / 0))

    with pytest.raises(RunFailedError) as failed:
        run(ref)

    assert isinstance(failed.value.__cause__, TooFewSurvivorsError)
    assert "ZeroDivisionError" in str(failed.value.__cause__)


def test_a_search_is_a_model_and_its_scorer_a_jury() -> None:
    jury = Jury((Check(quality), Check(lambda text: 0.5)))
    inner = solve.as_model(algorithm=Beam(n=4, width=2), model=Model(engine()), scorer=jury)
    outer = engine()

    ref = mixture_of_agents("q", proposers=[inner, inner], aggregator=Model(outer), layers=2)

    assert motet.plan(ref).problems == ()
    motet.run(ref, store=None)
    [fused] = outer.requests
    assert any(message.content.count("\n\n") >= 2 * DEPTH for message in fused.prompt)


@pytest.mark.parametrize("calls", [7, 31, 60])
def test_budgets_hold_over_nested_searches(calls: int) -> None:
    served = engine()
    inner = solve.as_model(algorithm=Beam(n=4, width=2), model=Model(served), scorer=Check(quality))
    ref = mixture_of_agents("q", proposers=[inner] * 3, aggregator=Model(served), layers=3)

    with contextlib.suppress(RunFailedError):
        motet.run(ref, store=None, budget=Budget(max_calls=calls))

    assert len(served.requests) <= calls


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"algorithm": "bean(n=2)"}, "did you mean 'beam'"),
        ({"algorithm": "beam(m=2)"}, "no setting 'm'"),
        ({"algorithm": "beam(n=6, width=4)"}, "n is 6"),
        ({"algorithm": "beam(n=__import__('os'))"}, "settings are written as"),
        ({"scorer": "judge"}, "scorer is 'judge'"),
        ({"delimiter": ""}, "delimiter"),
        ({"step_tokens": 0}, "step_tokens is 0"),
        ({"scorer": None}, "lacks score"),
        ({"scorer": None, "algorithm": "best-of-n(choose='verified')"}, "needs a verifier"),
    ],
)
def test_wrong_settings_are_told_before_a_token_is_spent(
    changed: dict[str, Any], said: str
) -> None:
    served = engine()
    given = {"algorithm": "beam", "scorer": "self", **changed}

    with pytest.raises((RunFailedError, ConfigError), match=said):
        run(solve("q", model=Model(served), **given))

    assert not served.requests


def test_named_scorers_ask_the_model_itself() -> None:
    def both(request: Request) -> Any:
        if request.candidates:
            return tuple(-float(i) for i, _ in enumerate(request.candidates))
        return numbers(request)

    able = frozenset({Capability.CONTINUE, Capability.SCORE})
    for scorer in ("self", "grade"):
        served = Model(ScriptedEngine(both, capabilities=able))
        found = run(solve("q", algorithm="best-of-n(n=2)", model=served, scorer=scorer))
        assert found.score is not None
        assert 0 <= found.score <= 1
    assert isinstance(SelfEvaluation(served), SelfEvaluation)
    assert Grading(served).scale == (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("algorithm", "is_scored"),
    [("beam(n=2, width=1)", True), ("best-of-n(n=2, choose='majority')", False)],
)
def test_a_search_that_needs_scores_takes_the_models_own(algorithm: str, is_scored: bool) -> None:
    """Where no scorer is given, the model evaluates itself, and only where the search needs it."""

    def both(request: Request) -> Any:
        return (-0.1, -2.0) if request.candidates else numbers(request)

    able = frozenset({Capability.CONTINUE, Capability.SCORE})
    served = ScriptedEngine(both, capabilities=able)

    run(solve("q", algorithm=algorithm, model=Model(served)))

    assert any(request.candidates for request in served.requests) == is_scored


@pytest.mark.parametrize("tokens", [300, 700, 1500])
def test_samples_that_the_budget_does_not_hold_at_once_are_asked_for_while_it_lasts(
    tokens: int,
) -> None:
    served = engine()
    ref = solve(
        "q", algorithm=BestOfN(n=8), model=Model(served), scorer=Check(quality), answer_tokens=200
    )

    found = run(ref, budget=Budget(max_tokens=tokens))

    assert found.spend.proposals == sum(request.n for request in served.requests)
    assert (found.why == "limit") == (found.spend.proposals < 8)


def test_a_prompt_that_becomes_too_long_costs_its_path_alone() -> None:
    def long(request: Request) -> Any:
        if written(request).count("\n\n") >= 2:
            return PromptTooLongError("too long", prompt_tokens=9, max_tokens=8)
        if written(request):
            stops = ("\n\n", None)
            return tuple(Completion("9", "stop", stops[i % 2], (1,)) for i in range(request.n))
        return numbers(request)

    served = Model(ScriptedEngine(long))
    found = run(solve("q", algorithm=Beam(n=4, width=2), model=served, scorer=Check(quality)))

    assert found.is_finished


def test_a_search_that_failed_says_why() -> None:
    scorer = Check(lambda text: 0.5 if "\n\n" not in text.strip() else 1.2)

    found = run(solve("q", algorithm=Beam(), model=Model(engine()), scorer=scorer))

    assert found.why == "failed"
    assert "1.2" in (found.error or "")
    assert "1.2" in found.summary()


def test_a_step_is_not_reserved_as_a_whole_answer() -> None:
    limits = Limits(max_tokens=200)

    found = run(
        solve(
            "q",
            algorithm=Beam(n=4, width=2),
            model=Model(engine()),
            scorer=Check(quality),
            step_tokens=10,
            answer_tokens=1000,
            limits=limits,
        )
    )

    assert found.is_finished
    assert found.spend.tokens <= 200


@pytest.mark.parametrize(
    ("stop", "reason", "ends", "num_asked"),
    [
        ("\n\n", "stop", None, 1),
        ("\n\n", "stop", lambda text: False, 2),
        (None, "stop", lambda text: False, 1),
        (None, "length", None, 2),
    ],
)
def test_a_step_that_states_an_answer_is_the_last_one_unless_it_was_cut_off(
    stop: str | None, reason: Any, ends: Any, num_asked: int
) -> None:
    """A model that would go on behind its answer is not asked to; what was cut off states none."""
    served = ScriptedEngine(lambda request: [Completion("The answer is 4", reason, stop, (1,))])
    given = {} if ends is None else {"ends": ends}

    found = run(
        solve(
            "q",
            algorithm=Beam(n=1, width=1, max_steps=2),
            model=Model(served),
            scorer=Check(bool),
            **given,
        )
    )

    assert len(served.requests) == num_asked
    assert found.is_finished == (reason == "stop")


@pytest.mark.parametrize(
    ("algorithm", "said"),
    [
        (Mbr(n=2), "its program is minimum_bayes_risk"),
        (TreeOfThoughts(), "its program is think_in_trees"),
        ("rstar", "that is the program rstar"),
        ("think-in-trees(depth=2)", "that is the program think_in_trees"),
        (BestOfN, "it must be a search"),
        (None, "algorithm is None"),
        (7, "algorithm is 7"),
    ],
)
def test_what_is_no_search_by_steps_is_told_before_anything_is_asked(
    algorithm: Any, said: str
) -> None:
    """A search with a program of its own names it; anything else is refused."""
    served = engine()

    with pytest.raises(RunFailedError, match=said) as failed:
        run(solve("q", algorithm=algorithm, model=Model(served), scorer=Check(quality)))

    assert isinstance(failed.value.__cause__, ConfigError)
    assert not served.requests


def test_limits_that_are_none_are_told() -> None:
    """A dict in the place of Limits is a ConfigError."""
    limits: Any = {"max_proposals": 2}

    with pytest.raises(RunFailedError, match="limits is"):
        run(
            solve(
                "q",
                algorithm="best-of-n",
                model=Model(engine()),
                scorer=Check(quality),
                limits=limits,
            )
        )


@pytest.mark.parametrize("name", ["particles(n=2)", "particle-gibbs(n=2)"])
def test_particles_are_weighed_by_the_model_itself_where_nothing_else_is(name: str) -> None:
    """Without a scorer they would be plain samples, so the model's own evaluation weighs them."""

    def both(request: Request) -> Any:
        return (-0.1, -2.0) if request.candidates else numbers(request)

    able = frozenset({Capability.CONTINUE, Capability.SCORE})
    served = ScriptedEngine(both, capabilities=able)

    run(solve("q", algorithm=name, model=Model(served)))

    assert any(request.candidates for request in served.requests)


async def late(text: str) -> bool:
    return True


def broken(text: str) -> bool:
    raise KeyError(text)


@pytest.mark.parametrize(
    ("verify", "said"),
    [(broken, "KeyError"), (lambda text: "yes", "verify gave 'yes'"), (lambda text: None, "None")],
)
def test_a_verifier_that_fails_is_told_beside_the_answer(verify: Any, said: str) -> None:
    """What it says is no verdict: no text counts as verified, and the failure stands in the value."""
    algorithm = BestOfN(n=2, choose="verified")

    found = run(solve("q", algorithm=algorithm, model=Model(engine()), verify=verify))

    assert found.notes["is_verified"] is False
    assert said in found.failures[0]
    assert said in found.summary()


def test_a_verifier_that_would_have_to_be_awaited_is_refused() -> None:
    """An async function is told before anything is asked: a coroutine would count as True."""
    served = engine()
    verify: Any = late

    with pytest.raises(RunFailedError, match="verify is .* async"):
        run(solve("q", algorithm="best-of-n", model=Model(served), verify=verify))

    assert not served.requests
