"""`motet route train --from-runs`: a router from motet's own journal."""

import json

import pytest

from motet import Model, program, prompt, run, step
from motet.testing import ScriptedEngine

pytest.importorskip("sklearn")


@prompt(user="{{ text }}")
def ask(text: str) -> str:
    raise NotImplementedError


@step
def is_right(text: str) -> bool:
    return text == "right"


SMALL = Model(
    ScriptedEngine(lambda r: "wrong" if "hard" in str(r.prompt) else "right"), name="small"
)
LARGE = Model(ScriptedEngine(lambda r: "right", name="l"), name="large")


@program
def asked(text: str):
    return [is_right(ask.on(each)(text)) for each in (SMALL, LARGE)]


@pytest.fixture
def ids(tmp_path):
    """Two runs in s.db, and their ids."""
    return [
        run(asked(text), store=tmp_path / "s.db").run_id for text in ("an easy one", "a hard one")
    ]


@pytest.fixture
def train(motet, stub):
    def work(*options, out="router.npz"):
        return motet(
            "route", "train", "-o", out, "--router", "knn(k=1)", "--store", "s.db",
            "--embedder", f"{stub.url}#stub", *options,
        )  # fmt: skip

    return work


def explained(motet, stub, question):
    told = motet(
        "route", "explain", "router.npz", question, "--embedder", f"{stub.url}#stub", "--json"
    )
    return json.loads(told.stdout)["estimates"]


def test_a_router_learns_from_runs_what_their_own_scores_say(motet, train, stub, ids):
    result = train("--from-runs", "all", "--score-by", "is_right")

    assert result.exit_code == 0, result.stderr
    assert "4 answers with a score in 2 runs\n" in result.stderr
    assert explained(motet, stub, "a hard one") == {"large": 1.0, "small": 0.0}
    assert explained(motet, stub, "an easy one") == {"large": 1.0, "small": 1.0}


def test_runs_are_chosen_by_id_or_date_and_scores_come_from_a_file(motet, train, stub, ids, home):
    scores = home / "scores.jsonl"
    rows = [
        {"prompt": "a hard one", "model": "small", "score": 0.25},
        {"prompt": "a hard one", "model": "large", "score": 0.75},
    ]
    scores.write_text("".join(json.dumps(row) + "\n" for row in rows))

    one = train("--from-runs", ids[1], "--scores", scores)
    estimates = explained(motet, stub, "a hard one")
    both = train("--from-runs", "2020-01-01", "--scores", scores, out="both.npz")

    assert one.exit_code == 0, one.stderr
    assert "2 answers with a score in 1 run\n" in one.stderr
    assert estimates == {"large": 0.75, "small": 0.25}
    assert "left out: 2 no score" in both.stderr


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--from-runs", "all"], 2, "no answer has a score in 2 runs"),
        (["--from-runs", "nope"], 3, "no run begins with 'nope'"),
        (["--from-runs", ","], 2, "--from-runs is ','"),
        (["--from-runs", "2999-01-01"], 2, "the store holds no runs since 2999-01-01"),
        (["--from-runs", "all", "--score-range", "5"], 2, "--score-range is '5'; write LOW:HIGH"),
        (["--from-runs", "all", "--score-range", "5:1"], 2, "--score-range is '5:1'"),
        (["--from-runs", "all", "--token-price", "small=1"], 2, "--token-price is 'small=1'"),
        (["--from-runs", "all", "--scores", "absent.jsonl"], 2, "absent.jsonl cannot be read"),
        (["--from-runs", "all", "--store", "absent.db"], 3, "there is no store at absent.db"),
        (["--from-runs", "all", "--store", "none"], 2, "the store is none"),
        (["--scores", "x.jsonl"], 2, "scores and prices go with --from-runs"),
        ([], 2, "train on a TABLE, or else by --from-runs"),
        (["t.csv", "--from-runs", "all"], 2, "train on a TABLE, or else by --from-runs"),
        (["--from-runs", "all", "--router", "magic"], 2, "router is 'magic'"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_name(train, ids, stub, options, code, told):
    result = train(*options)

    assert result.exit_code == code, result.stderr
    assert told in " ".join(result.stderr.split())
    assert not stub.digests


def test_a_router_learns_from_what_an_evaluation_found(motet, train, stub, home):
    """The evaluation's contenders are the models; prompts are those of the task's rows."""
    (home / "task.jsonl").write_text(
        '{"id": "r1", "prompt": "an easy one", "gold": "right"}\n'
        '{"id": "r2", "prompt": "a hard one", "gold": "right"}\n'
    )
    folder = home / "found"
    folder.mkdir()
    common = {"is_matched": False, "missing": None, "cost": 1.0}
    lines = [
        {"contender": name, "row": row, "value": value, **common}
        for name, row, value in
        (("small", "r1", 1.0), ("large", "r1", 1.0), ("small", "r2", 0.0), ("large", "r2", 1.0))
    ]  # fmt: skip
    (folder / "figures.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    result = train("--from-eval", "found", "--task", "task.jsonl")

    assert result.exit_code == 0, result.stderr
    assert "4 attempts\n" in result.stderr
    assert explained(motet, stub, "a hard one") == {"small": 0.0, "large": 1.0}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--from-eval", "found"], "--from-eval needs the prompts"),
        (["--from-eval", "found", "--task", "absent"], "task is 'absent'"),
        (["--from-eval", "found", "--from-runs", "all"], "do not go together"),
        (["--task", "t.jsonl"], "--task and --data go with --from-eval"),
        (["--from-eval", "found", "--scores", "s.csv"], "scores and prices go with --from-runs"),
    ],
)
def test_an_evaluation_that_cannot_teach_is_refused_by_its_name(train, stub, options, told):
    result = train(*options)

    assert result.exit_code == 2, result.stderr
    assert told in " ".join(result.stderr.split())
    assert not stub.digests
