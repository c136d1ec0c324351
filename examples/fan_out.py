"""Several rows, a race, and failures as outcomes.

`first_good` is a program that stands where a model stands: it asks twice and takes what comes first.
"""

import motet
from motet import Model, Outcome, Ref, program, prompt, step

smol = Model("local:smollm2")


@prompt(user="{{ question }}", keep_cut_off=True)
def answer(question: str) -> str:
    """An answer; one that stops at max_tokens is kept."""
    raise NotImplementedError


@program
def first_good(question: str) -> Ref[str]:
    """The first of two answers; the other is aborted in the engine."""
    return motet.race(
        answer.on(smol, max_tokens=12, temperature=0.0)(question),
        answer.on(smol, max_tokens=24, temperature=0.0)(question + " Explain."),
    )


@step
def checked(text: str) -> str:
    """A step may refuse: what it raises costs its own row only."""
    if "blue" not in text.lower():
        raise ValueError(f"no blue in {text!r}")
    return text


@program
def row(thing: str) -> Ref[str]:
    return checked(answer.on(first_good.as_model())(f"What colour is {thing}?"))


if __name__ == "__main__":
    things = ["the sky", "grass", "the sea"]
    result = motet.run(motet.settled([row(thing) for thing in things]))
    outcomes: list[Outcome[str]] = result.value
    for thing, outcome in zip(things, outcomes, strict=True):
        print(f"{thing}: {outcome.value if outcome.error is None else outcome.error}")
    print(f"{result.usage.calls} calls answered, {result.usage.tokens} tokens")
