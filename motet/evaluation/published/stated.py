"""What is stated beside the rows of a data set: its `expected.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from motet.errors import DataError
from motet.evaluation.published.figure import Published, StatedBy

WHOLE: Final = "full_set"
"""The key of what is stated of all rows of the source."""


def places_of(source: str, folders: Sequence[Path]) -> list[Path]:
    """Return where the data set lies in each of `folders` that has it.

    Raises:
        DataError: None has it; names them.
    """
    places = [folder / source for folder in folders if (folder / source).is_dir()]
    if not places:
        raise DataError(f"there is no folder {source} in {', '.join(map(str, folders))}")
    return places


class Stated:
    """The figures stated of a data set: of its stored part, and of all rows of the source.

    Several folders are parts of one set. Of a join of them only the figures of all rows are
    stated, so it has to be complete.
    """

    def __init__(self, source: str, places: Sequence[Path], *, is_published: bool = True) -> None:
        """Read what is stated in the first place.

        Args:
            is_published: Whether the figures of all rows are the source's own.

        Raises:
            DataError: The file cannot be read, or is no JSON object.
        """
        self.source = source
        self.is_whole = False
        self._is_published = is_published
        self._num_places = len(places)
        self._path = places[0] / "expected.json"
        try:
            self._record = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise DataError(f"{self._path} cannot be read: {exc}") from exc
        if not isinstance(self._record, dict):
            raise DataError(f"{self._path} is no object of stated figures")

    def count(self, held: int, whole: int | None) -> None:
        """Tell the rows held of all of the source's; from here on figures of all are compared
        where all are held.

        Raises:
            DataError: None is held, or several parts do not make the whole.
        """
        if not held:
            raise DataError(f"{self._path.parent} holds no rows")
        self.is_whole = held == whole
        if self._num_places > 1 and not self.is_whole:
            raise DataError(
                f"{self._num_places} parts of {self.source} hold {held} rows; nothing is stated of "
                f"them{f', only of {whole}' if whole is not None else ''}: give one part, or all"
            )

    def find(self, *keys: str) -> Any:
        """Return what stands under the keys, one in the other; None where nothing does."""
        found: Any = self._record
        for key in keys:
            if not isinstance(found, dict) or key not in found:
                return None
            found = found[key]
        return found

    def number(self, *keys: str) -> float:
        """Return a number.

        Raises:
            DataError: There is none under the keys.
        """
        found = self.find(*keys)
        is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
        if not is_number or not math.isfinite(found):
            raise DataError(f"{self._path} states no number under {'/'.join(keys)}: {found!r:.80}")
        return float(found)

    def names(self, *keys: str) -> list[str]:
        """Return what figures are stated of.

        Raises:
            DataError: There are none under the keys.
        """
        found = self.find(*keys)
        if not isinstance(found, dict) or not found:
            raise DataError(f"{self._path} states nothing under {'/'.join(keys)}: {found!r:.80}")
        return list(found)

    def figure(
        self,
        kind: str,
        name: str,
        computed: float | None,
        keys: Sequence[str],
        tolerance: float,
        *,
        note: str = "",
    ) -> Published:
        """Compare what was computed with the number under the keys.

        Raises:
            DataError: There is no number.
        """
        whole_keys = (WHOLE, *keys)
        whole = None if self.find(*whole_keys) is None else self.number(*whole_keys)
        if not self.is_whole:
            published = self.number(*keys)
        else:
            published, whole = self.number(*whole_keys), None
        stated_by: StatedBy = "source" if self.is_whole and self._is_published else "data"
        return Published(
            source=self.source,
            kind=kind,
            name=name,
            published=published,
            computed=math.nan if computed is None else computed,
            tolerance=tolerance,
            stated_by=stated_by,
            whole=whole,
            note=note,
        )
