"""Contenders from what was typed: programs with settings in brackets, each with every model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from motet.cli.failures import CommandError
from motet.cli.inputs import Input, bind, inputs_of
from motet.cli.loading import find_program
from motet.search.registry import literal_settings

if TYPE_CHECKING:
    from motet.evaluation.task import Contender
    from motet.model import Model

_EXAMPLE = "self_consistency(n=8)"


def read_contenders(
    programs: Sequence[str], models: Mapping[str, Model], make_model: Callable[[str], Model]
) -> list[Contender]:
    """Return every program with every model.

    Args:
        programs: Names or `file.py:name`, each with settings where it has any.
        models: By URL, as typed; a name says the model where there are several.
        make_model: Makes those that settings name.

    Raises:
        CommandError: A program, a setting or a model is wrong, or one is given twice.
    """
    from motet.evaluation.task import Contender

    for text in programs:
        if list(programs).count(text) > 1:
            raise CommandError(f"--program names {text!r} twice")
    labels = [model.label for model in models.values()]
    if len(set(labels)) < len(labels):
        labels = list(models)
    found = []
    for text in programs:
        name, given = split_settings(text)
        program = find_program(name)
        if program.operation is None:
            raise CommandError(
                f"--program {text}: a graph file has no inputs left for rows",
                "name the program that it was made of",
            )
        if len(models) > 1 and "model" in given:
            raise CommandError(
                f"--program {text} names its own model, and there are {len(models)} --model",
                "leave out one of them",
            )
        values = _values(text, inputs_of(program.operation), given, make_model)
        for model, label in zip(models.values(), labels, strict=True):
            shown = text if len(models) == 1 else f"{text} on {label}"
            found.append(
                Contender(name=shown, program=program.operation, settings=values, model=model)
            )
    return found


def split_settings(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the settings of `name(setting=literal)`.

    Raises:
        ConfigError: It is written otherwise.
    """
    found = re.fullmatch(r"([\w-]+|.*?\.py:\w+)(?:\((.*))?", text.strip(), re.DOTALL)
    if found is None or found[2] is None:
        return text.strip(), {}
    return found[1], literal_settings(text, found[2], what="program", example=_EXAMPLE)


def _values(
    text: str, inputs: list[Input], given: dict[str, Any], make_model: Callable[[str], Model]
) -> dict[str, Any]:
    """Return the settings as the values that the program takes; rows give the other inputs."""
    if not given:
        return {}
    partial = [i if i.name in given else replace(i, default=None) for i in inputs]
    try:
        plain = json.loads(json.dumps(given, allow_nan=False))
    except (TypeError, ValueError):
        raise CommandError(
            f"--program {text}: a setting is no number, text, list or table",
            f"settings are written as in {_EXAMPLE}",
        ) from None
    try:
        return bind(partial, plain, make_model)
    except CommandError as exc:
        raise CommandError(f"--program {text}: {exc}", exc.hint) from None
