from __future__ import annotations

import math
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from motet.serving.decoding.choosing import choose
from motet.serving.decoding.trie import TokenTrie, TrieMask
from motet.serving.decoding.weights import WeightedEnd, log_weight, read_end, write_end
from motet.serving.decoding.wire import WEIGHT_TOKENS, Choosing
from tests.serving.decoding import toy_model as toy

TRIE = TokenTrie([toy.ids(text) for text in toy.POSTERIOR])


def weighted_step(tokens: tuple[int, ...]):
    """Return the masked logits behind `tokens`, and the step's log weight."""
    mask = TrieMask(TRIE, [toy.END])
    mask.advance(tokens)
    raw = toy.logits(tokens)
    masked = raw.clone()
    mask.mask(masked)
    return masked, log_weight(raw, masked)


def sampled(seed: int) -> tuple[str, float]:
    tokens: tuple[int, ...] = ()
    weight = 0.0
    while True:
        masked, step = weighted_step(tokens)
        weight += step
        [token] = choose(masked[None], [Choosing(seed=seed)], [len(tokens)])
        if token == toy.END:
            return toy.text(tokens), weight
        tokens = (*tokens, token)


def enumerated() -> dict[str, tuple[float, float]]:
    """Text -> its probability under the mask, and its weight; exact."""
    found = {}
    for text in toy.POSTERIOR:
        share, weight = 1.0, 0.0
        tokens = toy.ids(text)
        for n in range(len(tokens) + 1):
            masked, step = weighted_step(tokens[:n])
            token = tokens[n] if n < len(tokens) else toy.END
            share *= float(torch.softmax(masked, -1)[token])
            weight += step
        found[text] = share, math.exp(weight)
    return found


def test_masking_alone_is_away_from_the_posterior_by_the_known_distance() -> None:
    found = enumerated()

    assert sum(share for share, _ in found.values()) == pytest.approx(1.0, abs=1e-6)
    distance = sum(abs(found[t][0] - p) for t, p in toy.POSTERIOR.items()) / 2
    assert distance == pytest.approx(0.1575, abs=1e-5)


def test_the_weights_make_it_the_posterior_exactly() -> None:
    found = enumerated()

    assert sum(share * weight for share, weight in found.values()) == pytest.approx(toy.Z, abs=1e-6)
    for text, wanted in toy.POSTERIOR.items():
        share, weight = found[text]
        assert share * weight / toy.Z == pytest.approx(wanted, abs=1e-6)


def test_weighted_samples_estimate_the_posterior_and_its_constant() -> None:
    num_samples = 3000
    samples = [sampled(seed) for seed in range(num_samples)]
    weights = [math.exp(weight) for _, weight in samples]

    mean = sum(weights) / num_samples
    spread = math.sqrt(sum((w - mean) ** 2 for w in weights) / (num_samples - 1))
    assert abs(mean - toy.Z) < 3 * spread / math.sqrt(num_samples)
    for text, wanted in toy.POSTERIOR.items():
        terms = [w * ((t == text) - wanted) for (t, _), w in zip(samples, weights)]
        error = math.sqrt(sum(term * term for term in terms)) / sum(weights)
        assert abs(sum(terms) / sum(weights)) < 4 * error, text


def test_a_step_that_forbids_nothing_weighs_nothing() -> None:
    row = torch.randn(100, generator=torch.Generator().manual_seed(0))

    assert log_weight(row, row) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("temperature", "wanted"), [(1.0, 0.8), (0.5, 0.64 / 0.68), (0.0, 0.8)])
def test_the_weight_is_the_share_that_the_tempered_model_allows(temperature, wanted) -> None:
    raw = torch.tensor([0.2, 0.8]).log()
    masked = torch.tensor([-math.inf, raw[1]])

    assert math.exp(log_weight(raw + 5, masked + 5, temperature)) == pytest.approx(wanted, rel=1e-5)


@given(
    st.lists(st.integers(0, 60_000)),
    st.sampled_from(["stop", "length", "lost"]),
    st.floats(-1000, 0, width=32),
    st.sampled_from([0, 1, 2, 100, 255, 256, 49_000]),
)
def test_what_is_written_behind_a_completion_is_read_again(tokens, ending, weight, sync) -> None:
    written = write_end(ending, weight, sync)

    assert len(written) == WEIGHT_TOKENS
    assert written.index(sync) == WEIGHT_TOKENS - 1
    assert read_end([*tokens, *written], sync) == WeightedEnd(tuple(tokens), ending, weight)


def test_the_weight_travels_as_the_bytes_of_a_single_precision_number() -> None:
    assert write_end("length", -1.5, 300) == (1, *struct.pack(">f", -1.5), 300)


@pytest.mark.parametrize(
    "tokens",
    [(), (0,), (1, 2, 3, 4, 5, 6), (0, 0, 0, 0, 0, 0), (9, 1, 1, 1, 1, 0), (1, 999, 1, 1, 1, 0)],
)
def test_tokens_without_an_end_are_told_apart(tokens) -> None:
    assert read_end(tokens, 0) is None
