"""Token ids in, token ids out, on the engine in this process."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motet.engine import Usage
from motet.errors import EngineError, RequestRejectedError
from motet.serving.decoding import wire
from motet.serving.decoding.texts import decode_after
from motet.serving.decoding.token_engine import OnTokens, TokenReply, TokenRequest
from motet.serving.vllm.inprocess_params import make_params
from motet.serving.vllm.inprocess_work import Job, check_length, generate
from motet.serving.vllm.replies import logprob_by_id

if TYPE_CHECKING:
    from vllm import SamplingParams

    from motet.serving.vllm.engine import VllmEngine
    from motet.serving.vllm.inprocess import Live
    from motet.types import Chat

_RUNNERS = {1: "V1", 2: "V2"}
"""The token that the processor chooses when it is asked for the runner."""


_VERSION = re.compile(r"motet-processor version=(\d+)(?: layers=(\S+))?")


@dataclass(frozen=True, slots=True)
class Probed:
    """What motet's processor in the engine told of itself."""

    runner: str = ""
    """The live model runner, `V1` or `V2`; empty without the processor."""
    has_layers: bool = False
    """Whether it has the states of earlier layers."""


class TokenApi:
    """A `motet.serving.decoding.token_engine.TokenEngine`: one engine while it runs."""

    def __init__(self, engine: VllmEngine, live: Live) -> None:
        self._engine = engine
        self._live = live

    @property
    def runner(self) -> str:
        return self._live.runner or ""

    @property
    def eos_ids(self) -> frozenset[int]:
        return self._live.eos_ids

    @property
    def special_ids(self) -> frozenset[int]:
        return self._live.special_ids

    @property
    def context_tokens(self) -> int | None:
        return self._live.context_tokens

    async def encode(self, prompt: Chat | str | tuple[int, ...]) -> tuple[int, ...]:
        return self._live.encoder.encode(prompt)

    async def encode_bare(self, text: str) -> tuple[int, ...]:
        return self._live.encoder.encode_part("text", text) if text else ()

    async def decode(self, token_ids: tuple[int, ...], after: tuple[int, ...] = ()) -> str:
        async def plain(ids: tuple[int, ...]) -> str:
            return decode(self._live, ids)

        return await decode_after(plain, token_ids, after)

    async def generate(
        self, request: TokenRequest, on_tokens: OnTokens | None = None
    ) -> TokenReply:
        """Answer `request`; `on_tokens` is called on this event loop."""
        live = self._live
        prompt_ids = live.encoder.encode(request.prompt_ids)
        check_length(live, self._engine.url, prompt_ids)
        job = Job(
            url=self._engine.url,
            prompt_ids=prompt_ids,
            params=_params(live, request, is_streamed=on_tokens is not None),
            priority=request.priority,
            cache_salt=request.cache_salt,
            request_id=request.request_id,
            adapter=self._engine._adapter(request.model, live),
        )

        async def work(call: Any) -> TokenReply:
            def on_piece(piece: Any) -> None:
                if piece.token_ids or piece.text:
                    call.report(on_tokens, tuple(piece.token_ids), piece.text)

            told = None if on_tokens is None else on_piece
            [found], num_cached = await generate(live, job, told)
            wants_all = request.is_distribution_wanted and bool(found.logprobs)
            return TokenReply(
                token_ids=tuple(found.token_ids),
                text=found.text,
                finish_reason=found.finish_reason or "abort",
                stop_reason=found.stop_reason,
                logprobs=found.token_logprobs(request.sampling.logprobs),
                distribution=logprob_by_id(found.logprobs[0]) if wants_all else {},
                usage=Usage(len(prompt_ids), len(found.token_ids), num_cached, 1),
            )

        return await self._engine._carry_out(live, work)

    async def probe(self) -> Probed:
        """Learn about motet's processor.

        Raises:
            EngineError: The engine has a processor that speaks another version.
        """
        try:
            await self.generate(_probe("version"))
        except RequestRejectedError as error:
            found = _VERSION.search(str(error))
            if found is None:
                raise
        else:
            return Probed()
        if int(found[1]) != wire.VERSION:
            raise EngineError(
                f"{self._engine.url} runs version {found[1]} of motet's processor; this is version "
                f"{wire.VERSION}: install one motet for both"
            )
        reply = await self.generate(_probe("runner"))
        runner = _RUNNERS.get(reply.token_ids[0] if reply.token_ids else 0, "")
        return Probed(runner, has_layers=found[2] not in (None, "none"))


def decode(live: Live, token_ids: tuple[int, ...], *, keep_special: bool = False) -> str:
    """Return the text of ids, with or without special tokens."""
    backend = live.tokenizer.backend_tokenizer
    return str(backend.decode(list(token_ids), skip_special_tokens=not keep_special))


def _params(live: Live, request: TokenRequest, *, is_streamed: bool) -> SamplingParams:
    return make_params(
        request.sampling,
        defaults=live.defaults,
        constraint=request.constraint,
        is_streamed=is_streamed,
        stop_token_ids=list(request.stop_token_ids) or None,
        ignore_eos=request.ignore_eos or None,
        extra_args={wire.FIELD: request.wire} if request.wire else None,
        logprobs=-1 if request.is_distribution_wanted else None,
    )


def _probe(what: wire.Probe) -> TokenRequest:
    from motet.engine import Sampling

    sampling = Sampling(max_tokens=1, temperature=0.0)
    # A prompt of one token that every vocabulary has.
    return TokenRequest(prompt_ids=(1,), sampling=sampling, wire=wire.write(probe=what))
