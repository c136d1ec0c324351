from __future__ import annotations

import asyncio
import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, SearchError
from motet.search import FAILED, Limits, Problem, Step, search
from motet.search.checkpoints import Saved, read_state, write_state
from motet.search.particles import Particle, Particles, ParticleState, Weighing
from motet.search.resampling import shares
from motet.search.spending import NOTHING
from motet.search.tools import Tools
from motet.search.tree import Tree
from motet.testing import toy_lm as toy


def problem(score=toy.has_no_aa, propose=None) -> Problem:
    return Problem(
        propose=propose or toy.ToyProposer(),
        score=score and (lambda partials: [score(each) for each in partials]),
        score_range=None,
    )


def run(algorithm, of: Problem, **kwargs):
    return asyncio.run(search(algorithm, of, **kwargs))


def posterior(algorithm: Particles, of: Problem, seed: int = 0) -> dict[str, float]:
    """Return the weight of each text in the last set of particles."""

    async def play() -> ParticleState:
        state, tools = algorithm.init(seed), Tools(of)
        while not algorithm.is_done(state):
            state = await algorithm.step(state, tools)
        return state

    state = asyncio.run(play())
    found: dict[str, float] = {}
    for particle, share in zip(
        state.particles, shares([p.log_weight for p in state.particles]), strict=True
    ):
        if share:
            text = state.tree.partial(particle.node).text
            found[text] = found.get(text, 0.0) + share
    return found


def assert_near(found: dict[str, float], wanted: dict[str, float], num: int, spread: float = 3):
    """Each share lies within `spread` standard errors of `num` weighted particles."""
    for text, share in wanted.items():
        error = math.sqrt(share * (1 - share) / num)
        assert abs(found.get(text, 0.0) - share) < spread * error, text
    assert set(found) <= set(wanted)


def plain() -> dict[str, float]:
    return {each: toy.probability(each) for each in toy.strings()}


@pytest.mark.parametrize(
    ("weight", "wanted"),
    [("bernoulli", (0.818182, 0.181818)), ("odds", (0.969231, 0.030769))],
)
def test_the_two_weights_have_their_golden_posteriors(weight, wanted) -> None:
    weighing = Weighing(weight, "steps", 1.0)
    proposals, scores = (0.6, 0.4), (0.9, 0.3)

    found = shares(
        [math.log(p) + weighing.log_potential(r) for p, r in zip(proposals, scores, strict=True)]
    )

    assert found == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("weight", "wanted"), [("bernoulli", 0.9 * 0.6 / (0.9 * 0.6 + 0.3 * 0.4)), ("odds", 0.969231)]
)
def test_particles_hold_the_golden_posterior_of_their_weight(weight, wanted) -> None:
    def propose(asks):
        draw = [random.Random(ask.seed).choices("xy", [0.6, 0.4], k=ask.n) for ask in asks]
        return [[Step(text, is_last=True) for text in texts] for texts in draw]

    of = problem(lambda partial: 0.9 if partial.text == "x" else 0.3, propose)
    found = posterior(Particles(n=5000, weight=weight), of)

    assert found["x"] == pytest.approx(wanted, abs=0.02)


@given(st.lists(st.floats(0, 1), min_size=1), st.floats(0.01, 100))
def test_shares_of_scores_sum_to_1_even_where_all_scores_are_0(scores, temperature) -> None:
    weighing = Weighing("odds", "steps", temperature)

    assert sum(shares([weighing.log_potential(r) for r in scores])) == pytest.approx(1)
    zeros = shares([weighing.log_potential(0.0) for _ in scores])
    assert zeros == pytest.approx([1 / len(scores)] * len(scores))


def test_temperature_goes_from_even_weights_to_the_best_alone() -> None:
    def found(temperature: float) -> list[float]:
        weighing = Weighing("odds", "steps", temperature)
        return shares([weighing.log_potential(r) for r in (0.9, 0.5, 0.3)])

    assert found(1e6) == pytest.approx([1 / 3] * 3, abs=1e-5)
    assert found(1e-6) == pytest.approx([1, 0, 0])


def test_the_temperature_is_annealed_in_equal_parts_and_then_stays() -> None:
    algorithm = Particles(temperature=2.0, end_temperature=1.0, anneal_steps=4)

    assert [algorithm.temperature_at(i) for i in (0, 1, 2, 4, 9)] == [2.0, 1.75, 1.5, 1.0, 1.0]


def test_a_constant_score_leaves_the_plain_distribution() -> None:
    found = posterior(Particles(n=5000), problem(lambda partial: 0.7))

    assert_near(found, plain(), 5000, spread=4.5)


def test_one_particle_is_plain_sampling() -> None:
    algorithm = Particles(n=1, choose="sample")
    counts = Counter(run(algorithm, problem(), seed=seed).best.text for seed in range(2000))

    found = {text: count / 2000 for text, count in counts.items()}

    assert_near(found, plain(), 2000, spread=3.5)


@pytest.mark.parametrize(
    ("target", "ess_threshold"), [("steps", None), ("final", None), ("final", 0.9)]
)
def test_a_hard_condition_on_prefixes_gives_the_posterior(target, ess_threshold) -> None:
    algorithm = Particles(
        n=20_000,
        weight="bernoulli",
        target=target,
        ess_threshold=ess_threshold,
        scheme="systematic",
    )

    found = posterior(algorithm, problem())

    assert_near(found, toy.POSTERIOR, 20_000 * toy.Z)


def test_the_bias_of_one_drawn_particle_falls_as_their_number_grows() -> None:
    """Four times the particles leave at most half the distance from the posterior, which one
    particle, plain sampling, has by what the condition forbids."""

    def distance(n: int, num_runs: int) -> float:
        algorithm = Particles(n=n, weight="bernoulli", target="final")
        found: Counter[str] = Counter()
        for seed in range(num_runs):
            found.update(posterior(algorithm, problem(), seed) or {"none": 1.0})
        texts = set(found) | set(toy.POSTERIOR)
        return sum(abs(found[t] / num_runs - toy.POSTERIOR.get(t, 0.0)) for t in texts) / 2

    one, four, sixteen = distance(1, 2000), distance(4, 800), distance(16, 400)

    assert one == pytest.approx(1 - toy.Z, abs=0.05)
    assert four < one / 2
    assert sixteen < 0.05


@pytest.mark.parametrize("scheme", ["multinomial", "stratified", "systematic", "residual"])
@pytest.mark.parametrize("ess_threshold", [None, 0.7])
def test_the_estimate_of_z_is_unbiased_for_few_particles(scheme, ess_threshold) -> None:
    algorithm = Particles(
        n=3, weight="bernoulli", target="final", scheme=scheme, ess_threshold=ess_threshold
    )
    estimates = []
    for seed in range(1200):
        log_z = run(algorithm, problem(), seed=seed).notes["log_z"]
        estimates.append(0.0 if log_z is None else math.exp(log_z))

    mean = sum(estimates) / len(estimates)
    error = math.sqrt(sum((z - mean) ** 2 for z in estimates)) / len(estimates)
    assert abs(mean - toy.Z) < 3 * error
    assert error < 0.01


def final_score(partial) -> float:
    return {"": 0.3, "a": 0.9, "b": 0.5}.get(partial.text[-1:], 0.0) / (1 + partial.depth)


@pytest.mark.parametrize("ess_threshold", [None, 0.5])
def test_target_final_draws_by_the_last_score_alone(ess_threshold) -> None:
    """A score of its own at each step must have no part in the answer's weight."""
    algorithm = Particles(
        n=5000,
        weight="bernoulli",
        target="final",
        ess_threshold=ess_threshold,
        scheme="systematic",
    )
    of = problem(final_score)
    joint = {}
    for text in toy.strings():
        last = len(text) + 1
        joint[text] = toy.probability(text) * {"": 0.3, "a": 0.9, "b": 0.5}[text[-1:]] / (1 + last)
    z = sum(joint.values())

    found = posterior(algorithm, of)
    log_z = run(algorithm, of, seed=0).notes["log_z"]

    assert_near(found, {text: share / z for text, share in joint.items()}, 1500)
    assert math.exp(log_z) == pytest.approx(z, rel=0.03)


def test_target_steps_draws_by_the_product_of_the_steps_weights() -> None:
    def propose(asks):
        return [
            [
                Step(letter, is_last=ask.partial.depth == 1)
                for letter in random.Random(ask.seed).choices("xy", k=ask.n)
            ]
            for ask in asks
        ]

    scores = {"x": 0.8, "y": 0.2, "xx": 0.5, "xy": 0.5, "yx": 0.9, "yy": 0.1}
    joint = {t: scores[t[0]] * scores[t] for t in ("xx", "xy", "yx", "yy")}

    for ess_threshold in (None, 0.01):
        found = posterior(
            Particles(n=5000, weight="bernoulli", ess_threshold=ess_threshold),
            problem(lambda partial: scores[partial.text], propose),
        )
        wanted = {text: each / sum(joint.values()) for text, each in joint.items()}
        assert found == pytest.approx(wanted, abs=0.025)


@pytest.mark.parametrize("ess_threshold", [0.01, 0.95])
def test_one_that_ends_early_weighs_its_own_steps_once(ess_threshold) -> None:
    """Solutions of different lengths are drawn by the product over their own steps, whether nothing
    is drawn anew on the way or nearly always."""

    def propose(asks):
        return [
            [
                Step(letter, is_last=letter == "e" or ask.partial.depth == 2)
                for letter in random.Random(ask.seed).choices(
                    "xy" if ask.partial.depth else "xe", k=ask.n
                )
            ]
            for ask in asks
        ]

    scores = {"e": 0.3, "x": 0.9, "xx": 0.8, "xy": 0.4}
    scores |= {each + letter: 0.6 for each in ("xx", "xy") for letter in "xy"}
    joint = {"e": 0.5 * 0.3}
    joint |= {
        text: 0.125 * scores["x"] * scores[text[:2]] * scores[text]
        for text in ("xxx", "xxy", "xyx", "xyy")
    }
    algorithm = Particles(
        n=20_000, weight="bernoulli", ess_threshold=ess_threshold, scheme="systematic"
    )
    of = problem(lambda partial: scores[partial.text], propose)

    found = posterior(algorithm, of)

    wanted = {text: each / sum(joint.values()) for text, each in joint.items()}
    assert found == pytest.approx(wanted, abs=0.02)


def test_weights_add_up_while_nothing_is_drawn_anew_and_begin_anew_behind_a_draw() -> None:
    of = problem(lambda partial: 0.5)
    algorithm = Particles(n=8, weight="bernoulli", ess_threshold=0.5, max_steps=2)
    drawing = Particles(n=8, weight="bernoulli", max_steps=2)

    async def first(algorithm):
        return await algorithm.step(algorithm.init(0), Tools(of))

    async def second(algorithm):
        return await algorithm.step(await first(algorithm), Tools(of))

    kept, drawn = asyncio.run(second(algorithm)), asyncio.run(first(drawing))
    # One that ended in the first step has its score once.
    depths = [kept.tree[p.node].depth for p in kept.particles]
    assert set(depths) == {1, 2}
    assert [p.log_weight for p in kept.particles] == [d * math.log(0.5) for d in depths]
    assert kept.num_resampled == 0
    assert {p.log_weight for p in drawn.particles} == {0.0}
    assert drawn.num_resampled == 1


def test_a_step_is_one_batch_of_proposals_and_one_of_scores() -> None:
    proposer, scored = toy.ToyProposer(), []

    def score(partials):
        scored.append(len(partials))
        return [0.5] * len(partials)

    algorithm = Particles(n=16)
    result = run(algorithm, Problem(propose=proposer, score=score))

    assert len(proposer.batches) == len(scored) == result.num_steps
    assert sum(ask.n for ask in proposer.batches[0]) == scored[0] == 16


def test_clones_go_on_differently() -> None:
    """All particles are clones of one at first; a shared seed would keep them so."""
    found = posterior(Particles(n=64), problem(lambda partial: 0.5))

    assert len(found) > 4


def test_clones_are_one_ask_with_continuations_of_their_own() -> None:
    batches = []

    def propose(asks):
        batches.append(asks)
        return [
            [Step(f"{i},", is_last=ask.partial.depth == 1) for i in range(ask.n)] for ask in asks
        ]

    def is_third(partial):
        return float(partial.text.startswith("2,"))

    found = posterior(Particles(n=16, weight="bernoulli"), problem(is_third, propose))

    assert [[ask.n for ask in batch] for batch in batches] == [[16], [16]]
    assert batches[0][0].seed != batches[1][0].seed
    assert found == pytest.approx({f"2,{i},": 1 / 16 for i in range(16)})


def test_finished_particles_take_part_in_the_draw_and_are_not_extended() -> None:
    def propose(asks):
        assert not any(ask.partial.is_finished for ask in asks)
        return [
            [
                Step("go", is_last=False) if i or ask.partial.depth else Step("end", is_last=True)
                for i in range(ask.n)
            ]
            for ask in asks
        ]

    of = problem(lambda partial: 0.999 if partial.text == "end" else 0.001, propose)
    result = run(Particles(n=8), of)

    assert result.num_steps < 4
    assert result.best.text == "end"


def test_all_scores_0_lose_no_particle_and_still_answer() -> None:
    for weight in ("odds", "bernoulli"):
        result = run(Particles(n=4, weight=weight, target="final"), problem(lambda partial: 0.0))

        assert result.best.partial.is_finished
    assert result.notes["log_z"] is None


def test_a_lost_step_costs_its_particle_alone() -> None:
    toy_proposer = toy.ToyProposer()

    def propose(asks):
        found = toy_proposer(asks)
        return [steps[1:] if i == 0 else steps for i, steps in enumerate(found)]

    def score(partials):
        return [FAILED if i == 1 else 0.5 for i in range(len(partials))]

    result = run(Particles(n=8), Problem(propose=propose, score=score))

    assert result.why == "done"
    assert result.best.partial.is_finished


def test_a_search_that_cannot_go_on_ends_with_what_it_has() -> None:
    def propose(asks):
        return [FAILED if ask.partial.depth else [Step("one")] * ask.n for ask in asks]

    result = run(Particles(n=4), problem(lambda partial: 0.5, propose))

    assert (result.why, result.best.text, result.num_steps) == ("done", "one", 2)


def test_a_limit_ends_the_search_with_the_best_so_far() -> None:
    limits = Limits(max_proposals=10)
    result = run(Particles(n=4), problem(lambda partial: 0.5), limits=limits)

    assert result.why == "limit"
    assert result.best is not None
    assert result.spend.proposals <= 10


def test_the_last_step_runs_to_the_end() -> None:
    proposer = toy.ToyProposer()
    result = run(Particles(n=8, max_steps=1), problem(lambda partial: 0.5, proposer))

    assert all(ask.is_whole for batch in proposer.batches for ask in batch)
    assert result.best.partial.is_finished


def answers(asks):
    texts = ["r #### 1", "s #### 2", "t #### 2", "no answer"]
    return [[Step(text, is_last=True) for text in texts[: ask.n]] for ask in asks]


@pytest.mark.parametrize(
    ("choose", "scores", "wanted"),
    [
        ("argmax", (0.9, 0.6, 0.6, 0.1), "r #### 1"),
        ("majority", (0.55, 0.5, 0.6, 0.9), "t #### 2"),
        ("majority", (0.99, 0.5, 0.6, 0.1), "r #### 1"),
        ("weighted", (0.6, 0.5, 0.5, 0.1), "s #### 2"),
    ],
)
def test_the_choice_is_by_score_or_by_the_weight_of_answers(choose, scores, wanted) -> None:
    by_text = dict(zip(["r #### 1", "s #### 2", "t #### 2", "no answer"], scores, strict=True))
    of = problem(lambda partial: by_text[partial.text], answers)

    result = run(Particles(n=4, choose=choose), of)

    assert result.best.text == wanted


@pytest.mark.parametrize("choose", ["majority", "weighted"])
def test_where_nothing_states_an_answer_the_best_scored_is_chosen(choose) -> None:
    of = problem(lambda partial: {"r": 0.2, "s": 0.7}.get(partial.text[0], 0.5), answers)

    result = run(Particles(n=4, choose=choose, extract=lambda text: None), of)

    assert result.best.text == "s #### 2"


def test_weighted_votes_count_weight_times_score() -> None:
    of = problem(lambda partial: {"r": 0.8, "s": 0.5, "t": 0.5}.get(partial.text[0], 0.5), answers)

    votes = run(Particles(n=4, choose="weighted"), of).notes["votes"]

    assert votes == pytest.approx({"1": 4 / 7 * 0.8, "2": 2 / 7 * 0.5})


def test_without_a_scorer_the_proposers_own_weights_count() -> None:
    def propose(asks):
        return [
            [
                Step("xy"[i % 2], is_last=True, log_weight=math.log(0.2 + 0.4 * (i % 2)))
                for i in range(ask.n)
            ]
            for ask in asks
        ]

    of = problem(None, propose)
    result = run(Particles(n=4, target="final"), of)

    assert result.best.text == "y"
    assert math.exp(result.notes["log_z"]) == pytest.approx(0.4)
    assert posterior(Particles(n=4), of) == pytest.approx({"x": 0.25, "y": 0.75})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_proposers_weight_must_be_a_number(value) -> None:
    of = problem(None, lambda asks: [[Step("x", log_weight=value)] for _ in asks])

    assert isinstance(run(Particles(n=1), of).error, SearchError)


def test_a_score_that_is_no_probability_is_refused_unless_it_is_a_log_weight() -> None:
    of = problem(lambda partial: 3.2)

    assert "3.2" in str(run(Particles(n=2), of).error)
    assert run(Particles(n=2, weight="log"), of).error is None


def test_a_state_with_dead_particles_is_read_back_as_it_was() -> None:
    algorithm = Particles(n=8, weight="bernoulli", target="final", ess_threshold=0.01)
    state = asyncio.run(_steps(algorithm, problem(), 2))

    assert any(p.log_weight == -math.inf for p in state.particles)
    data = write_state(algorithm, 0, Saved(state, NOTHING, 2))
    again = read_state(algorithm, 0, ParticleState, data).state
    assert again == state
    left, right = (asyncio.run(_step(algorithm, each)) for each in (state, again))
    assert left == right


async def _steps(algorithm, of, num):
    state = algorithm.init(0)
    for _ in range(num):
        state = await algorithm.step(state, Tools(of))
    return state


async def _step(algorithm, state):
    return await algorithm.step(state, Tools(problem()))


def test_weighing_a_dead_particle_leaves_it_dead() -> None:
    tree, [node] = Tree().grown([(0, Step("a"), 1.0)])
    dead = Particle(0, -math.inf, -math.inf)

    found = Weighing("bernoulli", "final", 1.0).weighed(dead, tree[node], is_new=True)

    assert found.log_weight == -math.inf


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"weight": "logit"}, "weight is 'logit'"),
        ({"target": "last"}, "target is 'last'"),
        ({"temperature": 0}, "temperature is 0"),
        ({"end_temperature": -1.0}, "end_temperature is -1.0"),
        ({"anneal_steps": 0}, "anneal_steps is 0"),
        ({"scheme": "optimal"}, "scheme is 'optimal'"),
        ({"ess_threshold": 2.0}, "ess_threshold is 2.0"),
        ({"choose": "best"}, "choose is 'best'"),
        ({"max_steps": 0}, "max_steps is 0"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(settings, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Particles(**settings)
