"""Find the program in a reply. Pure and by lines: the text is never parsed outside the sandbox."""

from __future__ import annotations

import re
import textwrap
from typing import Final

_FENCE = re.compile(r"(?m)^[ \t]*(```+|~~~+)[ \t]*([\w+.-]*)[^\n]*\n")
_OF_PYTHON: Final = ("", "python", "py", "python3", "python2", "pycon")
_SIGN = re.compile(r"[=(\[{:]|\b(?:return|pass|raise|yield|import)\b")
_STOPS = re.compile(r"\n(?:class |def |async def |@|#|if |print\b|assert |```|<)")
"""What begins a line behind the end of a function that a base model went on with."""
_MOST_CUTS: Final = 40


def program_candidates(text: str, *, entry_point: str = "", prefix: str = "") -> tuple[str, ...]:
    """Return what may be the program in `text`, best first; the first that parses is it.

    Of fenced blocks the last that defines `entry_point` is taken, else the last. Text without
    blocks is a program if it defines `entry_point`, and else goes on with `prefix`, up to where
    the function ends. What follows an opening fence that nothing closes is a block.

    Args:
        entry_point: Name that the program must define; empty where any program will do.
        prefix: The beginning of a function, ended by its docstring or amid its body.
    """
    blocks = _blocks(text)
    definition = re.compile(
        rf"(?m)^(?:(?:async[ \t]+)?def|class)[ \t]+{re.escape(entry_point)}\b"
        rf"|^{re.escape(entry_point)}[ \t]*(?::[^=\n]+)?=(?!=)"
    )
    defining = [b for b in blocks if entry_point and definition.search(b)]
    body = next(reversed(defining or blocks), text)
    if not _SIGN.search(body):
        return ()
    if not entry_point or defining or definition.search(body):
        found = [body]
        if not blocks:
            found += _from_first_line(body)
    elif prefix:
        found = _continuations(prefix, body)
    else:
        found = [body] if blocks else []
    return tuple(dict.fromkeys(found))


def _blocks(text: str) -> list[str]:
    """Return fenced blocks of Python, or of no language; without their fences."""
    blocks: list[str] = []
    at = 0
    while opening := _FENCE.search(text, at):
        closing = re.compile(rf"(?m)^[ \t]*{re.escape(opening[1])}[ \t]*$").search(
            text, opening.end()
        )
        end = closing.start() if closing else len(text)
        if opening[2].lower() in _OF_PYTHON:
            blocks.append(textwrap.dedent(text[opening.end() : end]))
        at = closing.end() if closing else len(text)
    return blocks


def _from_first_line(text: str) -> list[str]:
    """Return programs that prose stands before or behind."""
    begin = re.search(r"(?m)^(?:from|import|def|class|async|@)\b", text)
    rest = text[begin.start() :] if begin else text
    return [rest, *_cut(rest)]


def _continuations(prefix: str, body: str) -> list[str]:
    if prefix.rstrip() and body.startswith(prefix.strip()):
        return [body]
    joined = prefix if prefix.endswith("\n") or body.startswith("\n") else prefix.rstrip(" ")
    bodies = [body, "    " + body.lstrip(" "), textwrap.indent(textwrap.dedent(body), "    ")]
    if not body.strip(" ").startswith("\n") and not joined.endswith("\n"):
        bodies = [part for text in bodies for part in (text, "\n" + text)]
    whole = [joined + part for part in bodies]
    stopped = [joined + part[: stop.start()] for part in bodies if (stop := _STOPS.search(part))]
    return [*whole, *stopped, *(joined + part for part in _cut(bodies[0]))]


def _cut(text: str) -> list[str]:
    """Return `text` without its last lines, one more each time."""
    lines = text.splitlines(keepends=True)
    least = max(1, len(lines) - _MOST_CUTS)
    return ["".join(lines[:end]) for end in range(len(lines) - 1, least - 1, -1)]
