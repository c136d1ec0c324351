"""Graphs as JSON: written by `plan`, loaded and run again. Operations come from an allow-list."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from motet.combinators import BUILT_IN
from motet.engine import Sampling
from motet.errors import (
    CycleError,
    GraphFileError,
    MotetError,
    ProgramError,
    UnknownNameError,
)
from motet.graph import Graph
from motet.model import Model
from motet.next_tokens import ALL
from motet.operations import Binding, Operation, Program
from motet.outputs import adapter
from motet.prompts import Prompt
from motet.refs import PLAIN, UNEXPANDED, Ref
from motet.types import Message, Price

FORMAT = 1
NO_DEFAULT: Final = inspect.Parameter.empty


def dump_graph(graph: Graph) -> str:
    """Return `graph` as JSON text.

    Raises:
        ProgramError: It holds what JSON cannot say, such as an engine object or a function.
    """
    if graph.root is None:
        raise ProgramError("this graph has no refs; make it with motet.plan")
    order: dict[Ref[Any], str] = {}
    entries: list[dict[str, Any]] = []
    stack = [graph.root]
    while stack:
        ref = stack[-1]
        if ref in order:
            stack.pop()
            continue
        needed = ref.dependencies if ref.body is not UNEXPANDED else ref.inputs
        missing = [r for r in needed if r not in order]
        if missing:
            stack.extend(reversed(missing))
            continue
        stack.pop()
        order[ref] = f"n{len(order)}"
        entries.append({"id": order[ref], **_dump_ref(ref, order)})
    shape = {"motet_graph": FORMAT, "root": order[graph.root], "calls": entries}
    return json.dumps(shape, indent=1)


def _dump_ref(ref: Ref[Any], order: Mapping[Ref[Any], str]) -> dict[str, Any]:
    operation = ref.operation
    if ref.scope is not None:
        raise ProgramError(
            "a graph file cannot hold the limits of motet.scope; give them to the run",
            place=ref.place,
        )
    entry: dict[str, Any] = {"operation": operation.name}
    if ref.body is not UNEXPANDED:
        # What a static program returned stands for the call: its body needs no function.
        return {"operation": "motet:structure", "value": _dump(ref.body, order, ref)}
    entry["arguments"] = _dump_arguments(ref, order)
    if isinstance(operation, Prompt):
        binding = operation.binding
        if binding.model is not None:
            entry["model"] = _dump(binding.model, order, ref)
        if binding.sampling:
            entry["sampling"] = _dump(dict(binding.sampling), order, ref)
        if binding.samples is not None:
            entry["samples"] = binding.samples
        if binding.candidates:
            entry["candidates"] = list(binding.candidates)
        if binding.is_rewarded:
            entry["rewards"] = {"label": binding.label}
        if binding.is_embedded:
            entry["embeddings"] = True
        if binding.next_tokens is not None:
            k = None if binding.next_tokens == ALL else binding.next_tokens
            behind, texts = binding.behind, binding.are_texts_wanted
            entry["next_tokens"] = {"k": k, "behind": behind, "texts": texts}
    return entry


def _dump_arguments(ref: Ref[Any], order: Mapping[Ref[Any], str]) -> list[Any]:
    """Show the inputs of a call; of a default that JSON cannot hold, only that it is one."""
    defaults = _defaults(ref.operation)
    shown = []
    for place, value in enumerate(ref.arguments):
        name, default = defaults[place] if place < len(defaults) else ("", NO_DEFAULT)
        is_default = type(value) not in PLAIN and type(value) is type(default) and value == default
        shown.append({"$default": name} if is_default else _dump(value, order, ref))
    return shown


def _defaults(operation: Operation) -> list[tuple[str, Any]]:
    parameters = getattr(operation, "parameters", None)
    if parameters is None:
        return []
    return [(name, each.default) for name, each in parameters.signature.parameters.items()]


def _dump(value: Any, order: Mapping[Ref[Any], str], at: Ref[Any]) -> Any:
    kind = type(value)
    if kind in PLAIN and kind is not bytes:
        return value
    if kind is Ref:
        return {"$ref": order[value]}
    if kind is list:
        return [_dump(v, order, at) for v in value]
    if kind is tuple:
        return {"$tuple": [_dump(v, order, at) for v in value]}
    if kind is dict and all(type(k) is str for k in value):
        return {"$map": {k: _dump(v, order, at) for k, v in value.items()}}
    if kind is Message:
        return {"$message": adapter(Message).dump_python(value, mode="json")}
    if kind is Model:
        return {"$model": _dump_model(value, order, at)}
    if isinstance(value, Operation):
        return {"$operation": value.name}
    raise ProgramError(
        f"a graph file cannot hold a {kind.__module__}.{kind.__qualname__} "
        f"(input of {at.operation.short_name})",
        place=at.place,
    )


def _dump_model(model: Model, order: Mapping[Ref[Any], str], at: Ref[Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if model.program is not None:
        shown["program"] = model.program.name
        shown["bound"] = _dump(dict(model.bound), order, at)
    elif isinstance(model.engine, str):
        shown["engine"] = model.engine
    else:
        raise ProgramError(
            "a graph file cannot hold an engine object; bind a model by URL", place=at.place
        )
    if model.name is not None:
        shown["name"] = model.name
    if model.price is not None:
        shown["price"] = dataclasses.asdict(model.price)
    changed = {
        name: getattr(model.sampling, name)
        for name in Sampling.__slots__
        if getattr(model.sampling, name) != getattr(Sampling(), name)
    }
    if changed:
        shown["sampling"] = _dump(changed, order, at)
    return shown


class _Structure(Operation):
    """Stands for a static program of a graph file: a structure of other calls' values."""

    kind = "program"
    name = "motet:structure"
    is_derived = True


_STRUCTURE = _Structure()


class _Loader:
    def __init__(self, operations: Iterable[Operation]) -> None:
        self.known: dict[str, Operation] = {o.name: o for o in (*BUILT_IN, *operations)}
        self.refs: dict[str, Ref[Any]] = {}

    def operation(self, name: Any) -> Operation:
        found = self.known.get(name) if isinstance(name, str) else None
        if found is None:
            raise UnknownNameError(
                f"the graph asks for operation {name!r}, which is not among those allowed: "
                f"{', '.join(sorted(self.known))}"
            )
        return found

    def value(self, shown: Any) -> Any:
        if isinstance(shown, list):
            return [self.value(v) for v in shown]
        if not isinstance(shown, dict):
            return shown
        if len(shown) != 1:
            raise GraphFileError(f"a value of the graph has keys {sorted(shown)}; it takes one")
        (tag, inner), *_ = shown.items()
        if tag == "$ref":
            if inner not in self.refs:
                raise CycleError(
                    f"the graph's call {inner!r} is used before it is made, or does not exist"
                )
            return self.refs[inner]
        if tag == "$tuple":
            return tuple(self.value(v) for v in inner)
        if tag == "$map":
            return {k: self.value(v) for k, v in inner.items()}
        if tag == "$message":
            return adapter(Message).validate_python(inner)
        if tag == "$model":
            return self.model(inner)
        if tag == "$operation":
            return self.operation(inner)
        raise GraphFileError(f"a value of the graph has the unknown tag {tag!r}")

    def argument(self, shown: Any, defaults: Mapping[str, Any]) -> Any:
        if not isinstance(shown, dict) or set(shown) != {"$default"}:
            return self.value(shown)
        name = shown["$default"]
        if name not in defaults or defaults[name] is NO_DEFAULT:
            raise GraphFileError(f"the graph leaves {name!r} to its default, and it has none")
        return defaults[name]

    def model(self, shown: Mapping[str, Any]) -> Model:
        sampling = (
            Sampling().updated(self.value(shown["sampling"])) if "sampling" in shown else None
        )
        price = Price(**shown["price"]) if "price" in shown else None
        settings: dict[str, Any] = {"name": shown.get("name"), "price": price}
        if sampling is not None:
            settings["sampling"] = sampling
        if "program" in shown:
            program = self.operation(shown["program"])
            if not isinstance(program, Program):
                raise GraphFileError(f"{program.name} is no program, so it is no model")
            return Model(program=program, bound=self.value(shown["bound"]), **settings)
        return Model(shown["engine"], **settings)

    def ref(self, entry: Mapping[str, Any]) -> Ref[Any]:
        if entry["operation"] == _STRUCTURE.name:
            ref: Ref[Any] = Ref(_STRUCTURE, (self.value(entry["value"]),), None, 0)
            ref.body = ref.arguments[0]
            return ref
        operation = self.operation(entry["operation"])
        if isinstance(operation, Prompt):
            sampling = self.value(entry.get("sampling", {"$map": {}}))
            model = self.value(entry["model"]) if "model" in entry else None
            operation = operation.on(model, **sampling)
            operation = operation._with(
                Binding(operation.binding.model, operation.binding.sampling, entry.get("samples"))
            )
            if "candidates" in entry:
                operation = operation.scores(entry["candidates"])
            if "rewards" in entry:
                operation = operation.rewards(**entry["rewards"])
            if entry.get("embeddings"):
                operation = operation.embeddings()
            if "next_tokens" in entry:
                operation = operation.next_tokens(**entry["next_tokens"])
        defaults = dict(_defaults(operation))
        arguments = tuple(self.argument(v, defaults) for v in entry["arguments"])
        parameters = getattr(operation, "parameters", None)
        if parameters is not None and len(arguments) != len(parameters.names):
            raise GraphFileError(
                f"{operation.name} takes {len(parameters.names)} inputs; "
                f"the graph gives {len(arguments)}"
            )
        return Ref(operation, arguments, None, 0)


def load_graph(text: str, *, operations: Iterable[Operation] = ()) -> Ref[Any]:
    """Return the ref that a graph file describes, ready to run.

    Args:
        text: What `Graph.to_json` gave.
        operations: Prompts, steps and programs that the file may name. Nothing is imported.

    Raises:
        UnknownNameError: It names an operation that is not among them.
        CycleError: A call uses one that is not made before it.
        ProgramError: It is malformed.
    """
    try:
        shape = json.loads(text)
        if shape["motet_graph"] != FORMAT:
            raise GraphFileError(f"the graph has format {shape['motet_graph']!r}, not {FORMAT}")
        loader = _Loader(operations)
        for entry in shape["calls"]:
            loader.refs[entry["id"]] = loader.ref(entry)
        return loader.refs[shape["root"]]
    except MotetError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise GraphFileError(f"this is no graph file: {type(exc).__name__}: {exc}") from exc
