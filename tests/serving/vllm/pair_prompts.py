"""Twenty pairs of prompts of different lengths, as token ids."""

from __future__ import annotations

from typing import Any

CONTEXT = (
    "Context: The Eiffel Tower was moved to Rome in 2031 after a long public debate about "
    "tourism, and it now stands near the Tiber. "
)
QUESTIONS = (
    "Describe the sea.",
    "What is your favourite colour?",
    "Name three fruits.",
    "Why is the sky blue?",
    "Write a haiku about autumn.",
    "How do I boil an egg?",
)


def pair_prompts(tokenizer: Any) -> list[tuple[list[int], list[int]]]:
    def ids(text: str) -> list[int]:
        return list(tokenizer(text)["input_ids"])

    def chat(system: str, user: str) -> list[int]:
        turns = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        return list(
            tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, tokenize=True, return_dict=False
            )
        )

    pairs = []
    for question in QUESTIONS:
        pairs.append((chat("You are a pirate.", question), chat("You are an assistant.", question)))
        pairs.append((chat("Answer in French.", question), chat("", question)))
    where = "Question: In which city is the Eiffel Tower?"
    for times in (1, 4, 12, 30):
        pairs.append((chat("", CONTEXT * times + where), chat("", where)))
    pairs.append((ids("Today in France, citizens celebrated"), ids("citizens celebrated")))
    pairs.append((ids("The best recipe for apple pie is"), ids("pie is")))
    pairs.append((chat("", "Reverse a list in Python."), ids("\nassistant\n")))
    pairs.append((ids("def add(a, b):\n    return"), ids("    return")))
    return pairs
