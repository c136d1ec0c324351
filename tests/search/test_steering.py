from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import replace

import pytest

from motet.errors import ConfigError, SearchError
from motet.search import FAILED, Limits, Problem, search
from motet.search.checkpoints import Saved, read_state, write_state
from motet.search.particles import Particles
from motet.search.potentials import Condition, Potential, SomeTokens, Twist
from motet.search.spending import NOTHING
from motet.search.steering import Steering, SteeringState, TokenParticle
from motet.search.token_problem import TokenProblem, TokenTools
from motet.search.token_steps import TokenSteps
from motet.search.tools import UNPAID
from motet.testing import toy_lm as toy


def no_aa(tokens) -> bool:
    return "aa" not in toy.text(tokens)


def has_b(tokens) -> bool:
    return toy.B in tokens


NO_AA = Condition(no_aa, can_hold=no_aa)
HAS_B = Condition(has_b)


def problem(potential=None, critic=None, next_logprobs=toy.next_logprobs) -> TokenProblem:
    return TokenProblem(
        next_logprobs=next_logprobs,
        end=toy.END,
        decode=toy.text,
        potential=potential,
        critic=critic,
    )


def run(algorithm, of, **kwargs):
    return asyncio.run(search(algorithm, of, **kwargs))


def estimates(algorithm: Steering, of: TokenProblem, num_runs: int) -> list[dict[str, float]]:
    """Return each run's weight of each text; together they are its estimate of Z."""

    async def one(seed: int) -> dict[str, float]:
        state, tools = algorithm.init(seed), TokenTools(of)
        while not algorithm.is_done(state):
            state = await algorithm.step(state, tools)
        found: dict[str, float] = {}
        for particle, text in state.particles:
            assert particle.is_finished or particle.log_weight == -math.inf
            found[text] = found.get(text, 0.0) + math.exp(particle.log_weight)
        return found

    async def all_runs() -> list[dict[str, float]]:
        return [await one(seed) for seed in range(num_runs)]

    return asyncio.run(all_runs())


def assert_mean(values: list[float], wanted: float, spread: float = 3) -> None:
    mean = sum(values) / len(values)
    error = math.sqrt(sum((v - mean) ** 2 for v in values)) / len(values)
    assert abs(mean - wanted) <= spread * error + 1e-9, (mean, error)


SETTINGS = [
    {"n": 1, "proposal": "model"},
    {"n": 4, "proposal": "model"},
    {"n": 4, "proposal": "local"},
    {"n": 3, "proposal": "model", "scheme": "systematic", "ess_threshold": 1.0},
    {"n": 3, "proposal": "local", "scheme": "multinomial", "ess_threshold": 1.0},
    {"n": 3, "proposal": "model", "scheme": "residual", "ess_threshold": 0.9},
    {"n": 3, "proposal": "local", "ess_threshold": 0.0},
    {"n": 3, "proposal": "model", "ess_threshold": 0.0},
    {"n": 1, "copies": 2, "proposal": "local"},
    {"n": 3, "copies": 1, "proposal": "model"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_estimate_of_z_and_of_each_texts_weight_is_unbiased(settings) -> None:
    found = estimates(Steering(**settings), problem(NO_AA), 1500)

    assert_mean([sum(each.values()) for each in found], toy.Z)
    for text, share in toy.POSTERIOR.items():
        assert_mean([each.get(text, 0.0) for each in found], share * toy.Z, spread=4)


def test_steering_without_replacement_is_unbiased_where_the_references_rule_is_not() -> None:
    """That rule, off by one, gives 0.652 here."""
    found = estimates(Steering(n=3, copies=2, proposal="model"), problem(NO_AA), 8000)

    totals = [sum(each.values()) for each in found]
    assert_mean(totals, toy.Z)
    mean = sum(totals) / len(totals)
    error = math.sqrt(sum((v - mean) ** 2 for v in totals)) / len(totals)
    assert mean + 3 * error < 0.652


@pytest.mark.parametrize("settings", [{"n": 6}, {"n": 3, "copies": 2}], ids=str)
def test_a_condition_at_the_end_has_its_estimate_and_its_mean_length(settings) -> None:
    found = estimates(Steering(**settings), problem(HAS_B), 2500)

    assert_mean([sum(each.values()) for each in found], toy.Z_WITH_B)
    lengths = [sum(len(text) * w for text, w in each.items()) for each in found]
    assert_mean(lengths, toy.MEAN_LENGTH_WITH_B * toy.Z_WITH_B)


def future(texts) -> list[float]:
    masses = [toy.mass_behind(toy.text(text), lambda said: "b" in said) for text in texts]
    return [math.log(mass) if mass else -math.inf for mass in masses]


class ExactFuture(Twist):
    """The probability of a `b`, that there is one or will be."""

    async def complete(self, texts):
        return [0.0 if has_b(text) else -math.inf for text in texts]


@pytest.mark.parametrize("settings", [{"n": 5}, {"n": 5, "ess_threshold": 1.0}], ids=str)
def test_a_potential_that_knows_the_future_makes_all_weights_equal(settings) -> None:
    """Drawn from it locally, every run's estimate is Z itself."""
    found = estimates(Steering(**settings), problem(ExactFuture(future)), 50)

    for each in found:
        assert sum(each.values()) == pytest.approx(toy.Z_WITH_B, abs=1e-12)
        assert all("b" in text for text, weight in each.items() if weight)


def test_a_critic_that_knows_the_future_leads_to_the_estimate_at_every_token() -> None:
    algorithm = Steering(n=2000, proposal="model", ess_threshold=1.0)

    result = run(algorithm, problem(critic=ExactFuture(future)))

    assert math.exp(result.notes["log_z"]) == pytest.approx(toy.Z_WITH_B, abs=0.03)


@pytest.mark.parametrize("slope", [-1.0, 0.7])
@pytest.mark.parametrize(
    "settings", [{"n": 3}, {"n": 3, "ess_threshold": 1.0}, {"n": 2, "copies": 2}], ids=str
)
def test_a_twist_does_not_change_what_is_estimated(slope, settings) -> None:
    twist = Twist(lambda texts: [slope * text.count(toy.B) + 0.5 for text in texts])

    found = estimates(Steering(**settings), problem(NO_AA, critic=twist), 2500)

    assert_mean([sum(each.values()) for each in found], toy.Z)


def test_a_critic_weighs_what_was_drawn_and_is_asked_on_the_way_only_where_that_steers() -> None:
    asked = []

    class Watched(Condition):
        async def prefix(self, texts):
            asked.append(texts)
            return await super().prefix(texts)

    found = estimates(Steering(n=4, ess_threshold=0.0), problem(None, Watched(has_b)), 1500)

    assert_mean([sum(each.values()) for each in found], toy.Z_WITH_B)
    assert not asked
    estimates(Steering(n=4), problem(None, Watched(has_b)), 1)
    assert asked


def test_local_masking_alone_would_be_away_from_the_posterior_and_its_weights_mend_it() -> None:
    found = estimates(Steering(n=1, proposal="local"), problem(NO_AA), 4000)

    drawn = Counter(text for each in found for text in each)
    assert drawn["a"] / 4000 == pytest.approx(0.36, abs=0.025)
    total = sum(sum(each.values()) for each in found)
    weighed = sum(each.get("a", 0.0) for each in found) / total
    assert weighed == pytest.approx(toy.POSTERIOR["a"], abs=0.02)


@pytest.mark.parametrize("settings", [{"copies": 1}, {}], ids=str)
def test_one_particle_without_potentials_is_plain_sampling(settings) -> None:
    found = estimates(Steering(n=1, **settings), problem(), 3000)

    counts = Counter(text for each in found for text in each)
    assert all(sum(each.values()) == pytest.approx(1) for each in found)
    for text in toy.strings():
        share = toy.probability(text)
        error = math.sqrt(share * (1 - share) / 3000)
        assert abs(counts[text] / 3000 - share) < 3.5 * error


def test_a_text_that_is_made_to_end_pays_for_its_end() -> None:
    """With one letter at most, Z is the probability of texts that short."""
    wanted = {text: toy.probability(text) for text in ("", "a", "b")}
    for proposal in ("model", "local"):
        algorithm = Steering(n=3, max_tokens=1, proposal=proposal)
        found = estimates(algorithm, problem(NO_AA), 1500)

        assert_mean([sum(each.values()) for each in found], sum(wanted.values()))
        assert_mean([each.get("a", 0.0) for each in found], wanted["a"])


def test_candidates_are_texts_with_their_shares_of_the_weight_the_heaviest_first() -> None:
    result = run(Steering(n=2000), problem(NO_AA))

    shares = {each.text: each.score for each in result.candidates}
    assert sum(shares.values()) == pytest.approx(1)
    assert result.best.text == result.candidates[0].text == "a"
    for text, share in toy.POSTERIOR.items():
        assert shares[text] == pytest.approx(share, abs=0.035)
    assert all(each.partial.is_finished for each in result.candidates)


def test_sample_draws_a_text_by_weight() -> None:
    algorithm = Steering(n=12, choose="sample")
    counts = Counter(run(algorithm, problem(NO_AA), seed=seed).best.text for seed in range(500))

    assert counts["a"] / 500 == pytest.approx(toy.POSTERIOR["a"], abs=0.07)
    assert len(counts) > 6


def test_clones_share_what_follows_and_draw_tokens_of_their_own() -> None:
    asked = []

    def next_logprobs(texts):
        asked.append(list(texts))
        return toy.next_logprobs(texts)

    result = run(Steering(n=50), problem(next_logprobs=next_logprobs))

    assert asked[0] == [()]
    assert all(len(set(batch)) == len(batch) for batch in asked)
    assert len(result.candidates) > 5
    assert result.spend.proposals == result.spend.tokens == sum(map(len, asked))


def test_texts_that_all_weigh_nothing_end_without_an_estimate() -> None:
    impossible = Condition(lambda tokens: False)
    for copies in (None, 2):
        result = run(Steering(n=4, copies=copies), problem(critic=impossible))

        assert result.why == "done"
        assert result.notes["log_z"] is None
        assert result.best is not None


def test_a_limit_keeps_the_last_step_that_it_held() -> None:
    for name, most in (("tokens", 3), ("scores", 4), ("proposals", 2)):
        limits = Limits(**{f"max_{name}": most})
        result = run(Steering(n=4), problem(NO_AA), limits=limits)

        assert result.why == "limit"
        assert getattr(result.spend, name) <= most
        assert result.best is not None


def test_a_text_at_which_the_model_fails_is_asked_for_again() -> None:
    calls = []

    def next_logprobs(texts):
        calls.append(list(texts))
        rows = toy.next_logprobs(texts)
        return [FAILED if len(calls) == 2 and i == 0 else row for i, row in enumerate(rows)]

    result = run(Steering(n=8), problem(NO_AA, next_logprobs=next_logprobs))

    assert result.why == "done"
    assert calls[1][0] in calls[2]
    assert all(each.partial.is_finished for each in result.candidates)


@pytest.mark.parametrize(
    ("next_logprobs", "message"),
    [
        (lambda texts: [FAILED] * len(texts), "failed for all"),
        (lambda texts: [], "0 results"),
        (lambda texts: [[0.0, math.nan, 0.0]] * len(texts), "NaN"),
        (lambda texts: [[0.0] * 2] * len(texts), "the one that ends a text is 2"),
        (lambda texts: [[0.0] * (3 + len(texts[0]))] * len(texts), "there are 3 tokens"),
    ],
)
def test_a_model_that_breaks_its_contract_fails_the_search(next_logprobs, message) -> None:
    result = run(Steering(n=2), problem(next_logprobs=next_logprobs))

    assert isinstance(result.error, SearchError)
    assert message in str(result.error)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_potential_that_breaks_its_contract_fails_the_search(value) -> None:
    broken = Twist(lambda texts: [value] * len(texts))

    for of in (problem(broken), problem(critic=broken)):
        assert isinstance(run(Steering(n=2), of).error, SearchError)


def test_a_state_is_read_back_as_it_was_and_goes_on_the_same() -> None:
    algorithm = Steering(n=4, proposal="model", ess_threshold=0.1)

    async def play():
        state, tools = algorithm.init(0), TokenTools(problem(NO_AA))
        for _ in range(2):
            state = await algorithm.step(state, tools)
        data = write_state(algorithm, 0, Saved(state, NOTHING, 2))
        again = read_state(algorithm, 0, SteeringState, data).state
        fresh = TokenTools(problem(NO_AA))
        return state, again, await algorithm.step(state, tools), await algorithm.step(again, fresh)

    state, again, left, right = asyncio.run(play())

    assert again == state
    assert left == right


@pytest.mark.parametrize("num_letters", [1, 2])
@pytest.mark.parametrize("proposal", ["local", "model"])
def test_steps_of_steered_tokens_make_particles_whose_estimate_is_unbiased(
    num_letters, proposal
) -> None:
    proposer = TokenSteps(
        problem=problem(NO_AA),
        ends_step=lambda tokens, start: len(tokens) - start >= num_letters,
        proposal=proposal,
    )
    of = Problem(propose=proposer)
    algorithm = Particles(n=3, target="final", ess_threshold=0.9)
    found = []
    for seed in range(800):
        log_z = run(algorithm, of, seed=seed).notes["log_z"]
        found.append(0.0 if log_z is None else math.exp(log_z))

    assert_mean(found, toy.Z)


@pytest.mark.parametrize("num_letters", [1, 2])
def test_a_twist_inside_steered_steps_does_not_change_what_is_estimated(num_letters) -> None:
    twist = Twist(lambda texts: [0.8 * text.count(toy.B) + 0.5 for text in texts])
    proposer = TokenSteps(
        problem=problem(NO_AA, critic=twist),
        ends_step=lambda tokens, start: len(tokens) - start >= num_letters,
    )
    algorithm = Particles(n=3, target="final")
    found = []
    for seed in range(800):
        log_z = run(algorithm, Problem(propose=proposer), seed=seed).notes["log_z"]
        found.append(0.0 if log_z is None else math.exp(log_z))

    assert_mean(found, toy.Z)


def test_token_and_step_potentials_multiply() -> None:
    """Tokens forbid `aa`, the scores of steps want a `b` at the end."""
    proposer = TokenSteps(problem=problem(NO_AA), ends_step=lambda tokens, start: True)

    def score(partials):
        return [1.0 if "b" in p.text or not p.is_finished else 0.0 for p in partials]

    of = Problem(propose=proposer, score=score)
    algorithm = Particles(n=3000, weight="bernoulli", target="final", choose="sample")

    wanted = sum(toy.probability(t) for t in toy.POSTERIOR if "b" in t)
    result = run(algorithm, of)
    assert math.exp(result.notes["log_z"]) == pytest.approx(wanted, abs=0.03)
    assert "b" in result.best.text


def test_a_step_of_steered_tokens_does_not_depend_on_what_else_is_asked_for() -> None:
    from motet.search import Ask, Partial

    proposer = TokenSteps(problem=problem(NO_AA), ends_step=lambda tokens, start: False)
    one, two = Ask(Partial(), 2, seed=5), Ask(Partial(), 3, seed=90)

    alone = asyncio.run(proposer([one]))
    together = asyncio.run(proposer([two, one]))

    assert alone[0] == together[1]
    assert all(step.is_last and step.num_tokens == len(step.text) + 1 for step in alone[0])


@pytest.mark.parametrize("settings", [{}, {"proposal": "model"}, {"copies": 2}])
def test_a_model_that_names_its_tokens_is_steered_as_one_that_gives_all(settings) -> None:
    def named(texts):
        rows = toy.next_logprobs(texts)
        return [SomeTokens((0, 1, 2), row) for row in rows]

    for seed in range(20):
        algorithm = Steering(n=4, **settings)
        one = run(algorithm, problem(NO_AA), seed=seed)
        other = run(algorithm, problem(NO_AA, next_logprobs=named), seed=seed)
        assert one == other


def test_tokens_that_are_not_named_are_never_drawn_and_an_end_that_is_not_weighs_nothing() -> None:
    def only_a(texts):
        return [SomeTokens((0,), (-1.0,)) for _ in texts]

    result = run(Steering(n=3, max_tokens=2), problem(next_logprobs=only_a))

    assert {each.text for each in result.candidates} == {"aa"}
    assert result.notes["log_z"] is None


def test_a_potential_that_fails_at_a_text_fails_the_search_with_the_reason() -> None:
    class Failing(Twist):
        async def prefix(self, texts):
            return [FAILED if text else 0.0 for text in texts]

    result = run(Steering(n=2), problem(critic=Failing(lambda texts: [])))

    assert result.why == "failed"
    assert "a potential failed at" in str(result.error)


def test_steps_of_a_model_that_ran_into_a_limit_are_not_paid() -> None:
    from motet.search import Ask, Partial

    calls = []

    def next_logprobs(texts):
        calls.append(texts)
        return [UNPAID if len(calls) > 1 else row for row in toy.next_logprobs(texts)]

    proposer = TokenSteps(
        problem=problem(next_logprobs=next_logprobs), ends_step=lambda tokens, start: False
    )

    given = asyncio.run(proposer([Ask(Partial(), 2, seed=1), Ask(Partial(), 1, seed=4)]))

    assert given == [[UNPAID, UNPAID], [UNPAID]]
    result = run(Particles(n=2), Problem(propose=proposer, score=lambda partials: [1.0] * 2))
    assert result.why == "limit"
    assert result.error is None


def test_steered_steps_refuse_a_temperature_and_steps_that_hold_no_tokens() -> None:
    from motet.search import Ask, Partial, Step

    proposer = TokenSteps(problem=problem(), ends_step=lambda tokens, start: True)

    with pytest.raises(ConfigError, match=r"temperature is 0.5"):
        asyncio.run(proposer([Ask(Partial(), temperature=0.5)]))
    with pytest.raises(SearchError, match="does not hold its tokens"):
        asyncio.run(proposer([Ask(Partial((Step("a"),)))]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"ess_threshold": 1.5}, "ess_threshold is 1.5"),
        ({"scheme": "optimal"}, "scheme is 'optimal'"),
        ({"copies": 0}, "copies is 0"),
        ({"proposal": "q"}, "proposal is 'q'"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"choose": "best"}, "choose is 'best'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(settings, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Steering(**settings)


class Gives(Potential):
    def __init__(self, value: object) -> None:
        self.value = value

    async def prefix(self, texts):
        return [self.value] * len(texts)

    complete = prefix


@pytest.mark.parametrize("proposal", ["local", "model", "rejection"])
@pytest.mark.parametrize("value", [None, "x", math.nan, math.inf, 1j], ids=str)
def test_a_potential_that_gives_no_number_is_told(value, proposal) -> None:
    for of in (problem(Gives(value)), problem(critic=Gives(value))):
        error = run(Steering(n=2, max_tokens=3, proposal=proposal), of).error
        assert isinstance(error, SearchError)
        assert "gave" in str(error) or "failed" in str(error)


@pytest.mark.parametrize(
    "row",
    ["abc", None, [], [[0.0, 0.0], [0.0]], ["0", "1", "2"], [None, 0.0, 1.0], [1j] * 3],
    ids=str,
)
def test_a_row_of_something_else_than_numbers_is_told(row) -> None:
    error = run(Steering(n=2), problem(next_logprobs=lambda texts: [row] * len(texts))).error

    assert isinstance(error, SearchError)
    assert "next_logprobs gave" in str(error)


@pytest.mark.parametrize(("decode", "said"), [(lambda t: 1 / 0, "failed"), (len, "gave 1")])
def test_a_decoding_that_fails_is_told(decode, said) -> None:
    of = TokenProblem(next_logprobs=lambda t: [[0.0, 0.0, -99.0]] * len(t), end=2, decode=decode)

    error = run(Steering(n=2), of).error

    assert isinstance(error, SearchError)
    assert f"decode {said}" in str(error)


def test_equal_texts_are_found_alike_in_any_order() -> None:
    """One that ended by itself counts, where another of more tokens was made to end."""
    particles = tuple(
        (TokenParticle(tokens, -1.0, is_finished=True), "ab") for tokens in ((1, 2), (3,))
    )
    found = [
        Steering(n=2, max_tokens=2).found(SteeringState(0, each, 1))
        for each in (particles, particles[::-1])
    ]

    assert found[0] == found[1]
    assert [each.partial.num_tokens for each in found[0].candidates] == [2]


def test_a_critic_of_whole_texts_is_asked_and_counted_at_the_end_alone() -> None:
    asked = []

    class Watched(Gives):
        async def prefix(self, texts):
            raise AssertionError

        async def complete(self, texts):
            asked.extend(texts)
            return [0.0] * len(texts)

    of = replace(problem(critic=Watched(0.0)), critic_at="end")
    result = run(Steering(n=2, max_tokens=8), of, limits=Limits(max_scores=2))

    assert result.why == "done"
    assert result.spend.scores == len(asked) <= 2
    with pytest.raises(ConfigError, match="critic_at is 'ends'"):
        replace(of, critic_at="ends")
