"""A chain ensemble for items that come one by one: thresholds and ranks of an earlier batch."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, ClassVar

from motet.errors import ConfigError, DataError
from motet.routing.cascade import NEVER
from motet.search.settings import number, several

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motet.routing.chain_ensemble import ChainEnsemble
    from motet.routing.outcomes import Floats


@dataclass(frozen=True, kw_only=True)
class FittedChain:
    """What a batch told about a chain of m links: whom each keeps, and how its confidences lie.

    Raises:
        ConfigError: Lengths do not agree, or confidences do not rise from 0 to 1.
    """

    __motet_opaque__: ClassVar[bool] = True

    thresholds: tuple[float, ...]
    """[m - 1]. A link but the last keeps an item that it is at least so confident of."""
    confidences: tuple[tuple[float, ...], ...]
    """Of each link, those of the batch's items that it labelled, rising."""

    def __post_init__(self) -> None:
        several("thresholds", self.thresholds)
        several("confidences", self.confidences)
        if len(self.thresholds) != len(self.confidences) - 1:
            raise ConfigError(
                f"thresholds has {len(self.thresholds)} values for {len(self.confidences)} links; "
                "each but the last has one"
            )
        for place, threshold in enumerate(self.thresholds):
            number(f"thresholds[{place}]", threshold)
        for place, found in enumerate(self.confidences):
            several(f"confidences[{place}]", found)
            for value in found:
                number(f"confidences[{place}]", value, 0, 1)
            if list(found) != sorted(found):
                raise ConfigError(f"confidences[{place}] does not rise")

    @cached_property
    def identity(self) -> str:
        """Text that changes with any number; made once, as every call of a batch is given it."""
        found = blake2b(repr(list(map(len, self.confidences))).encode(), digest_size=16)
        for values in (self.thresholds, *self.confidences):
            found.update(array("d", values).tobytes())
        return f"fitted_chain:{found.hexdigest()}"

    def keeps(self, place: int, confidence: float | None) -> bool:
        """Say whether the link at `place` keeps an item; the last keeps all."""
        if place == len(self.thresholds):
            return True
        return confidence is not None and confidence >= self.thresholds[place]

    def rank(self, place: int, confidence: float) -> float:
        """Return the share of the link's confidences that are no higher than this one, 0 to 1."""
        known = self.confidences[place]
        return bisect_right(known, confidence) / len(known) if known else 0.0

    def winner(self, confidences: Sequence[float | None]) -> int:
        """Return the link of the highest rank among those that labelled an item; the later of
        equals. One whose confidence is unknown wins where none is known.

        Args:
            confidences: Of the first links, in their order, at least one.
        """
        ranks = [
            -1.0 if each is None else self.rank(place, each)
            for place, each in enumerate(confidences)
        ]
        return len(ranks) - 1 - ranks[::-1].index(max(ranks))


def fit_chain(ensemble: ChainEnsemble, confidences: Floats, seen: NDArray[np.bool_]) -> FittedChain:
    """Return what the run of a chain over a batch tells for items to come.

    A threshold is the least confidence that its link kept: on the same batch the fitted chain keeps
    the same items, and where confidences are equal those with them.

    Args:
        confidences: [N, m], 0 to 1, NaN where unknown.
        seen: [N, m], whether the link labelled the item.

    Raises:
        DataError: Shapes do not agree, or a confidence is outside 0 to 1.
        ConfigError: The chain passes on at random, so that no threshold tells.
    """
    import numpy as np

    if ensemble.forward == "random":
        raise ConfigError("forward is 'random'; a chain that passes on at random has no thresholds")
    values, is_seen = np.asarray(confidences, dtype=np.float64), np.asarray(seen, dtype=bool)
    num_links = len(ensemble.models)
    if values.shape != is_seen.shape or values.ndim != 2 or values.shape[1] != num_links:
        raise DataError(f"{values.shape} confidences for {is_seen.shape} labels of {num_links}")
    if ((values < 0) | (values > 1)).any():
        raise DataError("confidences hold a value outside 0 to 1")
    known = [
        np.sort(column[rows & ~np.isnan(column)])
        for column, rows in zip(values.T, is_seen.T, strict=True)
    ]
    thresholds = []
    for place in range(num_links - 1):
        kept = min(ensemble.num_kept(place, int(is_seen[:, place].sum())), len(known[place]))
        thresholds.append(float(known[place][-kept]) if kept else NEVER)
    return FittedChain(
        thresholds=tuple(thresholds),
        confidences=tuple(tuple(map(float, each)) for each in known),
    )
