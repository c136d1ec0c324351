"""Rules that shape the text: a pattern, bounds of the length, and where it stops."""

import motet
from motet import Completion, prompt
from motet.decoding import Rules, length, regex, stops_at, stops_before

URL = "local:smollm2"


@prompt(user="{{ question }}")
def answer(question: str) -> Completion:
    """The whole completion, with its tokens and how it ended."""
    raise NotImplementedError


def show(question: str, rules: Rules) -> None:
    asked = answer.on(URL, temperature=0.0, max_tokens=60, decoding=rules)
    done = motet.run(asked(question)).value
    print(f"{done.text!r}, {len(done.token_ids)} tokens, {done.finish_reason}")


if __name__ == "__main__":
    words = length(min_tokens=8, max_tokens=16)  # whole at 16: the end of turn is chosen
    show("Name some colours.", regex("[A-Za-z ,]+") & words)
    show("Name some colours.", words & stops_before(","))
    show("Tell me about the sea.", length(max_tokens=50) & stops_at("."))
