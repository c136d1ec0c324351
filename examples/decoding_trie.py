"""A trie: only names from a list, token by token, and every one of them can be said."""

import motet
from motet import prompt
from motet.decoding import trie

URL = "local:smollm2"
TOOLS = ["weather.today", "weather.week", "mail.send", "mail.search", "calendar"]


@prompt(user="Tools: {{ tools | join(', ') }}.\n{{ task }} Name the tool for it.")
def tool(task: str, tools: list[str]) -> str:
    """The name of a tool, and nothing else."""
    raise NotImplementedError


if __name__ == "__main__":
    asked = tool.on(URL, temperature=0.0, decoding=trie(TOOLS))
    for task in ("Will it rain tomorrow?", "Write to Ada that I am late."):
        name = motet.run(asked(task, TOOLS)).value
        assert name in TOOLS
        print(f"{task} -> {name}")
