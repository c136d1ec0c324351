"""Files of scores: what they hold, and what is refused."""

import gzip
import json

import pytest

from motet.errors import ConfigError, DataError
from motet.routing.score_files import read_scores


def test_scores_stand_by_id_or_by_prompt_and_model(tmp_path):
    """An id goes before a prompt; a prompt without a model counts for every model."""
    rows = [
        {"id": "c1", "score": 1},
        {"prompt": "p", "model": "small", "score": 0.25},
        {"prompt": "p", "score": 0.5},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "s.jsonl").write_text(lines)
    (tmp_path / "s.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "s.csv").write_text("id,prompt,model,score\nc1,,,1\n,p,small,0.25\n,p,,0.5\n")

    for name in ("s.jsonl", "s.jsonl.gz", "s.csv"):
        found = read_scores(tmp_path / name)
        assert found.find("c1", "p", "small") == 1.0
        assert found.find("c2", "p", "small") == 0.25
        assert found.find("c2", "p", "large") == 0.5
        assert found.find("c2", "q", "large") is None
        assert found.find("c2", None, "large") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ('{"id": "a", "score": 2}', "line 1, column 'score': 2 is no score from 0 to 1"),
        ('{"id": "a", "score": true}', "column 'score': True"),
        ('{"id": "a", "score": NaN}', "column 'score': nan"),
        ('{"id": "a"}', "column 'score': None"),
        ('{"score": 1}', "must have an id, or else a prompt"),
        ('{"id": "a", "prompt": "p", "score": 1}', "must have an id, or else a prompt"),
        ('{"id": 1, "score": 1}', "column 'id': 1 is no text"),
        ('{"prompt": "p", "model": 3, "score": 1}', "column 'model': 3 is no text"),
        (
            '{"id": "a", "score": 1}\n{"id": "a", "score": 1}',
            "line 2, column 'id': 'a' has a score",
        ),
        ("{", "line 1: this is no JSON"),
    ],
)
def test_a_wrong_row_is_refused_by_line_and_column(tmp_path, text, told):
    path = tmp_path / "s.jsonl"
    path.write_text(text)

    with pytest.raises(DataError, match=told):
        read_scores(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.jsonl"):
        read_scores(tmp_path / "s.parquet")
    for name in ("absent.jsonl", "absent.csv"):
        with pytest.raises(DataError, match="cannot be read"):
            read_scores(tmp_path / name)
