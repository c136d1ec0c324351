"""Routes, cascades and judges in forked children that a test kills. Reads jobs as JSON lines.

A child that gets through writes its run's id first, then what it found, as JSON lines.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import motet
from motet import Message, Model, Price, Ref, program
from motet.programs import (
    additive_score,
    auto_j_compare,
    auto_j_score,
    cascade,
    compare_answers,
    expected_score,
    jury_compare,
    jury_score,
    mixture_of_agents,
    pandalm_compare,
    prefer,
    route,
    score_answer,
    score_by_rubric,
    solve,
)
from motet.programs.cascade import Cascaded
from motet.programs.choices import Learned, embedded
from motet.programs.confidences import Scored
from motet.programs.judges import Juror, compare_conversations
from motet.programs.route import Routed
from motet.programs.scorers import Check
from motet.routing.deciding import WorthItsPrice
from motet.routing.knn import KnnRouter
from motet.routing.outcomes import Outcomes
from motet.runtime.metering import cost_of
from motet.search import BestOfN

QUESTIONS = ("first question", "second question", "third question")
SHORT = {"max_tokens": 64}


def judged(judge: Callable[..., Any], *texts: str, **settings: Any) -> Any:
    """A program that lets a judge say what it thinks of each question's answers."""

    @program(name=f"judged by {judge}")
    def run(model: Model) -> list[Ref[Any]]:
        return [judge(question, *texts, model=model, **settings) for question in QUESTIONS]

    return run


@program
def conversations(model: Model) -> list[Ref[Any]]:
    def told(text: str, question: str) -> Any:
        return (Message.user(question), Message.assistant(text))

    return [compare_conversations(told("one", q), told("other", q), model=model) for q in QUESTIONS]


@program
def jury_of_pairs(model: Model) -> list[Ref[Any]]:
    forms: Any = ("compare", "prefer", "auto_j", "pandalm")
    judges = [Juror(model=model, form=form, weight=1.0 + i) for i, form in enumerate(forms)]
    return [jury_compare(q, "one", "other", judges=judges) for q in QUESTIONS[:2]]


@program
def jury_of_scores(model: Model) -> list[Ref[Any]]:
    forms: Any = ("rating", "rubric", "expected", "additive", "auto_j")
    judges = [Juror(model=model, form=form, weight=1.0 + i) for i, form in enumerate(forms)]
    return [jury_score(q, "an answer", judges=judges) for q in QUESTIONS[:2]]


async def _by(model: Model) -> Learned:
    table = Outcomes(
        prompts=("a sum", "a poem", "a fact"),
        models=("small", "large"),
        scores=np.array([[0.9, 1.0], [0.1, 0.9], [0.5, 0.6]]),
        costs=np.array([[1.0, 10.0]] * 3),
    )
    vectors = await motet.map(embedded.embeddings().on(model), table.prompts)
    router = KnnRouter(k=1).fit(table, np.array([each.values for each in vectors]))
    rule = WorthItsPrice(willingness=20.0)
    return Learned(router, embedder=model, rule=rule, prices={"small": 1.0, "large": 10.0})


@program
async def routes(model: Model) -> list[Routed]:
    """A router that is trained in the run, a route for each question."""
    by = await _by(model)
    among = {"small": model, "large": model}
    found = motet.map(route, QUESTIONS, among=among, by=by, **SHORT)
    value: list[Routed] = await found
    return value


@program
async def cascades(model: Model) -> tuple[list[Cascaded], float, float]:
    """A call, a mixture of agents whose proposer is routed, a search, then the one that is left; and
    what the scope around them has spent.
    """
    with motet.scope(max_calls=1000, max_tokens=1_000_000):
        by = await _by(model)
        proposer = route.as_model(among={"small": model, "large": model}, by=by, **SHORT)
        mixture = mixture_of_agents.as_model(
            proposers=[proposer, model], aggregator=model, layers=2, **SHORT
        )
        search = solve.as_model(
            algorithm=BestOfN(n=3),
            model=model,
            scorer=Check(len),
            temperature=0.7,
            answer_tokens=64,
        )
        found = motet.map(
            cascade,
            QUESTIONS[:2],
            stages=[model, mixture, search, model],
            thresholds=[1.1, 1.1, 1.1],
            confidence=Scored(Check(bool)),
            **SHORT,
        )
        value: list[Cascaded] = await found
        left = motet.current()
    assert left.max_calls is not None
    assert left.max_tokens is not None
    return value, 1000 - left.max_calls, 1_000_000 - left.max_tokens


PAIR = ("one", "other")
PROGRAMS: dict[str, Any] = {
    "route": routes,
    "cascade": cascades,
    "jury_compare": jury_of_pairs,
    "jury_score": jury_of_scores,
    "additive_score": judged(additive_score, "an answer"),
    "auto_j_compare": judged(auto_j_compare, *PAIR),
    "auto_j_score": judged(auto_j_score, "an answer"),
    "compare_answers": judged(compare_answers, *PAIR),
    "compare_conversations": conversations,
    "expected_score": judged(expected_score, "an answer"),
    "pandalm_compare": judged(pandalm_compare, *PAIR),
    "prefer": judged(prefer, *PAIR),
    "score_answer": judged(score_answer, "an answer"),
    "score_by_rubric": judged(score_by_rubric, "an answer"),
}


class Announcer:
    """Writes the run's id as soon as it is known."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_event(self, event: Any) -> None:
        if type(event).__name__ == "RunStarted":
            tell(self.path, {"run_id": event.run_id})


def tell(path: Path, found: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(found) + "\n")


def work(job: dict[str, Any]) -> None:
    out = Path(job["out"])
    model = Model(job["url"] + "#stub", price=Price(prompt=1.0, completion=3.0))
    result = motet.run(
        PROGRAMS[job["program"]](model),
        store=job["store"],
        seed=5,
        cache=False,
        resume=job["resume"],
        max_concurrency=2,
        observers=[Announcer(out)],
    )
    usage = result.usage
    paid = [usage.calls, usage.prompt_tokens, usage.completion_tokens, round(result.cost, 12)]
    calls = [node for node in result.graph if node.usage is not None and node.usage.calls]
    tree = sorted(
        [c.id, c.parent_id, c.operation, c.usage.tokens, cost_of(model, c.usage)] for c in calls
    )
    tell(out, {"value": repr(result.value), "paid": paid, "tree": tree})


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            work(job)
            os._exit(0)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(status, flush=True)


if __name__ == "__main__":
    main()
