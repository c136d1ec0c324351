"""`motet eval search` on a real server: 50 problems of GSM8K and 20 games of Countdown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from motet.programs.frontier import countdown_rows
from tests.serving.vllm.conftest import Server

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1200)]

BEAM, ASTAR = "beam(n=2, width=2, max_steps=3)", "astar(max_expansions=3)"


def searched(server: Server, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    model = f"{server.url}/v1#{server.model}"
    command = [sys.executable, "-m", "motet", "eval", "search", *options, "--model", model,
               "--out", "out", "--json", "--quiet"]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def figures(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "out" / "figures.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def generated(server: Server) -> float:
    return server.metrics()["vllm:generation_tokens_total"]


def check_study(
    server: Server, folder: Path, options: tuple[str, ...], search: str, budget: int, num: int
) -> None:
    """Every problem is attempted by every method within its budget, and nothing is asked twice."""
    first = searched(server, folder, *options)
    made, asked = figures(folder), generated(server)
    again = searched(server, folder, *options)

    methods = ("greedy", "self-consistency", search)
    assert Counter(f["method"] for f in made) == dict.fromkeys(methods, num)
    assert len({(f["method"], f["question"]) for f in made}) == 3 * num
    assert all(0 < f["tokens"] <= budget == f["budget"] for f in made)
    assert all(f["text"] or f["why"] == "budget" for f in made)
    assert sum(f["scores"] for f in made if f["method"] == search) > 0
    assert sum(bool(f["text"]) for f in made) > 2 * num
    shown = [each.text for each in ET.parse(folder / "out" / "frontier.svg").iter()]
    assert set(methods) <= set(shown)
    points = json.loads(first.stdout)["points"]
    assert [point["method"] for point in points] == list(methods)
    right = Counter(f["method"] for f in made if f["is_correct"])
    for point in points:
        accuracy = point["accuracy"]
        assert accuracy["mean"] == right[point["method"]] / num
        assert 0 <= accuracy["low"] <= accuracy["mean"] <= accuracy["high"] <= 1
    assert json.loads(again.stdout)["points"] == points
    assert generated(server) == asked


def test_50_problems_of_gsm8k_are_studied(vllm_server: Server, tmp_path: Path) -> None:
    """Beam search that the model itself scores, beside greedy and votes, at 500 tokens."""
    data = os.environ.get("MOTET_DATA")
    if not data:
        pytest.skip("MOTET_DATA names no folder of data sets")
    options = (
        f"{data}/gsm8k/test.jsonl.gz", "--task", "gsm8k", "--limit", "50", "--scorer", "self",
        "--algorithms", BEAM, "--budgets", "500", "--step-tokens", "32", "--answer-tokens", "64",
    )  # fmt: skip
    check_study(vllm_server, tmp_path, options, BEAM, 500, 50)


def test_20_games_of_countdown_are_studied(vllm_server: Server, tmp_path: Path) -> None:
    """A* that the exact value of each state guides, beside greedy and votes, at 400 tokens."""
    rows = "".join(json.dumps(row) + "\n" for row in countdown_rows(20))
    (tmp_path / "games.jsonl").write_text(rows)
    options = (
        "games.jsonl", "--task", "countdown", "--scorer", "exact", "--algorithms", ASTAR,
        "--budgets", "400", "--step-tokens", "32", "--answer-tokens", "64",
    )  # fmt: skip
    check_study(vllm_server, tmp_path, options, ASTAR, 400, 20)
