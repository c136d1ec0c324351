"""A streamed reply, put together from its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet.errors import GarbledReplyError

if TYPE_CHECKING:
    from motet.engine import OnDelta

_MESSAGE_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")


class StreamedReply:
    """Joins the events of a stream into the body that the same request gets unstreamed."""

    def __init__(self, n: int, on_delta: OnDelta) -> None:
        self._n = n
        self._on_delta = on_delta
        self._choices: dict[int, dict[str, Any]] = {}
        self._num_finished = 0
        self._rest: dict[str, Any] = {}

    @property
    def is_finished(self) -> bool:
        """Whether every completion has its finish reason."""
        return self._num_finished == self._n

    def body(self) -> dict[str, Any]:
        return {**self._rest, "choices": list(self._choices.values())}

    def add(self, event: dict[str, Any]) -> None:
        for name in ("model", "usage"):
            if event.get(name) is not None:
                self._rest[name] = event[name]
        choices = event.get("choices")
        if not isinstance(choices, list):
            raise GarbledReplyError("an event of the stream has no choices")
        for piece in choices:
            try:
                index, text = self._add_piece(piece)
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
                raise GarbledReplyError("a choice of the stream is malformed") from exc
            if text:
                self._on_delta(index, text)

    def _add_piece(self, piece: dict[str, Any]) -> tuple[int, str | None]:
        index = piece.get("index", 0)
        if type(index) is not int or not 0 <= index < self._n:
            raise GarbledReplyError(f"the stream has a choice {index!r}; {self._n} were asked for")
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = {"index": index, "finish_reason": None}
        for name in ("logprobs", "token_ids"):
            if piece.get(name) is not None:
                choice[name] = _joined(choice.get(name), piece[name])
        if piece.get("stop_reason") is not None:
            choice["stop_reason"] = piece["stop_reason"]
        if piece.get("finish_reason") is not None:
            self._num_finished += choice["finish_reason"] is None
            choice["finish_reason"] = piece["finish_reason"]
        if "delta" in piece:
            message = choice.setdefault("message", {"content": ""})
            return index, _add_delta(message, piece["delta"])
        text = piece.get("text")
        if not isinstance(text, str):
            raise GarbledReplyError("a choice of the stream has no text")
        choice["text"] = choice.get("text", "") + text
        return index, text


def _add_delta(message: dict[str, Any], delta: Any) -> str | None:
    for name in _MESSAGE_TEXTS:
        value = delta.get(name)
        if value is not None:
            if not isinstance(value, str):
                raise GarbledReplyError(f"a delta's {name} is no string")
            message[name] = message.get(name, "") + value
    for piece in delta.get("tool_calls") or ():
        calls = message.setdefault("tool_calls", [])
        if piece.get("index", 0) == len(calls):
            calls.append({"id": "", "function": {"name": "", "arguments": ""}})
        call = calls[piece.get("index", 0)]
        call["id"] = piece.get("id") or call["id"]
        written = piece.get("function") or {}
        for name in ("name", "arguments"):
            call["function"][name] += written.get(name) or ""
    text: str | None = delta.get("content")
    return text


def _joined(old: Any, new: Any) -> Any:
    """Append to `old` in place: lists, and lists that are members of an object."""
    if old is None:
        return new
    if isinstance(old, list):
        old.extend(new)
    else:
        for name, value in new.items():
            if isinstance(value, list):
                old[name] = _joined(old.get(name), value)
    return old
