"""A run that stops at its budget, and goes on later without asking anything twice."""

import motet
from motet import Budget, Model, Ref, RunFailedError, program, prompt

smol = Model("local:smollm2")


@prompt(user="One short fact about {{ topic }}.", keep_cut_off=True)
def fact(topic: str) -> str:
    """A fact; what it says is the model's business."""
    raise NotImplementedError


@program
def facts(topics: list[str]) -> list[Ref[str]]:
    return [fact.on(smol, max_tokens=24)(topic) for topic in topics]


if __name__ == "__main__":
    topics = ["iron", "tides", "moss", "bees"]
    try:
        motet.run(facts(topics), budget=Budget(max_calls=2), cache=False)
    except RunFailedError as stopped:
        print(f"stopped: {stopped}")
        result = motet.run(facts(topics), budget=Budget(max_calls=4), resume=stopped.run_id)
        print(*result.value, sep="\n")
        print(f"{result.usage.calls} calls in all")
