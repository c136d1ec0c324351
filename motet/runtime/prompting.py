"""How a prompt is answered: from the cache, by an engine within the budget, or by a program."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from motet.budget import Amount
from motet.digest import digest_bytes
from motet.engine import (
    Capability,
    Completion,
    Engine,
    LearningEngine,
    Reply,
    Request,
    Sampling,
    Usage,
)
from motet.errors import (
    BudgetExhaustedError,
    CapabilityError,
    ConfigError,
    EngineError,
    MotetError,
    UnboundModelError,
)
from motet.events import EngineCalled, EngineRetried, TextStreamed
from motet.operations import required_capabilities
from motet.outputs import dump_value, element_type, fits
from motet.prompts import Prompt, load_reply, model_of
from motet.refs import BRANCH, SCOPE, Branch, Ref
from motet.runtime.metering import CallMeter, cost_of, most_needed
from motet.runtime.ruling import check_rules, partner_of, verified
from motet.types import Chat, Message, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from motet.calls import Call
    from motet.dispatch import Dispatcher
    from motet.model import Model
    from motet.runtime.executor import Executor

DEFAULT_SAMPLING = Sampling()
NOTHING = Usage()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply and where it came from."""

    reply: Reply
    source: str
    model: str
    usage: Usage = NOTHING
    """What was paid now."""
    cost: float = 0.0
    request: tuple[str, bytes] | None = None


def check_prompt(
    ref: Ref[Any], model: Model | None, engine: Engine | None, *, priced: bool
) -> None:
    """Refuse a prompt that cannot be answered.

    Raises:
        UnboundModelError: It has no model.
        CapabilityError: The engine lacks what its settings need; names it.
        ConfigError: `max_cost` is set and the model has no price.
    """
    prompt = ref.operation
    assert isinstance(prompt, Prompt)
    if model is None:
        raise UnboundModelError(
            f"{prompt.short_name} has no model: bind one with .on(model), "
            "with motet.scope(model=...), or give motet.run(..., model=...)",
            place=ref.place,
        )
    binding = prompt.binding
    if binding.is_rewarded and binding.resolved(model).decoding:
        raise ConfigError(
            f"{prompt.short_name} asks for rewards by decoding rules; nothing is sampled there"
        )
    if binding.is_embedded and binding.resolved(model).decoding:
        raise ConfigError(
            f"{prompt.short_name} asks for an embedding by decoding rules; nothing is sampled there"
        )
    if binding.next_tokens is not None and binding.resolved(model).decoding:
        raise ConfigError(
            f"{prompt.short_name} asks for next tokens by decoding rules; they are the model's own"
        )
    if model.program is not None:
        is_plain = not (binding.candidates or binding.is_rewarded or binding.next_tokens)
        if not is_plain or binding.is_embedded or binding.resolved(model).decoding:
            raise CapabilityError(
                f"{prompt.short_name} asks for scores, rewards, embeddings, next tokens or decoding "
                f"rules, which {model.url}, a program that answers as a model, cannot give",
                place=ref.place,
            )
        return
    if priced and model.price is None:
        raise ConfigError(
            f"max_cost is set, but model {model.label} has no price; "
            "give Model(..., price=motet.Price(prompt=..., completion=...)), 0 where it is free"
        )
    if engine is None:
        return
    sampling = prompt.binding.resolved(model)
    _refuse_missing(ref, _needed(prompt, sampling), engine)
    check_rules(ref, sampling, engine)


def _needed(prompt: Prompt[Any], sampling: Sampling) -> set[Capability]:
    return required_capabilities(
        sampling,
        is_continued=prompt.is_continued,
        is_scored=bool(prompt.binding.candidates),
        is_rewarded=prompt.binding.is_rewarded,
        is_embedded=prompt.binding.is_embedded,
        tells_next=prompt.binding.next_tokens is not None,
    )


async def learn(ref: Ref[Any], model: Model, engine: Engine) -> None:
    """Ask the engine what it can do, where the prompt needs more than any engine has.

    Raises:
        EngineError: It cannot be asked now.
    """
    prompt = ref.operation
    assert isinstance(prompt, Prompt)
    if not isinstance(engine, LearningEngine):
        return
    sampling = prompt.binding.resolved(model)
    if sampling.decoding or _needed(prompt, sampling) - engine.capabilities:
        await engine.prepare()


def _refuse_missing(ref: Ref[Any], needed: set[Capability], engine: Engine) -> None:
    missing = sorted(needed - engine.capabilities)
    if missing:
        raise CapabilityError(
            f"{ref.operation.short_name} needs {', '.join(missing)}, which {engine.url} has not",
            place=ref.place,
        )


def derive_seed(seed: int, call_id: str) -> int:
    """Seed of a call: 31 bits of the run's seed and the call's id."""
    digest = blake2b(f"{seed}:{call_id}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def with_seed(sampling: Sampling, seed: int | None) -> Sampling:
    """Copy settings that were checked before, with another seed."""
    changed = object.__new__(Sampling)
    for name in Sampling.__slots__:
        object.__setattr__(changed, name, seed if name == "seed" else getattr(sampling, name))
    return changed


def is_greedy(sampling: Sampling) -> bool:
    return sampling.temperature == 0


def encode_request(url: str, request: Request) -> bytes:
    """Everything that decides the reply, as canonical ASCII JSON: the cache's key."""
    sampling = request.sampling
    settings: dict[str, Any] = {}
    if sampling is not DEFAULT_SAMPLING:
        for name in Sampling.__slots__:
            value = getattr(sampling, name)
            if value is None or value in ((), {}):
                continue
            settings[name] = [r.identity for r in value] if name == "decoding" else value
    prompt = request.prompt
    shown: Any = prompt
    if prompt and type(prompt) is tuple and type(prompt[0]) is Message:
        shown = [_shown_message(m) for m in prompt]
    body: dict[str, Any] = {"engine": url, "model": request.model, "prompt": shown}
    body["sampling"] = settings
    if request.n != 1:
        body["n"] = request.n
    if request.constraint is not None:
        body["constraint"] = [request.constraint.kind, request.constraint.value]
    if request.partner is not None:
        partner = request.partner
        is_chat = bool(partner) and type(partner[0]) is Message
        body["partner"] = [_shown_message(m) for m in partner] if is_chat else partner
    if request.candidates:
        body["candidates"] = request.candidates
    if request.is_rewarded:
        body["is_rewarded"] = True
    if request.is_embedded:
        body["is_embedded"] = True
    if request.next_tokens is not None:
        body["next_tokens"] = [request.next_tokens, request.are_texts_wanted]
        body["written"] = request.written
    return json.dumps(body, separators=(",", ":")).encode()


def _shown_message(message: Any) -> Any:
    if not message.tool_calls and message.tool_call_id is None:
        return [message.role, message.content]
    calls = [[c.id, c.name, c.arguments] for c in message.tool_calls]
    return [message.role, message.content, calls, message.tool_call_id]


async def answer_prompt(run: Executor, call: Call, values: tuple[Any, ...]) -> Answer:
    """Ask the model that `call` is bound to; `values` are those of its arguments."""
    ref = call.ref
    prompt: Prompt[Any] = ref.operation  # type: ignore[assignment]
    chat = prompt.render(values)
    model = model_of(prompt, ref.scope, run.default_model)
    if model is None:
        check_prompt(ref, model, None, priced=False)
        raise AssertionError("a prompt without a model is refused")
    if model.program is not None:
        if run.is_new_pairing(prompt, model, ref.scope):
            check_prompt(ref, model, None, priced=False)
            run.note_pairing(prompt, model, ref.scope)
        return await _ask_program(run, call, model, chat, prompt.binding.samples or 1)
    dispatcher = await run.dispatcher(model)
    engine = dispatcher.engine
    if run.is_new_pairing(prompt, model, ref.scope):
        await learn(ref, model, engine)
        check_prompt(ref, model, engine, priced=run.accounts.is_priced(ref.scope))
        run.note_pairing(prompt, model, ref.scope)
    is_whole = prompt.binding.is_rewarded or prompt.binding.is_embedded
    if chat and chat[-1].role == "assistant" and not is_whole:
        _refuse_missing(ref, {Capability.CONTINUE}, engine)
    request = _request(run, call, prompt, model, engine, chat)
    if request.next_tokens is not None:
        request = replace(request, written=prompt.written(values))
    if request.sampling.decoding:
        partner = partner_of(prompt, values, chat, request.sampling)
        request = replace(request, partner=partner)
    is_seeded = Capability.SEED in engine.capabilities
    key: tuple[str, bytes] | None = None
    if run.journal is not None:
        data = encode_request(engine.url, request)
        key = (digest_bytes(data), data)
        if run.is_cached:
            hit = await run.journal.store.cached(key[0])
            if hit is not None:
                return Answer(
                    reply=load_reply(hit[0]), source="cache", model=model.label, request=key
                )
    if not is_seeded and request.sampling.seed is not None:
        request = replace(request, sampling=with_seed(request.sampling, None))
    return await _ask_engine(run, call, model, dispatcher, request, key)


def _request(
    run: Executor, call: Call, prompt: Prompt[Any], model: Model, engine: Engine, chat: Chat
) -> Request:
    binding = prompt.binding
    sampling = run.sampling_of(prompt, model)
    if binding.is_rewarded:  # the rest changes nothing, and the cache need not know it
        return Request(
            model=model.name,
            prompt=chat,
            sampling=Sampling(extra=sampling.extra) if sampling.extra else DEFAULT_SAMPLING,
            request_id=call.id,
            is_rewarded=True,
        )
    if binding.is_embedded:
        return Request(
            model=model.name,
            prompt=chat[0].content if len(chat) == 1 and chat[0].role == "user" else chat,
            sampling=Sampling(extra=sampling.extra) if sampling.extra else DEFAULT_SAMPLING,
            request_id=call.id,
            is_embedded=True,
        )
    if binding.next_tokens is not None:
        return Request(
            model=model.name,
            prompt=chat,
            sampling=Sampling(extra=sampling.extra) if sampling.extra else DEFAULT_SAMPLING,
            request_id=call.id,
            next_tokens=binding.next_tokens,
            are_texts_wanted=binding.are_texts_wanted,
        )
    if sampling.seed is None and not is_greedy(sampling) and not binding.candidates:
        sampling = with_seed(sampling, derive_seed(run.accounts.seed_of(call.ref.scope), call.id))
    constraint = None if binding.candidates else prompt.answer.constraint
    if constraint is not None and Capability.GRAMMAR not in engine.capabilities:
        constraint = None
    return Request(
        model=model.name,
        prompt=chat,
        sampling=sampling,
        n=binding.samples or 1,
        constraint=constraint,
        request_id=call.id,
        candidates=binding.candidates,
    )


async def _ask_engine(
    run: Executor,
    call: Call,
    model: Model,
    dispatcher: Dispatcher,
    request: Request,
    key: tuple[str, bytes] | None,
) -> Answer:
    account = run.accounts.of(call.ref.scope)
    need = await most_needed(account, model, dispatcher.engine, request)
    lost = NOTHING
    while True:
        reservation = await run.ledger.reserve(account, need)
        meter = None
        if need.tokens and request.sampling.decoding:
            meter = CallMeter(model, reservation)
            request = replace(request, meter=meter)
        try:
            reply = await _send(run, call, model, dispatcher, request)
            break
        except BaseException as exc:
            reservation.refund()
            if meter is None:
                raise
            run.usage += meter.used
            run.cost += cost_of(model, meter.used)
            if meter.lacking is None or not isinstance(exc, BudgetExhaustedError):
                raise
            # It begins anew once there is room for what was lacking too.
            lost += meter.used
            need = Amount(need.tokens + meter.lacking.tokens, 1, need.cost + meter.lacking.cost)
    used = reply.usage
    cost = cost_of(model, used)
    once = _as_one_call(used)
    if meter is not None and meter.used.tokens:
        used, cost, once = meter.used, cost_of(model, meter.used), _as_one_call(meter.used)
        reservation.settle(Usage(calls=1), 0.0)
    else:
        reservation.settle(once, cost)
    run.usage += once
    run.cost += cost
    if request.sampling.decoding:
        reply = verified(reply, request.sampling)
    paid = once if lost is NOTHING else _as_one_call(lost + used)
    return Answer(
        reply=reply,
        source="engine",
        model=model.label,
        usage=paid,
        cost=cost if lost is NOTHING else cost_of(model, paid),
        request=key,
    )


def _as_one_call(usage: Usage) -> Usage:
    return Usage(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, 1)


async def _send(
    run: Executor, call: Call, model: Model, dispatcher: Dispatcher, request: Request
) -> Reply:
    on_attempt, on_retry, on_delta = _callbacks(run, call, model)
    try:
        return await dispatcher.complete(
            request,
            height=call.height,
            on_delta=on_delta,
            on_attempt=on_attempt,
            on_retry=on_retry,
        )
    finally:
        run.in_flight.discard(call)


def _callbacks(
    run: Executor, call: Call, model: Model
) -> tuple[
    Callable[[int], None],
    Callable[[int, EngineError, float], None],
    Callable[[int, str], None] | None,
]:
    def on_attempt(attempt: int) -> None:
        run.in_flight.add(call)
        if run.events.is_heard:
            run.events.tell(EngineCalled, call, model=model.label, attempt=attempt)

    def on_retry(attempt: int, error: EngineError, wait_s: float) -> None:
        run.in_flight.discard(call)
        if run.events.is_heard:
            run.events.tell(EngineRetried, call, attempt=attempt, error=str(error), wait_s=wait_s)

    def on_delta(index: int, text: str) -> None:
        run.events.tell(TextStreamed, call, index=index, text=text)

    return on_attempt, on_retry, on_delta if run.is_streaming and run.events.is_heard else None


def ask_program(model: Model, chat: Chat, n: int) -> list[Ref[Any]]:
    """Make the `n` calls of a program that answers `chat` as a model."""
    program = model.program
    assert program is not None
    free = next(name for name in program.parameters.names if name not in model.bound)
    question: Any = chat
    if not _takes_chat(program.parameters.hints.get(free, str)):
        question = chat_text(chat)
    return [program(**{**model.bound, free: question}) for _ in range(n)]


async def _ask_program(run: Executor, call: Call, model: Model, chat: Chat, n: int) -> Answer:
    BRANCH.set(Branch(run, call))
    SCOPE.set(call.ref.scope)
    try:
        outcomes: list[Outcome[Any]] = []
        for ref in ask_program(model, chat, n):
            try:
                outcomes.append(Outcome(await ref))
            except MotetError as exc:
                outcomes.append(Outcome(error=exc))
    finally:
        run.drop_children(call)
    if not any(outcome.is_success for outcome in outcomes):
        raise outcomes[0].error or AssertionError("n is at least 1")
    failed = Completion("", finish_reason="abort")
    completions = tuple(_as_completion(o.value) if o.is_success else failed for o in outcomes)
    return Answer(reply=Reply(completions, Usage(), model.label), source="local", model=model.label)


def _takes_chat(annotation: Any) -> bool:
    if annotation is str:
        return False
    return fits(Chat, annotation) and element_type(annotation) is Message


def chat_text(chat: Chat) -> str:
    """A chat as one text: its only turn's content, or all turns in order."""
    if len(chat) == 1:
        return chat[0].content
    if all(m.role in ("system", "user") for m in chat):
        return "\n\n".join(m.content for m in chat)
    return "\n\n".join(f"{m.role}: {m.content}" for m in chat)


def _as_completion(value: Any) -> Completion:
    if isinstance(value, Completion):
        return value
    if isinstance(value, str):
        return Completion(value)
    text = getattr(value, "text", None)
    if isinstance(text, str):
        is_finished = getattr(value, "is_finished", True)
        return Completion(text, "stop" if is_finished else "length")
    if hasattr(value, "model_dump_json"):
        return Completion(value.model_dump_json())
    if value is None:
        return Completion("")
    try:
        return Completion(dump_value(type(value), value).decode())
    except TypeError:
        return Completion(str(value))
