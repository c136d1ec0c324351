"""The frontier study: tasks, graders, attempts within budgets, figures, intervals, the plot."""

from __future__ import annotations

import gzip
import json
import math
import random
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import motet
from motet import Model
from motet.engine import Capability, Completion, Request
from motet.errors import ConfigError, EngineUnavailableError, ModelNotFoundError, RunFailedError
from motet.programs.frontier import (
    Question,
    Study,
    figures_of,
    find_task,
    points_of,
    read_questions,
    study_call,
)
from motet.programs.frontier.attempts import Drawing
from motet.programs.frontier.expressions import game_answer, makes_target, value_of
from motet.programs.frontier.figures import Figure
from motet.programs.frontier.plot import frontier_svg
from motet.programs.frontier.points import (
    Interval,
    Point,
    accuracy_of,
    bootstrapped,
    gain_of,
    wilson,
)
from motet.programs.frontier.tasks import IsRight, countdown_rows
from motet.programs.scorers import Check
from motet.search.registry import ALGORITHMS
from motet.testing import ScriptedEngine

SMALL = Drawing(step_tokens=8, answer_tokens=20)
QUESTIONS = tuple(Question(id=str(i), text=f"Say {i}.", gold=str(i)) for i in range(4))


def wanted(request: Request) -> int:
    found = re.search(r"Say (\d+)", request.prompt[-1].content) or re.search(
        r"Say (\d+)", "\n".join(m.content for m in request.prompt)
    )
    assert found is not None
    return int(found[1])


def sayer(share: float) -> Any:
    """Greedy is right on even questions; a sample is right with probability `share`."""

    def script(request: Request) -> Any:
        number = wanted(request)
        if request.candidates:
            return (-0.1, -2.0)
        if request.sampling.temperature == 0:
            return f"The answer is {number if number % 2 == 0 else 99}."
        chance = random.Random(f"{request.sampling.seed} {number}")
        return tuple(
            Completion(
                f"The answer is {number if chance.random() < share else chance.randint(50, 60)}.",
                "stop",
                None,
                (1, 2, 3, 4),
            )
            for _ in range(request.n)
        )

    return script


def engine_of(script: Any, **settings: Any) -> ScriptedEngine:
    return ScriptedEngine(script, capabilities=frozenset(Capability), **settings)


def study(**changes: Any) -> Study:
    settings: dict[str, Any] = {
        "task": "gsm8k",
        "questions": QUESTIONS,
        "algorithms": ("best-of-n(n=4)",),
        "budgets": (400,),
        "drawing": SMALL,
    }
    return Study(**{**settings, **changes})


def run(made: Study, engine: ScriptedEngine, **settings: Any) -> list[Figure]:
    call = study_call(made, model=Model(engine), scorer=settings.pop("scorer", "self"))
    result = motet.run(call, **{"store": None, "cache": False, **settings})
    return figures_of(made, result.value)


# ---- tasks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "row", "right", "wrong"),
    [
        (
            "gsm8k",
            {"question": "q", "answer": "2 * 9 = 18\n#### 1,018"},
            ["So it is 1018.", "The answer is $1,018.00."],
            ["The answer is 18.", "nothing", ""],
        ),
        (
            "math",
            {"problem": "q", "answer": "\\frac{1}{2}"},
            ["The answer is $\\boxed{0.5}$.", "The answer is 2/4."],
            ["The answer is 2.", "1/2"],
        ),
        (
            "game24",
            {"x": "4 5 6 10"},
            ["The answer is 5 * 4 + 10 - 6.", "5 * 4 = 20\n(5 × 4) + 10 − 6 = 24"],
            ["The answer is 24.", "The answer is 4 * 6.", "The answer is 4 * 6 + (10 - 5 - 5)."],
        ),
        (
            "countdown",
            {"numbers": [3, 5, 7, 50], "target": 22},
            ["The answer is 3 * 5 + 7 = 22.", "5 × 3 + 7"],
            ["The answer is 22.", "The answer is 50 - 28.", "The answer is 11 * 2."],
        ),
        ("jsonl", {"question": "q", "answer": "Paris"}, ["The answer is Paris."], ["Paris?"]),
    ],
)
def test_a_tasks_rows_and_answers_are_read_and_graded(
    tmp_path: Path, task: str, row: dict[str, Any], right: list[str], wrong: list[str]
) -> None:
    """An answer counts as right by its value, and a text without one as none."""
    found = find_task(task)
    (tmp_path / "q.jsonl").write_text(json.dumps(row) + "\n")

    [question] = read_questions(tmp_path / "q.jsonl", found)

    def grade(text: str) -> bool:
        answer = found.answer_of(text)
        return answer is not None and found.is_right(answer, question.gold)

    assert [grade(text) for text in right] == [True] * len(right)
    assert [grade(text) for text in wrong] == [False] * len(wrong)


def test_of_a_file_so_many_questions_are_read_as_are_asked_for(tmp_path: Path) -> None:
    """Plain and packed files give the same, in order, with ids of their own or of their lines."""
    lines = [json.dumps({"question": f"q{i}", "gold": str(i)}) for i in range(5)]
    lines[1] = json.dumps({"id": "mine", "question": "q1", "gold": "1"})
    text = "\n".join(["", *lines]) + "\n"
    (tmp_path / "a.jsonl").write_text(text)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text.encode()))

    found = read_questions(tmp_path / "a.jsonl", find_task("gsm8k"), limit=3)

    assert [question.id for question in found] == ["line 2", "mine", "line 4"]
    assert [question.gold for question in found] == ["0", "1", "2"]
    assert read_questions(tmp_path / "a.jsonl.gz", find_task("gsm8k"), limit=3) == found


@pytest.mark.parametrize(
    ("task", "text", "said"),
    [
        ("gsm8k", "", "holds no questions"),
        ("gsm8k", "{bad", "line 1: malformed JSON"),
        ("gsm8k", "[1]", "line 1: a row is a JSON object"),
        ("gsm8k", '{"question": "q"}', "line 1: a row of gsm8k needs gold or answer"),
        ("gsm8k", '{"question": "q", "gold": "many"}', "holds no number"),
        ("gsm8k", '{"question": " ", "gold": "1"}', "the question is empty"),
        ("game24", '{"x": "4 5 six"}', "line 1: the number is 'six'"),
        ("game24", '{"x": [4]}', "2 to 10"),
        ("countdown", '{"numbers": [1, 2]}', "needs target"),
        ("jsonl", '{"id": 1, "question": "q", "answer": "a"}\n' * 2, "'1' stands there twice"),
    ],
)
def test_a_file_that_is_no_task_is_told_with_its_line(
    tmp_path: Path, task: str, text: str, said: str
) -> None:
    """What is wrong in a file is found before anything is asked, and named by its place."""
    (tmp_path / "q.jsonl").write_text(text)

    with pytest.raises(ConfigError, match=re.escape(said)):
        read_questions(tmp_path / "q.jsonl", find_task(task))


def test_rows_whose_id_is_null_have_the_number_of_their_line(tmp_path: Path) -> None:
    """They are no copies of one another."""
    rows = [{"id": None, "question": "q", "answer": "1"}] * 3
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))

    found = read_questions(tmp_path / "q.jsonl", find_task("gsm8k"))

    assert [question.id for question in found] == ["line 1", "line 2", "line 3"]


@pytest.mark.parametrize(
    ("task", "row", "said"),
    [
        ("countdown", '{"numbers": [1, 2.5], "target": 3}', "the number is 2.5"),
        ("countdown", '{"numbers": [true, 2], "target": 3}', "the number is True"),
        ("countdown", '{"numbers": {"1": 2}, "target": 3}', "the numbers are {'1': 2}"),
        ("countdown", '{"numbers": [1, 2], "target": 1e999}', "the target is inf"),
        ("countdown", '{"numbers": [1, 2], "target": -3}', "the target is -3"),
        ("jsonl", '{"question": ["q"], "answer": 1}', "the question is ['q']"),
        ("jsonl", "[" * 100_000, "nested too deep"),
        ("jsonl", '{"question": "q", "answer": ""}', "the answer '' is empty"),
        ("math", '{"problem": "p", "answer": " "}', "the answer ' ' is empty"),
        ("jsonl", '{"id": "1", "question": "q", "answer": "b"}', "'1' stands there twice"),
    ],
)
def test_bad_rows_are_left_out_and_told(tmp_path: Path, task: str, row: str, said: str) -> None:
    """Where it is asked for, a line that is no question is told by its number, and costs itself."""
    good = '{"id": "1", "numbers": [1, 2], "target": 3, "question": "q", "answer": "a"}'
    (tmp_path / "q.jsonl").write_text(f"\ufeff{good}\n{row}\n", encoding="utf-8")
    bad: list[str] = []

    [question] = read_questions(tmp_path / "q.jsonl", find_task(task), on_bad_row=bad.append)

    assert question.id == "1"
    assert len(bad) == 1
    assert "line 2: " in bad[0]
    assert said in bad[0]


@pytest.mark.parametrize("place", [3, 10, 11, 12, 20, -6, -2])
def test_a_damaged_packed_file_is_told(tmp_path: Path, place: int) -> None:
    """Whichever of its bytes is wrong, a `.gz` file is refused by name."""
    packed = bytearray(gzip.compress(b'{"question": "q", "answer": "a"}\n' * 40, mtime=0))
    (tmp_path / "cut.gz").write_bytes(bytes(packed[:-9]))
    packed[place] ^= 0xFF
    (tmp_path / "q.gz").write_bytes(bytes(packed))

    for name in ("cut.gz", "q.gz") if place == 12 else ("q.gz",):
        with pytest.raises(ConfigError, match=re.escape(f"{name} cannot be read")):
            read_questions(tmp_path / name, find_task("jsonl"))


def test_a_wrong_task_is_told_with_the_one_that_was_meant() -> None:
    """An unknown task names the nearest one, or all there are."""
    with pytest.raises(ConfigError, match="did you mean 'gsm8k'"):
        find_task("gsm8")
    with pytest.raises(ConfigError, match="there are gsm8k, math, game24, countdown, jsonl"):
        find_task("chess")


@given(st.lists(st.integers(1, 13), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_a_sums_value_is_exact(numbers: list[int], chance: random.Random) -> None:
    """A sum that is written out has the value that fractions give it, and wins just that game."""
    row = next(countdown_rows(1, seed=chance.randrange(10**6), num_numbers=len(numbers)))
    question = find_task("countdown").read(row)[1]
    assert isinstance(question, dict)

    text = " + ".join(map(str, numbers))
    game = {"numbers": numbers, "target": sum(numbers), "is_all": True}

    assert value_of(text) == sum(numbers)
    assert makes_target(text, game)
    assert not makes_target(text, {**game, "target": sum(numbers) + 1})
    assert not makes_target(text, {**game, "numbers": [*numbers, 1]})
    assert makes_target(text, {**game, "numbers": [*numbers, 1], "is_all": False})


@pytest.mark.parametrize(
    "text",
    ["1 / 0 + 1", "2 ** 9", "__import__('os')", "9", "-4", "1 +", "(" * 300, "1e9 + 1", "1 if 1"],
)
def test_what_is_no_sum_has_no_value(text: str) -> None:
    """Only the four operations on whole numbers are read; nothing is run as code."""
    assert value_of(text) is None


def test_a_made_game_has_a_solution() -> None:
    """Games that are made can be won, as all sums over their numbers show; a seed makes the same."""
    rows = list(countdown_rows(5, seed=3, num_numbers=3))

    def sums(parts: list[str]) -> Any:
        if len(parts) == 1:
            yield parts[0]
        for i, left in enumerate(parts):
            for j, right in enumerate(parts):
                rest = [part for k, part in enumerate(parts) if k not in (i, j)]
                for sign in "+-*/" if i != j else "":
                    yield from sums([*rest, f"({left} {sign} {right})"])

    for row in rows:
        _, game = find_task("countdown").read(row)
        assert isinstance(game, dict)
        assert any(makes_target(text, game) for text in sums([str(n) for n in row["numbers"]]))
    assert rows == list(countdown_rows(5, seed=3, num_numbers=3))


def test_an_answer_of_a_game_is_the_sum_that_is_stated() -> None:
    """The stated sum counts, else the last line that has one; on which side of = it stands does not."""
    assert game_answer("24 = 4 * 6") == "4*6"
    assert game_answer("1 + 2 = 3\nThe answer is (1+2) * 3 = 9.") == "(1+2)*3"
    assert game_answer("First 1 + 2 = 3,\nthen $3 \\times 4 = 12$\nDone.") == "3*4"
    assert game_answer("I give up.") is None


# ---- the study -------------------------------------------------------------------------------


def test_greedy_and_votes_always_stand_beside() -> None:
    """Every method is tried at every budget, seed and question; greedy with one seed."""
    made = study(num_seeds=3, budgets=(300, 400))

    assert made.methods == ("greedy", "self-consistency", "best-of-n(n=4)")
    counts = {m: sum(c.method == m for c in made.cells) for m in made.methods}
    assert counts == {"greedy": 8, "self-consistency": 24, "best-of-n(n=4)": 24}
    assert study(algorithms=("greedy", "self-consistency(n=2)")).methods == (
        "greedy",
        "self-consistency(n=2)",
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"task": "gsm9k"}, "did you mean 'gsm8k'"),
        ({"algorithms": ("bean",)}, "did you mean 'beam'"),
        ({"algorithms": ("beam(depth=3)",)}, "no setting 'depth'"),
        ({"algorithms": ("self-consistency(m=3)",)}, "self-consistency(n=16)"),
        ({"algorithms": ("self-consistency(n=0)",)}, "n of self-consistency is 0"),
        ({"algorithms": ("beam", "beam")}, "names 'beam' twice"),
        ({"algorithms": ("best-of-n", "best_of_n")}, "'best-of-n' and 'best_of_n', one method"),
        ({"algorithms": ("best-of-n", "BestOfN(n=4)")}, "'best-of-n' and 'BestOfN(n=4)'"),
        ({"algorithms": ("greedy", "Greedy")}, "'greedy' and 'Greedy', one method"),
        ({"algorithms": ("self-consistency", "self_consistency(n=64)")}, "one method"),
        ({"algorithms": ("greddy",)}, "did you mean 'greedy'"),
        ({"algorithms": ("self-consistancy",)}, "did you mean 'self-consistency'"),
        ({"algorithms": ("greedy(n=2)",)}, "greedy has no settings"),
        ({"algorithms": ("voting",)}, "there are adaptive-consistency"),
        ({"budgets": ()}, "budgets is ()"),
        ({"budgets": (20,)}, "budget is 20; it must hold a prompt and an answer of 20 tokens"),
        ({"budgets": (-5,)}, "budget is -5"),
        ({"num_seeds": 0}, "num_seeds is 0"),
        ({"questions": ()}, "questions is ()"),
    ],
)
def test_a_wrong_setting_is_told(changed: dict[str, Any], said: str) -> None:
    """A study that cannot be made is refused by name and value."""
    with pytest.raises(ConfigError, match=re.escape(said)):
        study(**changed)


def test_scorers_that_do_not_fit_are_refused() -> None:
    """An unknown scorer is refused, and the exact one where it would have to know the answer."""
    model = Model(ScriptedEngine())

    with pytest.raises(ConfigError, match="scorer is 'jury'; it must be one of self, grade"):
        study_call(study(), model=model, scorer="jury")
    with pytest.raises(ConfigError, match="scorer is 'slef'; did you mean 'self'"):
        study_call(study(), model=model, scorer="slef")
    with pytest.raises(ConfigError, match="cannot be checked without the right one"):
        study_call(study(), model=model, scorer="exact")
    with pytest.raises(ConfigError, match="concurrency is 0"):
        study_call(study(), model=model, concurrency=0)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("best_of_n", "best-of-n"),
        ("BestOfN( choose='majority',n=3 )", "best-of-n(n=3, choose='majority')"),
        ("best-of-n()", "best-of-n"),
        (" Greedy", "greedy"),
        ("self_consistency( n=8 )", "self-consistency(n=8)"),
        ("self-consistency(n=64)", "self-consistency"),
    ],
)
def test_a_method_has_one_name_however_it_is_written(written: str, name: str) -> None:
    """Names of classes, underscores, spaces and the order of settings make no other method."""
    assert name in study(algorithms=(written,)).methods
    assert study(algorithms=(written,)) == study(algorithms=(name,))


def test_figures_are_what_the_attempts_came_to() -> None:
    """Greedy is right on the even questions; votes of a model that is mostly right, on all."""
    engine = engine_of(sayer(0.8))

    figures = run(study(), engine)

    greedy = [figure.is_correct for figure in figures if figure.method == "greedy"]
    votes = [figure.is_correct for figure in figures if figure.method == "self-consistency"]
    assert greedy == [True, False, True, False]
    assert votes == [True] * 4
    assert all(f.wall_s is not None and f.wall_s >= 0 for f in figures)
    assert {f.scores for f in figures if f.method == "best-of-n(n=4)"} == {4}
    assert {f.scores for f in figures if f.method == "greedy"} == {0}


def test_tokens_of_attempts_are_those_of_the_run() -> None:
    """Tokens of all attempts together are the run's, the scorer's prompts among them."""
    made = study(algorithms=("beam(n=4, width=2, max_steps=2)",), num_seeds=2)
    call = study_call(made, model=Model(engine_of(sayer(0.5))))

    result = motet.run(call, store=None, cache=False)
    figures = figures_of(made, result.value)

    assert sum(figure.tokens for figure in figures) == result.usage.tokens
    assert all(figure.tokens > 0 for figure in figures)


@pytest.mark.parametrize("budget", [200, 300, 1000])
def test_no_attempt_passes_its_budget(budget: int) -> None:
    """Each attempt stays within its tokens, whatever the method, and votes use what is there."""
    made = study(algorithms=("best-of-n(n=64)", "beam(n=8, width=4)"), budgets=(budget,))

    figures = run(made, engine_of(sayer(0.5)))

    assert max(figure.tokens for figure in figures) <= budget
    votes = [f.tokens for f in figures if f.method == "self-consistency"]
    assert min(votes) > budget - 80 or budget == 1000
    assert all(f.text is not None for f in figures if not f.method.startswith("beam"))


def test_a_budget_that_holds_few_samples_still_gives_an_answer() -> None:
    """Best-of-64 in a budget of a few answers chooses among those that it holds."""
    figures = run(study(algorithms=("best-of-n(n=64)",), budgets=(250,)), engine_of(sayer(1)))

    chosen = [figure for figure in figures if figure.method == "best-of-n(n=64)"]
    assert all(figure.is_correct for figure in chosen)
    assert all(1 <= figure.scores < 64 for figure in chosen)


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_every_algorithm_by_name_can_be_studied(name: str) -> None:
    """With its defaults it answers within a small budget and a large one."""
    figures = run(study(algorithms=(name,), budgets=(400, 4000)), engine_of(sayer(0.7)))

    own = [figure for figure in figures if figure.method == name]
    assert len(own) == 2 * len(QUESTIONS)
    assert all(0 < figure.tokens <= figure.budget for figure in own)
    assert all(figure.text for figure in own if figure.budget == 4000)


def test_votes_end_at_their_number() -> None:
    """Self-consistency with n asks for no more samples than n, however large the budget is."""
    engine = engine_of(sayer(0.5))

    run(study(algorithms=("self-consistency(n=5)",), budgets=(100_000,)), engine)

    drawn = [request.n for request in engine.requests if request.sampling.temperature]
    assert drawn == [5] * len(QUESTIONS)


def test_seeds_give_different_samples_and_the_same_seed_the_same() -> None:
    """Two seeds draw other samples; a second run of the study draws the same."""
    made = study(algorithms=("self-consistency(n=1)",), num_seeds=2)

    first, second = (run(made, engine_of(sayer(0.5))) for _ in range(2))

    texts = [[f.text for f in first if f.seed == seed and f.method != "greedy"] for seed in (0, 1)]
    assert texts[0] != texts[1]
    assert [figure.text for figure in first] == [figure.text for figure in second]


def test_an_exact_scorer_finds_what_wins_a_game() -> None:
    """With the verifier as its scorer best-of-n takes the one sample that wins."""
    question = find_task("game24").read({"x": "4 5 6 10"})
    questions = (Question(id="0", text=question[0], gold=question[1]),)

    def script(request: Request) -> Any:
        if request.n == 1:
            return "The answer is 4 * 6."
        texts = ["The answer is 4 * 6."] * request.n
        texts[2] = "The answer is 5 * 4 + 10 - 6."
        return tuple(texts)

    made = study(task="game24", questions=questions, algorithms=("best-of-n(n=4)",))
    figures = run(made, engine_of(script), scorer="exact")

    right = {figure.method: figure.is_correct for figure in figures}
    assert right == {"greedy": False, "self-consistency": False, "best-of-n(n=4)": True}
    assert Check(IsRight("game24", question[1])).function("The answer is 5*4+10-6.") is True


def test_an_engine_that_is_away_is_no_wrong_answer() -> None:
    """Where the engine is gone the study fails, to be gone on with; no attempt counts as wrong."""

    def script(request: Request) -> Any:
        return ModelNotFoundError("gone") if wanted(request) == 2 else sayer(0.5)(request)

    with pytest.raises(RunFailedError) as failed:
        run(study(), engine_of(script), max_concurrency=8)

    assert isinstance(failed.value.__cause__, ModelNotFoundError)


def test_a_study_goes_on_where_it_failed_and_asks_nothing_twice(tmp_path: Path) -> None:
    """Resumed after a failure the study asks only for what is lacking, and ends as if whole."""
    made = study(algorithms=("beam(n=4, width=2, max_steps=3)",), num_seeds=2)
    store = tmp_path / "runs.db"
    whole = engine_of(sayer(0.5))
    expected = run(made, whole)
    begun = 0

    def failing(request: Request) -> Any:
        nonlocal begun
        begun += 1
        return EngineUnavailableError("away") if begun > 40 else sayer(0.5)(request)

    broken, mended = engine_of(failing), engine_of(sayer(0.5))
    call = study_call(made, model=Model(broken), concurrency=2)
    with pytest.raises(RunFailedError) as failed:
        motet.run(call, store=store, cache=False)
    resumed = motet.run(
        study_call(made, model=Model(mended), concurrency=5),
        store=store,
        cache=False,
        resume=failed.value.run_id,
    )
    found = figures_of(made, resumed.value)

    assert [f.text for f in found] == [f.text for f in expected]
    assert [f.tokens for f in found] == [f.tokens for f in expected]
    ids = [request.request_id for request in broken.requests[:40]]
    assert not set(ids) & {request.request_id for request in mended.requests}
    assert len(mended.requests) < len(whole.requests)


def test_many_attempts_stand_in_one_queue() -> None:
    """Attempts run side by side, as many as are allowed, and each batch of a search at once."""
    for concurrency, most in ((1, 4), (4, 16)):
        engine = engine_of(sayer(0.5), delay_s=0.01)
        made = study(algorithms=(), budgets=(100,))
        call = study_call(made, model=Model(engine), concurrency=concurrency)
        motet.run(call, store=None, cache=False)

        assert engine.peak_in_flight <= most
        assert engine.peak_in_flight >= concurrency


# ---- intervals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_right", "num", "low", "high"),
    [(0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0), (5, 10, 0.236593, 0.763407),
     (81, 263, 0.255289, 0.366246)],
)  # fmt: skip
def test_wilsons_interval_has_its_published_values(
    num_right: int, num: int, low: float, high: float
) -> None:
    """The score interval, as in Newcombe 1998 for 81 of 263."""
    found = wilson(num_right, num)

    assert found.low == pytest.approx(low, abs=2e-4)
    assert found.high == pytest.approx(high, abs=2e-4)
    assert found.mean == num_right / num


@given(st.integers(1, 200), st.data())
def test_wilsons_interval_solves_its_equation(num: int, data: st.DataObject) -> None:
    """At both ends the share lies just 1.96 standard errors of that end away."""
    num_right = data.draw(st.integers(0, num))
    found = wilson(num_right, num)

    for end in (found.low, found.high):
        if 0 < end < 1:
            error = math.sqrt(end * (1 - end) / num)
            assert abs(found.mean - end) == pytest.approx(1.959964 * error, rel=1e-6)
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_the_bootstrap_covers_as_often_as_it_says() -> None:
    """Of 200 samples of 40 the 95 percent interval holds the true mean in about 95 percent."""
    chance = random.Random(5)
    covered = 0
    for _ in range(200):
        found = bootstrapped([chance.random() for _ in range(40)])
        covered += found.low <= 0.5 <= found.high

    assert 178 <= covered <= 199


@pytest.mark.parametrize(
    ("num", "num_right", "tail"), [(20, 5, 0.0159), (50, 25, 0.0212), (100, 90, 0.0231)]
)
def test_the_bootstrap_has_the_binomials_ends(num: int, num_right: int, tail: float) -> None:
    """Resampled shares of right answers are binomial, so that the ends are its percentiles.

    They are those below which lies `tail`, the normal share below -t sqrt(n / (n - 1)).
    """
    share, found = num_right / num, bootstrapped([1.0] * num_right + [0.0] * (num - num_right))
    chances = [math.comb(num, k) * share**k * (1 - share) ** (num - k) for k in range(num + 1)]
    sums = [sum(chances[: k + 1]) for k in range(num + 1)]

    def percentile(wanted: float) -> int:
        return next(k for k, total in enumerate(sums) if total >= wanted)

    # Of 2,000 resamples the share below an end is known to about 0.0035.
    low, high = tail - 0.008, tail + 0.008
    assert percentile(low) <= round(found.low * num) <= percentile(high)
    assert percentile(1 - high) <= round(found.high * num) <= percentile(1 - low)


def test_seeds_of_a_question_are_not_independent() -> None:
    """Copies of a seed narrow nothing: the interval is over questions, not over attempts."""
    right = [1.0, 0.0, 1.0, 1.0, 0.0, 0.5, 1.0, 0.0]
    figures = [
        figure("beam", question=str(i), seed=seed, is_correct=share == 1.0)
        for seed in range(50)
        for i, share in enumerate(right)
        if share != 0.5
    ]

    [point] = points_of(figures)

    assert point.accuracy.high - point.accuracy.low > 0.5
    assert point.accuracy.mean == pytest.approx(4 / 7)
    assert accuracy_of([1.0] * 10, 3) == wilson(10, 10)


def figure(method: str, **changes: Any) -> Figure:
    settings: dict[str, Any] = {
        "method": method, "budget": 100, "seed": 0, "question": "0", "answer": "1",
        "is_correct": True, "tokens": 10, "scores": 2, "wall_s": 1.0, "why": "done",
    }  # fmt: skip
    return Figure(**{**settings, **changes})


def test_a_gain_is_paired_by_question() -> None:
    """A method that is right wherever greedy is, and on two more, gains with certainty."""
    greedy = [figure("greedy", question=str(i), is_correct=i < 10) for i in range(20)]
    better = [figure("beam", question=str(i), is_correct=i < 18) for i in range(20)]

    base, point = points_of([*greedy, *better])

    assert base.gain is None
    assert point.gain is not None
    assert point.gain.mean == pytest.approx(0.4)
    assert point.gain.low > 0.15
    # Unpaired, the two intervals overlap.
    assert point.accuracy.low < base.accuracy.high


@pytest.mark.parametrize("same", [-1.0, 0.0, 1.0])
def test_questions_that_all_agree_leave_doubt(same: float) -> None:
    """A gain that is the same on all questions has an interval, the narrower the more there are."""
    few, many = gain_of([same] * 4), gain_of([same] * 400)

    assert few.mean == many.mean == same
    assert few.high - few.low > 0.4 > 0.1 > many.high - many.low > 0
    assert -1 <= few.low <= same <= few.high <= 1


@pytest.mark.parametrize("num_seeds", [3, 5])
@pytest.mark.parametrize("num", [3, 5, 8, 20])
def test_few_questions_name_a_winner_by_chance_no_more_often_than_said(
    num: int, num_seeds: int
) -> None:
    """Of 200 comparisons of a method with itself about 5 percent leave 0 out; never of fewer than
    six questions."""
    chance = random.Random(num + num_seeds)
    named = 0
    for _ in range(200):
        differences = []
        for _ in range(num):
            share = chance.random()
            one, other = (sum(chance.random() < share for _ in range(num_seeds)) for _ in range(2))
            differences.append((one - other) / num_seeds)
        found = gain_of(differences)
        named += not found.low <= 0 <= found.high

    assert named <= (20 if num >= 6 else 0)


def test_gains_that_differ_by_what_floats_round_off_are_the_same() -> None:
    """A third more on each question is no certain gain, however a third was worked out."""
    gains = [1 / 3 - 0, 1 - 2 / 3, 2 / 3 - 1 / 3] * 4

    found = gain_of(gains)

    assert len(set(gains)) > 1
    assert found.high - found.low == pytest.approx(
        gain_of([1 / 3] * 12).high - gain_of([1 / 3] * 12).low
    )
    assert found.high - found.low > 0.2


def test_a_point_holds_the_means_of_its_attempts() -> None:
    """Means are over attempts; an attempt whose time is unknown has no part in the mean time."""
    made = [
        figure("beam", question="0", tokens=10, scores=1, wall_s=2.0),
        figure("beam", question="1", tokens=30, scores=4, wall_s=None, answer=None),
    ]

    [point] = points_of(made)

    assert (point.tokens, point.scores, point.wall_s) == (20, 2.5, 2.0)
    assert (point.num_questions, point.num_seeds, point.num_unanswered) == (2, 1, 1)


# ---- the plot --------------------------------------------------------------------------------


def point(method: str, budget: int, accuracy: float, **changes: Any) -> Point:
    settings: dict[str, Any] = {
        "method": method, "budget": budget, "accuracy": Interval(accuracy, accuracy / 2, 1.0),
        "gain": None, "tokens": float(budget), "scores": 3.0, "wall_s": 1.0,
        "num_questions": 9, "num_seeds": 1, "num_unanswered": 0,
    }  # fmt: skip
    return Point(**{**settings, **changes})


METHODS = ["greedy", "a<b>(n=16, width=4)", "beam(n=64, width=4, max_steps=20)", *"cdefghij"]


def texts_of(svg: str) -> list[tuple[float, float, str]]:
    space = "{http://www.w3.org/2000/svg}"
    found = ET.fromstring(svg).iter(f"{space}text")
    return [(float(t.get("x", 0)), float(t.get("y", 0)), t.text or "") for t in found]


def test_the_plot_is_svg_with_a_mark_for_every_point() -> None:
    """It is well formed, names every method, and holds every point in each of three panels."""
    points = [point(m, b, 0.5) for m in METHODS[:2] for b in (1000, 4000, 16000)]

    svg = frontier_svg(points, title="gsm8k & more: 9 questions")

    shown = [text for *_, text in texts_of(svg)]
    assert shown[0] == "gsm8k & more: 9 questions"
    assert {"greedy", "a<b>(n=16, width=4)"} <= set(shown)
    assert "tokens of an attempt (log)" in shown
    assert svg.count("<circle") == 3 * 3 + 1
    assert svg.count("<rect") + svg.count("<polygon") == 3 * 3 + 1 + 1


def test_the_plots_legend_does_not_overlap() -> None:
    """Names of many methods stand beside or below each other, inside the picture."""
    svg = frontier_svg([point(m, 1000, 0.4) for m in METHODS], title="t")
    width = float(ET.fromstring(svg).get("width", 0))
    height = float(ET.fromstring(svg).get("height", 0))
    legend = sorted((y, x, text) for x, y, text in texts_of(svg) if text in METHODS)

    assert len(legend) == len(METHODS)
    for (y0, x0, text), (y1, x1, _) in pairwise(legend):
        assert y1 - y0 >= 16 or x1 - x0 >= len(text) * 6.5 + 24
    assert all(x + 7.2 * len(text) <= width and y <= height for y, x, text in legend)


def test_methods_of_a_plot_differ_in_colour_or_mark() -> None:
    """Thirty methods have thirty looks, and none but the first is black."""
    svg = frontier_svg([point(f"m{i}", 1000, 0.4) for i in range(30)], title="t")
    marks = [line for line in svg.splitlines() if line.startswith(("<circle", "<polygon", "<path"))]

    looks = set()
    for line in marks:
        [colour] = re.findall(r"(?:fill|stroke)='(#\w+)'", line)
        numbers = [float(each) for each in re.findall(r"(?<![#\w])-?\d+\.?\d*", line)]
        looks.add((colour, line.split(" ")[0], len(numbers), _outline(line)))
    assert len(looks) == 30
    assert sum(colour == "#000000" for colour, *_ in looks) == 1


def _outline(line: str) -> tuple[tuple[float, float], ...]:
    """A polygon's corners as seen from its first one."""
    found = re.findall(r"(-?[\d.]+),(-?[\d.]+)", line) if line.startswith("<polygon") else []
    corners = [(float(x), float(y)) for x, y in found]
    return tuple((round(x - corners[0][0]), round(y - corners[0][1])) for x, y in corners)


def test_a_points_place_is_its_value() -> None:
    """On a panel's scale a point stands as far as its value says, and its bar at its ends."""
    low, high = point("greedy", 1000, 0.25), point("greedy", 1000, 0.5)

    svg = frontier_svg([low, high], title="t")

    root = ET.fromstring(svg)
    heights = [float(c.get("cy", 0)) for c in root.iter("{http://www.w3.org/2000/svg}circle")][:2]
    ticks = {text: y for x, y, text in texts_of(svg) if text in ("0", "20", "100") and x < 60}
    per_percent = (ticks["0"] - ticks["100"]) / 100
    assert max(heights) - min(heights) == pytest.approx(25 * per_percent, abs=0.2)


@pytest.mark.parametrize("measures", [{"scores": 0.0}, {"wall_s": None}, {"tokens": 0.0}])
def test_a_measure_without_width_is_drawn_all_the_same(measures: dict[str, Any]) -> None:
    """Zeros and unknown times break no scale."""
    svg = frontier_svg([point("greedy", 10, 0.0, **measures)], title="t")

    assert "nan" not in svg
    assert ET.fromstring(svg) is not None


# ---- with a model ----------------------------------------------------------------------------


@pytest.mark.model
def test_a_small_model_is_studied_within_its_budgets(tmp_path: Path) -> None:
    """SmolLM2 on two questions: every attempt ends within its tokens and has a text."""
    questions = tuple(
        Question(id=str(i), text=f"What is {i} plus {i}?", gold=str(2 * i)) for i in (2, 3)
    )
    made = Study(
        task="gsm8k",
        questions=questions,
        algorithms=("beam(n=4, width=2, max_steps=3)",),
        budgets=(600,),
        drawing=Drawing(step_tokens=24, answer_tokens=48),
    )
    call = study_call(made, model=Model("local:smollm2"))

    result = motet.run(call, store=tmp_path / "runs.db", cache=False)
    figures = figures_of(made, result.value)

    assert len(figures) == 6
    assert all(0 < figure.tokens <= 600 and figure.text for figure in figures)
    assert all(figure.scores > 0 for figure in figures if figure.method.startswith("beam"))
    assert sum(figure.tokens for figure in figures) == result.usage.tokens


@pytest.mark.parametrize(
    ("algorithm", "lacking"), [("best-of-n", Capability.SCORE), ("mcts", Capability.CONTINUE)]
)
def test_an_engine_that_lacks_what_a_search_needs_is_not_paid_for_the_baselines(
    algorithm: str, lacking: Capability
) -> None:
    """What the scorer or the search needs of the engine is found out before greedy is asked."""
    engine = ScriptedEngine(sayer(1), capabilities=frozenset(Capability) - {lacking})

    with pytest.raises(RunFailedError, match=lacking.value):
        run(study(algorithms=(algorithm,)), engine)

    assert not engine.requests
    assert run(study(algorithms=("self-consistency(n=2)",)), engine)


@pytest.mark.parametrize(
    ("algorithm", "said"),
    [("beam", "beam needs a scorer"), ("best-of-n(choose='verified')", "needs a verifier")],
)
def test_an_algorithm_that_lacks_what_it_needs_is_refused_before_anything_is_asked(
    algorithm: str, said: str
) -> None:
    """Greedy and the votes are not paid for either."""
    engine = engine_of(sayer(1))

    with pytest.raises(ConfigError, match=said):
        study_call(study(algorithms=(algorithm,)), model=Model(engine), scorer=None)

    assert not engine.requests
