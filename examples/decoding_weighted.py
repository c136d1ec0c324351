"""Weights: how likely is the model to keep a rule by itself?

Every sample keeps the rule, and its weight says what that has cost. The mean weight estimates the
probability that a free sample keeps the rule; samples drawn by weight are samples of the model
under the rule.
"""

import math

import motet
from motet import Completion, prompt
from motet.decoding import choice, weighted

URL = "local:smollm2"


@prompt(user="Is the sea salty? Answer Yes or No.")
def answer() -> Completion:
    """The whole completion, with its weight."""
    raise NotImplementedError


if __name__ == "__main__":
    rule = weighted(choice(["Yes.", "No.", "Yes", "No"]))
    asked = answer.on(URL, temperature=1.0, seed=1, decoding=rule).samples(16)
    drawn = [(done.text, math.exp(done.log_weight or 0.0)) for done in motet.run(asked()).value]
    total = sum(weight for _, weight in drawn)
    print(f"estimated probability that the rule holds: {total / len(drawn):.4f}")
    for text in sorted({text for text, _ in drawn}):
        share = sum(weight for each, weight in drawn if each == text) / total
        print(f"{text!r}: drawn {sum(t == text for t, _ in drawn)} times, weighs {share:.2f}")
