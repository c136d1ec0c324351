"""What a server says of itself: whether it is vLLM, and which fields and rules it has."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from motet.engine import Capability
from motet.errors import (
    EngineTimeoutError,
    GarbledReplyError,
    ModelNotFoundError,
    RequestRejectedError,
)
from motet.serving.decoding import wire
from motet.serving.openai import embeddings, rewards
from motet.serving.openai.bodies import POOLING_PATH, TEXT_PATH, encode
from motet.serving.openai.metrics import read_cache_config, read_metrics

if TYPE_CHECKING:
    from motet.serving.openai.connection import Connection
    from motet.types import JSON

GENERIC_CAPABILITIES = frozenset(
    {
        Capability.LOGPROBS,
        Capability.SEED,
        Capability.STREAM,
        Capability.GRAMMAR,
        Capability.CONTINUE,
    }
)
"""What a server is taken to do while nothing more is known of it."""

MODELS_PATH = "/models"
LOAD_ADAPTER_PATH = "/load_lora_adapter"
PAIRED: Final = ("cfg", "cad", "adacad")
_PROCESSED: Final = (*PAIRED, "trie", "length", "weighted")
_RUNNERS: Final = {1: "V1", 2: "V2"}
_ASK_S = 30.0
"""Longest time that the plain questions may take together, in seconds."""
_REFUSED = (RequestRejectedError, ModelNotFoundError, GarbledReplyError)
_PROCESSOR = re.compile(r"motet-processor version=(\d+)(?:.*?\blayers=([^\s;)]+))?")
_MOST = re.compile(r"max allowed: (\d+)")
_VOCABULARY = re.compile(r"Vocabulary size: (\d+)")
_SINCE: Final[Mapping[str, tuple[int, int]]] = {
    "continue_final_message": (0, 6),
    "priority": (0, 6),
    "cache_salt": (0, 9),
    "vllm_xargs": (0, 10),
    "return_token_ids": (0, 11),
    "structured_outputs": (0, 11),
    "logprob_token_ids": (0, 32),
}
"""vLLM's version that surely has a field; used where the server does not show its schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What `detect` found out."""

    version: str = ""
    """vLLM's version; empty where the server is another one."""
    models: Mapping[str, int | None] = field(default_factory=dict)
    """Names that are served, adapters left out -> most tokens of prompt and completion."""
    adapters: frozenset[str] = frozenset()
    chat_fields: frozenset[str] | None = None
    """Fields of a chat request; None where the server does not show them."""
    text_fields: frozenset[str] | None = None
    """Fields of a text completion request; None where the server does not show them."""
    pooling_fields: frozenset[str] | None = None
    """Fields of a pooling request; None where the server does not show them."""
    embedding_fields: frozenset[str] | None = None
    """Fields of a request for an embedding; None where the server does not show them."""
    is_pooling: bool = False
    """Whether the server runs its model as a pooler, which completes nothing."""
    reward_task: str = ""
    """The pooling task that gives rewards; empty where there is none."""
    has_embeddings: bool = False
    """Whether it gives embeddings; of a server that is not vLLM, whether it has their path."""
    capabilities: frozenset[Capability] = GENERIC_CAPABILITIES
    processor: int | None = None
    """Version of motet's processor inside the server; None where it is not installed."""
    runner: str = ""
    """The live model runner, `V1` or `V2`; empty without the processor."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """Kinds of decoding rules, each with how it is carried out."""

    @property
    def is_vllm(self) -> bool:
        return bool(self.version)

    def has(self, name: str) -> bool:
        """Say whether text completions take this field of vLLM's."""
        return self.is_vllm and _has(self.version, self.text_fields, name)

    def salt(self, cache_salt: str | None, model: str) -> str | None:
        """Return the salt of a request: its own, else one for its adapter's version alone."""
        if not self.has("cache_salt"):
            return None
        if cache_salt is None and model in self.adapters:
            return blake2b(model.encode(), digest_size=16).hexdigest()
        return cache_salt

    def with_adapter(self, name: str) -> ServerFacts:
        """Return a copy that knows of one more adapter."""
        return replace(self, adapters=self.adapters | {name})


async def detect(connection: Connection) -> ServerFacts:
    """Ask a server what it is.

    Raises:
        EngineError: It is down, or cannot be asked now.
    """
    try:
        async with asyncio.timeout(_ASK_S):
            version = await _ask(connection, "/version", is_root=True)
            served = await _ask(connection, MODELS_PATH)
            named = version.get("version") if version else None
            models, adapters, is_owned = read_models(served or {})
            text = await _text(connection, "/metrics") if isinstance(named, str) else ""
            if not isinstance(named, str) or not (is_owned or read_metrics(text)):
                has_embeddings = await embeddings.answers(connection)
                return _of_other(models, adapters, has_embeddings=has_embeddings)
            shown = await _shown(connection)
            is_pooling, task = False, ""
            if not shown or POOLING_PATH in shown.get("paths", ()):
                model = next(iter(models), "")
                is_pooling, task = await rewards.find_pooling(connection, model)
            has_adapters = await _answers(connection, LOAD_ADAPTER_PATH)
    except TimeoutError as exc:
        raise EngineTimeoutError(f"the server did not say what it is within {_ASK_S:g} s") from exc
    facts = ServerFacts(
        version=named,
        models=models,
        adapters=adapters,
        chat_fields=_fields(shown, "ChatCompletionRequest"),
        text_fields=_fields(shown, "CompletionRequest"),
        pooling_fields=_fields(shown, "PoolingChatRequest"),
        embedding_fields=_fields(shown, "EmbeddingChatRequest"),
        is_pooling=is_pooling,
        reward_task="" if task == "embed" else task,
        has_embeddings=task == "embed",
    )
    capabilities = _capabilities(facts, read_cache_config(text), has_adapters=has_adapters)
    if is_pooling:
        return replace(facts, capabilities=capabilities)
    processor, layers, runner, is_whole = await _probe(connection, facts, next(iter(models), ""))
    return replace(
        facts,
        capabilities=capabilities,
        processor=processor,
        runner=runner,
        rules=_rules(facts, runner, layers, has_whole_logprobs=is_whole),
    )


def _of_other(
    models: Mapping[str, int | None], adapters: frozenset[str], *, has_embeddings: bool
) -> ServerFacts:
    able = GENERIC_CAPABILITIES | ({Capability.EMBED} if has_embeddings else frozenset())
    return ServerFacts(
        models=models, adapters=adapters, has_embeddings=has_embeddings, capabilities=able
    )


def read_models(body: Mapping[str, Any]) -> tuple[dict[str, int | None], frozenset[str], bool]:
    """Read `/v1/models`: models with their context, adapters, and whether vLLM owns them.

    Raises:
        GarbledReplyError: The list is malformed.
    """
    served = body.get("data", [])
    if not isinstance(served, list) or not all(
        isinstance(each, dict) and isinstance(each.get("id"), str) for each in served
    ):
        raise GarbledReplyError("the list of models is malformed")
    adapters = frozenset(each["id"] for each in served if each.get("parent"))
    limits = {each["id"]: each.get("max_model_len") for each in served}
    models = {
        name: limit if type(limit) is int else None
        for name, limit in limits.items()
        if name not in adapters
    }
    return models, adapters, any(each.get("owned_by") == "vllm" for each in served)


def _has(version: str, fields: frozenset[str] | None, name: str) -> bool:
    if fields is not None:
        return name in fields
    since = _SINCE.get(name)
    found = re.match(r"(\d+)\.(\d+)", version)
    return since is not None and bool(found and (int(found[1]), int(found[2])) >= since)


def _capabilities(
    facts: ServerFacts, cache: Mapping[str, str], *, has_adapters: bool
) -> frozenset[Capability]:
    able = set() if facts.is_pooling else set(GENERIC_CAPABILITIES)
    if not facts.has("structured_outputs"):
        able.discard(Capability.GRAMMAR)
    if not _has(facts.version, facts.chat_fields, "continue_final_message"):
        able.discard(Capability.CONTINUE)
    if cache.get("enable_prefix_caching", "True") == "True":
        able.add(Capability.PREFIX_CACHE)
    if not facts.is_pooling and (facts.has("logprob_token_ids") or facts.has("allowed_token_ids")):
        able.add(Capability.SCORE)
    if not facts.is_pooling and facts.has("allowed_token_ids") and facts.has("return_token_ids"):
        able.add(Capability.NEXT_TOKENS)
    if facts.reward_task:
        able.add(Capability.REWARD)
    if facts.has_embeddings:
        able.add(Capability.EMBED)
    if has_adapters:
        able.add(Capability.LORA)
    return frozenset(able)


def _rules(
    facts: ServerFacts, runner: str, layers: str, *, has_whole_logprobs: bool
) -> dict[str, str]:
    rules = {"stop": "stop strings"}
    if facts.has("structured_outputs"):
        rules["constraint"] = "structured outputs"
    if runner:
        rules |= dict.fromkeys(_PROCESSED, f"processor, {runner} runner")
        if layers and layers != "none":
            rules["dola"] = f"processor, {runner} runner"
    elif has_whole_logprobs:
        rules |= dict.fromkeys(PAIRED, "one-token loop")
    return rules


async def _probe(
    connection: Connection, facts: ServerFacts, model: str
) -> tuple[int | None, str, str, bool]:
    """Return the processor's version, its tapped layers, the runner, and the logprobs' reach."""
    if facts.has("vllm_xargs"):
        refusal = await _refusal(connection, model, vllm_xargs=_xargs("version"))
        found = _PROCESSOR.search(refusal)
        if found:
            version, layers = int(found[1]), found[2] or ""
            if version != wire.VERSION:
                return version, layers, "", False
            return version, layers, await _runner(connection, model), False
    return None, "", "", await _has_whole_logprobs(connection, facts, model)


async def _runner(connection: Connection, model: str) -> str:
    body = _tiny(model, vllm_xargs=_xargs("runner"), return_token_ids=True)
    reply = await connection.ask("POST", TEXT_PATH, body)
    try:
        runner = _RUNNERS[reply["choices"][0]["token_ids"][0]]
    except (IndexError, KeyError, TypeError) as exc:
        raise GarbledReplyError("motet's processor did not say which runner is live") from exc
    return runner


async def _has_whole_logprobs(connection: Connection, facts: ServerFacts, model: str) -> bool:
    """Say whether a request may ask for the logprobs of the whole vocabulary."""
    most = _MOST.search(await _refusal(connection, model, logprobs=10**9))
    if most and facts.has("logprob_token_ids"):
        asked = await _refusal(connection, model, logprobs=1, logprob_token_ids=[2**31 - 1])
        size = _VOCABULARY.search(asked)
        if size:
            return int(most[1]) >= int(size[1])
    return not await _refusal(connection, model, logprobs=-1)


async def _refusal(connection: Connection, model: str, **fields: JSON) -> str:
    """Return with what words the server refuses a tiny request; empty where it does not."""
    try:
        await connection.ask("POST", TEXT_PATH, _tiny(model, **fields))
    except _REFUSED as error:
        return str(error) or "refused"
    return ""


def _tiny(model: str, **fields: JSON) -> bytes:
    return encode({"model": model, "prompt": "a", "max_tokens": 1, "temperature": 0, **fields})


def _xargs(probe: Any) -> dict[str, JSON]:
    return {wire.FIELD: wire.write(probe=probe)}


async def _ask(
    connection: Connection, path: str, *, is_root: bool = False
) -> dict[str, Any] | None:
    """Return the answer; None where the server has no such path, or answers no JSON object."""
    try:
        return await connection.ask("GET", path, is_root=is_root)
    except RequestRejectedError as error:
        if error.status in (401, 403) and not is_root:
            raise
        return None
    except (ModelNotFoundError, GarbledReplyError):
        return None


async def _text(connection: Connection, path: str) -> str:
    try:
        sent = await connection.send("GET", path, is_root=True)
        return (await connection.read(sent)).decode("utf-8", "replace")
    except _REFUSED:
        return ""


async def _answers(connection: Connection, path: str) -> bool:
    """Say whether the server knows a path, which is asked with an empty object."""
    try:
        await connection.read(await connection.send("POST", path, b"{}"))
    except RequestRejectedError as error:
        return error.status not in (404, 405)
    except (ModelNotFoundError, GarbledReplyError):
        return False
    return True


async def _shown(connection: Connection) -> Mapping[str, Any]:
    """Return the server's schema; empty where it shows none."""
    try:
        shown = json.loads(await _text(connection, "/openapi.json"))
    except ValueError:
        return {}
    return shown if isinstance(shown, dict) else {}


def _fields(shown: Mapping[str, Any], name: str) -> frozenset[str] | None:
    try:
        return frozenset(shown["components"]["schemas"][name]["properties"])
    except (KeyError, TypeError):
        return None
