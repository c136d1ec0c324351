"""A run's progress as a live tree in a terminal."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from motet.events import RunFinished, RunStarted
from motet.observers.escaping import one_line
from motet.observers.groups import CallGroups, Group

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from motet.events import Event

_REFRESHES_PER_S = 8
_DOTS = 10
_LEAST_NAME = 16
_LEAST_ERROR = 12
"""Columns that an error needs to be shown beside its calls."""
_MARKS = {"finished": "●", "running": "◐", "failed": "✗", "cancelled": "◌", "waiting": "○"}
_ASCII_MARKS = {"finished": "#", "running": ">", "failed": "x", "cancelled": "-", "waiting": "."}
_STYLES = {
    "finished": "green",
    "running": "yellow",
    "failed": "red",
    "cancelled": "dim",
    "waiting": "dim",
}


class ProgressTree:
    """Shows programs as branches and equal calls as one leaf, with totals in a footer line.

    The live display begins with the first event and ends with the run, or with `close`. Where the
    console is no terminal nothing is written.
    """

    def __init__(self, console: Console | None = None, *, is_transient: bool = False) -> None:
        """Set the display up.

        Args:
            console: Where to draw; standard error by default.
            is_transient: Whether the tree vanishes when the run ends.
        """
        if console is None:
            from rich.console import Console as RichConsole

            console = RichConsole(stderr=True)
        self._console = console
        self._is_transient = is_transient
        self._groups = CallGroups()
        self._lock = threading.Lock()
        self._live: Live | None = None
        encoding = (console.encoding or "").lower()
        self._marks = _MARKS if encoding.startswith("utf") else _ASCII_MARKS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def on_event(self, event: Event) -> None:
        with self._lock:
            self._groups.add(event)
        if isinstance(event, RunStarted):
            self._open()
        elif isinstance(event, RunFinished):
            self.close()

    def close(self) -> None:
        """End the display; what it showed last stays, unless it is transient."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _open(self) -> None:
        if not self._console.is_terminal or self._live is not None:
            return
        from rich.live import Live as RichLive

        self._live = RichLive(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=_REFRESHES_PER_S,
            transient=self._is_transient,
            vertical_overflow="crop",
            redirect_stdout=False,
        )
        self._live.start()

    def render(self) -> Text:
        """Return the tree as it is now, no higher than the terminal."""
        from rich.text import Text as RichText

        with self._lock:
            now_s = time.monotonic()
            height = max(3, self._console.height - 1)
            rows = self._rows(height - 1)
            width = max(20, self._console.width)
            shown = {id(group) for _, group in rows.shown}
            lines = [
                self._line(prefix, group, width, now_s, error=_own_error(group, shown))
                for prefix, group in rows.shown
            ]
            if rows.num_hidden:
                lines.append(RichText(f"  ... {rows.num_hidden} more lines", style="dim"))
            lines.append(self._footer(width, now_s))
        for line in lines:
            line.truncate(width, overflow="ellipsis" if self._marks is _MARKS else "crop")
        return RichText("\n").join(lines)

    def _rows(self, height: int) -> _Rows:
        rows = _Rows(self._groups.root, collapse=False)
        if len(rows.shown) > height:
            rows = _Rows(self._groups.root, collapse=True)
        rows.cut(height)
        return rows

    def _line(
        self, prefix: str, group: Group, width: int, now_s: float, *, error: str | None
    ) -> Text:
        from rich.text import Text as RichText

        guide = prefix if self._marks is _MARKS else _ascii_guide(prefix)
        least = min(_LEAST_NAME, len(group.name))
        right = self._right(group, now_s, width - len(guide) - least - 2)
        room = max(least, width - len(guide) - len(right) - 2)
        name = one_line(group.name, room)
        line = RichText(guide, style="dim", no_wrap=True)
        line.append(name, style="bold" if group.children else "")
        room -= len(name)
        if error is not None and room > _LEAST_ERROR:
            problem = one_line(error, room - 2)
            line.append(f"  {problem}", style="red")
            room -= 2 + len(problem)
        line.append(" " * (room + 2))
        line.append_text(right)
        return line

    def _right(self, group: Group, now_s: float, most: int) -> Text:
        """What was counted, without what finds no room in `most` columns; the time stays."""
        from rich.text import Text as RichText

        done = group.finished + group.failed + group.cancelled
        states = _states(group)
        marks = RichText()
        for state, equal in itertools.groupby(states):
            marks.append(self._marks[state] * len(list(equal)), style=_STYLES[state])
        marks.append(" " * (_DOTS - len(states)))
        parts = {
            "retries": RichText(f"{group.retries} retried " if group.retries else "", "yellow"),
            "cached": RichText(f"{group.cached} kept " if group.cached else "", "cyan"),
            "tokens": RichText(f"{group.tokens:,} tok " if group.tokens else "", "dim"),
            "done": RichText(f"{done}/{group.created} "),
            "marks": marks,
            "time": RichText(f" {shown_seconds(group.seconds(now_s)):>6}", "dim"),
        }
        for name in ("tokens", "cached", "retries", "marks"):
            if sum(map(len, parts.values())) > most:
                del parts[name]
        return RichText().join(parts.values())

    def _footer(self, width: int, now_s: float) -> Text:
        from rich.text import Text as RichText

        groups = self._groups
        parts = [shown_seconds(now_s - groups.started_s) if groups.started_s else "0.0s"]
        parts.append(f"{groups.num_prompts_done}/{groups.num_prompts} model calls")
        usage = groups.usage
        parts.append(
            f"{usage.tokens:,} tokens ({usage.prompt_tokens:,} in, {usage.completion_tokens:,} out)"
        )
        if groups.retries:
            parts.append(f"{groups.retries} retries")
        if groups.cost:
            parts.append(f"cost {groups.cost:.6g}")
        return RichText("  ".join(parts), style="bold", no_wrap=True)


class _Rows:
    """Groups to show with their guides, in order."""

    def __init__(self, root: Group, *, collapse: bool) -> None:
        self._collapse = collapse
        self.shown: list[tuple[str, Group]] = []
        self.num_hidden = 0
        for child in _visible(root):
            self.shown.append(("", child))
            self._add(child, "")

    def _add(self, group: Group, indent: str) -> None:
        if self._collapse and group.is_done:
            return
        children = _visible(group)
        for place, child in enumerate(children):
            is_last = place == len(children) - 1
            self.shown.append((indent + ("└ " if is_last else "├ "), child))
            self._add(child, indent + ("  " if is_last else "│ "))

    def cut(self, height: int) -> None:
        """Drop lines until the rest fits: those at work stay before those that wait."""
        if len(self.shown) <= height:
            return
        most = max(1, height - 1)
        ranked = sorted(range(len(self.shown)), key=lambda i: (_rank(self.shown[i][1]), i))
        kept = sorted(ranked[:most])
        self.num_hidden = len(self.shown) - most
        self.shown = [self.shown[i] for i in kept]


def _visible(group: Group) -> list[Group]:
    """Children of `group` by their starts, those that wait last.

    A collector stands only for its inputs and is left out.
    """
    found: list[Group] = []
    for child in group.children.values():
        if child.kind == "collect":
            found.extend(_visible(child))
        else:
            found.append(child)
    return sorted(found, key=lambda g: (g.started_s is None, g.started_s or 0.0))


def _own_error(group: Group, shown: set[int]) -> str | None:
    """The group's error, unless a line below it says the same."""
    if group.error is None:
        return None
    is_below = any(g.error == group.error and id(g) in shown for g in group.walk())
    return None if is_below else group.error


def _rank(group: Group) -> int:
    if group.depth == 1:
        return 0
    if group.running:
        return 1
    return 2 if not group.is_done else 3


def _states(group: Group) -> list[str]:
    """At most ten marks in the proportions of the group's states; each state there has one."""
    waiting = group.created - group.finished - group.failed - group.cancelled - group.running
    counts: dict[str, Any] = {
        "finished": group.finished,
        "failed": group.failed,
        "cancelled": group.cancelled,
        "running": group.running,
        "waiting": max(0, waiting),
    }
    total = sum(counts.values())
    if total > _DOTS:
        shares = {s: max(1, n * _DOTS // total) if n else 0 for s, n in counts.items()}
        while sum(shares.values()) != _DOTS:
            most = max(shares, key=lambda s: counts[s] if shares[s] > 1 else -1)
            shares[most] += 1 if sum(shares.values()) < _DOTS else -1
        counts = shares
    return [state for state, count in counts.items() for _ in range(count)]


def shown_seconds(seconds: float) -> str:
    """Seconds as a person reads them: 3.2s, 4:05, 1:02:03."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _ascii_guide(guide: str) -> str:
    return guide.replace("└", "`").replace("├", "|").replace("│", "|")
