"""Requests as work on vLLM's own event loop: generating, and scoring candidates."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from motet.errors import EngineUnavailableError, PromptTooLongError
from motet.serving.decoding.candidates import Ask
from motet.serving.decoding.together import together
from motet.serving.vllm.replies import Collected, cached_tokens, logprob_by_id, mapped_error

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.outputs import CompletionOutput

    from motet.serving.vllm.inprocess import Live

_numbers = itertools.count(1)

OnPiece: TypeAlias = "Callable[[CompletionOutput], None]"
"""Called on vLLM's loop with the next piece of a completion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request as vLLM takes it."""

    url: str
    """Of the engine, for messages."""
    prompt_ids: tuple[int, ...]
    params: SamplingParams
    priority: int = 0
    cache_salt: str | None = None
    request_id: str | None = None
    adapter: Any = None
    """vLLM's LoRARequest."""


def check_length(live: Live, url: str, prompt_ids: Sequence[int]) -> None:
    """Raise `PromptTooLongError` where the prompt leaves no room for a token."""
    limit = live.context_tokens
    if len(prompt_ids) >= limit:
        raise PromptTooLongError(
            f"the prompt has {len(prompt_ids)} tokens; {url} takes {limit - 1} at most, to leave "
            f"room for a completion in its {limit} tokens",
            prompt_tokens=len(prompt_ids),
            max_tokens=limit,
        )


async def generate(
    live: Live, job: Job, on_piece: OnPiece | None = None
) -> tuple[list[Collected], int]:
    """Return the completions, and how many prompt tokens were cached.

    Raises:
        EngineError: Serving failed; no error of vLLM's own leaves.
    """
    wants_top = job.params.logprobs and not job.params.logprob_token_ids
    apart = live.named_tokens.top() if wants_top else contextlib.nullcontext()
    async with apart:
        return await _generate(live, job, on_piece)


async def _generate(live: Live, job: Job, on_piece: OnPiece | None) -> tuple[list[Collected], int]:
    from vllm.inputs.engine import tokens_input

    found = [Collected() for _ in range(job.params.n)]
    num_cached = 0
    outputs = live.llm.generate(
        tokens_input(list(job.prompt_ids), cache_salt=job.cache_salt),
        job.params,
        f"{job.request_id or 'motet'}-{next(_numbers)}",
        priority=job.priority,
        lora_request=job.adapter,
    )
    try:
        async with contextlib.aclosing(outputs):
            async for output in outputs:
                num_cached = max(num_cached, cached_tokens(output))
                for piece in output.outputs:
                    found[piece.index].add(piece)
                    if on_piece is not None:
                        on_piece(piece)
    except Exception as exc:
        error = mapped_error(job.url, exc)
        if isinstance(error, EngineUnavailableError) and live.llm.errored:
            live.error = error
            live.stopping.set()
        raise error from (None if error is exc else exc)
    return found, num_cached


async def ask_all(live: Live, job: Job, asks: Sequence[Ask]) -> tuple[list[dict[int, float]], int]:
    """Return, for each of `asks`, the logprobs of its tokens; and all cached tokens.

    The prompt goes first, so that the others find it in the prefix cache.
    """
    found: list[dict[int, float]] = []
    num_cached = 0
    parts = [asks[:1], asks[1:]]
    for part in parts:
        for answer, cached in await together(*[_ask(live, job, ask) for ask in part]):
            found.append(answer)
            num_cached += cached
    return found, num_cached


async def _ask(live: Live, job: Job, ask: Ask) -> tuple[dict[int, float], int]:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    async with live.named_tokens.named() as may_name:
        params = SamplingParams(
            max_tokens=1,
            logprobs=None if may_name else -1,
            logprob_token_ids=list(ask.wanted) if may_name else None,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        one = Job(
            url=job.url,
            prompt_ids=ask.prefix_ids,
            params=params,
            priority=job.priority,
            cache_salt=job.cache_salt,
            request_id=job.request_id,
            adapter=job.adapter,
        )
        [collected], cached = await _generate(live, one, None)
    line = collected.logprobs[0] if collected.logprobs else {}
    return logprob_by_id(line, ask.wanted), cached
