"""The least client of motet's processor: pairs are resubmitted from what both have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from motet.serving.decoding import wire
from motet.serving.decoding.wire import Choosing

SYNC = 0
EOS = 2
GREEDY = Choosing(temperature=0.0)


@dataclass
class Outcome:
    token_ids: list[list[int]]
    rounds: int = 0
    wasted: int = 0
    """Tokens that were generated and not kept."""
    others: list[list[int]] = field(default_factory=list)


def params(text: str, max_tokens: int, **settings: Any) -> Any:
    from vllm import SamplingParams

    return SamplingParams(
        max_tokens=max_tokens,
        detokenize=False,
        extra_args={wire.FIELD: text},
        **{"temperature": 0.0, **settings},
    )


def generate_pairs(
    llm: Any,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    rule: dict[str, Any],
    max_tokens: int,
    *,
    further: Sequence[dict[str, Any]] = (),
    choosing: Choosing = GREEDY,
    others: Sequence[tuple[Any, Any]] = (),
    max_rounds: int = 40,
    tag: str = "",
) -> Outcome:
    """Continue each pair; `others` are prompts with parameters that run beside the first round."""
    from vllm.inputs import TokensPrompt

    outcome = Outcome([[] for _ in pairs])
    is_done = [False] * len(pairs)
    while not all(is_done) and outcome.rounds < max_rounds:
        outcome.rounds += 1
        todo = [i for i, done in enumerate(is_done) if not done]
        prompts: list[Any] = []
        settings: list[Any] = []
        for i in todo:
            had = outcome.token_ids[i]
            for role, prompt in zip(("main", "partner"), pairs[i], strict=True):
                text = wire.write(
                    rules=[rule, *further],
                    pair=(f"{tag}{i}.{outcome.rounds}", role),
                    choosing=choosing,
                    sync=SYNC,
                    base=len(had),
                )
                prompts.append(TokensPrompt(prompt_token_ids=[*prompt, *had]))
                settings.append(params(text, max_tokens - len(had), stop_token_ids=[SYNC]))
        beside = list(others) if outcome.rounds == 1 else []
        outs = llm.generate(
            prompts + [p for p, _ in beside], settings + [s for _, s in beside], use_tqdm=False
        )
        for n, i in enumerate(todo):
            first, second = (list(outs[2 * n + k].outputs[0].token_ids) for k in range(2))
            shared = 0
            for a, b in zip(first, second, strict=False):
                if a != b or a == SYNC:
                    break
                shared += 1
            outcome.wasted += len(first) + len(second) - 2 * shared
            outcome.token_ids[i] += first[:shared]
            had = outcome.token_ids[i]
            is_done[i] = len(had) >= max_tokens or bool(shared and had[-1] == EOS)
        if beside:
            outcome.others = [list(o.outputs[0].token_ids) for o in outs[2 * len(todo) :]]
    assert all(is_done), f"{is_done.count(False)} pairs are not done after {max_rounds} rounds"
    return outcome
