"""`motet route eval --log`: what another router would have earned on logged decisions."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from motet.routing.decision_log import LoggedDecision

pytest.importorskip("sklearn")

MEMBERS = ("large", "small")


def decision(number, chosen, *, explore=0.5, has_text=True):
    kind = number % 2
    chances = {"large": explore / 2, "small": 1 - explore / 2}
    return LoggedDecision(
        id=f"d{number}", time=0.0, prompt_digest=f"k{kind}",
        prompt=f"kind {kind}" if has_text else None, asked="router", best="small", chosen=chosen,
        answered=chosen, reason="", price=None, estimates={"small": 1.0 - kind, "large": 0.9},
        propensity=chances[chosen], propensities=chances, status=200,
        cost=10.0 if chosen == "large" else 1.0,
    )  # fmt: skip


@pytest.fixture
def log(tmp_path):
    """400 decisions: `small` is right on kind 0 only, `large` on both and ten times as dear."""
    rng = np.random.default_rng(0)
    lines, scores = [], []
    for number in range(400):
        chosen = "large" if rng.random() < 0.25 else "small"
        lines.append(decision(number, chosen))
        score = 1.0 if chosen == "large" else 1.0 - number % 2
        scores.append({"id": f"d{number}", "score": score})
    write(tmp_path / "log.jsonl", lines)
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scores))
    return tmp_path / "log.jsonl"


def write(path, decisions):
    path.write_text("".join(json.dumps(asdict(each)) + "\n" for each in decisions))


@pytest.fixture
def router(motet, stub, tmp_path):
    table = tmp_path / "table.jsonl"
    rows = [
        {"prompt": f"kind {kind}", "model": model, "score": score, "cost": 1}
        for kind, model, score in
        ((0, "small", 1), (0, "large", 1), (1, "small", 0), (1, "large", 1))
    ]  # fmt: skip
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = motet(
        "route", "train", table, "--router", "knn(k=1)", "-o", "router.npz",
        "--embedder", f"{stub.url}#stub", "--store", "none",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    return "router.npz"


RULE = ("--rule", "worth-its-price(willingness=20)", "--price", "small=1", "--price", "large=10")


def test_a_new_router_is_worth_on_the_log_what_it_would_earn(motet, stub, log, router):
    """It sends kind 1 to `large`: always right, at a mean cost of 5.5."""
    result = motet(
        "route", "eval", "--log", log, "--router", router, "--scores", "scores.jsonl", *RULE,
        "--embedder", f"{stub.url}#stub", "--store", "none", "--json", "-o", "out.json",
    )  # fmt: skip

    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    by_name = {e["name"]: e["interval"] for e in found["of"]["score"]["estimates"]}
    assert set(by_name) == {"IPS", "SNIPS", "doubly robust"}
    assert by_name["SNIPS"]["estimate"] == pytest.approx(1.0)
    assert by_name["doubly robust"]["estimate"] == pytest.approx(1.0)
    assert found["of"]["score"]["logged"]["estimate"] < 0.75
    costs = {e["name"]: e["interval"] for e in found["of"]["cost"]["estimates"]}
    assert costs["SNIPS"]["low"] <= 5.5 <= costs["SNIPS"]["high"]
    assert json.loads((log.parent / "out.json").read_text()) == found


def test_another_rule_needs_no_texts_and_a_table_is_printed(motet, log, tmp_path):
    """Without --router the logged estimates are decided on; they say 0.9 for `large`."""
    write(log, [decision(n, "large" if n % 4 > 1 else "small", has_text=False) for n in range(400)])
    result = motet("route", "eval", "--log", log, "--rule", "cheapest-reaching(min_score=0.8)",
                   "--price", "small=1", "--price", "large=10")  # fmt: skip

    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["OF", "ESTIMATOR", "VALUE"]
    assert [line.split("  ")[0] for line in lines[1:]] == ["cost"] * 3
    assert "400 decisions, of which the policy takes 200 as they were drawn" in result.stderr


def test_weights_that_do_not_sum_to_the_number_of_decisions_are_told(motet, log):
    """`large` was drawn twice as often as its chance says: its answers are scored more often."""
    rule = ("--rule", "highest-score", "--json")
    as_drawn = [decision(n, "large" if n % 4 == 0 else "small") for n in range(400)]
    too_often = [decision(n, "large" if n % 4 > 1 else "small") for n in range(400)]
    for each, told in ((as_drawn, False), (too_often, True)):
        write(log, [replace(one, estimates={"small": 0.1, "large": 0.9}) for one in each])
        result = motet("route", "eval", "--log", log, *rule)

        assert result.exit_code == 0, result.stderr
        is_told = "cost: the weights sum to 800, of 400 decisions" in " ".join(
            result.stderr.split()
        )
        assert is_told == told
        assert ("the weights sum" in result.stderr) == told
        sums = json.loads(result.stdout)["of"]["cost"]["weight_sum"]
        assert sums == pytest.approx(800 if told else 400)


def test_what_cannot_be_told_is_counted(motet, log):
    lines = log.read_text().splitlines(keepends=True)
    forced = json.loads(lines[0]) | {"asked": "member", "propensity": None, "propensities": {}}
    log.write_text("".join([json.dumps(forced) + "\n", *lines[1:], lines[0][:50]]))
    result = motet("route", "eval", "--log", log)

    assert result.exit_code == 0, result.stderr
    assert "left out: 1 asked for by the client" in result.stderr
    assert "1 line of the log cut short" in result.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--router", "absent.npz"], "absent.npz"),
        (["--router", "a.npz", "--router", "b.npz"], "--router is given 2 times"),
        (["--rule", "magic"], "rule is 'magic'"),
        (["--rule", "worth-its-price(willingness=1)"], "is unknown, and prices count here"),
        (["--rule", "best-within(max_price=1)", "--price", "large=1"], "--price small=NUMBER"),
        (["--price", "huge=1"], "--price names 'huge'; the models are large, small"),
        (["--scores", "absent.jsonl"], "absent.jsonl cannot be read"),
        (["--test", "x.csv"], "--test does not go with --log"),
        (["--strong", "large"], "--strong does not go with --log"),
        (["--share", "0.5"], "--share does not go with --log"),
        (["-o", "absent/out.json"], "there is no folder"),
        (["--resamples", "0"], "num_resamples is 0"),
        (["--log", "absent.jsonl"], "absent.jsonl cannot be read"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name(motet, log, options, told):
    result = motet("route", "eval", "--log", log, *options)

    assert result.exit_code == 2, result.stdout
    assert told in " ".join(result.stderr.split())


def test_logs_that_say_nothing_of_the_router_are_refused(motet, stub, log, router):
    """No texts, no chance, no scores nor costs, a model that the router does not know."""
    common = ("--router", router, "--embedder", f"{stub.url}#stub", "--store", "none")

    def told(decisions, *options):
        write(log, decisions)
        result = motet("route", "eval", "--log", log, *options)
        assert result.exit_code == 2, result.stdout
        return " ".join(result.stderr.split())

    drawn = [("large", "small")[n % 2] for n in range(40)]
    digests = [decision(n, each, has_text=False) for n, each in enumerate(drawn)]
    assert "digests of 2 prompts only" in told(digests, *common)
    certain = [decision(n, "small", explore=0.0) for n in range(40)]
    assert "40 drawn with certainty; serve with --explore EPS" in told(certain, *common)
    free = [LoggedDecision(**{**asdict(d), "cost": None}) for d in digests]
    assert "neither scores nor costs" in told(free)
    other = [
        LoggedDecision(**{**asdict(d), "propensities": {**d.propensities, "third": 0.0}})
        for d in digests
    ]
    assert "does not know the log's model 'third'" in told(other, *common)


def test_without_a_log_or_a_table_nothing_can_be_compared(motet):
    assert "compare routers on a TABLE" in motet("route", "eval").stderr
    assert "go with --log" in motet("route", "eval", "t.csv", "--rule", "x").stderr


def test_costs_of_some_models_only_are_told_beside_the_scores(motet, log):
    """Of costs that only `large` has nothing can be said; the scores are there nevertheless."""
    found = [json.loads(line) for line in log.read_text().splitlines()]
    for each in found:
        each["cost"] = 10.0 if each["chosen"] == "large" else None
    log.write_text("".join(json.dumps(each) + "\n" for each in found))
    rule = ("--rule", "highest-score")
    both = motet("route", "eval", "--log", log, "--scores", "scores.jsonl", *rule, "--json")
    alone = motet("route", "eval", "--log", log, *rule)

    assert both.exit_code == 0, both.stderr
    assert set(json.loads(both.stdout)["of"]) == {"score"}
    assert "answers of 'small' has a reward" in " ".join(both.stderr.split())
    assert alone.exit_code == 2


def test_a_missing_price_is_told_before_the_prompts_are_embedded(motet, stub, log, router):
    before = len(stub.digests)
    result = motet(
        "route", "eval", "--log", log, "--router", router, "--scores", "scores.jsonl",
        "--rule", "worth-its-price(willingness=1)", "--embedder", f"{stub.url}#stub",
        "--store", "none",
    )  # fmt: skip

    assert result.exit_code == 2
    assert "the price of model" in result.stderr
    assert len(stub.digests) == before
