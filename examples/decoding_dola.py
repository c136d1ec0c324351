"""Contrast of layers: what the last layer knows and an earlier one does not yet."""

import motet
from motet import prompt
from motet.decoding import Dola, dola

URL = "local:smollm2"


@prompt(user="{{ question }}", keep_cut_off=True)
def answer(question: str) -> str:
    """An answer; one that stops at max_tokens is kept."""
    raise NotImplementedError


def contrasted(rule: Dola) -> str:
    # The authors add a repetition penalty, without which contrasted text tends to loop.
    asked = answer.on(URL, temperature=0.0, max_tokens=24, repetition_penalty=1.2, decoding=rule)
    return motet.run(asked("What do bees eat?")).value


if __name__ == "__main__":
    print("upper half:", contrasted(dola("high")))
    print("lower half:", contrasted(dola("low")))
    print("two layers:", contrasted(dola([10, 20], relative_top=0.2)))
