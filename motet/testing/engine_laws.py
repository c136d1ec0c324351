"""What every engine must keep to, as checks for people who add one."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from motet.engine import Capability, Engine, FinishReason, Reply, Request, Sampling
from motet.errors import MotetError
from motet.types import Message

if TYPE_CHECKING:
    from motet.types import Chat

_ABORT_S = 2.0
_PROMPT = (Message.user("Count from one to ten."),)


async def check_engine(
    engine: Engine,
    *,
    model: str | None = None,
    prompt: Chat | str = _PROMPT,
    abort_after_s: float = 0.005,
) -> None:
    """Raise an `AssertionError` that names the first law which `engine` breaks.

    It makes about six small requests.

    Args:
        engine: What to check. It stays open.
        model: The model's name in each request.
        prompt: Anything that gets a text for an answer.
        abort_after_s: When to cancel a request; the engine should still be at work then.
    """
    _check_properties(engine)
    request = Request(model=model, prompt=prompt, sampling=Sampling(max_tokens=32, seed=7))
    _check_reply(await engine.complete(request), request)
    await _check_samples(engine, request)
    if Capability.STREAM in engine.capabilities:
        await _check_deltas(engine, request)
    if Capability.LOGPROBS in engine.capabilities:
        await _check_logprobs(engine, request)
    await _check_abort(engine, request, abort_after_s)
    await _check_count(engine, prompt)
    await _check_errors(engine, request)


def _hold(law: bool, message: str) -> None:
    if not law:
        raise AssertionError(message)


def _check_properties(engine: Engine) -> None:
    _hold(isinstance(engine, Engine), "it lacks a member of the Engine protocol")
    _hold(isinstance(engine.url, str) and bool(engine.url), "url is no text")
    _hold(
        isinstance(engine.capabilities, frozenset)
        and all(isinstance(each, Capability) for each in engine.capabilities),
        "capabilities is no frozenset of Capability",
    )
    _hold(
        isinstance(engine.max_concurrency, int) and engine.max_concurrency >= 1,
        "max_concurrency is below 1",
    )
    _hold(
        engine.context_tokens is None or engine.context_tokens >= 1,
        "context_tokens is neither None nor positive",
    )


def _check_reply(reply: Reply, request: Request) -> None:
    n, usage = request.n, reply.usage
    _hold(len(reply.completions) == n, f"{len(reply.completions)} completions came, not {n}")
    for completion in reply.completions:
        _hold(isinstance(completion.text, str), "a completion's text is no text")
        reason = completion.finish_reason
        _hold(reason in get_args(FinishReason), f"finish_reason is {reason!r}")
    _hold(usage.calls == 1, f"usage counts {usage.calls} calls, not 1")
    _hold(usage.prompt_tokens >= usage.cached_tokens >= 0, "usage has more cached than prompt")
    most = n * request.sampling.max_tokens
    _hold(0 <= usage.completion_tokens <= most, "more completion tokens than max_tokens allows")


async def _check_samples(engine: Engine, request: Request) -> None:
    three = replace(request, n=3)
    _check_reply(await engine.complete(three), three)


async def _check_deltas(engine: Engine, request: Request) -> None:
    two = replace(request, n=2)
    texts = ["", ""]

    def on_delta(index: int, text: str) -> None:
        texts[index] += text

    reply = await engine.complete(two, on_delta)
    _check_reply(reply, two)
    _hold(
        texts == [each.text for each in reply.completions],
        "the deltas, joined by index, are not the completions' texts",
    )


async def _check_logprobs(engine: Engine, request: Request) -> None:
    reply = await engine.complete(
        replace(request, sampling=request.sampling.updated({"logprobs": 2}))
    )
    logprobs = reply.completions[0].logprobs
    _hold(bool(logprobs) or not reply.completions[0].text, "logprobs were asked for; none came")
    for each in logprobs:
        _hold(each.logprob <= 1e-6, f"a logprob is {each.logprob}, above 0")
        values = [logprob for _, logprob in each.top]
        _hold(values == sorted(values, reverse=True), "top is not sorted, best first")


async def _check_abort(engine: Engine, request: Request, after_s: float) -> None:
    call = asyncio.ensure_future(engine.complete(request))
    await asyncio.sleep(after_s)
    call.cancel()
    start_s = time.monotonic()
    await asyncio.wait([call], timeout=_ABORT_S)
    _hold(call.done(), f"cancellation took more than {_ABORT_S:g} s")
    _hold(
        call.cancelled() or call.exception() is None,
        "a cancelled call raised something other than CancelledError",
    )
    _hold(time.monotonic() - start_s < _ABORT_S, "cancellation was slow")


async def _check_count(engine: Engine, prompt: Chat | str) -> None:
    for counted in (prompt, "one two three"):
        count = await engine.count_tokens(counted)
        _hold(
            count is None or (type(count) is int and count > 0),
            f"count_tokens gave {count!r}, neither None nor a positive int",
        )


async def _check_errors(engine: Engine, request: Request) -> None:
    """An engine may ignore the model's name, but what it raises must be motet's."""
    unknown = replace(request, model="no-such-model-2c9f")
    try:
        _check_reply(await engine.complete(unknown), unknown)
    except MotetError:
        return
    except AssertionError:
        raise
    except Exception as exc:
        raise AssertionError(f"an unknown model raised a foreign {type(exc).__name__}") from exc
