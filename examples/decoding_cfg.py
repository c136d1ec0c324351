"""Classifier-free guidance: the answer is pushed away from that of another system turn."""

import motet
from motet import prompt
from motet.decoding import cfg

URL = "local:smollm2"


@prompt(system="You speak like a pirate.", user="{{ question }}", keep_cut_off=True)
def answer(question: str) -> str:
    """An answer; one that stops at max_tokens is kept."""
    raise NotImplementedError


def guided(gamma: float) -> str:
    rule = cfg(gamma, negative="You speak like a clerk.")
    asked = answer.on(URL, temperature=0.0, max_tokens=24, decoding=rule)
    return motet.run(asked("Where do you live?")).value


if __name__ == "__main__":
    plain = answer.on(URL, temperature=0.0, max_tokens=24)
    print("plain:    ", motet.run(plain("Where do you live?")).value)
    for gamma in (1.0, 1.5, 2.5):  # 1 is plain decoding, computed with both prompts
        print(f"gamma {gamma}:", guided(gamma))
