"""The program's process: it loads the program and answers what the tests ask."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import CodeType
from typing import Any, Final

from motet.grading.inside.pipes import receive, send
from motet.grading.inside.plain import decode, encode

_CHANGEABLE: Final = (list, dict, set, bytearray)
MADE: Final[dict[str, Callable[[Any], tuple[Any, ...]]]] = {
    "builtins.range": lambda value: (value.start, value.stop, value.step),
    "collections.deque": lambda value: (list(value), value.maxlen),
    "decimal.Decimal": lambda value: (str(value),),
    "fractions.Fraction": lambda value: (value.numerator, value.denominator),
    "datetime.date": lambda value: (value.year, value.month, value.day),
    "datetime.timedelta": lambda value: (value.days, value.seconds, value.microseconds),
}
"""Classes of the standard library whose values are sent, and their arguments."""


class _Whole:
    """A value that is referred to, though it could be sent."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Worker:
    """The program's side: answers what the tests ask."""

    def __init__(self, requests: int, replies: int) -> None:
        self._requests = requests
        self._replies = replies
        self._kept: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._names: dict[str, Any] = {}

    def live(self, candidates: Sequence[str]) -> None:
        try:
            self._load(candidates)
            while True:
                self._serve()
        except EOFError:
            return

    def _load(self, candidates: Sequence[str]) -> None:
        for number, source in enumerate(candidates):
            try:
                code = compile(source, "<program>", "exec", dont_inherit=True)
            except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
                continue
            module = type(sys)("program")
            sys.modules["program"] = module
            self._names = module.__dict__
            self._names.update(exit=sys.exit, quit=sys.exit)
            self._answer(partial(self._executed, code, number))
            return
        send(self._replies, encode(("unreadable",)))

    def _executed(self, code: CodeType, number: int) -> int:
        exec(code, self._names)  # noqa: S102
        return number

    def _serve(self) -> None:
        kind, subject, arguments, settings = self._receive()
        act: dict[str, Callable[[], Any]] = {
            "global": lambda: self._names[subject],
            "call": lambda: self._called(subject, arguments, settings),
            "getattr": lambda: getattr(subject, *arguments),
            "setattr": lambda: setattr(subject, *arguments),
            "getitem": lambda: subject[arguments[0]],
            "setitem": lambda: subject.__setitem__(*arguments),
            "len": lambda: len(subject),
            "iter": lambda: iter(subject),
            "next": lambda: next(subject),
            "bool": lambda: bool(subject),
            "str": lambda: str(subject),
            "repr": lambda: repr(subject),
            "eq": lambda: bool(subject == arguments[0]),
            "lt": lambda: bool(subject < arguments[0]),
        }
        self._answer(act[kind], arguments)

    @staticmethod
    def _called(subject: Any, arguments: Sequence[Any], settings: dict[str, Any]) -> Any:
        made = subject(*arguments, **settings)
        is_own = isinstance(subject, type) and subject.__module__ == "program"
        # A container that the tests make of the program's class is an object, not its content.
        return _Whole(made) if is_own and isinstance(made, _CHANGEABLE) else made

    def _receive(self) -> Any:
        return decode(receive(self._requests), self._resolve)

    def _answer(self, act: Callable[[], Any], arguments: Sequence[Any] = ()) -> None:
        try:
            message = encode(("value", act(), self._changeable(arguments)), self._refer)
        except BaseException as exc:
            classes = [cls.__name__ for cls in type(exc).__mro__ if cls.__module__ == "builtins"]
            try:
                said = str(exc)[:300]
            except BaseException:
                said = ""
            message = encode(("raised", classes, type(exc).__name__, said))
        send(self._replies, message)

    @staticmethod
    def _changeable(arguments: Sequence[Any]) -> list[Any]:
        return [a if isinstance(a, _CHANGEABLE) else None for a in arguments]

    def _refer(self, value: Any) -> bytes:
        if isinstance(value, _Whole):
            return self._keep(value.value)
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        if name in MADE:
            return b"made " + encode((name, MADE[name](value)))
        return self._keep(value)

    def _keep(self, value: Any) -> bytes:
        number = self._numbers.setdefault(id(value), len(self._kept))
        if number == len(self._kept):
            self._kept.append(value)
        return b"kept %d" % number

    def _resolve(self, content: bytes) -> Any:
        kind, _, number = content.partition(b" ")
        if kind == b"kept":
            return self._kept[int(number)]
        return self._callback(int(number))

    def _callback(self, number: int) -> Callable[..., Any]:
        def callback(*arguments: Any, **settings: Any) -> Any:
            send(self._replies, encode(("callback", number, arguments, settings), self._refer))
            while True:
                kind, *rest = self._receive()
                if kind != "answer":
                    raise RuntimeError("a test's function was called at the wrong time")
                return rest[0]

        return callback
