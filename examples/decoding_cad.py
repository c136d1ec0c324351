"""Context-aware decoding: the page outweighs what the model remembers.

`without` names the parameter that the other prompt leaves empty.
"""

import motet
from motet import prompt
from motet.decoding import PairedRule, adacad, cad

URL = "local:smollm2"
PAGE = "In this story the capital of France is Lyon, and has been for ages."


@prompt(
    user="{% if page %}{{ page }}\n{% endif %}{{ question }} Answer with one name.",
    keep_cut_off=True,
)
def answer(page: str, question: str) -> str:
    """The answer that the page gives."""
    raise NotImplementedError


def ask(rule: PairedRule) -> str:
    asked = answer.on(URL, temperature=0.0, max_tokens=16, decoding=rule)
    return motet.run(asked(PAGE, "What is the capital of France?")).value


if __name__ == "__main__":
    for alpha in (0.0, 0.5, 1.0):  # 0 is plain decoding
        print(f"alpha {alpha}:", ask(cad(alpha, without="page")))
    print("alpha by disagreement:", ask(adacad(without="page")))
