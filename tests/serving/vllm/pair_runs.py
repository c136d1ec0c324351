"""Runs pairs on a real engine in this process, under one condition; prints what came of it as JSON.

`python -m tests.serving.vllm.pair_runs MODEL CONDITION`
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from motet.serving.decoding import wire
from tests.serving.vllm.pair_prompts import pair_prompts
from tests.serving.vllm.paired_client import GREEDY, SYNC, generate_pairs, params

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "OMP_NUM_THREADS": "1",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "stock": {"scheduler_cls": None},
    "chunked": {"max_num_batched_tokens": 64},
    "chunked_stock": {"max_num_batched_tokens": 64, "scheduler_cls": None},
    "few_blocks": {"num_gpu_blocks_override": 34},
    "few_blocks_stock": {"num_gpu_blocks_override": 34, "scheduler_cls": None},
    "priority": {"scheduling_policy": "priority", "max_num_batched_tokens": 64, "max_num_seqs": 8},
    "four_slots": {"max_num_seqs": 4},
}


def num_tokens(condition: str) -> int:
    """Tokens of each pair: so many with few blocks that not all requests can stay."""
    return 64 if condition.startswith("few_blocks") else 24


CFG = {"rule": "cfg", "gamma": 1.5}


def chosen_pairs(tokenizer: Any) -> list[tuple[list[int], list[int]]]:
    """Eight pairs; the other prompt of the last two is the first one's last token alone."""
    pairs = pair_prompts(tokenizer)
    picked = [pairs[i] for i in (0, 1, 7, 12, 16, 18)]
    return picked + [(pairs[i][0], pairs[i][0][-1:]) for i in (4, 16)]


class Run:
    """An engine in this process, stepped by hand."""

    def __init__(self, model: str, settings: dict[str, Any]) -> None:
        from vllm import LLM

        self.llm = LLM(
            model,
            dtype="float32",
            max_model_len=1024,
            enforce_eager=True,
            block_size=32,
            disable_log_stats=False,
            **{
                "max_num_seqs": 32,
                "scheduler_cls": "motet.serving.vllm.pair_scheduler.PairScheduler",
                "logits_processors": ["motet.serving.vllm.processor:MotetProcessor"],
                "additional_config": {"motet_pair_timeout_s": 1.0},
                **settings,
            },
        )
        self.engine: Any = self.llm.llm_engine
        self.found: dict[str, list[int]] = {}

    def send(
        self,
        name: str,
        prompt: Sequence[int],
        pair: tuple[str, Any] | None,
        max_tokens: int,
        priority: int = 0,
    ) -> None:
        text = wire.write(rules=[CFG], pair=pair, choosing=GREEDY, sync=SYNC) if pair else None
        settings = params(text or "", max_tokens, stop_token_ids=[SYNC], ignore_eos=text is None)
        if text is None:
            settings.extra_args = None
        self.engine.add_request(
            name, {"prompt_token_ids": list(prompt)}, settings, priority=priority
        )

    def step(self) -> None:
        for output in self.engine.step():
            if output.finished:
                self.found[output.request_id] = list(output.outputs[0].token_ids)

    def run(self, until_s: float = 120.0) -> None:
        end_s = time.monotonic() + until_s
        while self.engine.has_unfinished_requests():
            assert time.monotonic() < end_s, "the engine has not finished"
            self.step()

    def report(self) -> dict[str, Any]:
        scheduler = self.engine.engine_core.engine_core.scheduler
        counts = getattr(scheduler, "pair_counts", None)
        preempted = [m.value for m in self.llm.get_metrics() if m.name == "vllm:num_preemptions"]
        return {
            "sampled": getattr(counts, "sampled", 0),
            "preempted": getattr(counts, "preempted", 0),
            "loosened": getattr(counts, "loosened", 0),
            "num_preemptions": preempted[0] if preempted else 0,
        }


def same_prompts(run: Run, condition: str) -> dict[str, Any]:
    """Continue the eight pairs beside unrelated requests; resubmit what falls out of step."""
    pairs = chosen_pairs(run.llm.get_tokenizer())
    beside = [
        ({"prompt_token_ids": run.llm.get_tokenizer()(f"Number {i} is")["input_ids"]}, _plain())
        for i in range(4)
    ]
    found = generate_pairs(run.llm, pairs, CFG, num_tokens(condition), others=beside, tag=condition)
    return {
        "token_ids": found.token_ids,
        "rounds": found.rounds,
        "wasted": found.wasted,
        "others": found.others,
    }


def _plain() -> Any:
    from vllm import SamplingParams

    return SamplingParams(max_tokens=16, temperature=0.0, ignore_eos=True, detokenize=False)


def mains_first(run: Run) -> dict[str, Any]:
    """Send twelve pairs to four slots, all of their mains before any partner."""
    tokenizer = run.llm.get_tokenizer()
    for i in range(12):
        run.send(f"m{i}", tokenizer(f"Item {i} is a")["input_ids"], (f"q{i}", "main"), 16)
        run.send(f"o{i}", tokenizer(f"Number {i} is")["input_ids"], None, 4)
        run.step()
    for i in range(12):
        run.send(f"p{i}", tokenizer("It is a")["input_ids"], (f"q{i}", "partner"), 16)
        run.step()
    run.run()
    return {
        "in_step": [run.found[f"m{i}"] == run.found[f"p{i}"] for i in range(12)],
        "others": [len(run.found[f"o{i}"]) for i in range(12)],
        "synced": sum(SYNC in ids for ids in run.found.values()),
    }


def late(run: Run) -> dict[str, Any]:
    """Send the partner 0.3 s after the main."""
    ids = run.llm.get_tokenizer()("The sea is")["input_ids"]
    run.send("m", ids, ("late", "main"), 16)
    end_s = time.monotonic() + 0.3
    while time.monotonic() < end_s:
        run.step()
    run.send("p", ids[-1:], ("late", "partner"), 16)
    run.run()
    return {"main": run.found["m"], "partner": run.found["p"]}


def orphan(run: Run) -> dict[str, Any]:
    """Send no partner at all."""
    began_s = time.monotonic()
    run.send("m", run.llm.get_tokenizer()("The sea is")["input_ids"], ("orphan", "main"), 16)
    run.run()
    return {"main": run.found["m"], "seconds": time.monotonic() - began_s}


def aborted(run: Run) -> dict[str, Any]:
    """Abort the partner in mid-way."""
    ids = run.llm.get_tokenizer()("The sea is")["input_ids"]
    run.send("m", ids, ("cut", "main"), 200)
    run.send("p", ids[-2:], ("cut", "partner"), 200)
    for _ in range(20):
        run.step()
    run.engine.abort_request(["p"])
    run.run()
    return {"main": run.found["m"]}


def by_priority(run: Run) -> dict[str, Any]:
    """Send pairs and ordinary requests of mixed priorities, the partners last."""
    tokenizer = run.llm.get_tokenizer()
    pairs = chosen_pairs(tokenizer)
    for i, (main, _) in enumerate(pairs):
        run.send(f"m{i}", main, (f"q{i}", "main"), 24, priority=i % 3)
        run.send(f"o{i}", tokenizer(f"Number {i} is")["input_ids"], None, 12, priority=(i + 1) % 3)
    for i, (_, partner) in enumerate(pairs):
        run.send(f"p{i}", partner, (f"q{i}", "partner"), 24, priority=(i + 2) % 3)
    run.run()
    return {
        "token_ids": [run.found[f"m{i}"] for i in range(len(pairs))],
        "partners": [run.found[f"p{i}"] for i in range(len(pairs))],
        "others": [len(run.found[f"o{i}"]) for i in range(len(pairs))],
    }


def main(model: str, condition: str) -> None:
    os.environ.update(ENVIRONMENT)
    run = Run(model, SETTINGS[condition])
    if condition == "priority":
        found = {"by_priority": by_priority(run)}
    elif condition == "four_slots":
        found = {"mains_first": mains_first(run), "late": late(run)}
        found |= {"orphan": orphan(run), "aborted": aborted(run), "late_again": late(run)}
    else:
        found = {"pairs": same_prompts(run, condition)}
    print("REPORT " + json.dumps({**found, **run.report()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
