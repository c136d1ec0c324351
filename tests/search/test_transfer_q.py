"""Transfer Q* and ARGS: tokens by probability and by the reward of where they lead."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial as bound
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, SearchError
from motet.search.driver import SearchResult, search
from motet.search.partials import Partial
from motet.search.spending import Limits, Spend
from motet.search.tokens import Token
from motet.search.tools import FAILED, UNPAID
from motet.search.transfer_q import Rollout, TransferProblem, TransferQ
from motet.testing import check_search
from tests.search.toy_lm import chance, next_letter, strings


def as_tokens(weights: dict[str, float], shift: float = 7.0) -> list[Token]:
    """Tokens with their log probabilities, and logits that are those moved by a constant."""
    return [
        Token(
            "" if letter == "$" else letter,
            math.log(p),
            math.log(p) + shift,
            is_last=letter == "$",
        )
        for letter, p in weights.items()
    ]


def top_tokens(partials: Sequence[Partial], k: int) -> list[list[Token]]:
    found = [as_tokens(next_letter(each.text), 3.0 * each.depth) for each in partials]
    return [sorted(each, key=lambda token: -token.logprob)[:k] for each in found]


def all_rollouts(partials: Sequence[Partial], most: int, num: int) -> list[list[Rollout]]:
    """Every continuation with its probability."""
    return [
        [Rollout(text.removeprefix(each.text), p) for text, p in strings(each.text)]
        for each in partials
    ]


def greedy_rollouts(partials: Sequence[Partial], most: int, num: int) -> list[list[Rollout]]:
    found = []
    for each in partials:
        text = each.text
        for _ in range(most):
            letter = max(next_letter(text), key=next_letter(text).__getitem__)
            if letter == "$":
                break
            text += letter
        rest = text.removeprefix(each.text)
        found.append([Rollout(rest, num_tokens=len(rest))] * num)
    return found


def holds_no_aa(texts: Sequence[str]) -> list[float]:
    return [float("aa" not in text) for text in texts]


def counts_b(texts: Sequence[str], times: float = 1.0) -> list[float]:
    return [times * text.count("b") for text in texts]


def toy(reward: Any = holds_no_aa, **changes: Any) -> TransferProblem:
    problem = TransferProblem(
        top_tokens=top_tokens, reward=reward, rollout=greedy_rollouts, step_tokens=4
    )
    return replace(problem, **changes)


def run(algorithm: TransferQ, problem: TransferProblem, **settings: Any) -> SearchResult:
    return asyncio.run(search(algorithm, problem, **settings))


GREEDY = "aaa"
"""What the toy model writes where it takes the likeliest letter each time."""


@given(st.sampled_from([0, 2]), st.sampled_from(["direct", "indirect"]), st.integers(1, 3))
def test_without_weight_the_model_decides(rollout_tokens, transfer, every):
    """No reward is asked for then."""
    algorithm = TransferQ(weight=0.0, rollout_tokens=rollout_tokens, transfer=transfer, every=every)

    result = run(algorithm, toy(lambda texts: 1 / 0))

    assert result.best.text == GREEDY
    assert result.best.partial.is_finished
    assert result.spend == Spend(proposals=4, tokens=4)


@given(st.floats(-50, 50), st.sampled_from([0, 3]))
def test_one_candidate_leaves_the_model_as_it_is(weight, rollout_tokens):
    """With k = 1 there is nothing to choose, whatever the weight."""
    result = run(TransferQ(k=1, weight=weight, rollout_tokens=rollout_tokens), toy(counts_b))

    assert result.best.text == GREEDY


@given(st.floats(-50, 50), st.floats(-5, 5), st.sampled_from([0, 3]))
def test_a_constant_reward_changes_nothing(weight, reward, rollout_tokens):
    """It is added to every token alike."""
    algorithm = TransferQ(weight=weight, rollout_tokens=rollout_tokens)

    assert run(algorithm, toy(lambda texts: [reward] * len(texts))).best.text == GREEDY


def test_a_great_weight_takes_the_highest_reward():
    """Among the k likeliest tokens; b is not among the two likeliest behind a."""
    assert run(TransferQ(weight=1e6, rollout_tokens=0), toy(counts_b)).best.text == "bbb"
    assert run(TransferQ(weight=1e6, rollout_tokens=0, k=2), toy(counts_b)).best.text == "b"


def test_without_rollouts_it_is_args():
    """score(v) = logprob(v) + w * r(text with v), worked out by hand at each place."""
    weight, text = 1.3, ""
    while True:
        weights = next_letter(text)
        ended = {letter: text if letter == "$" else text + letter for letter in weights}
        letter = max(weights, key=lambda v: math.log(weights[v]) + weight * counts_b([ended[v]])[0])
        if letter == "$":
            break
        text += letter

    result = run(TransferQ(weight=weight, rollout_tokens=0), toy(counts_b, rollout=None))

    assert result.best.text == text != GREEDY


def test_a_rollout_shows_where_a_token_leads():
    """ARGS sees no aa in a; three greedy letters further there is one."""
    args = run(TransferQ(weight=2.0, rollout_tokens=0, max_tokens=1), toy())
    transfer = run(TransferQ(weight=2.0, rollout_tokens=3, max_tokens=1), toy())

    assert args.best.text == "a"
    assert transfer.best.text == "b"


@pytest.mark.parametrize("text", ["", "a", "b", "ab"])
def test_the_value_of_a_token_is_its_chance_to_end_well(text):
    """With all continuations given, Q of a token is the exact probability of a right end."""
    weight = 2.5

    def behind_text(partials: Sequence[Partial], k: int) -> list[list[Token]]:
        """The whole of `text` is the only first token."""
        return [top_tokens([each], k)[0] if each.steps else [Token(text, 0.0)] for each in partials]

    problem = toy(rollout=all_rollouts, top_tokens=behind_text)
    result = run(TransferQ(weight=weight, max_tokens=2), problem)

    weights = next_letter(text)
    children = [node for node in result.tree if node.depth == 2]
    assert len(children) == len(weights)
    for node in children:
        if node.step.is_last:
            q = float("aa" not in text)
            p = weights["$"]
        else:
            q = chance(text + node.step.text, lambda each: "aa" not in each)
            p = weights[node.step.text]
        assert node.score == pytest.approx(math.log(p) + weight * q, abs=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_follow_probability_times_exponential_of_value(temperature):
    """The share of each first letter is as (p * exp(w * Q)) ^ (1 / temperature) says."""
    weight, num = 1.5, 4000
    wanted = {}
    for letter, p in next_letter("").items():
        q = 1.0 if letter == "$" else chance(letter, lambda each: "aa" not in each)
        wanted[letter] = (p * math.exp(weight * q)) ** (1 / temperature)
    total = sum(wanted.values())
    algorithm = TransferQ(weight=weight, temperature=temperature, max_tokens=1)

    async def act() -> Counter[str]:
        problem = toy(rollout=all_rollouts)
        drawn = [await search(algorithm, problem, seed=seed) for seed in range(num)]
        return Counter(each.best.text or "$" for each in drawn)

    counted = asyncio.run(act())

    for letter, mass in wanted.items():
        share = mass / total
        sigma = math.sqrt(share * (1 - share) / num)
        assert abs(counted[letter] / num - share) < 4.5 * sigma


def test_a_low_temperature_is_greedy():
    """Samples go to the best as the temperature goes to 0."""
    greedy = run(TransferQ(weight=2.0), toy())

    for seed in range(20):
        assert run(TransferQ(weight=2.0, temperature=1e-3), toy(), seed=seed) == greedy


@given(st.permutations(range(3)), st.sampled_from([0.0, 1.0]), st.integers(0, 5))
def test_the_order_of_tokens_changes_nothing(order, temperature, seed):
    """Nor with samples, since tokens are put in order first."""

    def shuffled(partials: Sequence[Partial], k: int) -> list[list[Token]]:
        found = top_tokens(partials, k)
        return [[each[i] for i in order if i < len(each)] for each in found]

    algorithm = TransferQ(weight=1.5, temperature=temperature)

    assert run(algorithm, toy(top_tokens=shuffled), seed=seed) == run(algorithm, toy(), seed=seed)


@given(st.floats(0, 5), st.sampled_from([0.0, 1.0]), st.integers(0, 9))
def test_logits_choose_as_log_probabilities_do(weight, temperature, seed):
    """They differ by a constant at each place; only the scores that are shown differ."""
    algorithm = TransferQ(weight=weight, temperature=temperature)
    by_logit = run(replace(algorithm, score_base="logit"), toy(), seed=seed)
    by_logprob = run(algorithm, toy(), seed=seed)

    assert by_logit.best.partial == by_logprob.best.partial
    assert [node.step for node in by_logit.tree] == [node.step for node in by_logprob.tree]


def test_a_logit_base_needs_logits():
    """The token without one is named."""
    problem = toy(top_tokens=lambda partials, k: [[Token("x", -1.0)]] * len(partials))

    result = run(TransferQ(score_base="logit"), problem)

    assert "gave none for 'x'" in str(result.error)


def test_indirect_transfer_weighs_by_what_the_baseline_likes():
    """Q = exp((r - baseline's) / beta) * r; the reference's 0.5 is beta = 2."""
    problem = toy(counts_b, baseline_reward=bound(counts_b, times=-1.0))
    algorithm = TransferQ(transfer="indirect", rollout_tokens=0, max_tokens=1)

    scores = {node.step.text: node.score for node in run(algorithm, problem).tree if node.step}

    assert scores["b"] == pytest.approx(math.log(0.3) + math.exp(0.5 * (1 - -1)) * 1)
    assert scores["a"] == pytest.approx(math.log(0.6))
    problem = toy(counts_b, baseline_reward=counts_b)
    direct = run(replace(algorithm, transfer="direct"), problem)
    assert run(algorithm, problem).tree == direct.tree


def test_indirect_transfer_that_overflows_is_a_search_error():
    """No infinite score comes of it."""
    problem = toy(lambda t: [9e3] * len(t), baseline_reward=lambda t: [0.0] * len(t))

    result = run(TransferQ(transfer="indirect", rollout_tokens=0), problem)

    assert (result.why, result.best) == ("failed", None)
    assert "beta, 2, is too small" in str(result.error)


def test_the_mean_of_rollouts_goes_by_their_weights():
    """A reward that failed is left out of the mean, not counted as 0."""

    def rollout(partials, most, num):
        return [[Rollout("b", 3.0), Rollout("", 1.0), Rollout("lost", 4.0)] for _ in partials]

    def reward(texts):
        return [FAILED if "lost" in text else float(text.endswith("b")) for text in texts]

    algorithm = TransferQ(weight=1.0, max_tokens=1, k=2, num_rollouts=3)
    result = run(algorithm, toy(reward, rollout=rollout))

    scores = {node.step.text: node.score for node in result.tree if node.step}
    assert scores == pytest.approx({"a": math.log(0.6) + 0.75, "b": math.log(0.3) + 1.0})


def test_an_end_token_is_rewarded_as_it_is():
    """Nothing is rolled out behind it."""
    rolled = []

    def rollout(partials, most, num):
        rolled.extend(partials)
        return greedy_rollouts(partials, most, num)

    run(TransferQ(weight=1.0), toy(rollout=rollout))

    assert rolled
    assert not any(each.is_finished for each in rolled)


def test_only_every_so_many_tokens_are_guided():
    """Between them the model's own likeliest token is taken, which costs one proposal."""
    all_guided = run(TransferQ(weight=9.0, rollout_tokens=0), toy(counts_b))
    some_guided = run(TransferQ(weight=9.0, rollout_tokens=0, every=2), toy(counts_b))

    assert all_guided.best.text == "bbb"
    assert some_guided.best.text == "b"
    assert some_guided.spend == Spend(proposals=2, tokens=2, scores=3)
    assert some_guided.num_steps == 2


def test_the_length_is_limited():
    """The text is unfinished then."""
    result = run(TransferQ(max_tokens=2, weight=0.0), toy())

    assert (result.best.text, result.best.partial.is_finished, result.why) == ("aa", False, "done")


def test_what_is_spent_is_what_was_asked_for():
    """Each token costs a look, a rollout for each candidate that goes on, a reward for each."""
    result = run(TransferQ(weight=2.0, rollout_tokens=2, max_tokens=1), toy())

    rolled = greedy_rollouts([Partial((Token("a", 0.0).as_step(),))], 2, 1)[0][0].num_tokens
    rolled += greedy_rollouts([Partial((Token("b", 0.0).as_step(),))], 2, 1)[0][0].num_tokens
    assert result.spend == Spend(proposals=1 + 2, tokens=1 + rolled, scores=3)


@pytest.mark.parametrize("name", ["max_proposals", "max_tokens", "max_scores"])
@pytest.mark.parametrize("most", range(12))
def test_a_limit_ends_it_with_whole_choices(name, most):
    """No token is chosen among those that happened to be paid for."""
    whole = run(TransferQ(weight=2.0, rollout_tokens=2), toy())

    result = run(TransferQ(weight=2.0, rollout_tokens=2), toy(), limits=Limits(**{name: most}))

    assert getattr(result.spend, name.removeprefix("max_")) <= most
    assert result.best is None or whole.best.text.startswith(result.best.text)
    assert result.tree == type(whole.tree).of(list(whole.tree)[: len(result.tree)])


@pytest.mark.parametrize("field", ["top_tokens", "rollout", "reward"])
@pytest.mark.parametrize("lost", [FAILED, UNPAID])
def test_what_is_lost_is_never_made_up(field, lost):
    """With nothing to choose by, the text ends as far as it has come."""
    problem = toy(**{field: lambda batch, *rest: [lost] * len(batch)})

    result = run(TransferQ(), problem)

    assert (result.best, result.error) == (None, None)
    assert result.why == ("limit" if lost is UNPAID else "stuck")


def test_a_choice_of_which_a_part_was_unpaid_is_not_made():
    """A token that nobody paid to rate would lose for that alone."""
    problem = toy(lambda texts: [UNPAID, *([0.5] * (len(texts) - 1))])

    result = run(TransferQ(), problem)

    assert (result.why, result.best, len(result.tree)) == ("limit", None, 1)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"top_tokens": lambda p, k: [[Token("x", 0.1)]]}, "top_tokens gave 0.1"),
        ({"top_tokens": lambda p, k: [[Token("x", math.nan)]]}, "top_tokens gave nan"),
        ({"top_tokens": lambda p, k: [["x"]]}, "must give a sequence of Token"),
        ({"top_tokens": lambda p, k: [[Token("x", -1.0)] * 11]}, "11 tokens where 10 were asked"),
        ({"top_tokens": lambda p, k: []}, "top_tokens gave 0 results for a batch of 1"),
        ({"rollout": lambda p, n, m: [["x"]] * len(p)}, "must give a sequence of Rollout"),
        ({"rollout": lambda p, n, m: [None] * len(p)}, "must give a sequence of Rollout"),
        ({"rollout": lambda p, n, m: [[Rollout("x", -1.0)]] * len(p)}, r"\(a weight\) gave -1"),
        ({"rollout": lambda p, n, m: [[Rollout("x", 1.0, -2)]] * len(p)}, "num_tokens -2"),
        ({"reward": lambda t: [math.nan] * len(t)}, "reward gave nan"),
        ({"reward": lambda t: [math.inf] * len(t)}, "reward gave inf"),
        ({"reward": lambda t: ["high"] * len(t)}, "reward gave 'high'"),
        ({"reward": lambda t: [1.0]}, "reward gave 1 results for a batch of 3"),
    ],
)
def test_a_callable_that_breaks_its_contract_is_a_search_error(changes, what):
    """The error names the callable and what it gave."""
    result = run(TransferQ(), toy(**changes))

    assert result.why == "failed"
    assert isinstance(result.error, SearchError)
    with pytest.raises(SearchError, match=what):
        raise result.error


@pytest.mark.parametrize(
    "settings",
    [
        {"k": 0},
        {"weight": math.nan},
        {"rollout_tokens": -1},
        {"num_rollouts": 0},
        {"transfer": "both"},
        {"beta": 0},
        {"score_base": "probability"},
        {"temperature": -0.1},
        {"every": 0},
        {"max_tokens": 0},
    ],
)
def test_settings_are_checked(settings):
    """The error names the setting and its value."""
    [(name, value)] = settings.items()

    with pytest.raises(ConfigError, match=f"{name} is {value!r}"):
        TransferQ(**settings)


def test_callables_that_are_needed_are_asked_for():
    """Rollouts and the baseline's reward, where the settings need them."""
    with pytest.raises(ConfigError, match="rollout_tokens is 20, and the problem has no rollout"):
        run(TransferQ(), toy(rollout=None))
    with pytest.raises(ConfigError, match="has no baseline_reward"):
        run(TransferQ(transfer="indirect"), toy())


@pytest.mark.parametrize(
    "algorithm",
    [
        TransferQ(weight=2.0, rollout_tokens=2),
        TransferQ(weight=1.0, temperature=1.0, every=2, num_rollouts=2, rollout_tokens=1),
        TransferQ(weight=1.0, rollout_tokens=0, transfer="indirect"),
    ],
)
def test_it_keeps_the_laws_of_searches(algorithm):
    """Limits, seeds, resumption, losses."""
    names = ("top_tokens", "rollout", "reward", "baseline_reward")
    problem = bound(toy, counts_b, baseline_reward=holds_no_aa)

    asyncio.run(check_search(algorithm, problem, batched=names, lossy=names))
