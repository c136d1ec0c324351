"""Search: answer a question by best-of-N, by a vote, and by a beam over reasoning steps."""

import motet
from motet import Budget, Model
from motet.programs import solve
from motet.programs.scorers import Check, Jury, SelfEvaluation
from motet.search import Beam, BestOfN

MODEL = Model("local:smollm2")
QUESTION = "Ann has 3 bags with 4 apples each. She eats 2 apples. How many are left?"
SETTINGS = {"model": MODEL, "step_tokens": 48, "answer_tokens": 96}


def states_an_answer(text: str) -> float:
    """A check that costs nothing: does the text come to a number at all?"""
    return 1.0 if any(letter.isdigit() for letter in text) else 0.0


jury = Jury((SelfEvaluation(MODEL), Check(states_an_answer)))

for algorithm in (
    BestOfN(n=4),
    BestOfN(n=4, choose="majority"),
    Beam(n=4, width=2, max_steps=3),
):
    ref = solve(QUESTION, algorithm=algorithm, scorer=jury, **SETTINGS)
    result = motet.run(ref, budget=Budget(max_tokens=6000))
    found = result.value
    print(f"{type(algorithm).__name__}: {found.why}, {len(found.tree)} nodes, {found.spend}")
    print(f"  {found.score}: {found.text[:120]!r}")
