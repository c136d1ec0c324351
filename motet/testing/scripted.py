"""An engine without a model, which answers from a script."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from motet.engine import Capability, Completion, Reply, Request, TokenLogprob, Usage
from motet.errors import ConfigError
from motet.next_tokens import ALL, NextTokens, check_next, likeliest, whole
from motet.testing.derived import derived_logprobs, derived_text, derived_vector, end, pieces
from motet.types import Embedding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from motet.engine import OnDelta
    from motet.types import Chat

ScriptedText: TypeAlias = "str | Completion"


@dataclass(frozen=True, slots=True)
class Delayed:
    """A reply that takes its own time, in seconds, instead of the engine's `delay_s`."""

    delay_s: float
    reply: ScriptedReply


ScriptedReply: TypeAlias = (
    "ScriptedText | Sequence[ScriptedText] | Sequence[float] | Sequence[Sequence[float]] | "
    "NextTokens | Exception | Delayed"
)
"""For one request: a text for each completion alike, one for each, or an error to raise; numbers
where candidates or the prompt are scored or the prompt is embedded."""
Script: TypeAlias = "Callable[[Request], ScriptedReply] | Mapping[str, Any] | list[Any]"
"""The values of a table are replies or lists of them; a list holds replies."""

_CAPABILITIES = frozenset(
    {
        Capability.LOGPROBS,
        Capability.GRAMMAR,
        Capability.CONTINUE,
        Capability.SEED,
        Capability.STREAM,
    }
)


class ScriptedEngine:
    """Answers from a script, and records what it was asked.

    A script is one of these:

    - a function of the request;
    - a table from prompts to replies. A key matches the text of the prompt's last message, else
      the first key that the prompt holds anywhere is taken;
    - a list of replies, which each prompt takes in order from the list's beginning. A value of the
      table that is a list is taken in order too; to give each of n completions its own text, use a
      tuple;
    - None: texts derived from prompt, seed and the completion's index; vectors from the prompt.

    Where candidates are to be scored, the reply is a tuple of their logprobs. Where the prompt is
    to be rewarded, it is a tuple of numbers, one for each step, or of tuples of the classes' numbers.
    Where next tokens are asked for, it is a `NextTokens` of all tokens there are, by id; the engine
    leaves out those that were not asked for.
    Where it is to be embedded, it is a tuple of the vector's numbers.

    A word with the space after it counts as a token. Texts end at the request's stop texts and at
    its `max_tokens`; a `Completion` is passed on as it is.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        name: str = "scripted",
        delay_s: float | Callable[[Request], float] = 0.0,
        capabilities: frozenset[Capability] = _CAPABILITIES,
        decoding_rules: Mapping[str, str] | None = None,
        context_tokens: int | None = None,
        max_concurrency: int = 1024,
    ) -> None:
        self._script = script
        self._name = name
        self._delay_s = delay_s
        self._capabilities = capabilities
        self._decoding_rules = dict(decoding_rules or {})
        self._context_tokens = context_tokens
        self._max_concurrency = max_concurrency
        self._num_taken: dict[str, int] = {}
        """Prompt -> how many replies of its list are used up."""
        self.requests: list[Request] = []
        """Every request, in the order of the calls."""
        self.in_flight = 0
        self.peak_in_flight = 0
        self.num_aborted = 0
        """Requests that were cancelled before their answer."""
        self.is_closed = False

    @property
    def url(self) -> str:
        return f"scripted:{self._name}"

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._capabilities

    @property
    def decoding_rules(self) -> Mapping[str, str]:
        """Kinds of rules that it takes, as they were given; they change nothing in the script."""
        return self._decoding_rules

    @property
    def context_tokens(self) -> int | None:
        return self._context_tokens

    @property
    def max_concurrency(self) -> int:
        return self._max_concurrency

    async def complete(self, request: Request, on_delta: OnDelta | None = None) -> Reply:
        self.requests.append(request)
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            delay_s = self._delay_s(request) if callable(self._delay_s) else self._delay_s
            reply = self._find(request)
            if isinstance(reply, Delayed):
                delay_s, reply = reply.delay_s, reply.reply
            await asyncio.sleep(delay_s)
            if isinstance(reply, Exception):
                raise reply
            if request.is_rewarded:
                usage = Usage(prompt_tokens=_count(request.prompt), calls=1)
                return Reply((), usage, request.model or self._name, rewards=_rewarded(reply))
            if request.is_embedded:
                usage = Usage(prompt_tokens=_count(request.prompt), calls=1)
                embedding = _embedded(reply)
                return Reply((), usage, request.model or self._name, embedding=embedding)
            if request.next_tokens is not None:
                check_next(request)
                usage = Usage(_count(request.prompt) + len(request.written), 1, calls=1)
                told = _told(reply, request)
                return Reply((), usage, request.model or self._name, next_tokens=told)
            completions = (
                _scored(reply, request) if request.candidates else _completions(reply, request)
            )
            if on_delta is not None:
                await _stream(completions, on_delta)
        except asyncio.CancelledError:
            self.num_aborted += 1
            raise
        finally:
            self.in_flight -= 1
        usage = Usage(
            prompt_tokens=_count(request.prompt),
            completion_tokens=sum(len(pieces(each.text)) for each in completions),
            calls=1,
        )
        return Reply(completions, usage, request.model or self._name)

    async def count_tokens(self, prompt: Chat | str | tuple[int, ...]) -> int | None:
        return _count(prompt)

    async def aclose(self) -> None:
        self.is_closed = True

    def _find(self, request: Request) -> ScriptedReply:
        if self._script is None and request.is_embedded:
            return derived_vector(_text(request.prompt))
        if self._script is None:
            prompt, seed = _text(request.prompt), request.sampling.seed
            return tuple(derived_text(prompt, seed, index) for index in range(request.n))
        if callable(self._script):
            return self._script(request)
        text = _text(request.prompt)
        if isinstance(self._script, list):
            return self._next(text, self._script)
        last = _last_text(request.prompt)
        key = last if last in self._script else next((k for k in self._script if k in text), None)
        if key is None:
            raise ConfigError(f"{self.url} has no reply for the prompt {text[:200]!r}")
        found = self._script[key]
        return self._next(text, found) if isinstance(found, list) else found

    def _next(self, prompt: str, replies: list[ScriptedReply]) -> ScriptedReply:
        taken = self._num_taken.get(prompt, 0)
        if taken == len(replies):
            raise ConfigError(f"{self.url} has no more replies for the prompt {prompt[:200]!r}")
        self._num_taken[prompt] = taken + 1
        return replies[taken]


def _completions(reply: Any, request: Request) -> tuple[Completion, ...]:
    if isinstance(reply, (str, Completion)):
        reply = (reply,) * request.n
    if isinstance(reply, (Exception, Delayed)) or len(reply) != request.n:
        raise ConfigError(f"the script says {reply!r}; {request.n} completions were asked for")
    return tuple(_completion(each, request) for each in reply)


def _scored(reply: Any, request: Request) -> tuple[Completion, ...]:
    if not isinstance(reply, (list, tuple)) or len(reply) != len(request.candidates):
        raise ConfigError(
            f"the script says {reply!r}; logprobs of {len(request.candidates)} candidates were "
            "asked for"
        )
    return tuple(
        Completion(str(text), logprobs=(TokenLogprob(str(text), float(logprob)),))
        for text, logprob in zip(request.candidates, reply, strict=True)
    )


def _rewarded(reply: Any) -> tuple[tuple[float, ...], ...]:
    if not isinstance(reply, (list, tuple)) or any(isinstance(each, str) for each in reply):
        raise ConfigError(
            f"the script says {reply!r}; the numbers of a reward model were asked for"
        )
    rows = (each if isinstance(each, (list, tuple)) else (each,) for each in reply)
    return tuple(tuple(map(float, row)) for row in rows)


def _embedded(reply: Any) -> Embedding:
    if not isinstance(reply, (list, tuple)) or any(isinstance(each, str) for each in reply):
        raise ConfigError(f"the script says {reply!r}; the numbers of a vector were asked for")
    return Embedding(tuple(map(float, reply)))


def _told(reply: Any, request: Request) -> NextTokens:
    if not isinstance(reply, NextTokens):
        raise ConfigError(f"the script says {reply!r}; next tokens were asked for")
    texts = dict(zip(reply.ids, reply.texts, strict=False)) if request.are_texts_wanted else {}
    if request.next_tokens == ALL:
        told = whole(reply.logprobs, reply.ends, reply.text)
    else:
        logprobs = dict(zip(reply.ids, reply.logprobs, strict=True))
        ids = likeliest(logprobs, request.next_tokens or ALL, reply.ends)
        told = replace(reply, ids=tuple(ids), logprobs=tuple(logprobs[i] for i in ids), texts=())
    return replace(told, texts=tuple(texts[token] for token in told.ids) if texts else ())


def _completion(reply: ScriptedText, request: Request) -> Completion:
    sampling = request.sampling
    if isinstance(reply, str):
        ended = end(reply, sampling.max_tokens, sampling.stop)
        reply = Completion(ended.text, "length" if ended.is_cut else "stop", ended.stop_text)
    if sampling.logprobs is None or reply.logprobs:
        return reply
    return replace(reply, logprobs=derived_logprobs(pieces(reply.text), sampling.logprobs))


async def _stream(completions: Sequence[Completion], on_delta: OnDelta) -> None:
    for index, completion in enumerate(completions):
        for piece in pieces(completion.text):
            on_delta(index, piece)
            await asyncio.sleep(0)


def _text(prompt: Chat | str | tuple[int, ...]) -> str:
    """Return the prompt's texts, a line each; token ids as they are written."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(str(each) if isinstance(each, int) else each.content for each in prompt)


def _last_text(prompt: Chat | str | tuple[int, ...]) -> str:
    return prompt if isinstance(prompt, str) else _text(prompt[-1:])


def _count(prompt: Chat | str | tuple[int, ...]) -> int:
    if prompt and isinstance(prompt[0], int):
        return len(prompt)
    return len(_text(prompt).split())
