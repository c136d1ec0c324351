"""`plan`: the graph of a program, without running it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_origin

from motet.calls import Call, Calls, check_edges
from motet.combinators import Map
from motet.engine import Engine, LearningEngine, Usage
from motet.errors import EngineError, MotetError, TemplateError, UnboundInputError
from motet.graph import Graph, GraphNode
from motet.model import Model
from motet.operations import Program
from motet.prompts import Prompt, model_of
from motet.refs import BRANCH, UNEXPANDED, Branch, Ref, substitute
from motet.runtime.engines import find_factory
from motet.runtime.metering import cost_of
from motet.runtime.prompting import ask_program, check_prompt, learn
from motet.types import Message

_CHARACTERS_PER_TOKEN = 4
_PATIENCE_S = 10.0
"""How long `plan` waits for a server to say what it can do."""


def plan(ref: Ref[Any], *, model: Model | str | None = None) -> Graph:
    """Return the graph of `ref`; nothing runs and nothing is sent.

    What is wrong stands in `problems`, each with its place: unbound models, types of edges,
    capabilities that an engine lacks, unknown engines.

    Args:
        ref: What would be run.
        model: For prompts that nothing else binds.
    """
    if not isinstance(ref, Ref):
        raise UnboundInputError(f"plan takes a ref, not {type(ref).__name__}")
    default = Model(model) if isinstance(model, str) else model
    calls = Calls(default)
    new = deque(calls.add(ref))
    problems: list[MotetError] = []
    while new:
        call = new.popleft()
        try:
            check_edges(call.ref)
            if isinstance(call.ref.operation, Prompt):
                _check(call.ref, default)
                new.extend(_answering(call, calls, default))
        except MotetError as exc:
            problems.append(exc)
    return graph_of(calls, ref, problems=problems, default=default)


def _answering(call: Call, calls: Calls, default: Model | None) -> list[Call]:
    """Name the calls of the program that stands where `call` has its model."""
    ref = call.ref
    prompt: Prompt[Any] = ref.operation  # type: ignore[assignment]
    model = model_of(prompt, ref.scope, default)
    if model is None or model.program is None:
        return []
    token = BRANCH.set(Branch(None, ref))
    try:
        chat = prompt.render(tuple(substitute(v, lambda _: "") for v in ref.arguments))
    except TemplateError:  # a template may need more than an empty text of a value not known yet
        chat = (Message.user(""),)
    try:
        made = ask_program(model, chat, prompt.binding.samples or 1)
    finally:
        BRANCH.reset(token)
    new = [found for child in made for found in calls.add(child)]
    call.children = [calls.by_ref[child] for child in made]
    return new


def _check(ref: Ref[Any], default: Model | None) -> None:
    prompt: Prompt[Any] = ref.operation  # type: ignore[assignment]
    model = model_of(prompt, ref.scope, default)
    check_prompt(ref, model, None, priced=False)
    if model is None or model.program is not None:
        return
    if isinstance(model.engine, str):
        factory = find_factory(model.engine)
        engine = _connected(ref, model, factory)
        if engine is not None:
            check_prompt(ref, model, engine, priced=False)
    elif model.engine is not None and not _is_unknown(ref, model, model.engine):
        check_prompt(ref, model, model.engine, priced=False)


def _is_unknown(ref: Ref[Any], model: Model, engine: Engine) -> bool:
    """Say whether the prompt needs more than any engine has, of one that has to be asked."""
    return isinstance(engine, LearningEngine) and _needs_more(ref, model)


def _needs_more(ref: Ref[Any], model: Model) -> bool:
    prompt: Prompt[Any] = ref.operation  # type: ignore[assignment]
    binding = prompt.binding
    return bool(
        binding.resolved(model).decoding
        or binding.candidates
        or binding.is_rewarded
        or binding.is_embedded
        or binding.next_tokens
    )


def _connected(ref: Ref[Any], model: Model, factory: Callable[..., Engine]) -> Engine | None:
    """Return the engine where the prompt needs more than any has, and it can say what it can do.

    An HTTP server is asked; one that does not answer is not held against the program.
    """
    if not _needs_more(ref, model):
        return None
    settings = {"api_key": model.api_key} if model.api_key else {}

    async def asked() -> Engine | None:
        try:
            engine = factory(model.engine, **settings)
            if isinstance(engine, LearningEngine):
                if not str(model.engine).startswith("http"):
                    return None  # asking would start it
                async with asyncio.timeout(_PATIENCE_S):
                    await learn(ref, model, engine)
            await engine.aclose()
        except (EngineError, TimeoutError):
            return None
        return engine

    with ThreadPoolExecutor(1) as pool:  # a notebook's own loop may run in this thread
        return pool.submit(asyncio.run, asked()).result()


def graph_of(
    calls: Calls, root: Ref[Any], *, problems: Iterable[MotetError] = (), default: Model | None
) -> Graph:
    """Return the graph of calls that were named, with what they used so far."""
    ordered = _inputs_first(calls)
    most: dict[str, int] = {}
    nodes = [_node(call, calls, default, most) for call in ordered]
    return Graph(
        tuple(nodes),
        calls.by_ref[root].id,
        tuple(problems),
        tuple(_unused(calls)),
        root,
    )


def _inputs_first(calls: Calls) -> list[Call]:
    """Order calls so that dependencies come first; a program comes behind its body."""
    done: dict[Call, None] = {}
    for start in calls.by_ref.listed:
        stack = [start]
        while stack:
            call = stack[-1]
            if call in done:
                stack.pop()
                continue
            missing = [below for below in _below(call, calls) if below not in done]
            if missing:
                stack.extend(reversed(missing))
            else:
                done[stack.pop()] = None
    return list(done)


def _below(call: Call, calls: Calls) -> list[Call]:
    """Calls whose values `call` takes: its dependencies, and what it made while it ran."""
    return [*calls.below(call), *(call.children or ())]


def _node(call: Call, calls: Calls, default: Model | None, most: dict[str, int]) -> GraphNode:
    ref = call.ref
    operation = ref.operation
    prompt_tokens = completion_tokens = 0
    label: str | None = None
    cost: float | None = 0.0
    samples = 1
    is_program = False
    if isinstance(operation, Prompt):
        model = model_of(operation, ref.scope, default)
        samples = operation.binding.samples or 1
        label = model.label if model is not None else None
        is_program = model is not None and model.program is not None
        prompt_tokens = _prompt_tokens(ref, calls, most)
        sampling = operation.binding.resolved(model) if model is not None else None
        if sampling is not None and model is not None and model.program is None:
            if operation.binding.next_tokens is not None:
                completion_tokens = 1
            elif not (operation.binding.is_rewarded or operation.binding.is_embedded):
                completion_tokens = samples * sampling.max_tokens
            cost = (
                None
                if model.price is None
                else cost_of(model, Usage(prompt_tokens, completion_tokens))
            )
    below = [most.get(b.id, 0) for b in _below(call, calls)]
    most[call.id] = completion_tokens or sum(below)
    return GraphNode(
        id=call.id,
        operation=operation.name,
        kind=operation.kind,
        parent_id=call.parent.id if call.parent is not None else None,
        inputs=tuple(dict.fromkeys(b.id for b in _below(call, calls))),
        place=ref.place,
        model=label,
        samples=samples,
        is_growing=_is_growing(call),
        is_answered_by_program=is_program,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost=cost,
        state=call.state,
        usage=call.usage,
        duration_s=call.duration_s,
    )


def _is_growing(call: Call) -> bool:
    operation = call.ref.operation
    is_open = isinstance(operation, (Program, Map)) and call.ref.body is UNEXPANDED
    return is_open and not call.is_done


def _prompt_tokens(ref: Ref[Any], calls: Calls, most: dict[str, int]) -> int:
    """Estimate the prompt; a text not known yet counts as the most that its maker may write."""

    def stand_in(inner: Ref[Any]) -> Any:
        text = "x" * (_CHARACTERS_PER_TOKEN * most.get(calls.by_ref[inner].id, 0))
        kind = inner.output
        return [text] if (get_origin(kind) or kind) in (list, tuple) else text

    prompt: Prompt[Any] = ref.operation  # type: ignore[assignment]
    try:
        chat = prompt.render(tuple(substitute(v, stand_in) for v in ref.arguments))
    except TemplateError:  # a template may need more than text of a value not known yet
        return sum(most.get(calls.by_ref[r].id, 0) for r in ref.inputs)
    return sum(len(m.content) // _CHARACTERS_PER_TOKEN + 4 for m in chat)


def _unused(calls: Calls) -> list[str]:
    found: dict[Ref[Any], None] = {}
    for call in calls.by_ref.listed:
        for sibling in call.ref.made or ():
            if sibling not in calls.by_ref:
                found[sibling] = None
    return [f"{ref.operation.short_name} at {ref.place}" for ref in found]
