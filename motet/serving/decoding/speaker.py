"""Report the text of a paired completion while it comes, as soon as it is certain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motet.serving.decoding.texts import INCOMPLETE

if TYPE_CHECKING:
    from collections.abc import Callable


class Speaker:
    """Reports text that no later token and no stop text can take back."""

    def __init__(self, stops: tuple[str, ...], told: Callable[[str], None] | None) -> None:
        self._told = told
        self._said = ""
        self._held = max((len(stop) for stop in stops), default=1) - 1

    def hear(self, text: str) -> None:
        """Report `text`, all so far, as far as no stop text can begin in it."""
        text = text.rstrip(INCOMPLETE)
        safe = text[: len(text) - self._held] if self._held else text
        if len(safe) > len(self._said) and safe.startswith(self._said) and self._told is not None:
            self._told(safe[len(self._said) :])
            self._said = safe

    def say(self, text: str) -> None:
        """Report what is left of the whole text."""
        if self._told is not None and text.startswith(self._said) and text != self._said:
            self._told(text[len(self._said) :])
            self._said = text


class Heard:
    """Pieces of one round from both sides."""

    def __init__(self, speaker: Speaker, text: str) -> None:
        """Listen behind `text`, that of the rounds before."""
        self._speaker = speaker
        self._text = text.rstrip(INCOMPLETE)  # the engine tells a character once it is whole
        self._main: list[tuple[int, str]] = []
        """Number of tokens by then, and the text that they added."""
        self._main_ids: list[int] = []
        self._partner_ids: list[int] = []

    def on_main(self, ids: tuple[int, ...], text: str) -> None:
        self._main_ids.extend(ids)
        self._main.append((len(self._main_ids), text))
        self._tell()

    def on_partner(self, ids: tuple[int, ...], text: str) -> None:
        self._partner_ids.extend(ids)
        self._tell()

    def _tell(self) -> None:
        shared = len(common(tuple(self._main_ids), tuple(self._partner_ids)))
        while self._main and self._main[0][0] <= shared:
            self._text += self._main.pop(0)[1]
        self._speaker.hear(self._text)


def common(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Return the tokens with which both begin."""
    shared = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        shared += 1
    return one[:shared]
