"""`motet route`: train, eval, explain, and what they refuse."""

import csv
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

pytest.importorskip("sklearn")


@pytest.fixture
def table(tmp_path):
    """`large` is right wherever `small` is, and dear; each prompt is one of two kinds."""
    path = tmp_path / "table.jsonl"
    rows = []
    for i in range(40):
        prompt = f"kind {i % 2}, number {i}"
        rows += [
            {"prompt": prompt, "model": "small", "score": 1.0 - i % 2, "cost": 1.0},
            {"prompt": prompt, "model": "large", "score": 1.0, "cost": 10.0},
        ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def options(stub, *more):
    return ("--embedder", f"{stub.url}#stub", *more)


def test_eval_prints_each_router_beside_the_references_and_keeps_the_figures(
    motet, stub, table, tmp_path
):
    result = motet(
        "route", "eval", table, *options(stub, "--share", "0.5", "--resamples", "20"),
        "--router", "knn(k=3)", "--router", "linear", "-o", tmp_path / "out.json",
    )  # fmt: skip

    assert result.exit_code == 0, result.stderr
    names = [line[:22].split("  ")[0].strip() for line in result.stdout.splitlines()[1:]]
    assert names == ["knn(k=3)", "linear", "oracle", "zero router"]
    summary = json.loads((tmp_path / "out.json").read_text())
    by_name = {each["name"]: each for each in summary["routers"]}
    assert summary["num_train"] + summary["num_test"] == 40
    assert by_name["zero router"]["gain"]["estimate"] == 0
    assert by_name["oracle"]["gain"]["estimate"] > 0
    for each in by_name.values():
        assert each["aiq"]["low"] <= each["aiq"]["estimate"] <= each["aiq"]["high"]
        assert each["aiq"]["estimate"] <= by_name["oracle"]["aiq"]["estimate"] + 1e-9


def test_a_router_that_cannot_be_trained_is_told_and_the_others_are_compared(
    motet, stub, table, tmp_path
):
    """Its battles are on prompts of 100 characters or more, and there are none."""
    unfit = "elo(min_characters=100)"
    common = (*options(stub, "--resamples", "5"), "--router", unfit)
    both = motet("route", "eval", table, *common, "--router", "knn(k=3)", "--json")
    alone = motet("route", "eval", table, *common)

    assert both.exit_code == 0, both.stderr
    told = json.loads(both.stdout)
    assert [each["name"] for each in told["routers"]] == ["knn(k=3)", "oracle", "zero router"]
    assert list(told["untrained"]) == [unfit]
    assert told["untrained"][unfit].startswith("no prompt of min_characters=100")
    assert f"{unfit} cannot be trained, and is left out: no prompt" in " ".join(both.stderr.split())
    assert alone.exit_code == 2
    assert "no router can be trained" in alone.stderr


def test_missing_scores_and_costs_are_counted_and_told(motet, stub, table, tmp_path):
    """Two cells without a row have neither; one more has no cost."""
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    rows[0]["cost"] = None
    gappy = tmp_path / "gappy.jsonl"
    gappy.write_text("".join(json.dumps(row) + "\n" for row in rows[:-2] if row is not rows[4]))
    train = motet("route", "train", gappy, *options(stub), "-o", tmp_path / "r.npz")
    measure = ("--router", "knn", *options(stub, "--resamples", "5"))
    held_out = motet("route", "eval", table, "--test", gappy, *measure)
    whole = motet("route", "eval", table, *measure)

    for result in (train, held_out, whole):
        assert result.exit_code == 0, result.stderr
    told = " ".join(train.stderr.split())
    assert "1 of 78 scores is missing" in told
    assert "2 of 78 costs are missing" in told
    told = " ".join(held_out.stderr.split())
    assert "1 of 78 scores of" in told
    assert "2 of 39 held-out prompts lack a cell, and are left out" in told
    assert "missing" not in whole.stderr


def test_eval_draws_the_curves_of_the_routers(motet, stub, table, tmp_path):
    result = motet(
        "route", "eval", table, *options(stub, "--share", "0.5", "--resamples", "20"),
        "--router", "knn(k=3)", "--plot", tmp_path / "curves.svg",
    )  # fmt: skip

    assert result.exit_code == 0, result.stderr
    drawn = ET.parse(tmp_path / "curves.svg").getroot()
    texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"knn(k=3)", "oracle", "zero router"} <= set(texts)


@pytest.mark.model
def test_a_prompt_beyond_the_embedders_length_is_embedded_by_its_beginning(motet, tmp_path):
    rows = [
        {
            "prompt": f"{i} " + "long " * (2000 if i == 3 else 1),
            "model": m,
            "score": i % 2,
            "cost": c,
        }
        for i in range(8)
        for m, c in (("small", 1.0), ("large", 5.0))
    ]
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    result = motet("route", "train", path, "-o", tmp_path / "r.npz", "--embedder", "local:minilm")

    assert result.exit_code == 0, result.stderr


def test_each_distinct_prompt_is_embedded_once_and_not_again_in_another_command(motet, stub, table):
    motet("route", "eval", table, *options(stub, "--resamples", "5"), "--router", "knn")
    assert len(stub.digests) == 40
    motet("route", "eval", table, *options(stub, "--resamples", "5"), "--router", "linear")
    assert len(stub.digests) == 40


def test_a_trained_router_is_saved_and_explained(motet, stub, table, tmp_path):
    file = tmp_path / "router.npz"
    trained = motet("route", "train", table, *options(stub), "--router", "knn(k=1)", "-o", file)
    assert trained.exit_code == 0, trained.stderr

    prices = ("--price", "small=1", "--price", "large=10", "--willingness", "20")
    told = motet("route", "explain", file, "kind 1, number 1", *options(stub), *prices, "--json")
    decision = json.loads(told.stdout)
    assert decision["model"] == "large"
    assert decision["estimates"] == {"small": 0.0, "large": 1.0}
    cheap = motet("route", "explain", file, "-", *options(stub), *prices, stdin="kind 0, number 2")
    assert cheap.stdout.splitlines()[0] == "small"


def test_a_table_of_its_own_can_be_the_held_out_one(motet, stub, table, tmp_path):
    held = tmp_path / "held.csv"
    with held.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "model", "score", "cost"])
        for i in range(6):
            writer.writerow([f"other {i}", "small", i % 2, 1])
            writer.writerow([f"other {i}", "large", 1, 10])

    result = motet(
        "route", "eval", table, "--test", held, *options(stub, "--resamples", "5"), "--json",
        "--router", "knn",
    )  # fmt: skip

    summary = json.loads(result.stdout)
    assert (summary["num_train"], summary["num_test"]) == (40, 6)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("eval", "missing.jsonl"), "missing.jsonl"),
        (("eval", "TABLE", "--router", "knm"), "did you mean 'knn'"),
        (("eval", "TABLE", "--router", "knn(k=0)"), "k is 0"),
        (("eval", "TABLE", "--router", "knn(kk=1)"), "kk"),
        (("eval", "TABLE", "--share", "1.5"), "share"),
        (("train", "TABLE", "-o", "router.pkl"), ".npz"),
        (("train", "TABLE", "-o", "absent/router.npz"), "there is no folder"),
        (("eval", "TABLE", "-o", "absent/out.json"), "there is no folder"),
        (("train", "TABLE", "-o", "taken.npz"), "--out is taken.npz, which is a folder"),
        (("explain", "missing.npz", "q"), "missing.npz cannot be read: there is no such file"),
        (("explain", "TABLE", "q"), "table.jsonl is no router that `motet route train` saved"),
        (("eval", "TABLE", "--rooter", "knn"), "--router"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_without_a_model_being_asked(
    motet, stub, table, arguments, told
):
    Path("taken.npz").mkdir()
    given = [table if each == "TABLE" else each for each in arguments]
    result = motet("route", *given, *options(stub))

    assert result.exit_code == 2, result.stderr
    assert told in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert not stub.digests


def test_a_table_that_does_not_fit_names_the_line_and_exits_with_2(motet, stub, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "a", "model": "m", "score": "high", "cost": 1}\n')
    result = motet("route", "eval", bad, *options(stub))

    assert result.exit_code == 2
    assert "line 1" in result.stderr
    assert "score" in result.stderr


@pytest.mark.parametrize("price", ["small", "small=cheap", "tiny=1"])
def test_a_wrong_price_is_named(motet, stub, table, tmp_path, price):
    file = tmp_path / "router.npz"
    motet("route", "train", table, *options(stub), "-o", file)
    result = motet("route", "explain", file, "q", *options(stub), "--price", price)
    assert result.exit_code == 2
    assert price.split("=")[0] in result.stderr


def test_explain_decides_by_the_rules_of_serve(motet, stub, table, tmp_path):
    """Without one by the highest score; a rule that lacks a price asks no model."""
    file = tmp_path / "router.npz"
    motet("route", "train", table, *options(stub), "--router", "knn(k=1)", "-o", file)
    prices = ("--price", "small=1", "--price", "large=10")

    def told(*more):
        return motet("route", "explain", file, "kind 1, number 1", *options(stub), *more)

    plain = told("--json")
    cheap = told("--rule", "cheapest-reaching(min_score=0)", *prices)
    before = len(stub.digests)
    lacking = told("--rule", "best-within(max_price=5)")
    twice = told("--rule", "highest-score", "--willingness", "1", *prices)

    decision = json.loads(plain.stdout)
    assert (decision["model"], decision["price"]) == ("large", None)
    assert "is the highest" in decision["reason"]
    assert cheap.stdout.splitlines()[0] == "small"
    assert (lacking.exit_code, twice.exit_code) == (2, 2)
    assert "the price of model" in lacking.stderr
    assert "--price small=NUMBER --price large=NUMBER" in " ".join(lacking.stderr.split())
    assert "give one" in twice.stderr
    assert len(stub.digests) == before
