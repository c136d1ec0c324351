"""Token ids in, token ids out, over a vLLM server's text completions."""

from __future__ import annotations

import contextlib
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from motet.errors import (
    ConfigError,
    EngineUnavailableError,
    GarbledReplyError,
    RequestRejectedError,
)
from motet.serving.decoding import wire
from motet.serving.decoding.texts import INCOMPLETE, decode_after
from motet.serving.decoding.together import together
from motet.serving.decoding.token_engine import TokenReply
from motet.serving.openai.bodies import (
    PLAIN_FIELDS,
    TEXT_PATH,
    add_extra,
    check_extra,
    constraint_fields,
    encode,
    write_count,
)
from motet.serving.openai.replies import read_reply
from motet.serving.openai.streams import StreamedReply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motet.serving.decoding.token_engine import OnTokens, TokenRequest
    from motet.serving.openai.connection import Connection
    from motet.serving.openai.detection import ServerFacts
    from motet.types import Chat

TOKENIZE_PATH = "/tokenize"
_ROUNDING: Final = 1e-3
"""By so much a logprob may be above 0."""
DETOKENIZE_PATH = "/detokenize"
_KNOWN: Final = (
    "</s>",
    "<|endoftext|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|return|>",
    "<end_of_turn>",
    "<eos>",
    "<|eom_id|>",
    "<s>",
    "<bos>",
    "<|begin_of_text|>",
    "<unk>",
    "<pad>",
)
"""Texts that end a turn in some model, and others that are special; those that are one token of
this model are tried."""
_MOST_ENCODED: Final = 16
_MOST_AT_ONCE: Final = 8192
"""Ids whose texts are asked for in one request."""
_NAME = re.compile(r"<(?!0x[0-9A-Fa-f]{2}>)[^<>\s]+>|\[/?[A-Z_]+\]")
"""What special tokens are called; tokens of text may be called so too, and `<0x0A>` is a byte."""


@dataclass(frozen=True, slots=True)
class Specials:
    """Special tokens of a model."""

    ids: frozenset[int]
    eos_ids: frozenset[int]
    """Those that end a completion."""


class HttpTokens:
    """The side of a vLLM server that decoding rules are carried out on: a `TokenEngine`.

    Cancelling `generate` closes the connection, upon which vLLM drops the request.
    """

    def __init__(
        self, connection: Connection, facts: ServerFacts, model: str, specials: Specials
    ) -> None:
        self._connection = connection
        self._facts = facts
        self._model = model
        self._specials = specials
        self._texts: dict[int, str] = {}
        self._pieces: dict[int, str] = {}
        self._encoded: OrderedDict[Any, tuple[int, ...]] = OrderedDict()

    @property
    def runner(self) -> str:
        """The live model runner, `V1` or `V2`; empty without motet's processor."""
        return self._facts.runner

    @property
    def eos_ids(self) -> frozenset[int]:
        return self._specials.eos_ids

    @property
    def special_ids(self) -> frozenset[int]:
        """Special tokens of the chat template, and ends of turn."""
        return self._specials.ids

    @property
    def context_tokens(self) -> int | None:
        """What the server said of the model; of an adapter, that of its base."""
        limits = self._facts.models
        return limits.get(self._model if self._model in limits else next(iter(limits), ""))

    async def encode(self, prompt: Chat | str | tuple[int, ...]) -> tuple[int, ...]:
        """Return the ids of a prompt; of a chat, with the template and its generation prompt.

        A chat that ends with an assistant's turn is left open there.
        """
        if not isinstance(prompt, str) and prompt and isinstance(prompt[0], int):
            return prompt
        return await self._tokenize(write_count(prompt, self._model))  # type: ignore[arg-type]

    async def encoded(self, prompt: Chat | str | tuple[int, ...]) -> tuple[int, ...]:
        """Return what `encode` does; the last few prompts are remembered."""
        known = self._encoded.get(prompt)
        if known is None:
            known = self._encoded[prompt] = await self.encode(prompt)
        self._encoded.move_to_end(prompt)
        if len(self._encoded) > _MOST_ENCODED:
            self._encoded.popitem(last=False)
        return known

    async def token_texts(self, ids: Sequence[int]) -> tuple[str, ...]:
        """Return what each id adds to a text; special ones nothing. Each is asked for once."""
        missing = [token for token in dict.fromkeys(ids) if token not in self._pieces]
        found = {token: "" for token in missing if token in self._specials.ids}
        shown = [token for token in missing if token not in found]
        for start in range(0, len(shown), _MOST_AT_ONCE):
            some = shown[start : start + _MOST_AT_ONCE]
            found |= dict(zip(some, await self._parted(some), strict=True))
        self._pieces |= found
        return tuple(self._pieces[token] for token in ids)

    async def _parted(self, ids: Sequence[int]) -> list[str]:
        """Return the texts of ids, with one request where an end of turn can stand between them."""
        marks = sorted(self._specials.eos_ids)[:1]
        if marks and len(ids) > 1:
            mark = await self.token_text(marks[0])
            whole = await self._detokenize([each for token in ids for each in (*marks, token)])
            pieces = whole.split(mark)[1:] if mark else []
            if len(pieces) == len(ids):
                return pieces
        return await together(*map(self.token_text, ids))

    async def joined(self, ids: tuple[int, ...]) -> str:
        """Return the text of ids that stand behind others; each token is asked for once."""
        pieces = await self.token_texts(ids)
        if any(INCOMPLETE in piece for piece in pieces):
            return await self._decode(ids)
        return "".join(pieces)

    async def encode_bare(self, text: str) -> tuple[int, ...]:
        """Return the ids of `text` by itself, without special tokens."""
        body = {"model": self._model, "prompt": text, "add_special_tokens": False}
        return await self._tokenize(encode(body)) if text else ()

    async def decode(self, token_ids: tuple[int, ...], after: tuple[int, ...] = ()) -> str:
        """Return the text of ids, without the special tokens that chats and endings are made of.

        Args:
            token_ids: Whose text is wanted.
            after: The ids before them, on which the text may depend.
        """
        return await decode_after(self._decode, token_ids, after)

    async def token_text(self, token_id: int) -> str:
        """Return the text of one id, special ones too; each is asked for once."""
        text = self._texts.get(token_id)
        if text is None:
            text = self._texts[token_id] = await self._detokenize([token_id])
        return text

    async def generate(
        self, request: TokenRequest, on_tokens: OnTokens | None = None
    ) -> TokenReply:
        """Generate one completion; with `on_tokens`, report tokens while they come.

        Raises:
            EngineError: Serving failed.
            ConfigError: The request asks for what this server cannot carry.
        """
        body = self._write(request, is_streamed=on_tokens is not None)
        headers = request_headers(request.request_id)
        if on_tokens is None:
            reply = await self._connection.ask("POST", TEXT_PATH, encode(body), headers=headers)
        else:
            reply = await self._stream(encode(body), headers, on_tokens)
        return _read(reply, is_distribution_wanted=request.is_distribution_wanted)

    def _write(self, request: TokenRequest, *, is_streamed: bool) -> dict[str, Any]:
        if not request.prompt_ids:
            raise ConfigError("prompt_ids is (); it must hold a token")
        sampling, facts = request.sampling, self._facts
        check_extra(sampling.extra, facts.text_fields, facts.version)
        body: dict[str, Any] = {
            "model": request.model or self._model,
            "prompt": request.prompt_ids,
            "max_tokens": sampling.max_tokens,
            "return_token_ids": True,
        }
        set_fields = {
            **{name: getattr(sampling, name) for name in PLAIN_FIELDS},
            "stop": sampling.stop or None,
            "stop_token_ids": request.stop_token_ids or None,
            "ignore_eos": request.ignore_eos or None,
            "priority": request.priority or None,
            "cache_salt": facts.salt(request.cache_salt, request.model or self._model),
        }
        body |= {name: value for name, value in set_fields.items() if value is not None}
        if request.is_distribution_wanted:
            body |= {"logprobs": -1, "return_tokens_as_token_ids": True}
        elif sampling.logprobs is not None:
            body["logprobs"] = sampling.logprobs
        if request.constraint is not None:
            body |= constraint_fields(request.constraint, facts)
        if is_streamed:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        add_extra(body, sampling.extra)
        xargs = body.get("vllm_xargs") or {}
        if wire.FIELD in xargs:
            raise ConfigError(f"sampling.extra holds {wire.FIELD!r} in vllm_xargs; set decoding")
        if request.wire:
            body["vllm_xargs"] = {**xargs, wire.FIELD: request.wire}
        return body

    async def _stream(
        self, content: bytes, headers: dict[str, str], on_tokens: OnTokens
    ) -> dict[str, Any]:
        response = await self._connection.send("POST", TEXT_PATH, content, headers=headers)
        joined = StreamedReply(1, lambda index, text: None)
        async with contextlib.aclosing(self._connection.events(response)) as events:
            async for event in events:
                if event is None:
                    break
                ids, text = _piece(event)
                joined.add(event)
                if ids or text:
                    on_tokens(ids, text)
        if not joined.is_finished:
            raise EngineUnavailableError("the connection dropped in the middle of the stream")
        return joined.body()

    async def _decode(self, token_ids: tuple[int, ...]) -> str:
        kept = [token for token in token_ids if token not in self._specials.ids]
        return await self._detokenize(kept) if kept else ""

    async def _tokenize(self, content: bytes) -> tuple[int, ...]:
        body = await self._connection.ask("POST", TOKENIZE_PATH, content, is_root=True)
        return _ids(body.get("tokens"), TOKENIZE_PATH)

    async def _detokenize(self, ids: list[int]) -> str:
        content = encode({"model": self._model, "tokens": ids})
        body = await self._connection.ask("POST", DETOKENIZE_PATH, content, is_root=True)
        text = body.get("prompt")
        if not isinstance(text, str):
            raise GarbledReplyError("the reply of /detokenize has no text")
        return text


def request_headers(request_id: str | None) -> dict[str, str]:
    """Name a request in the server's log, where its id can stand in a header."""
    if request_id is None or not (request_id.isascii() and request_id.isprintable()):
        return {}
    return {"x-request-id": request_id}


async def find_specials(connection: Connection, model: str) -> Specials:
    """Find special tokens: among those of the chat template, and known ones.

    vLLM does not tell them; so each that is called like one is forced as the next token. A special
    one is left out of the text; an end of turn ends the completion.

    Raises:
        EngineError: Serving failed.
    """
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    asked: list[dict[str, Any]] = [
        {"messages": chat, "add_generation_prompt": False},
        {"prompt": "".join(_KNOWN), "add_special_tokens": False},
    ]
    found: dict[int, None] = {}
    for fields in asked:
        content = encode({"model": model, "return_token_strs": True, **fields})
        try:
            body = await connection.ask("POST", TOKENIZE_PATH, content, is_root=True)
        except RequestRejectedError:
            continue
        ids = _ids(body.get("tokens"), TOKENIZE_PATH)
        names = body.get("token_strs") or ()
        found |= {
            token: None
            for token, name in zip(ids, names, strict=False)
            if isinstance(name, str) and _NAME.fullmatch(name)
        }
    trials = await together(*[_forced(connection, model, token) for token in found])
    ends = {token for token, trial in zip(found, trials, strict=True) if trial.ends}
    silent = {token for token, trial in zip(found, trials, strict=True) if trial.is_silent}
    return Specials(frozenset(ends | silent), frozenset(ends))


@dataclass(frozen=True, slots=True)
class _Trial:
    """What came of a token that was forced."""

    ends: bool
    is_silent: bool


async def _forced(connection: Connection, model: str, token: int) -> _Trial:
    body = {
        "model": model,
        "prompt": [token],
        "max_tokens": 2,
        "temperature": 0,
        "allowed_token_ids": [token],
        "skip_special_tokens": True,
    }
    reply = await connection.ask("POST", TEXT_PATH, encode(body))
    completion = read_reply(reply, n=1, model=model).completions[0]
    return _Trial(completion.finish_reason == "stop", not completion.text)


def _piece(event: dict[str, Any]) -> tuple[tuple[int, ...], str]:
    """Read the tokens that one event of a stream brings, before it is joined to the others."""
    choices = event.get("choices")
    if not choices or not isinstance(choices, list) or not isinstance(choices[0], dict):
        return (), ""
    text = choices[0].get("text")
    ids = choices[0].get("token_ids")
    return _ids(ids or [], "the stream"), text if isinstance(text, str) else ""


def _ids(ids: Any, place: str) -> tuple[int, ...]:
    if not isinstance(ids, list) or not all(type(token) is int for token in ids):
        raise GarbledReplyError(f"the token ids of {place} are no list of numbers")
    return tuple(ids)


def _read(body: dict[str, Any], *, is_distribution_wanted: bool) -> TokenReply:
    reply = read_reply(body, n=1, model="")
    completion = reply.completions[0]
    stop_reason = body["choices"][0].get("stop_reason")
    return TokenReply(
        token_ids=completion.token_ids,
        text=completion.text,
        finish_reason=completion.finish_reason,
        stop_reason=stop_reason if isinstance(stop_reason, (str, int)) else None,
        logprobs=() if is_distribution_wanted else completion.logprobs,
        distribution=read_places(body)[0] if is_distribution_wanted else {},
        usage=reply.usage,
    )


def read_places(body: dict[str, Any]) -> list[dict[int, float]]:
    """Return the logprobs by token id that each choice has at its first token.

    The request must have set `return_tokens_as_token_ids`.

    Raises:
        GarbledReplyError: They are malformed, or there are none.
    """
    try:
        placed = sorted(body["choices"], key=lambda choice: choice["index"])
        found = [
            {
                int(name.removeprefix("token_id:")): float(logprob)
                for name, logprob in choice["logprobs"]["top_logprobs"][0].items()
            }
            for choice in placed
        ]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
        raise GarbledReplyError("a choice's logprobs are malformed") from exc
    for each in found:
        wrong = [v for v in each.values() if not v <= _ROUNDING]  # of a NaN nothing is true
        if not each or wrong or min(each) < 0:
            shown = f"logprobs like {wrong[0]}" if wrong else f"logprobs of {len(each)} tokens"
            raise GarbledReplyError(f"a choice has {shown}, which are none of a distribution")
    return found
