"""Off-policy evaluation of routers on logs with a planted truth."""

import numpy as np
import pytest

from motet.errors import DataError
from motet.routing.decision_log import LoggedDecision
from motet.routing.logged_policy import evaluate_policy, usable

MODELS = ("large", "medium", "small")
KINDS = np.array([[0.9, 0.5, 0.2], [0.8, 0.7, 0.6], [0.9, 0.9, 0.9], [0.3, 0.6, 0.1]])
"""Chance that each model answers a question of each kind well."""
NEW = (0, 1, 2, 1)
"""The new policy's model for each kind."""
VALUE = float(np.mean([KINDS[kind, model] for kind, model in enumerate(NEW)]))


def entry(number, kind, *, explore=0.4, rng=None, chosen=None, **changes):
    """A decision of an epsilon-greedy policy whose best is `small`, and its answer's worth."""
    chances = dict.fromkeys(MODELS, explore / 3)
    chances["small"] += 1 - explore
    if chosen is None:
        chosen = str(rng.choice(MODELS, p=list(chances.values())))
    values = {
        "id": str(number), "time": 0.0, "prompt_digest": f"{kind}-{number}", "prompt": None,
        "asked": "router", "best": "small", "chosen": chosen, "answered": chosen, "reason": "",
        "price": None, "estimates": {}, "propensity": chances[chosen], "propensities": chances,
        "status": 200,
    }  # fmt: skip
    return LoggedDecision(**{**values, **changes})


def simulated(seed, count=300):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(len(KINDS), size=count)
    entries = [entry(i, kind, rng=rng) for i, kind in enumerate(kinds)]
    right = {
        each.id: float(rng.random() < KINDS[kind, MODELS.index(each.chosen)])
        for each, kind in zip(entries, kinds, strict=True)
    }
    found = usable(entries, lambda each: right[each.id])
    choices = [MODELS[NEW[kind]] for kind in kinds]
    expected = [dict(zip(MODELS, KINDS[kind] * 0.5 + 0.3, strict=True)) for kind in kinds]
    return found, choices, expected


def test_the_intervals_hold_the_new_policys_true_value_on_nine_of_ten_logs():
    """200 epsilon-greedy logs; nominally 95 of 100, at least 90 by each estimator."""
    held = {"IPS": 0, "SNIPS": 0, "doubly robust": 0}
    errors = {name: [] for name in held}
    for seed in range(200):
        report = evaluate_policy(*simulated(seed), num_resamples=200, seed=seed)
        for each in report.estimates:
            held[each.name] += each.interval.low <= VALUE <= each.interval.high
            errors[each.name].append(each.interval.estimate - VALUE)

    assert min(held.values()) >= 180, held
    for name, found in errors.items():
        assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(200), name
    assert np.std(errors["doubly robust"]) < np.std(errors["IPS"])


def test_what_is_resampled_is_the_estimate_itself():
    report = evaluate_policy(*simulated(2), num_resamples=10)

    for each in report.estimates:
        assert each.interval.estimate == pytest.approx(each.value.value, abs=1e-12)


def test_the_logs_own_mean_is_not_taken_for_the_new_policys_value():
    """What the log earned lies well below what the new policy would."""
    report = evaluate_policy(*simulated(1, count=2000), num_resamples=100)

    assert report.logged.high < VALUE - 0.05
    assert report.num_decisions == 2000
    assert 0 < report.estimates[0].value.effective_size < report.num_matches


def test_what_tells_nothing_of_other_policies_is_counted_by_its_reason():
    rng = np.random.default_rng(0)
    entries = [
        *[entry(i, 0, rng=rng) for i in range(20)],
        entry(20, 0, rng=rng, asked="member", propensity=None, propensities={}),
        entry(21, 0, chosen="small", answered="large"),
        entry(22, 0, chosen="small", answered=None, status=503),
        entry(23, 0, chosen="small", explore=0.0),
        entry(24, 0, rng=rng, propensity=None, propensities={}),
        entry(25, 0, rng=rng),
    ]
    found = usable(entries, lambda each: None if each.id == "25" else 1.0)

    assert len(found.decisions) == len(found.rewards) == 20
    assert found.left_out == {
        "asked for by the client": 1,
        "answered by another model": 1,
        "without an answer": 1,
        "drawn with certainty": 1,
        "without a propensity": 1,
        "without a reward": 1,
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"explore": 0.0}, "50 drawn with certainty; serve with --explore EPS"),
        ({"propensity": None, "propensities": {}}, "50 without a propensity; serve with --expl"),
        ({"propensity": 0.0}, r"decision 0: the propensity of 'small' is 0; it must be above 0"),
    ],
)
def test_a_log_without_chance_is_refused(changes, told):
    entries = [entry(i, 0, chosen="small", **changes) for i in range(50)]

    with pytest.raises(DataError, match=told):
        usable(entries, lambda each: 1.0)


def test_a_policy_that_the_log_could_not_have_followed_is_refused():
    found, choices, _ = simulated(3)

    with pytest.raises(DataError, match="no overlap: in 1 of 300 .* such as 'huge'"):
        evaluate_policy(found, ["huge", *choices[1:]])
    rare = [next(m for m in MODELS if m != each.chosen) for each in found.decisions]
    with pytest.raises(DataError, match="too little overlap: .* in 0 of 300"):
        evaluate_policy(found, rare)
    with pytest.raises(DataError, match="299 choices for 300 decisions"):
        evaluate_policy(found, choices[1:])


def test_rewards_that_a_models_answers_all_lack_are_refused():
    """What is left was drawn given its model: IPS told 20 of a policy that costs 10."""
    entries = [entry(i, 0, chosen="large" if i % 2 else "small") for i in range(100)]

    with pytest.raises(DataError, match="none of the 50 answers of 'small' has a reward"):
        usable(entries, lambda each: 10.0 if each.chosen == "large" else None)
    few = entries[:92:2][:5] + entries[1::2]
    assert usable(few, lambda e: None if e.chosen == "small" else 1.0).left_out == {
        "without a reward": 5
    }
