"""Rows for training, on disk."""

import json
import math

import pytest

from motet.errors import DataError
from motet.routing.row_files import write_json_lines


def test_rows_come_back_as_they_were(tmp_path):
    """Line ends, lone surrogates and other scripts inside a text stay inside its line."""
    rows = [{"a": "x\ny\u2028z"}, {"a": "é\udc00", "b": [1, 0.5]}]

    assert write_json_lines(iter(rows), tmp_path / "rows.jsonl") == 2
    lines = (tmp_path / "rows.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line) for line in lines[:-1]] == rows
    assert lines[-1] == b""


@pytest.mark.parametrize("rows", [[], [{"a": math.nan}], [{"a": 1}, {"a": object()}]])
def test_what_cannot_be_written_leaves_the_older_file(tmp_path, rows):
    path = tmp_path / "rows.jsonl"
    path.write_text("older")

    with pytest.raises(DataError, match=r"rows\.jsonl"):
        write_json_lines(rows, path)

    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        write_json_lines([{"a": 1}], tmp_path / "none" / "rows.jsonl")
