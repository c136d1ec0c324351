"""A program's inputs: what they are called, what they take, and how text becomes their values."""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args, get_origin

from motet.cli.failures import CommandError
from motet.cli.loading import find_function
from motet.model import Model
from motet.operations import FunctionOperation
from motet.outputs import adapter
from motet.types import Chat, Message

Kind: TypeAlias = Literal[
    "text", "flag", "choice", "whole", "number", "model", "function", "json", "python"
]
"""`python` is an object that no text stands for."""
_LISTS = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable)
_METAVARS = {"whole": "INTEGER", "number": "NUMBER", "function": "FILE.PY:NAME"}


@dataclass(frozen=True, slots=True)
class Input:
    """A parameter of a program."""

    name: str
    annotation: Any
    default: Any
    """`inspect.Parameter.empty` where it must be given."""
    help: str
    kind: Kind
    is_list: bool = False
    choices: tuple[Any, ...] = ()
    may_be_none: bool = False
    takes_function: bool = False
    """Whether `file.py:name` may stand for a function."""
    takes_object: bool = False
    """Whether a text that is a JSON object stands for one."""
    algorithms: tuple[str, ...] = ()
    """Names of those that it takes; empty where it takes none, or its help names them."""

    @property
    def is_required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def metavar(self) -> str:
        shown = "|".join(str(c) for c in self.choices) if self.choices else ""
        shown = shown or _METAVARS.get(self.kind, self.kind.upper())
        if self.takes_function and self.kind != "function":
            shown += "|FILE.PY:NAME"
        return shown

    def plain(self, text: str) -> Any:
        """Return the JSON value that `text` stands for.

        Raises:
            CommandError: It stands for none of this input's type.
        """
        if self.may_be_none and self.kind != "text" and text.lower() in ("none", "null"):
            return None
        if self.takes_function and ".py:" in text:
            path, _, name = text.rpartition(":")
            return f"{Path(path).resolve()}:{name}"
        try:
            return self._plain(text)
        except ValueError as exc:
            raise self.wrong(text, str(exc)) from None

    def _plain(self, text: str) -> Any:
        match self.kind:
            case "whole" | "number":
                return _number(text, self.kind)
            case "flag":
                if text.lower() not in ("true", "false"):
                    raise ValueError("it must be true or false")
                return text.lower() == "true"
            case "json":
                return json.loads(text)
            case "model":
                return json.loads(text) if text.startswith("[") else text
            case "choice":
                return self._choice(text)
            case "function":
                raise ValueError("a function is written file.py:name")
            case "python":
                raise ValueError("it is an object, which is given in Python only")
        return _object_or_text(text) if self.takes_object else text

    def _choice(self, text: str) -> Any:
        named = {str(choice): choice for choice in self.choices}
        if text in named:
            return named[text]
        close = difflib.get_close_matches(text, named, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"it must be one of {', '.join(named)}{hint}")

    def wrong(self, given: Any, problem: str) -> CommandError:
        return CommandError(f"{self.name} is {_cut(given)}: {problem}")


def inputs_of(operation: FunctionOperation) -> list[Input]:
    """Return the inputs of `operation` in the order of its parameters."""
    hints = operation.parameters.hints
    helps = argument_docs(operation.__doc__ or "")
    found = []
    for parameter in operation.parameters.signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        annotation = hints.get(parameter.name, Any)
        found.append(
            Input(
                parameter.name,
                annotation,
                parameter.default,
                helps.get(parameter.name, ""),
                **_shape(annotation),
            )
        )
    return found


def _shape(annotation: Any) -> dict[str, Any]:
    options = _options(annotation)
    shape: dict[str, Any] = {"may_be_none": types.NoneType in options}
    functions = [o for o in options if _is_function(o)]
    shape["takes_function"] = bool(functions)
    rest = [o for o in options if o is not types.NoneType and o not in functions]
    if functions and not rest:
        return {**shape, "kind": "function"}
    if any(_mentions_model(o) for o in rest):
        return {**shape, "kind": "model", "is_list": not any(o is Model for o in rest)}
    if str in rest or Any in rest:
        takes_object = any(dataclasses.is_dataclass(o) for o in rest)
        names = _algorithms(rest) if str in rest else ()
        return {**shape, "kind": "text", "takes_object": takes_object, "algorithms": names}
    if len(rest) == 1 and get_origin(rest[0]) in _LISTS and get_origin(rest[0]) is not tuple:
        inner = _shape(get_args(rest[0])[0])
        return {**inner, **shape, "is_list": not inner.get("is_list", False)}
    literals = [o for o in rest if get_origin(o) is Literal]
    if rest and len(literals) == len(rest):
        return {**shape, "kind": "choice", "choices": tuple(c for o in rest for c in get_args(o))}
    for kind, name in ((bool, "flag"), (int, "whole"), (float, "number")):
        if rest == [kind]:
            return {**shape, "kind": name}
    if set(rest) == {int, float}:
        return {**shape, "kind": "number"}
    if rest and not any(_is_writable(o) for o in rest):
        return {**shape, "kind": "python"}
    return {**shape, "kind": "json"}


def _algorithms(options: list[Any]) -> tuple[str, ...]:
    from motet.search.algorithm import Algorithm
    from motet.search.registry import ALGORITHMS

    if not any(get_origin(o) is Algorithm or o is Algorithm for o in options):
        return ()
    return tuple(sorted(ALGORITHMS))


def _is_writable(annotation: Any) -> bool:
    """Whether JSON can stand for a value of this type; functions and foreign objects have none."""
    if dataclasses.is_dataclass(annotation):
        hints = _hints(annotation)
        required = [each.name for each in _init_fields(annotation) if _is_required(each)]
        return not any(_is_function(o) for name in required for o in _options(hints.get(name)))
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation

    try:
        adapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, TypeError):
        return False
    return True


def _init_fields(kind: Any) -> list[dataclasses.Field[Any]]:
    return [each for each in dataclasses.fields(kind) if each.init]


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _hints(kind: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except (NameError, TypeError):  # a type that is imported for the checker alone
        return {}


def _options(annotation: Any) -> list[Any]:
    """Members of a union, unions inside it too; of any other type, itself."""
    if isinstance(annotation, typing.TypeVar):
        return [Any]
    origin = get_origin(annotation)
    if origin is typing.Annotated:
        return _options(get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [o for member in get_args(annotation) for o in _options(member)]
    return [annotation]


def _is_function(annotation: Any) -> bool:
    return annotation is collections.abc.Callable or (
        get_origin(annotation) is collections.abc.Callable or annotation is typing.Callable
    )


def _mentions_model(annotation: Any) -> bool:
    if annotation is Model:
        return True
    return any(_mentions_model(part) for part in get_args(annotation))


def argument_docs(doc: str) -> dict[str, str]:
    """Return the texts of a docstring's `Args:` section by name."""
    lines = inspect.cleandoc(doc).splitlines()
    if "Args:" not in lines:
        return {}
    found: dict[str, str] = {}
    name = ""
    for line in lines[lines.index("Args:") + 1 :]:
        if line.strip() and not line.startswith(" "):
            break
        entry = re.match(r" {2,4}\*{0,2}(\w+)(?: ?\([^)]*\))?: ?(.*)", line)
        if entry and not line.startswith("     "):
            name = entry[1]
            found[name] = entry[2].strip()
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def bind(
    inputs: list[Input], given: Mapping[str, Any], make_model: Callable[[str], Model]
) -> dict[str, Any]:
    """Return the typed values of `given`, which holds JSON values by name.

    Raises:
        CommandError: A name is unknown, a value is missing, or does not have its type.
    """
    known = {i.name: i for i in inputs}
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            raise CommandError(
                f"there is no input {name!r}",
                f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}",
            )
    missing = [i.name for i in inputs if i.is_required and i.name not in given]
    if missing:
        raise CommandError(f"the input {missing[0]!r} is missing")
    return {name: _typed(known[name], value, make_model) for name, value in given.items()}


def _typed(entry: Input, value: Any, make_model: Callable[[str], Model]) -> Any:
    if entry.kind == "model":
        return _models(entry, value, make_model)
    if entry.takes_function and isinstance(value, str) and ".py:" in value:
        return find_function(value)
    if entry.kind == "function" and value is not None:
        raise entry.wrong(value, "a function is written file.py:name")
    if entry.kind == "python" and value is not None:
        raise entry.wrong(value, "it is an object, which is given in Python only")
    _refuse_unknown_keys(entry, entry.annotation, value)
    if isinstance(value, str) and str in _options(entry.annotation):
        return value
    from pydantic import ValidationError
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation

    try:
        kind = adapter(entry.annotation)
        if isinstance(value, str):
            return kind.validate_python(value)
        if _is_chat_only(entry.annotation, value):
            return tuple(adapter(Message).validate_python(turn) for turn in value)
        return kind.validate_json(json.dumps(value))
    except ValidationError as exc:
        problem = exc.errors()[0]
        where = ".".join(str(part) for part in problem["loc"] if isinstance(part, (int, str)))
        shown = problem["msg"][:1].lower() + problem["msg"][1:]
        raise entry.wrong(value, f"{shown} (at {where})" if where else shown) from None
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, TypeError):
        raise entry.wrong(
            value, f"a {entry.annotation} cannot be written on the command line"
        ) from None


def _refuse_unknown_keys(entry: Input, annotation: Any, value: Any) -> None:
    """Refuse what a dataclass would leave out in silence.

    Raises:
        CommandError: Names the key, and those that are known.
    """
    options = [o for o in _options(annotation) if o is not types.NoneType]
    if isinstance(value, list):
        for option in options:
            if get_origin(option) in _LISTS and get_args(option):
                for part in value:
                    _refuse_unknown_keys(entry, get_args(option)[0], part)
    if not isinstance(value, dict):
        return
    kinds = [o for o in options if isinstance(o, type) and dataclasses.is_dataclass(o)]
    if not kinds or any(_takes_any_key(o) for o in options):
        return
    known = {each.name: kind for kind in kinds for each in _init_fields(kind)}
    for key, part in value.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            names = ", ".join(known) or "no keys"
            raise CommandError(f"{entry.name} has no {key!r}", f"{hint}there are {names}")
        _refuse_unknown_keys(entry, _hints(known[key]).get(key, Any), part)


def _takes_any_key(annotation: Any) -> bool:
    """Whether a JSON object may stand for the type with keys that are not known here, or that
    pydantic checks.
    """
    kind = get_origin(annotation) or annotation
    return (
        kind is Any
        or not isinstance(kind, type)
        or hasattr(kind, "__get_pydantic_core_schema__")
        or hasattr(kind, "__pydantic_core_schema__")
        or issubclass(kind, collections.abc.Mapping)
    )


def _is_chat_only(annotation: Any, value: Any) -> bool:
    return Chat in _options(annotation) and isinstance(value, list)


def _models(entry: Input, value: Any, make_model: Callable[[str], Model]) -> Any:
    if value is None and entry.may_be_none:
        return None
    if isinstance(value, str):
        return make_model(value)
    if isinstance(value, list):
        return [_models(entry, part, make_model) for part in value]
    raise entry.wrong(value, "a model is written as text, such as local:smollm2")


def _object_or_text(text: str) -> Any:
    try:
        return json.loads(text) if text.startswith("{") else text
    except ValueError:
        return text


def _number(text: str, kind: Kind) -> float:
    try:
        return int(text) if kind == "whole" else float(text)
    except ValueError:
        wanted = "a whole number" if kind == "whole" else "a number"
        raise ValueError(f"it must be {wanted}") from None


def _cut(given: Any) -> str:
    shown = ascii(given)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
