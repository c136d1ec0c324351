from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError
from motet.search import Problem, search
from motet.search.tempering import ParallelTempering, swap_probability
from motet.search.tools import Tools
from motet.testing import toy_lm as toy
from tests.search.test_particle_gibbs import after_a_sweep, assert_from, bound, tempered


def problem(score, proposer=None) -> Problem:
    return Problem(
        propose=proposer or toy.ToyProposer(),
        score=lambda partials: [score(each) for each in partials],
    )


def played(algorithm, of, seed=0):
    async def play():
        state, tools, found = algorithm.init(seed), Tools(of), []
        while not algorithm.is_done(state):
            state = await algorithm.step(state, tools)
            if state.depth == 0:
                ends = [cloud.reference[-1] for cloud in state.clouds]
                found.append([state.tree.partial(node).text for node in ends])
        return state, found

    return asyncio.run(play())


def test_swaps_have_their_golden_probabilities() -> None:
    assert swap_probability(1.2, 2.0, -0.4, 1.0) == 1
    assert swap_probability(1.2, 1.0, -0.4, 2.0) == pytest.approx(0.449329, abs=1e-6)


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.1, 10))
def test_equal_temperatures_always_swap(w, w_next, temperature) -> None:
    assert swap_probability(w, temperature, w_next, temperature) == 1


@given(*[st.floats(-50, 50)] * 2, *[st.floats(0.1, 10)] * 2)
def test_swaps_keep_detailed_balance(w, w_next, hot, cold) -> None:
    """Weight of both states times probability of the swap is the same both ways."""
    there = w / hot + w_next / cold + math.log(max(swap_probability(w, hot, w_next, cold), 1e-320))
    back = w_next / hot + w / cold + math.log(max(swap_probability(w_next, hot, w, cold), 1e-320))

    assert there == pytest.approx(back, abs=1e-6) or abs(w - w_next) * abs(1 / hot - 1 / cold) > 700


@pytest.mark.parametrize("w", [0.0, -math.inf])
def test_a_reference_of_no_weight_is_always_handed_to_the_hotter_chain(w) -> None:
    assert swap_probability(0.0, 2.0, -math.inf, 1.0) == 1
    assert swap_probability(-math.inf, 2.0, 0.0, 1.0) == 0
    assert swap_probability(w, 2.0, w, 1.0) == 1


def soft(partial) -> float:
    return 0.9 if partial.text.startswith("b") and partial.is_finished else 0.1


@pytest.mark.parametrize("temperatures", [(3.0, 1.0), (1.0, 1.0)])
def test_a_sweep_leaves_each_chain_its_own_distribution(temperatures) -> None:
    algorithm = ParallelTempering(
        n=2, temperatures=temperatures, weight="bernoulli", target="final"
    )
    targets = [tempered(lambda text: 0.9 if text[:1] == "b" else 0.1, t) for t in temperatures]

    found = after_a_sweep(algorithm, targets, soft, 2, 3000)

    for counts, wanted in zip(found, targets, strict=True):
        assert_from(counts, wanted)


def swapped_share(target, scores, num_runs=3000) -> float:
    """How often chains at 2 and 1, whose references are "a" and "b", swap them in a sweep."""
    algorithm = ParallelTempering(n=1, temperatures=(2.0, 1.0), weight="log", target=target)

    def score(partial) -> float:
        return scores[partial.text + "$" * partial.is_finished]

    async def sweep(seed: int) -> bool:
        state, tools = bound(seed, ["a", "b"], score, 1), Tools(problem(score))
        while state.sweep == 1:
            state = await algorithm.step(state, tools)
        return state.tree.partial(state.clouds[0].reference[-1]).text == "b"

    async def sweeps() -> int:
        return sum([await sweep(seed) for seed in range(num_runs)])

    return asyncio.run(sweeps()) / num_runs


@pytest.mark.parametrize(
    ("target", "scores"),
    [
        ("final", {"a": 7.0, "a$": -0.4, "b": -7.0, "b$": 1.2}),
        ("steps", {"a": 0.8, "a$": -1.2, "b": 2.0, "b$": -0.8}),
    ],
)
def test_a_swap_weighs_references_as_the_target_does(target, scores) -> None:
    """-0.4 at temperature 2 against 1.2 at 1 swap with the golden 0.449329, and always with the
    two exchanged: `final` takes the last score alone, `steps` the sum over all."""
    exchanged = {key.translate(str.maketrans("ab", "ba")): each for key, each in scores.items()}

    assert swapped_share(target, scores) == pytest.approx(0.449329, abs=0.03)
    assert swapped_share(target, exchanged, 200) == 1


def test_all_chains_share_each_batch() -> None:
    proposer = toy.ToyProposer()
    algorithm = ParallelTempering(n=4, temperatures=(4.0, 2.0, 1.0), num_sweeps=2)

    result = asyncio.run(search(algorithm, problem(lambda partial: 0.5, proposer)))

    firsts = [batch for batch in proposer.batches if not batch[0].partial.depth]
    assert [sum(ask.n for ask in batch) for batch in firsts] == [12, 9]
    assert len(proposer.batches) <= result.num_steps


def test_a_chain_that_is_done_waits_and_weighs_no_further() -> None:
    """Its weights must not depend on how long the other chains take."""

    async def weights(algorithm):
        state, tools = algorithm.init(0), Tools(problem(lambda partial: 0.25))
        found = []
        while state.sweep == 0:
            before, state = state, await algorithm.step(state, tools)
            found.append((before, state))
        return found

    algorithm = ParallelTempering(n=1, temperatures=(2.0, 1.0), num_sweeps=1, weight="bernoulli")
    for before, after in asyncio.run(weights(algorithm))[:-1]:
        for old, new in zip(before.clouds, after.clouds, strict=True):
            node = before.tree[old.particles[0].node]
            if node.step is not None and node.step.is_last:
                assert old == new


def test_the_last_chain_answers_and_the_best_scored_counts_from_any() -> None:
    algorithm = ParallelTempering(n=3, num_sweeps=4)
    state, _ = played(algorithm, problem(soft))

    argmax = algorithm.found(state).best
    sample = ParallelTempering(n=3, num_sweeps=4, choose="sample").found(state).best

    assert argmax.score == max(state.tree[node].score for node, _ in state.samples)
    assert sample.node == state.references[-1]
    assert len(state.samples) == 4 * 3 * 3


@pytest.mark.parametrize(
    "settings",
    [{"temperatures": ()}, {"temperatures": (1.0, 2.0)}, {"n": 0}, {"num_sweeps": 0}],
)
def test_a_wrong_setting_is_named_with_its_value(settings) -> None:
    [(name, value)] = settings.items()

    with pytest.raises(ConfigError) as caught:
        ParallelTempering(**settings)
    assert f"{name} is {value}" in str(caught.value)
