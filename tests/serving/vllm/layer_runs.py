"""Runs `dola` on a real engine in this process; prints the tokens as JSON.

`python -m tests.serving.vllm.layer_runs MODEL NUM_PROMPTS NUM_TOKENS`
"""

from __future__ import annotations

import json
import sys
from typing import Any

from motet.decoding import dola
from motet.serving.decoding import wire

PROMPTS = [
    "The capital of France is",
    "Water boils at a temperature of",
    "The author of Hamlet is",
    "Photosynthesis is the process by which",
    "In 1969, the first human",
    "The largest planet in our solar system is",
]
LAYERS = [0, 2, 16, 18, 20, 22, 24, 26, 28]
"""What the server keeps: more than any one rule here names."""
RULES = {
    "high": dola("high"),
    "reference": dola("high", divergence="reference"),
    "two": dola([2, 20], relative_top=0.3),
}


def main(model: str, num_prompts: str, num_tokens: str) -> None:
    from vllm import LLM, SamplingParams

    from motet.serving.vllm import layer_tap

    layer_tap.register()  # as vLLM does by the entry point; again is harmless
    llm = LLM(
        model,
        dtype="float32",
        max_model_len=256,
        enforce_eager=True,
        max_num_seqs=32,
        block_size=32,
        logits_processors=["motet.serving.vllm.processor:MotetProcessor"],
        hf_overrides=layer_tap.hf_overrides(model, LAYERS),
    )

    def params(rule: Any) -> Any:
        extra = None if rule is None else {wire.FIELD: wire.write(rules=[wire.rule_body(rule)])}
        return SamplingParams(max_tokens=int(num_tokens), temperature=0.0, extra_args=extra)

    prompts = PROMPTS[: int(num_prompts)]

    def run(kinds: list[Any]) -> list[list[int]]:
        given = [prompt for prompt in prompts for _ in kinds]
        outs = llm.generate(given, [params(kind) for _ in prompts for kind in kinds])
        return [list(out.outputs[0].token_ids) for out in outs]

    found: dict[str, Any] = {
        "is_live": layer_tap.is_live(),
        "alone": run([RULES["high"]]),
        "plain": run([None]),
        "mixed": run([None, *RULES.values()]),
        "runner": type(llm.llm_engine.model_executor.driver_worker.worker.model_runner).__module__,
        "refused": "",
    }
    try:
        layer_tap.check(dola([4]).parameters())
    except ValueError as exc:
        found["refused"] = str(exc)
    print("REPORT " + json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
