"""Checks of contenders before anything is asked, and the inputs that a row gives them."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from motet.errors import ConfigError
from motet.evaluation.names import hint
from motet.evaluation.task import ROW_FIELDS, Contender, Task
from motet.evaluation.texts import is_readable
from motet.grading.rows import Row
from motet.model import Model
from motet.operations import FunctionOperation, Program
from motet.outputs import fits, plain_annotation
from motet.types import Chat


def model_of(contender: Contender) -> Model | None:
    """Return the model that self-consistency beside a contender asks; None where none is known.

    Its own, or else the one that its settings give as `model`.
    """
    given = contender.settings.get("model")
    return contender.model or (given if isinstance(given, Model) else None)


def check_contenders(contenders: Sequence[Contender], task: Task) -> None:
    """Refuse contenders that cannot answer the task's rows.

    Raises:
        ConfigError: There is none, two have one name, an input is unknown, given twice or missing,
            or what a program returns says no text.
        MotetError: A program refuses its inputs.
    """
    if not contenders:
        raise ConfigError("contenders is empty; there must be one at least")
    names = [contender.name for contender in contenders]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"contenders has the name {name!r} twice")
    for contender in contenders:
        if not is_readable(contender.program):
            raise ConfigError(
                f"{contender.name} returns {plain_annotation(contender.program.output)!r:.80}, "
                "which is no text to be scored"
            )
        inputs = inputs_of(contender, task, task.rows[0])
        if isinstance(contender.program, Program) and not contender.program.is_async:
            contender.program(**inputs)  # what is wrong with a static program is found by making it


def inputs_of(contender: Contender, task: Task, row: Row) -> dict[str, Any]:
    """Return the inputs with which a contender answers a row.

    Raises:
        ConfigError: An input is unknown, given twice or missing.
    """
    program = contender.program
    hints = program.parameters.hints
    known = program.parameters.names
    for name in [*contender.settings, *task.inputs]:
        if name not in known:
            raise ConfigError(f"{contender.name} takes no input {name!r}; {hint(name, known)}")
    for name in task.inputs:
        if name in contender.settings:
            raise ConfigError(f"{contender.name} is given {name!r} by its settings and by the rows")
    inputs = dict(contender.settings)
    inputs |= {name: _field(task, row, source) for name, source in task.inputs.items()}
    if "prompt" not in task.inputs.values():
        asked = _asked(program, inputs)
        if asked is not None:
            inputs[asked] = task.prompt_of(row)
        elif not task.inputs:
            raise ConfigError(
                f"{contender.name} has no required text input that is not given, which the prompt "
                "could be; say by inputs which one it is"
            )
    for name in _required(program):
        if name in inputs:
            continue
        is_list = _is_list_of_models(hints.get(name))
        if contender.model is None or not (is_list or _is_model(hints.get(name))):
            raise ConfigError(f"{contender.name} needs the input {name!r}; give it as a setting")
        inputs[name] = [contender.model] if is_list else contender.model
    return inputs


def _field(task: Task, row: Row, source: str) -> Any:
    if source == "prompt":
        return task.prompt_of(row)
    if source == "gold":
        return row.golds[0] if row.golds else ""
    if source in ("golds", "options"):
        return list(getattr(row, source))
    if source in ("id", "part"):
        return row.id if source == "id" else row.task
    extras = task.extras.get(row.id, {})
    if source not in extras:
        known = [*ROW_FIELDS, *extras]
        raise ConfigError(f"inputs takes {source!r} of row {row.id!r}; {hint(source, known)}")
    return extras[source]


def _required(program: FunctionOperation) -> list[str]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [
        each.name
        for each in program.parameters.signature.parameters.values()
        if each.default is inspect.Parameter.empty and each.kind in named
    ]


def _asked(program: FunctionOperation, inputs: Mapping[str, Any]) -> str | None:
    """Return the first required input that takes a text and is not given; None without one."""
    hints = program.parameters.hints
    for name in _required(program):
        if name not in inputs and _takes_text(hints.get(name, Any)):
            return name
    return None


def _takes_text(annotation: Any) -> bool:
    options = _options(annotation)
    return any(option in (str, Any, Chat) or fits(str, option) for option in options)


def _options(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (typing.Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _is_model(annotation: Any) -> bool:
    return Model in _options(annotation)


def _is_list_of_models(annotation: Any) -> bool:
    return any(
        isinstance(get_origin(each), type)
        and hasattr(get_origin(each), "__iter__")
        and Model in get_args(each)
        and not issubclass(get_origin(each), Mapping)
        for each in _options(annotation)
    )
