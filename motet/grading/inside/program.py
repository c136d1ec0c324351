"""The program as the tests see it, from the process of the tests."""

from __future__ import annotations

import builtins
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from motet.grading.inside.pipes import receive, send
from motet.grading.inside.plain import UnsendableError, decode, encode
from motet.grading.inside.worker import MADE

_SHAPES: Final[dict[Any, list[type]]] = {
    "unreadable": [],
    "raised": [list, str, str],
    "callback": [int, tuple, dict],
}
_VALUE: Final = ("value", 2, [list])


class ProgramEndedError(BaseException):
    """The program's process ended, or does not keep to the protocol."""


class Program:
    """The tests' side: what the program does, as values."""

    def __init__(self, requests: int, replies: int, child: int) -> None:
        self._requests = requests
        self._replies = replies
        self._child = child
        self._callbacks: list[Callable[..., Any]] = []
        self.has_objects = False
        """Whether the tests use objects of the program's own classes."""

    def loaded(self) -> int | None:
        """Wait until the program is loaded; return which candidate it is, None for none."""
        number = self._reply([])
        return number if isinstance(number, int) else None

    def ask(self, kind: str, subject: Any, *arguments: Any, **settings: Any) -> Any:
        try:
            send(self._requests, encode((kind, subject, arguments, settings), self._refer))
        except OSError as exc:
            raise self._end() from exc
        return self._reply(arguments)

    def _reply(self, arguments: Sequence[Any]) -> Any:
        while True:
            kind, *rest = self._received()
            if kind == "value":
                for argument, new in zip(arguments, rest[1], strict=False):
                    _update(argument, new)
                return rest[0]
            if kind == "unreadable":
                return None
            if kind == "raised":
                raise _error_of(*rest)
            number, given, settings = rest
            result = self._callbacks[number](*given, **settings)
            send(self._requests, encode(("answer", result), self._refer))

    def _received(self) -> Any:
        try:
            message = decode(receive(self._replies), self._resolve)
            kind, *rest = message
            shape = [type(part) for part in rest]
            if shape != _SHAPES.get(kind) and (kind, len(shape), shape[1:]) != _VALUE:
                raise ValueError("a message has another shape")
            if kind == "callback" and not 0 <= rest[0] < len(self._callbacks):
                raise ValueError("there is no such function")
        except (ArithmeticError, EOFError, OSError, TypeError, ValueError, UnsendableError) as exc:
            raise self._end() from exc
        return message

    def _end(self) -> ProgramEndedError:
        try:
            found, status = os.waitpid(self._child, os.WNOHANG)
        except OSError:
            found, status = 0, 0
        if found and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
            return ProgramEndedError("time: the processor time is used up")
        return ProgramEndedError("ended: the program ended before its tests")

    def _refer(self, value: Any) -> bytes:
        if isinstance(value, Remote):
            return b"kept %d" % value._number
        if callable(value):
            self._callbacks.append(value)
            return b"callback %d" % (len(self._callbacks) - 1)
        raise UnsendableError(f"the tests pass a {type(value).__name__}, which cannot be sent")

    def _resolve(self, content: bytes) -> Any:
        kind, _, rest = content.partition(b" ")
        if kind == b"kept":
            return Remote(self, int(rest))
        name, arguments = decode(rest)
        if name not in MADE:
            raise ValueError(f"{name!r:.40} is not made here")
        module, _, cls = name.partition(".")
        return getattr(__import__(module), cls)(*arguments)


class Remote:
    """An object of the program, which the tests cannot look into.

    It is equal to no value of the tests and ordered with none, since the program would say so.
    Its attributes and calls are there for tests of the program's own classes.
    """

    __slots__ = ("_number", "_program")

    def __init__(self, program: Program, number: int) -> None:
        object.__setattr__(self, "_program", program)
        object.__setattr__(self, "_number", number)

    def _as_object(self, kind: str, *arguments: Any, **settings: Any) -> Any:
        if not self._program.has_objects:
            raise TypeError("the program returned an object of its own")
        return self._program.ask(kind, self, *arguments, **settings)

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        return self._as_object("call", *arguments, **settings)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._as_object("getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._as_object("setattr", name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._as_object("getitem", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._as_object("setitem", key, value)

    def __len__(self) -> int:
        return int(self._as_object("len"))

    def __bool__(self) -> bool:
        return self._program.ask("bool", self) is True

    def __iter__(self) -> Iterator[Any]:
        found = self._program.ask("iter", self)
        while True:
            try:
                item = self._program.ask("next", found)
            except StopIteration:
                return
            yield item

    def __next__(self) -> Any:
        return self._program.ask("next", self)

    def __str__(self) -> str:
        return str(self._as_object("str"))

    def __repr__(self) -> str:
        return str(self._as_object("repr"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Remote):
            return False
        return self._number == other._number or self._as_object("eq", other) is True

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Remote):
            return NotImplemented
        return self._as_object("lt", other) is True

    def __hash__(self) -> int:
        return hash(self._number)


class Names(dict[str, Any]):
    """The builtins; what they have not is a module of Python's own, or else the program's."""

    def __init__(self, program: Program) -> None:
        super().__init__(vars(builtins))
        self._program = program

    def __missing__(self, name: str) -> Any:
        if name in sys.stdlib_module_names:
            return __import__(name)
        found = self._program.ask("global", name)
        self._program.has_objects = True
        return found


def _error_of(classes: Any, name: Any, said: Any) -> BaseException:
    """Build the exception that the program raised, as the builtin class that it extends."""
    builtin = vars(builtins)
    for known in classes:
        cls = builtin.get(known) if isinstance(known, str) else None
        if isinstance(cls, type) and issubclass(cls, Exception):
            try:
                error = cls(str(said))
            except TypeError:
                error = Exception(str(said))
            error.__notes__ = [f"raised {name}: {said}"]
            return error
    return ProgramEndedError(f"ended: the program raised {name}")


def _update(argument: Any, new: Any) -> None:
    """Change an argument of the tests as the program changed its copy."""
    if type(argument) is not type(new):
        return
    if isinstance(argument, (list, bytearray)):
        argument[:] = new
    elif isinstance(argument, (dict, set)):
        argument.clear()
        argument.update(new)
