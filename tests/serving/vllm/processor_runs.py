"""Run the processor in a real engine and print what came out, as one line of JSON.

A program, not a test: vLLM wants a process and an environment of its own.

    python -m tests.serving.vllm.processor_runs FOLDER v1|tight|tight_pairs|v2
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from motet.serving.decoding import wire
from motet.serving.decoding.wire import Choosing
from tests.serving.vllm.pair_prompts import pair_prompts
from tests.serving.vllm.paired_client import EOS, GREEDY, SYNC, generate_pairs, params

RULES: tuple[tuple[str, str, float], ...] = (
    ("cfg", "gamma", 1.0),
    ("cfg", "gamma", 1.5),
    ("cfg", "gamma", 2.0),
    ("cad", "alpha", 0.5),
    ("adacad", "floor", 0.0),
)
NUM_TOKENS = 16
TIGHT_STEP = 128
"""Tokens that the tight engine reads in a step: longer prompts are read in chunks."""
MEMBERS = [[504, 1370, 282], [504, 1370], [504, 28], [7042, 3, 5], [7042]]
PATTERN = "(yes|no|perhaps)( indeed| not)?"
HOT = Choosing(temperature=0.8, seed=11)


def rule_of(name: str, parameter: str, value: float) -> dict[str, Any]:
    return {"rule": name, parameter: value}


def key(name: str, value: float) -> str:
    return f"{name} {value:g}"


class Runs:
    def __init__(self, folder: str, **settings: Any) -> None:
        from vllm import LLM

        self.llm = LLM(
            folder,
            dtype="float32",
            enforce_eager=True,
            disable_log_stats=False,
            logits_processors=["motet.serving.vllm.processor:MotetProcessor"],
            **{"max_num_seqs": 64, "max_model_len": 2048, **settings},
        )
        self.pairs = pair_prompts(self.llm.get_tokenizer())
        runner = self.llm.llm_engine.model_executor.driver_worker.worker.model_runner
        self.found: dict[str, Any] = {"runner": type(runner).__module__}

    def generate(self, prompts: list[Any], settings: Any) -> list[Any]:
        from vllm.inputs import TokensPrompt

        tokens = [TokensPrompt(prompt_token_ids=list(p)) for p in prompts]
        return [o.outputs[0] for o in self.llm.generate(tokens, settings, use_tqdm=False)]

    def ids(self, prompts: list[Any], settings: Any) -> list[list[int]]:
        return [list(o.token_ids) for o in self.generate(prompts, settings)]

    def others(self, num: int) -> list[tuple[Any, Any]]:
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt

        return [
            (
                TokensPrompt(prompt_token_ids=[504, 1370 + i]),
                SamplingParams(max_tokens=6 + i, temperature=0.0, ignore_eos=True),
            )
            for i in range(num)
        ]

    def exact(self, which: list[int], rules: Any, num_tokens: int, num_others: int) -> None:
        pairs = [self.pairs[i] for i in which]
        for name, parameter, value in rules:
            before = self.num_preemptions()
            outcome = generate_pairs(
                self.llm,
                pairs,
                rule_of(name, parameter, value),
                num_tokens,
                others=self.others(num_others),
                tag=f"{name}{value}{num_others}",
            )
            label = f"{key(name, value)} beside {num_others}"
            self.found[label] = {
                "ids": outcome.token_ids,
                "others": outcome.others,
                "rounds": outcome.rounds,
                "wasted": outcome.wasted,
                "preemptions": self.num_preemptions() - before,
            }

    def num_preemptions(self) -> int:
        return next(
            int(m.value) for m in self.llm.get_metrics() if m.name == "vllm:num_preemptions"
        )

    def sampled(
        self, label: str, seed: int, which: list[int], num_tokens: int, beside: int
    ) -> None:
        outcome = generate_pairs(
            self.llm,
            [self.pairs[i] for i in which],
            rule_of("cfg", "gamma", 1.5),
            num_tokens,
            choosing=Choosing(temperature=0.8, top_p=0.95, seed=seed),
            others=self.others(beside),
            tag=label,
        )
        self.found[label] = outcome.token_ids

    def paired_with(self, label: str, rule: dict[str, Any], which: list[int]) -> None:
        outcome = generate_pairs(
            self.llm,
            [self.pairs[i] for i in which],
            rule_of("cfg", "gamma", 1.5),
            12,
            further=[rule],
            choosing=Choosing(temperature=1.5, seed=3),
            tag=label,
        )
        self.found[label] = outcome.token_ids

    def masked(self, label: str, rules: list[dict[str, Any]], num: int, **settings: Any) -> None:
        text = wire.write(rules=rules)
        self.found[label] = [
            {"ids": list(o.token_ids), "reason": o.finish_reason}
            for o in self.generate(
                [[504, 1000 + i] for i in range(num)],
                [params(text, 40, **{"temperature": 1.5, **settings})] * num,
            )
        ]

    def weighted(
        self, label: str, rule: dict[str, Any], num: int, longest: int, beside: int
    ) -> None:
        settings = [
            params(
                wire.write(
                    rules=[{"rule": "weighted", "of": rule}],
                    choosing=Choosing(temperature=HOT.temperature, seed=i),
                    sync=SYNC,
                    max_tokens=longest,
                ),
                longest + wire.WEIGHT_TOKENS,
                ignore_eos=True,
                stop_token_ids=[SYNC],
            )
            for i in range(num)
        ]
        prompts = [[504, 1000 + i % 5] for i in range(num)]
        others = self.others(beside)
        outs = self.generate(
            [*prompts, *(p["prompt_token_ids"] for p, _ in others)],
            [*settings, *(s for _, s in others)],
        )
        self.found[label] = [
            {"prompt": p, "ids": list(o.token_ids), "stop": o.stop_reason}
            for p, o in zip(prompts, outs, strict=False)
        ]

    def refused(self, label: str, settings: Any) -> None:
        from vllm.exceptions import VLLMValidationError

        try:
            self.generate([[504]], [settings])
        except VLLMValidationError as error:
            self.found[label] = str(error)


def both_runners(runs: Runs, num: int, which: list[int], num_tokens: int) -> None:
    """What has to be the same on both runners."""
    text = wire.write(probe="runner")
    runs.found["probe"] = runs.ids([[504]], [params(text, 1)])
    runs.sampled("hot", 5, which, num_tokens, 0)
    runs.masked("trie", [{"rule": "trie", "members": MEMBERS}], num)
    runs.weighted("weighted trie", {"rule": "trie", "members": MEMBERS}, num, 12, 0)
    based = wire.write(rules=[{"rule": "trie", "members": [[504, 1370, 282]]}], base=2)
    runs.found["base"] = runs.ids([[9, 504, 1370]], [params(based, 8)])
    lone = wire.write(
        rules=[rule_of("cfg", "gamma", 2.0)], pair=("lone", "main"), choosing=GREEDY, sync=SYNC
    )
    runs.found["lone"] = runs.ids([[504, 28]], [params(lone, 8, stop_token_ids=[SYNC])])


def v1(folder: str) -> dict[str, Any]:
    from vllm import SamplingParams

    runs = Runs(folder)
    everything = list(range(len(runs.pairs)))
    plain = SamplingParams(temperature=0.0, max_tokens=NUM_TOKENS)
    runs.found["plain"] = runs.ids([main for main, _ in runs.pairs], plain)
    runs.found["others alone"] = runs.ids(
        [p["prompt_token_ids"] for p, _ in runs.others(16)], [s for _, s in runs.others(16)]
    )
    runs.exact(everything, RULES, NUM_TOKENS, 0)
    runs.exact(everything, RULES, NUM_TOKENS, 16)
    both_runners(runs, 60, [0, 16], 6)
    runs.sampled("seeded", 5, everything[:8], NUM_TOKENS, 0)
    runs.sampled("seeded again", 5, everything[:8], NUM_TOKENS, 16)
    runs.sampled("seeded otherwise", 6, everything[:8], NUM_TOKENS, 0)
    runs.masked("length", [{"rule": "length", "min_tokens": 3, "max_tokens": 7}], 60)
    greedy_end = {"temperature": 0.0, "logit_bias": {EOS: 100.0}}
    runs.masked("length that wants to end", [{"rule": "length", "min_tokens": 5}], 2, **greedy_end)
    runs.masked(
        "trie and length",
        [{"rule": "trie", "members": MEMBERS}, {"rule": "length", "min_tokens": 2}],
        40,
    )
    runs.masked("no token left", [{"rule": "trie", "members": [[60_000_000]]}], 1)
    constraint = {"rule": "constraint", "kind": "regex", "value": PATTERN}
    runs.weighted("weighted constraint", constraint, 30, 24, 0)
    runs.weighted("weighted and cut", {"rule": "trie", "members": [[504] * 30]}, 2, 5, 0)
    runs.paired_with("pair in trie", {"rule": "trie", "members": MEMBERS}, everything[:8])
    runs.paired_with("pair in constraint", constraint, everything[:8])
    runs.paired_with("pair of length", {"rule": "length", "max_tokens": 4}, everything[:8])
    runs.refused("version", params(wire.write(probe="version"), 1))
    runs.refused("bad gamma", params(wire.write(rules=[rule_of("cfg", "gamma", -1.0)]), 1))
    return runs.found


def tight(folder: str, **settings: Any) -> dict[str, Any]:
    """Chunked prefill, and cache blocks for the longest pair but too few for all."""
    runs = Runs(
        folder,
        max_model_len=1024,
        max_num_batched_tokens=TIGHT_STEP,
        max_num_seqs=32,
        block_size=32,
        num_gpu_blocks_override=40,
        **settings,
    )
    runs.exact(list(range(len(runs.pairs))), RULES, NUM_TOKENS, 16)
    before = runs.num_preemptions()
    runs.weighted("weighted", {"rule": "trie", "members": [[504, 1370] * 30]}, 24, 40, 8)
    runs.found["preemptions of weighted"] = runs.num_preemptions() - before
    return runs.found


def tight_pairs(folder: str) -> dict[str, Any]:
    return tight(folder, scheduler_cls="motet.serving.vllm.pair_scheduler.PairScheduler")


def v2(folder: str) -> dict[str, Any]:
    runs = Runs(folder, max_num_seqs=8)
    runs.exact([0, 16, 17], [RULES[1], RULES[4]], 6, 0)
    both_runners(runs, 4, [0, 16], 6)
    return runs.found


if __name__ == "__main__":
    modes: dict[str, Callable[[str], dict[str, Any]]] = {
        "v1": v1,
        "tight": tight,
        "tight_pairs": tight_pairs,
        "v2": v2,
    }
    print("FOUND", json.dumps(modes[sys.argv[2]](sys.argv[1])), flush=True)
