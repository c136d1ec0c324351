"""Scores: log-probabilities of fixed answers, without sampling one.

On them stand a verifier, a grader and a listwise reranker.
"""

import motet
from motet import Model, prompt
from motet.programs import grade, listwise_reranking, verify

MODEL = Model("local:smollm2")
QUESTION = "What is the capital of France?"
PASSAGES = ["Bread is baked from flour.", "Paris is the capital of France.", "The sea is salty."]


@prompt(user="{{ question }} Answer with one name.")
def answer(question: str) -> str:
    """A name."""
    raise NotImplementedError


if __name__ == "__main__":
    scores = motet.run(answer.on(MODEL).scores(["Paris", "Lyon", "Rome"])(QUESTION)).value
    for name, share in scores.probabilities.items():
        print(f"{name}: {share:.3f} among these")
    print("verified:", round(motet.run(verify(QUESTION, "Paris", model=MODEL)).value, 3))
    print("graded:", round(motet.run(grade(QUESTION, "Paris", model=MODEL)).value, 2))
    order = motet.run(listwise_reranking(QUESTION, PASSAGES, model=MODEL)).value
    print("ranked:", [PASSAGES[place] for place in order])
