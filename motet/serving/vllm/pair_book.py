"""Which of the engine's requests belong together as pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, get_args

from motet.serving.decoding import wire


@dataclass(slots=True, eq=False)
class Pair:
    """Two requests that are to be sampled in the same steps."""

    since_s: float
    """When its first member arrived."""
    members: dict[wire.Role, Any] = field(default_factory=dict)
    """Role -> vLLM's request."""
    is_loose: bool = False
    """Whether the members run on their own: one has ended or never came."""
    is_next: bool = False
    """Whether it waits for a step in which both of its one-token prompts are admitted."""

    @property
    def is_whole(self) -> bool:
        return len(self.members) == 2

    def other(self, request: Any) -> Any | None:
        """Return the other member; None where it is not here."""
        for member in self.members.values():
            if member is not request:
                return member
        return None


class PairBook:
    """The pairs of which a member is in the engine."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        """How long a member waits for its other one to arrive."""
        self._newest: dict[str, Pair] = {}
        self._by_request: dict[str, Pair] = {}
        self._names: dict[Pair, str] = {}

    def __bool__(self) -> bool:
        return bool(self._by_request)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._names)

    def of(self, request: Any) -> Pair | None:
        """Return the pair of a request; None for an ordinary one."""
        return self._by_request.get(request.request_id)

    def add(self, request: Any, now_s: float) -> Pair | None:
        """Enter a request that has arrived; return its pair, or None for an ordinary one."""
        found = read_pair(request)
        if found is None:
            return None
        name, role = found
        pair = self._newest.get(name)
        if pair is None or pair.is_loose or role in pair.members:
            pair = Pair(now_s)
            self._newest[name] = pair
            self._names[pair] = name
        pair.members[role] = request
        self._by_request[request.request_id] = pair
        return pair

    def remove(self, request: Any) -> None:
        """Strike out a request that has ended; its other one then runs on its own."""
        pair = self._by_request.pop(request.request_id, None)
        if pair is None:
            return
        pair.is_loose = True
        for role, member in list(pair.members.items()):
            if member is request:
                del pair.members[role]
        if not pair.members:
            name = self._names.pop(pair)
            if self._newest.get(name) is pair:
                del self._newest[name]

    def loosen_overdue(self, now_s: float) -> int:
        """Let members run whose other one has not come in time; return how many."""
        overdue = [
            pair
            for pair in self
            if not pair.is_loose and not pair.is_whole and now_s - pair.since_s > self.timeout_s
        ]
        for pair in overdue:
            pair.is_loose = True
        return len(overdue)


def read_pair(request: Any) -> tuple[str, wire.Role] | None:
    """Return name and role as the request's rules state them; None for an ordinary request."""
    sampling = request.sampling_params
    text = None if sampling is None else (sampling.extra_args or {}).get(wire.FIELD)
    if not isinstance(text, str) or '"pair"' not in text:
        return None
    try:
        pair = json.loads(text).get("pair")
    except (ValueError, AttributeError):
        return None
    if not isinstance(pair, list) or len(pair) != 2 or pair[1] not in get_args(wire.Role):
        return None
    return str(pair[0]), pair[1]
