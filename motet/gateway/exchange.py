"""One request on its way through the gateway, and the line that it leaves in the log."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from motet.engine import Reply
from motet.gateway.members import Member
from motet.gateway.policy import Drawn
from motet.gateway.reading import Asked
from motet.programs.choices import routed_text
from motet.routing.decision_log import LoggedDecision

GONE = 499
"""Status in the log where the client went away."""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """What is known of a request so far."""

    id: str
    asked: Asked
    started_s: float
    """Monotonic."""
    drawn: Drawn | None = None
    """None where the client named a member."""
    chosen: str = ""
    current: str = ""
    """Who is being asked, or answered."""
    tried: list[str] = field(default_factory=list)
    """Members that failed."""
    route_s: float = 0.0
    first_token_s: float | None = None
    status: int = 200
    error: str | None = None
    reply: Reply | None = None
    cost: float | None = None

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started_s

    @property
    def reason(self) -> str:
        if self.drawn is None:
            return f"{self.chosen}: the client asked for it"
        if self.tried:
            return f"{self.current}: in place of {', '.join(self.tried)}; {self.drawn.reason}"
        return self.drawn.reason

    @property
    def price(self) -> float | None:
        """Of an answer of the model that is asked, as the rule was told it."""
        return None if self.drawn is None else self.drawn.prices.get(self.current)

    def note_reply(self, member: Member, reply: Reply) -> None:
        self.reply = reply
        self.cost = member.cost(reply)

    def headers(self) -> dict[str, str]:
        """Return what tells the decision; ASCII on one line."""
        shown = {
            "x-motet-id": self.id,
            "x-motet-model": self.current,
            "x-motet-reason": self.reason,
            "x-motet-estimates": json.dumps(dict(self.estimates)),
        }
        if self.price is not None:
            shown["x-motet-price"] = f"{self.price:g}"
        return {name: _header(value) for name, value in shown.items()}

    @property
    def estimates(self) -> Mapping[str, float]:
        return {} if self.drawn is None else self.drawn.decision.estimates

    def shown(self) -> dict[str, Any]:
        """Return the `motet` object of a whole answer."""
        return {
            "id": self.id,
            "model": self.current,
            "reason": self.reason,
            "price": self.price,
            "estimates": dict(self.estimates),
            "propensity": None if self.drawn is None else self.drawn.propensities[self.chosen],
            "cost": self.cost,
        }

    def logged(self, *, has_text: bool) -> LoggedDecision:
        prompt = self.asked.prompt
        is_ids = bool(prompt) and isinstance(prompt[0], int)
        text = json.dumps(prompt) if is_ids else routed_text(prompt)  # type: ignore[arg-type]
        drawn, reply = self.drawn, self.reply
        return LoggedDecision(
            id=self.id,
            time=time.time(),
            prompt_digest=prompt_digest(text),
            prompt=text if has_text else None,
            asked="member" if drawn is None else "router",
            best=self.chosen if drawn is None else drawn.decision.model,
            chosen=self.chosen,
            answered=None if reply is None else self.current,
            reason=self.reason,
            price=self.price,
            estimates=self.estimates,
            propensity=None if drawn is None else drawn.propensities[self.chosen],
            propensities={} if drawn is None else drawn.propensities,
            status=self.status,
            error=self.error,
            prompt_tokens=0 if reply is None else reply.usage.prompt_tokens,
            completion_tokens=0 if reply is None else reply.usage.completion_tokens,
            cost=self.cost,
            route_s=round(self.route_s, 6),
            latency_s=round(self.elapsed_s, 6),
            first_token_s=self.first_token_s,
            is_streamed=self.asked.is_streamed,
        )


def prompt_digest(text: str) -> str:
    """Return 32 hexadecimal characters that name a prompt's text."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _header(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")
