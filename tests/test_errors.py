"""Errors: one tree, written down and restored."""

import inspect
import json
from typing import Any

import pytest

from motet import errors
from motet.errors import (
    BudgetExhaustedError,
    EngineUnavailableError,
    MotetError,
    ProgramError,
    PromptTooLongError,
    RateLimitedError,
    RequestRejectedError,
    StepError,
    TooFewSurvivorsError,
    describe_error,
    restore_error,
)

ALL = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, MotetError) and cls.__module__ == "motet.errors"
]
RETRYABLE = {
    "EngineUnavailableError",
    "RateLimitedError",
    "EngineTimeoutError",
    "GarbledReplyError",
}


def test_the_module_opens_with_the_whole_tree() -> None:
    """Every class stands in the docstring's tree, under its parent."""
    lines = [line for line in (errors.__doc__ or "").splitlines() if "Error" in line]
    path: list[str] = []
    drawn: dict[str, str] = {}
    for line in lines:
        name = next(word for word in line.split() if word.endswith("Error"))
        depth = line.index(name) // 4
        path[depth:] = [name]
        drawn[name] = path[depth - 1] if depth else ""

    for cls in ALL:
        assert cls.__name__ in drawn
        assert drawn[cls.__name__] == ("" if cls is MotetError else cls.__mro__[1].__name__)
        assert cls.__doc__


def test_only_passing_failures_of_engines_are_retryable() -> None:
    """`retryable` stands on the class."""
    found = {cls.__name__ for cls in ALL if cls.retryable}

    assert found == RETRYABLE


EXAMPLES: list[Any] = [
    ProgramError("wrong", place="a.py:1"),
    RateLimitedError("slow down", retry_after_s=1.5),
    EngineUnavailableError("gone"),
    RequestRejectedError("no", status=422),
    PromptTooLongError("long", prompt_tokens=9, max_tokens=None),
    StepError("boom", error_type="builtins.ValueError"),
    BudgetExhaustedError("spent", limit="max_calls", limit_value=3),
    TooFewSurvivorsError("few"),
    errors.EmptyReplyError("empty"),
    errors.UnboundModelError("none", place="b.py:2"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda e: type(e).__name__)
def test_an_error_comes_back_with_its_class_message_and_fields(error: MotetError) -> None:
    """What a resume reads is what the first run met."""
    described = json.loads(json.dumps(describe_error(error)))

    restored = restore_error(described)

    assert type(restored) is type(error)
    assert str(restored) == str(error)
    assert vars(restored) == vars(error)


BARE = "restore_error reads __init__.__code__, which a class without an own __init__ has not"


@pytest.mark.parametrize(
    "name",
    [
        "MotetError",
        "EngineError",
        "EngineTimeoutError",
        "GarbledReplyError",
        "ModelNotFoundError",
        "CallCancelledError",
        "ConfigError",
        "StoreError",
    ],
)
def test_errors_without_fields_come_back_too(name: str) -> None:
    """Classes that add nothing to an exception are restored like the others."""
    error = getattr(errors, name)("message")

    restored = restore_error(describe_error(error))

    assert type(restored) is type(error)
    assert str(restored) == "message"


def test_an_unknown_class_becomes_the_base() -> None:
    """A newer motet's journal can be read, and no other class can be named in one."""
    for name in ("FutureError", "ValueError", "annotations", "builtins"):
        restored = restore_error({"type": name, "message": "m", "fields": {}})

        assert type(restored) is MotetError
        assert str(restored) == "m"


def test_places_stand_in_the_message() -> None:
    """A program's mistake says where it was made."""
    assert str(ProgramError("wrong", place="a.py:1")) == "wrong (at a.py:1)"
    assert str(ProgramError("wrong")) == "wrong"
