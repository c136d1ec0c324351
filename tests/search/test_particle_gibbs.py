from __future__ import annotations

import asyncio
import math
import random
from collections import Counter

import pytest

from motet.errors import ConfigError
from motet.search import FAILED, Limits, Problem, Step, search
from motet.search.checkpoints import Saved, read_state, write_state
from motet.search.partials import Partial
from motet.search.particle_gibbs import Cloud, ParticleGibbs, SweepState
from motet.search.particles import Particle
from motet.search.spending import NOTHING
from motet.search.tools import Tools
from motet.search.tree import Tree
from motet.testing import toy_lm as toy


def problem(score=toy.has_no_aa, propose=None) -> Problem:
    return Problem(
        propose=propose or toy.ToyProposer(),
        score=lambda partials: [score(each) for each in partials],
        score_range=None,
    )


def run(algorithm, of: Problem, **kwargs):
    return asyncio.run(search(algorithm, of, **kwargs))


async def states(algorithm: ParticleGibbs, of: Problem, seed: int = 0) -> list[SweepState]:
    tools, found = Tools(of), [algorithm.init(seed)]
    while not algorithm.is_done(found[-1]):
        found.append(await algorithm.step(found[-1], tools))
    return found


def played(algorithm, of, seed: int = 0) -> list[SweepState]:
    return asyncio.run(states(algorithm, of, seed))


def references(state: SweepState) -> list[str]:
    return [state.tree.partial(node).text for node in state.references]


def bound(seed: int, texts: list[str], score, n: int) -> SweepState:
    """Return the beginning of a sweep whose chains have these solutions as references."""
    tree, clouds = Tree(), []
    for text in texts:
        node, partial = 0, Partial()
        for letter in (*text, ""):
            step = Step(letter, is_last=not letter, num_tokens=1)
            partial = partial.then(step)
            tree, [node] = tree.grown([(node, step, score(partial))])
        clouds.append(Cloud((Particle(0),) * n, tuple(tree.path(node))))
    return SweepState(seed, tree, tuple(clouds), sweep=1)


def after_a_sweep(algorithm, targets: list[dict[str, float]], score, n: int, num_runs: int):
    """Draw each chain's reference from its target; return what its references are a sweep later."""

    async def sweep(seed: int) -> list[str]:
        draw = random.Random(seed)
        texts = [draw.choices(list(t), list(t.values()))[0] for t in targets]
        state, tools = bound(seed, texts, score, n), Tools(problem(score))
        while state.sweep == 1:
            state = await algorithm.step(state, tools)
        ends = [cloud.reference[-1] for cloud in state.clouds]
        return [state.tree.partial(node).text for node in ends]

    async def sweeps() -> list[list[str]]:
        return [await sweep(seed) for seed in range(num_runs)]

    found = asyncio.run(sweeps())
    return [Counter(texts[chain] for texts in found) for chain in range(len(targets))]


def assert_from(counts: Counter, wanted: dict[str, float]) -> None:
    num = sum(counts.values())
    for text, share in wanted.items():
        assert abs(counts[text] / num - share) < 3.5 * math.sqrt(share * (1 - share) / num), text
    assert set(counts) <= set(wanted)


def tempered(score_of, temperature: float = 1.0) -> dict[str, float]:
    joint = {t: toy.probability(t) * score_of(t) ** (1 / temperature) for t in toy.strings()}
    return {text: each / sum(joint.values()) for text, each in joint.items() if each}


@pytest.mark.parametrize("n", [2, 4])
def test_a_sweep_leaves_the_posterior_as_it_is_whatever_the_number_of_particles(n) -> None:
    algorithm = ParticleGibbs(n=n, weight="bernoulli", target="final")

    [counts] = after_a_sweep(algorithm, [toy.POSTERIOR], toy.has_no_aa, n, 3000)

    assert_from(counts, toy.POSTERIOR)


def test_scores_on_the_way_do_not_move_the_posterior() -> None:
    def score(partial) -> float:
        is_long = len(partial.text) > 1
        return (0.8 if is_long else 0.2) if partial.is_finished else (0.1 if is_long else 0.9)

    algorithm = ParticleGibbs(n=3, weight="bernoulli", target="final")
    wanted = tempered(lambda text: 0.8 if len(text) > 1 else 0.2)

    [counts] = after_a_sweep(algorithm, [wanted], score, 3, 4000)

    assert_from(counts, wanted)


def test_the_chain_comes_to_the_posterior_from_where_it_begins() -> None:
    algorithm = ParticleGibbs(n=8, num_sweeps=1500, weight="bernoulli", target="final")

    [*_, last] = played(algorithm, problem())

    counts = Counter(references(last)[20:])
    num = sum(counts.values())
    assert sum(abs(counts[t] / num - p) for t, p in toy.POSTERIOR.items()) / 2 < 0.06


def test_one_particle_returns_its_reference_unchanged() -> None:
    algorithm = ParticleGibbs(n=1, num_sweeps=5)

    for seed in range(20):
        proposer = toy.ToyProposer()
        [*_, last] = played(algorithm, problem(propose=proposer), seed)
        assert len(set(last.references)) == 1
        assert len(proposer.batches) == last.tree[last.references[0]].depth


def test_the_reference_is_neither_extended_nor_replaced() -> None:
    for state in played(ParticleGibbs(n=4, num_sweeps=6), problem()):
        [cloud] = state.clouds
        if state.sweep and cloud.reference:
            at = min(state.depth, len(cloud.reference) - 1)
            assert cloud.particles[-1].node == cloud.reference[at]
            assert len(cloud.particles) == 4


def test_a_clone_of_the_reference_goes_on_from_its_step_and_not_from_its_end() -> None:
    """The reference alone scores well: all free particles become clones of what it is by then."""

    def propose(asks):
        return [
            [
                Step(
                    "r" if ask.partial.depth == 0 and ask.n == 3 and not i else "x",
                    is_last=ask.partial.depth == 2,
                )
                for i in range(ask.n)
            ]
            for ask in asks
        ]

    def score(partial):
        return 1.0 if partial.text.startswith("r") else 0.0

    run_states = played(ParticleGibbs(n=3, num_sweeps=2), problem(score, propose))
    second = [s for s in run_states if s.sweep == 1 and s.depth == 1]

    [cloud] = second[0].clouds
    assert {p.node for p in cloud.particles} == {cloud.reference[1]}
    last = run_states[-1]
    assert {last.tree[node].depth for node, _ in last.samples} == {3}
    assert all(last.tree.partial(node).text == "rxx" for node in last.references)


def test_the_reference_weighs_at_each_step_what_it_weighed_there() -> None:
    """Its weight at a step is of its step, not of its end."""

    def propose(asks):
        return [[Step("x", is_last=ask.partial.depth == 1)] * ask.n for ask in asks]

    def score(partial):
        return 0.9 if partial.is_finished else 0.2

    algorithm = ParticleGibbs(n=2, num_sweeps=2, weight="bernoulli")
    first = next(
        s for s in played(algorithm, problem(score, propose)) if (s.sweep, s.depth) == (1, 1)
    )

    [cloud] = first.clouds
    assert [p.log_potential for p in cloud.particles] == [math.log(0.2)] * 2


def test_each_sweep_has_seeds_of_its_own() -> None:
    proposer = toy.ToyProposer()
    run(ParticleGibbs(n=4, num_sweeps=5), problem(lambda partial: 0.5, proposer))

    at_root = [ask.seed for batch in proposer.batches for ask in batch if not ask.partial.depth]
    assert len(at_root) == len(set(at_root)) == 5


def test_a_step_is_one_batch_and_the_reference_costs_nothing() -> None:
    proposer = toy.ToyProposer()
    result = run(ParticleGibbs(n=4, num_sweeps=3), problem(lambda partial: 0.5, proposer))

    firsts = [batch for batch in proposer.batches if not batch[0].partial.depth]
    assert [sum(ask.n for ask in batch) for batch in firsts] == [4, 3, 3]
    assert result.spend.scores == result.spend.proposals


def test_sample_answers_with_the_last_reference_and_argmax_with_the_best_of_all_sweeps() -> None:
    def score(partial) -> float:
        return (1 + len(partial.text)) / 5

    last = played(ParticleGibbs(num_sweeps=4), problem(score))[-1]
    argmax = ParticleGibbs(num_sweeps=4).found(last)
    sample = ParticleGibbs(num_sweeps=4, choose="sample").found(last)

    assert sample.best.node == last.references[-1]
    assert argmax.best.score == max(last.tree[node].score for node, _ in last.samples)


def test_a_search_that_loses_all_ends_with_what_it_has() -> None:
    def propose(asks):
        return [FAILED if ask.partial.depth else [Step("one")] * ask.n for ask in asks]

    result = run(ParticleGibbs(), problem(lambda partial: 0.5, propose))

    assert (result.why, result.best.text) == ("done", "one")


def test_a_limit_in_a_later_sweep_leaves_what_the_earlier_ones_found() -> None:
    result = run(
        ParticleGibbs(n=4, num_sweeps=50),
        problem(lambda partial: 0.5),
        limits=Limits(max_proposals=40),
    )

    assert result.why == "limit"
    assert result.best.partial.is_finished
    assert result.spend.proposals <= 40


def test_a_search_goes_on_from_what_was_written_as_if_it_had_not_ended() -> None:
    algorithm = ParticleGibbs(n=3, num_sweeps=3, weight="bernoulli")
    whole = played(algorithm, problem())
    state = whole[5]
    data = write_state(algorithm, 0, Saved(state, NOTHING, 5))

    again = read_state(algorithm, 0, SweepState, data).state
    resumed = asyncio.run(algorithm.step(again, Tools(problem())))

    assert again == state
    assert resumed == whole[6]


def test_a_cloud_whose_particles_all_weigh_nothing_goes_on_undrawn() -> None:
    algorithm = ParticleGibbs(n=3, num_sweeps=2, weight="bernoulli")

    result = run(algorithm, problem(lambda partial: 0.0))

    assert result.best.partial.is_finished


@pytest.mark.parametrize("settings", [{"n": 0}, {"num_sweeps": 0}, {"temperature": 0.0}])
def test_a_wrong_setting_is_named_with_its_value(settings) -> None:
    [(name, value)] = settings.items()

    with pytest.raises(ConfigError, match=f"{name} is {value}"):
        ParticleGibbs(**settings)
