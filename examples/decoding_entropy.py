"""Entropy-adaptive decoding: a small and a large model take turns by how sure they are.

Here both are the same model, so that the text is that of one alone; the counts tell who wrote.
"""

import motet
from motet import Model
from motet.programs import entropy_adaptive

SMALL, LARGE = Model("local:smollm2"), Model("local:smollm2")

if __name__ == "__main__":
    for threshold in (0.5, 2.0, 8.0):  # in bits
        answer = motet.run(
            entropy_adaptive(
                "Why is the sky blue?",
                small=SMALL,
                large=LARGE,
                threshold=threshold,
                max_tokens=40,
            )
        ).value
        print(
            f"threshold {threshold}: {answer.small_tokens} tokens by the small model, "
            f"{answer.large_tokens} by the large one, {answer.switches} switches"
        )
        print(" ", answer.text.replace("\n", " "))
