"""Files of outcomes: what is written is read back, and what is wrong is named by its place."""

from __future__ import annotations

import gzip
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, DataError
from motet.routing.outcome_files import read_outcomes, write_outcomes
from motet.routing.outcomes import Outcomes

TEXT_SUFFIXES = [".jsonl", ".jsonl.gz", ".csv", ".csv.gz"]


def row(**changes: Any) -> dict[str, Any]:
    return {"prompt": "p", "model": "a", "score": 1, "cost": 0.5} | changes


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def small(**changes: Any) -> Outcomes:
    fields: dict[str, Any] = {
        "prompts": ('p, "q"\nr\r\nü', "s"),
        "models": ("a", "b"),
        "scores": [[1, 0.1], [math.nan, 0.5]],
        "costs": [[0.1, math.nan], [math.nan, 3]],
        "groups": ("x", "y"),
    }
    return Outcomes(**(fields | changes))


def assert_same(first: Outcomes, second: Outcomes) -> None:
    second = second.only(first.models)
    assert (first.prompts, first.groups) == (second.prompts, second.groups)
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.costs, second.costs)


@pytest.mark.parametrize("suffix", TEXT_SUFFIXES)
@pytest.mark.parametrize("groups", [("x", "y"), None])
def test_what_is_written_is_read_back(
    tmp_path: Path, suffix: str, groups: tuple[str, ...] | None
) -> None:
    outcomes = small(groups=groups)

    write_outcomes(outcomes, tmp_path / f"t{suffix}")

    assert_same(outcomes, read_outcomes(tmp_path / f"t{suffix}"))
    assert [path.name for path in tmp_path.iterdir()] == [f"t{suffix}"]


def test_parquet_is_read_back(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")

    write_outcomes(small(), tmp_path / "t.parquet")

    assert_same(small(), read_outcomes(tmp_path / "t.parquet"))


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR?")

    with pytest.raises(DataError, match="t.parquet cannot be read"):
        read_outcomes(path)


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)

    with pytest.raises(ConfigError, match=r"motet\[routing\]"):
        read_outcomes(tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match=r"motet\[routing\]"):
        write_outcomes(small(), tmp_path / "t.parquet")


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@given(data=st.data())
def test_any_table_with_scores_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject
) -> None:
    texts = st.text(st.characters(codec="utf-8"), max_size=6)
    prompts = data.draw(st.lists(texts, min_size=1, max_size=4, unique=True))
    size = len(prompts) * 2
    scores = data.draw(st.lists(st.floats(0, 1), min_size=size, max_size=size))
    costs = data.draw(st.lists(st.floats(0, 1e9) | st.just(math.nan), min_size=size, max_size=size))
    outcomes = Outcomes(
        prompts=tuple(prompts),
        models=("a", "b"),
        scores=np.reshape(scores, (-1, 2)),
        costs=np.reshape(costs, (-1, 2)),
        groups=tuple(data.draw(texts) for _ in prompts),
    )
    path = tmp_path_factory.mktemp("t") / f"t{suffix}"

    write_outcomes(outcomes, path)

    assert_same(outcomes, read_outcomes(path))


def test_a_cell_without_a_row_was_not_tried_and_an_empty_cost_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("extra,cost,prompt,model,score\n1,,p,a,1\n2,nan,p,b,0.5\n\n3,2,q,b,0\n")

    made = read_outcomes(path)

    assert (made.prompts, made.models, made.groups) == (("p", "q"), ("a", "b"), None)
    np.testing.assert_array_equal(made.scores, [[1, 0.5], [math.nan, 0]])
    np.testing.assert_array_equal(made.costs, [[math.nan, math.nan], [math.nan, 2]])


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbfprompt,model,score,cost\np,a,1,1\np,b,0,2\n")

    assert read_outcomes(path).models == ("a", "b")


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"model": "b", "score": 1}, "line 2, column 'prompt': it is missing"),
        ({"prompt": "p", "model": "b", "score": 1}, "line 2, column 'cost': it is missing"),
        (row(model="b", score="good"), "line 2, column 'score': 'good' is no number"),
        (row(model="b", score=True), "line 2, column 'score': True is no number"),
        (row(model="b", score=None), "line 2, column 'score': None is no number"),
        (row(model="b", score=math.nan), "line 2, column 'score': nan is no score"),
        (row(model="b", score=1.01), "line 2, column 'score': 1.01 is no score"),
        (row(model="b", score=-1), "line 2, column 'score': -1.0 is no score"),
        (row(model="b", score=10**400), "line 2, column 'score'"),
        (row(model="b", cost="free"), "line 2, column 'cost': 'free' is no number"),
        (row(model="b", cost=-1), "line 2, column 'cost': -1.0 is no finite cost"),
        (row(model="b", cost=math.inf), "line 2, column 'cost': inf is no finite cost"),
        (row(model="b", cost=[1]), "line 2, column 'cost'"),
        (row(model=""), "line 2, column 'model': '' is no text"),
        (row(model=3), "line 2, column 'model': 3 is no text"),
        (row(prompt=None), "line 2, column 'prompt': None is no text"),
        (row(score=0), "line 2, column 'model': 'a' answered this prompt in line 1 too"),
        (row(model="b", group="x"), "line 2, column 'group': 'x', but line 1 says None"),
        (row(model="b", group=3), "line 2, column 'group': 3 is no text"),
        ([1], "line 2: .* is no JSON object"),
    ],
)
def test_a_wrong_row_is_named_by_file_line_and_column(
    tmp_path: Path, second: Any, said: str
) -> None:
    path = written(tmp_path / "t.jsonl", row(), second, row(model="c"))

    with pytest.raises(DataError, match=f"t.jsonl, {said}"):
        read_outcomes(path)


def test_a_prompt_without_a_group_among_others_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", row(group="x"), row(prompt="q", model="b"))

    with pytest.raises(DataError, match="line 2, column 'group': it is missing"):
        read_outcomes(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.jsonl", b"", "is empty"),
        ("t.jsonl", b"\n \n", "is empty"),
        ("t.csv", b"", "is empty"),
        ("t.csv", b"prompt,model,score,cost\n", "is empty"),
        ("t.jsonl", b"{\n", "line 1: this is no JSON"),
        ("t.jsonl", b"[" * 100_000, "line 1: this is no JSON"),
        ("t.jsonl", b"\xff\xfe\x00", "cannot be read"),
        ("t.jsonl.gz", b"prompt", "cannot be read"),
        ("t.jsonl.gz", gzip.compress(b'{"prompt"' * 99, mtime=0)[:-9], "cannot be read"),
        ("t.csv", b"prompt,model,score\np,a,1\n", "line 1, column 'cost': it stands 0 times"),
        ("t.csv", b"prompt,model,score,cost,cost\n", "line 1, column 'cost': it stands 2 times"),
        ("t.csv", b"prompt,model,score,cost\np,a,1\n", "line 2: 3 fields under 4 columns"),
        (
            "t.csv",
            b'prompt,model,score,cost\n"p\nq",a,1,1\n"p\nq",b,x,1\n',
            "line 4, column 'score': 'x' is no number",
        ),
        ("t.csv", b'prompt,model,score,cost,"o\nr"\np,a,x,1,\n', "line 3, column 'score'"),
        ("t.csv", b'prompt,model,score,cost\n"p,a,1,1\n', "cannot be read"),
        ("t.csv", b"prompt,model,score,cost\np,a,1,1\nq,a,0,1\n", "'a' is the only model"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(DataError, match=f"{name}.*{said}"):
        read_outcomes(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()

    for name in ("none.jsonl", "none.csv.gz", "folder.csv"):
        with pytest.raises(DataError, match=f"{name} cannot be read"):
            read_outcomes(tmp_path / name)


@pytest.mark.parametrize("name", ["t.json", "t", "t.gz", "t.csv.zip"])
def test_another_suffix_is_refused_before_anything_is_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="must end in"):
        read_outcomes(tmp_path / name)
    with pytest.raises(ConfigError, match="must end in"):
        write_outcomes(small(), tmp_path / name)


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        (small(prompts=("p", "p")), "'p' stands in two rows"),
        (small(scores=[[1, 0], [math.nan, math.nan]]), "prompt 's' .* has no score"),
        (small(scores=[[1, math.nan], [1, math.nan]]), "model 'b' has no score"),
        (small().only(["a"]).take([0]), "'a' is the only model"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(
    tmp_path: Path, outcomes: Outcomes, said: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("older")

    with pytest.raises(DataError, match=said):
        write_outcomes(outcomes, path)

    assert path.read_text() == "older"


def test_text_that_is_no_unicode_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("older")

    with pytest.raises(DataError, match="cannot be written"):
        write_outcomes(small(prompts=("\ud800", "s")), path)

    assert path.read_text() == "older"


def test_a_write_that_fails_at_the_end_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").mkdir()

    with pytest.raises(DataError, match="cannot be written"):
        write_outcomes(small(), tmp_path / "t.jsonl")

    assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]


def test_a_folder_that_is_not_there_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        write_outcomes(small(), tmp_path / "none" / "t.jsonl")
