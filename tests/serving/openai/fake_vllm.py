"""A vLLM server as far as the engine can tell: its own paths, fields and refusals, no model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from base64 import b64encode
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from aiohttp import web

from motet.serving.decoding import wire
from motet.serving.openai import connect

FIELDS = (
    *("model", "prompt", "messages", "n", "max_tokens", "temperature", "seed", "stop", "stream"),
    *("stream_options", "logprobs", "top_p", "top_k", "min_p", "repetition_penalty"),
    *("presence_penalty", "frequency_penalty", "stop_token_ids", "ignore_eos", "priority"),
    *("allowed_token_ids", "logprob_token_ids", "return_tokens_as_token_ids", "cache_salt"),
    *("return_token_ids", "vllm_xargs", "structured_outputs", "continue_final_message"),
    "add_generation_prompt",
)
EOS = 2


def logprob(prefix: tuple[int, ...], token: int) -> float:
    """A number that depends on the whole prefix, so that a wrong prefix shows."""
    return -1.0 - (sum((i + 1) * t for i, t in enumerate(prefix)) * 31 + token * 7) % 1000 / 1000


class FakeVLLM:
    """Tokens are the characters' code points; the next token is the last one plus one."""

    def __init__(
        self,
        *,
        version: str = "0.32.0",
        fields: tuple[str, ...] = FIELDS,
        has_schema: bool = True,
        has_adapters: bool = True,
        processor: str | None = None,
        runner: int = 1,
        max_logprobs: int = 20,
        vocabulary: int = 1000,
        context: int = 100,
        special_ids: frozenset[int] = frozenset({EOS}),
        template: Mapping[int, str] = MappingProxyType({}),
        tokenizer: Any = None,
    ) -> None:
        self.version = version
        self.fields = fields
        self.has_schema = has_schema
        self.has_adapters = has_adapters
        self.processor = processor
        self.runner = runner
        self.max_logprobs = max_logprobs
        self.vocabulary = vocabulary
        self.context = context
        self.special_ids = special_ids
        """Left out of a completion's text."""
        self.template = template
        """Tokens that the chat template writes, by id."""
        self.tokenizer = tokenizer
        """Decodes in place of the code points."""
        self.is_down = False
        self.adapters: list[str] = []
        self.paths: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        """Of completion requests that were answered."""
        self.headers: list[dict[str, str]] = []
        self.num_aborted = 0
        self.stall: asyncio.Event | None = None
        """Set one to have completions wait for it."""
        self.routes = {
            "/version": self.on_version,
            "/metrics": self.on_metrics,
            "/openapi.json": self.on_openapi,
            "/tokenize": self.on_tokenize,
            "/detokenize": self.on_detokenize,
            "/v1/models": self.on_models,
            "/v1/load_lora_adapter": self.on_load_adapter,
            "/v1/unload_lora_adapter": self.on_unload_adapter,
        }

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.paths.append(request.path)
        content = await request.content.read()
        body = json.loads(content) if content else {}
        if self.is_down:
            return refusal(503, "starting")
        if request.path == "/v1/completions" or request.path == "/v1/chat/completions":
            return await self.complete(request, body)
        answer = self.routes.get(request.path)
        return refusal(404, "Not Found") if answer is None else answer(body)

    def on_version(self, body: Any) -> web.Response:
        return web.json_response({"version": self.version})

    def on_models(self, body: Any) -> web.Response:
        base = {"id": "m", "owned_by": "vllm", "max_model_len": self.context, "parent": None}
        adapters = [{**base, "id": name, "parent": "m"} for name in self.adapters]
        return web.json_response({"data": [base, *adapters]})

    def on_metrics(self, body: Any) -> web.Response:
        return web.Response(text='vllm:num_requests_running{engine="0"} 0.0\n')

    def on_openapi(self, body: Any) -> web.Response:
        if not self.has_schema:
            return refusal(404, "Not Found")
        shown = {"properties": dict.fromkeys(self.fields)}
        schemas = {"CompletionRequest": shown, "ChatCompletionRequest": shown}
        return web.json_response({"components": {"schemas": schemas}})

    def on_tokenize(self, body: Any) -> web.Response:
        if "messages" in body:
            text = "".join(f"<{m['role']}>{m['content']}" for m in body["messages"])
        else:
            text = body["prompt"]
        ids = [ord(c) % self.vocabulary for c in text]
        names = list(text)
        if text.startswith("</s>"):
            ids, names = [EOS], ["</s>"]
        if body.get("return_token_strs") and "messages" in body:
            ids, names = [*ids, *self.template], [*names, *self.template.values()]
        return web.json_response({"count": len(ids), "tokens": ids, "token_strs": names})

    def on_detokenize(self, body: Any) -> web.Response:
        if self.tokenizer is not None:
            text = self.tokenizer.decode(body["tokens"], skip_special_tokens=False)
        else:
            text = "".join(map(chr, body["tokens"]))
        return web.json_response({"prompt": text})

    def on_load_adapter(self, body: Any) -> web.Response:
        if not self.has_adapters:
            return refusal(404, "Not Found")
        if "lora_name" not in body:
            return refusal(400, "Field required")
        if not body["lora_path"].startswith("/good"):
            return refusal(404, f"Loading lora failed: No adapter found for {body['lora_path']}")
        if body["lora_name"] in self.adapters:
            return refusal(400, f"The lora adapter '{body['lora_name']}' has already been loaded.")
        self.adapters.append(body["lora_name"])
        return web.Response(text="Success")

    def on_unload_adapter(self, body: Any) -> web.Response:
        if body["lora_name"] not in self.adapters:
            return refusal(404, f"The lora adapter '{body['lora_name']}' cannot be found.")
        self.adapters.remove(body["lora_name"])
        return web.Response(text="Success")

    async def complete(self, request: web.BaseRequest, body: dict[str, Any]) -> web.StreamResponse:
        wrong = self.wrong(body)
        if wrong:
            return refusal(404 if "not exist" in wrong else 400, wrong)
        self.bodies.append(body)
        self.headers.append({name.lower(): text for name, text in request.headers.items()})
        try:
            if self.stall is not None:
                await self.stall.wait()
        except asyncio.CancelledError:
            self.num_aborted += 1
            raise
        if "messages" in body:
            message = {"role": "assistant", "content": "hello"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response({"model": body["model"], "choices": [choice], "usage": {}})
        prompts = body["prompt"]
        if isinstance(prompts, str):
            prompts = [[ord(c) for c in prompts]]
        elif not isinstance(prompts[0], list):
            prompts = [prompts]
        choices = [self.choice(i, tuple(ids), body) for i, ids in enumerate(prompts)]
        usage = {
            "prompt_tokens": sum(map(len, prompts)),
            "completion_tokens": sum(len(choice["token_ids"]) for choice in choices),
            "prompt_tokens_details": {"cached_tokens": len(prompts[-1]) // 4 * 4},
        }
        if body.get("stream"):
            return await self.stream(request, choices[0], usage)
        return web.json_response({"model": body["model"], "choices": choices, "usage": usage})

    def wrong(self, body: dict[str, Any]) -> str:
        if body["model"] not in ("m", *self.adapters):
            return f"The model `{body['model']}` does not exist."
        if body.get("logprobs", 0) > self.max_logprobs or (
            body.get("logprobs") == -1 and self.max_logprobs < self.vocabulary
        ):
            return f"Requested sample logprobs, greater than max allowed: {self.max_logprobs}"
        if max(body.get("logprob_token_ids") or [0]) >= self.vocabulary:
            return f"out-of-vocab token ids. Vocabulary size: {self.vocabulary}"
        wired = (body.get("vllm_xargs") or {}).get(wire.FIELD)
        if wired and self.processor and json.loads(wired).get("probe") == "version":
            return f"motet-processor {self.processor}"
        if body.get("max_tokens", 0) > self.context:
            return f"max_tokens={body['max_tokens']} cannot be greater than {self.context}"
        prompts = body.get("prompt") or []
        longest = (
            max(map(len, prompts)) if prompts and isinstance(prompts[0], list) else len(prompts)
        )
        if longest > self.context:
            return (
                f"This model's maximum context length is {self.context} tokens. However, your "
                f"prompt contains {longest} input tokens, which exceeds this limit."
            )
        return ""

    def choice(self, index: int, prefix: tuple[int, ...], body: dict[str, Any]) -> dict[str, Any]:
        allowed = body.get("allowed_token_ids")
        wired = (body.get("vllm_xargs") or {}).get(wire.FIELD)
        ids: list[int] = []
        finish, stop_reason = "length", None
        while len(ids) < min(body["max_tokens"], self.context - len(prefix)):
            token = allowed[0] if allowed else (*prefix, *ids)[-1] + 1
            if wired and self.processor and json.loads(wired).get("probe") == "runner":
                token = self.runner
            ids.append(token)
            if token in (body.get("stop_token_ids") or ()):
                finish, stop_reason = "stop", token
                break
            if token == EOS and not body.get("ignore_eos"):
                finish = "stop"
                break
        logprobs = None
        if body.get("logprobs") is not None:
            named = body.get("logprob_token_ids") or []
            if body["logprobs"] == -1:
                named = range(self.vocabulary)
            elif body["logprobs"] > 1:
                ranked = sorted(range(self.vocabulary), key=lambda t: -logprob(prefix, t))
                named = ranked[: body["logprobs"]]
            is_ids = body.get("return_tokens_as_token_ids")
            write = (lambda t: f"token_id:{t}") if is_ids else chr
            logprobs = {
                "tokens": [write(t) for t in ids],
                "token_logprobs": [logprob((*prefix, *ids[:i]), t) for i, t in enumerate(ids)],
                "top_logprobs": [
                    {write(n): logprob((*prefix, *ids[:i]), n) for n in (t, *named)}
                    for i, t in enumerate(ids)
                ],
            }
        return {
            "index": index,
            "text": "".join(chr(token) for token in ids if token not in self.special_ids),
            "token_ids": ids,
            "finish_reason": finish,
            "stop_reason": stop_reason,
            "logprobs": logprobs,
        }

    async def stream(
        self, request: web.BaseRequest, choice: dict[str, Any], usage: dict[str, Any]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for place, token in enumerate(choice["token_ids"]):
            is_last = place == len(choice["token_ids"]) - 1
            piece = {"index": 0, "text": chr(token), "token_ids": [token]}
            piece["finish_reason"] = choice["finish_reason"] if is_last else None
            piece["stop_reason"] = choice["stop_reason"] if is_last else None
            await write_event(response, {"choices": [piece]})
        await write_event(response, {"choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")
        return response


POOLING_FIELDS = (
    *("model", "messages", "input", "task", "use_activation", "priority", "cache_salt"),
    *("add_generation_prompt", "truncate_prompt_tokens"),
)


class FakePooler(FakeVLLM):
    """A server with `--runner pooling`: its number for a text is the text's length."""

    def __init__(self, task: str, *, tag: str = "#", num_classes: int = 1, **settings: Any) -> None:
        super().__init__(**settings)
        self.task = task
        self.tag = tag
        """Behind which the STEP pooler has a number."""
        self.num_classes = num_classes
        self.reply: Any = None
        """Sent instead of the numbers, where set."""
        self.routes["/pooling"] = self.on_pooling
        if task == "embed":
            self.routes["/v1/embeddings"] = self.on_embeddings

    async def complete(self, request: web.BaseRequest, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"detail": "Not Found"}, status=404)

    def on_openapi(self, body: Any) -> web.Response:
        if not self.has_schema:
            return refusal(404, "Not Found")
        shown = {"properties": dict.fromkeys(POOLING_FIELDS)}
        schemas = {"PoolingChatRequest": shown}
        if self.task == "embed":
            schemas["EmbeddingChatRequest"] = shown
        return web.json_response({"components": {"schemas": schemas}, "paths": {"/pooling": {}}})

    def on_tokenize(self, body: Any) -> web.Response:
        return web.json_response({"count": len(self.rendered(body, "prompt"))})

    def on_pooling(self, body: Any) -> web.Response:
        if body.get("task", self.task) != self.task:
            return refusal(400, f"Unsupported task: {body['task']!r}")
        if body["model"] not in ("m", *self.adapters):
            return refusal(404, f"The model `{body['model']}` does not exist.")
        text = self.rendered(body, "input")
        if len(text) > self.context:
            return refusal(
                400,
                f"This model's maximum context length is {self.context} tokens. However, your "
                f"prompt contains {len(text)} input tokens, which exceeds this limit.",
            )
        self.bodies.append(body)
        if self.reply is not None:
            return web.json_response(self.reply)
        if self.task == "token_classify":
            ends = [at for at, character in enumerate(text) if character == self.tag]
            data: Any = [self.row(end + 1) for end in ends]
        else:
            data = self.row(len(text))
        usage = {"prompt_tokens": len(text), "total_tokens": len(text)}
        return web.json_response(
            {"model": body["model"], "data": [{"index": 0, "data": data}], "usage": usage}
        )

    def on_embeddings(self, body: Any) -> web.Response:
        """Its vector is the text's length and minus one, as base64 where that is asked for."""
        pooled = self.on_pooling(body)
        if pooled.status != 200:
            return pooled
        shown = json.loads(pooled.text or "")
        if self.reply is None:
            vector: Any = [*shown["data"][0].pop("data"), -1.0]
            if body.get("encoding_format") == "base64":
                vector = b64encode(struct.pack("<2f", *vector)).decode()
            shown["data"][0]["embedding"] = vector
        return web.json_response(shown)

    def row(self, value: int) -> list[float]:
        return [float(value + n) for n in range(self.num_classes)]

    def rendered(self, body: Any, text_field: str) -> str:
        """Every turn is closed by `.`, unless it is gone on with; a generation prompt is `>>`."""
        if "messages" not in body:
            given = body[text_field]
            return given if isinstance(given, str) else "".join(map(chr, given))
        text = "".join(f"<{m['role']}>{m['content']}." for m in body["messages"])
        if body.get("continue_final_message"):
            return text[:-1]
        has_prompt = body.get("add_generation_prompt", text_field == "prompt")
        return text + (">>" if has_prompt else "")


async def write_event(response: web.StreamResponse, event: dict[str, Any]) -> None:
    await response.write(f"data: {json.dumps(event)}\n\n".encode())


def refusal(status: int, message: str) -> web.Response:
    error = {"message": message, "type": "BadRequestError", "param": None, "code": status}
    return web.json_response({"error": error}, status=status)


def with_engine(server: FakeVLLM, act, *, fragment: str = "", **settings):
    """Run `act(engine)` against a started server."""

    async def running():
        async with serving(server) as url:
            engine = connect(url + fragment, **settings)
            try:
                return await act(engine)
            finally:
                await engine.aclose()

    return asyncio.run(running())


@contextlib.asynccontextmanager
async def serving(server: FakeVLLM):
    runner = web.ServerRunner(
        web.Server(server, handler_cancellation=True, access_log=None), shutdown_timeout=0.1
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()
