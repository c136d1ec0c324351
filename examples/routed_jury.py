"""A routed proposer, a cascade of programs, and a jury that picks: one program over two models.

    motet run examples/routed_jury.py:routed_jury "What is the capital of France?" \\
        --small local:smollm2 --large http://127.0.0.1:8000/v1#style

The small model answers alone where its router trusts it. The cascade asks it first, then a mixture
of agents with the routed proposer, then a search. Both models judge the two answers; the large
one's word counts twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import motet
from motet import Budget, Model, Price, program
from motet.programs import cascade, jury_compare, mixture_of_agents, route, solve
from motet.programs.cascade import Cascaded
from motet.programs.choices import Learned, embedded
from motet.programs.confidences import Scored
from motet.programs.judges import Juror, JuryVerdict
from motet.programs.route import Routed
from motet.programs.scorers import SelfEvaluation
from motet.routing.deciding import WorthItsPrice
from motet.routing.knn import KnnRouter
from motet.routing.outcomes import Outcomes
from motet.search import BestOfN
from motet.types import Outcome

SMALL, LARGE = Model("local:smollm2"), Model("local:smollm2")
EMBEDDER = Model("local:minilm", price=Price(prompt=0.01, completion=0.0))
TABLE = Outcomes(
    prompts=(
        "What is the capital of Italy?",
        "Name the largest ocean.",
        "Prove that the square root of 2 is irrational.",
        "Write a sonnet about a lighthouse.",
    ),
    models=("small", "large"),
    scores=np.array([[0.9, 1.0], [0.8, 1.0], [0.1, 0.8], [0.3, 0.9]]),
    costs=np.array([[1.0, 10.0], [1.0, 10.0], [2.0, 20.0], [2.0, 20.0]]),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """The answer that the jury picked."""

    text: str
    routed: Routed | None
    """None where it failed, as the next one."""
    cascaded: Cascaded | None
    verdict: JuryVerdict | None
    """Of the routed answer as A and the cascade's as B; None where only one is there."""

    def __str__(self) -> str:
        return self.text


@program
async def routed_jury(
    question: str,
    *,
    small: Model = SMALL,
    large: Model = LARGE,
    small_price: float = 0.1,
    large_price: float = 1.0,
    sure: float = 0.9,
    willingness: float = 50.0,
    max_tokens: int = 64,
) -> Picked:
    """Answer by a route and by a cascade of programs, and let a jury pick.

    Args:
        question: A text.
        small: The cheap model.
        large: The dear one.
        small_price: Of a million tokens of the small model.
        large_price: Of a million tokens of the large one.
        sure: Probability of Yes from which the cascade accepts an answer.
        willingness: What a score of 1 is worth to the router, in the unit of the table's costs.
        max_tokens: Of each answer.
    """
    small = replace(small, price=Price(prompt=small_price, completion=small_price))
    large = replace(large, price=Price(prompt=large_price, completion=large_price))
    embed = embedded.embeddings().on(EMBEDDER)
    # One at a time: last bits depend on what shares the batch, and the route's id on them.
    vectors = [await embed(prompt) for prompt in TABLE.prompts]
    router = KnnRouter(k=2).fit(TABLE, np.array([vector.values for vector in vectors]))
    by = Learned(
        router,
        embedder=EMBEDDER,
        rule=WorthItsPrice(willingness=willingness),
        prices=dict(zip(TABLE.models, TABLE.costs.mean(axis=0).tolist(), strict=True)),
    )
    among = {"small": small, "large": large}
    settings = {"temperature": 0.0, "max_tokens": max_tokens}

    proposer = route.as_model(among=among, by=by, **settings)
    mixture = mixture_of_agents.as_model(
        proposers=[proposer, small], aggregator=large, layers=2, **settings
    )
    search = solve.as_model(
        algorithm=BestOfN(n=2),
        model=large,
        scorer="self",
        instruction="",
        answer_tokens=max_tokens,
    )
    routed = route(question, among=among, by=by, **settings)
    cascaded = cascade(
        question,
        stages=[small, mixture, search],
        thresholds=[sure, sure],
        confidence=Scored(SelfEvaluation(large)),
        **settings,
    )
    tried: list[Outcome[Any]] = await motet.settled([routed, cascaded])
    one, other = tried
    if one.error is not None and other.error is not None:
        raise one.error
    verdict = None
    if one.is_success and other.is_success:
        jury = [Juror(model=small, form="prefer"), Juror(model=large, form="prefer", weight=2.0)]
        verdict = await jury_compare(question, one.value.text, other.value.text, judges=jury)
    is_first = other.error is not None or (verdict is not None and verdict.winner == "A")
    return Picked(
        text=(one if is_first else other).value.text,
        routed=one.value if one.is_success else None,
        cascaded=other.value if other.is_success else None,
        verdict=verdict,
    )


if __name__ == "__main__":
    result = motet.run(routed_jury("What is the capital of France?"), budget=Budget(max_cost=0.01))
    found = result.value
    print(found)
    for stage in found.cascaded.stages if found.cascaded else ():
        print(f"  {stage.model}: {stage.why}, {stage.confidence}")
    print(f"  routed: {found.routed.decision.reason if found.routed else 'failed'}")
    print(f"  jury: {found.verdict}")
    print(f"{result.usage.calls} calls, {result.usage.tokens} tokens, cost {result.cost:.6f}")
