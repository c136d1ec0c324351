"""Chain ensembles: each model labels what is left, keeps its surest share, passes the rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Any, Literal

from motet.errors import ConfigError, DataError
from motet.routing.cascade import Played, check_models, columns_of, played, tried
from motet.routing.confidence import normalised
from motet.search.settings import number, one_of, several, whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motet.routing.outcomes import Floats, Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainEnsemble:
    """Label a set with m models from cheap to dear, each of which sees fewer items.

    Each link keeps its most confident items and passes the others on. At the end the label of an
    item is that of the link with the highest normalised confidence among those that saw it, so a
    link may win an item that it passed on.

    Source: LLM Chain Ensembles, 2024, and the code of its package. There link i keeps
    floor(remaining / (m - i)) items, which is what equal shares give here. Departures: of items
    with equal confidence the earlier is kept; of links with equal rank the later wins; an unknown
    confidence is passed on first and wins only where no link is known.
    """

    models: tuple[str, ...]
    """[m], in order."""
    shares: tuple[float, ...] | None = None
    """[m], positive, in proportion to what each link keeps of the whole; equal where None."""
    forward: Literal["least_confident", "random"] = "least_confident"
    """"random" is the baseline that passes on any items."""
    normalise: Literal["rank", "min_max"] = "rank"
    ties: Literal["max", "average"] = "max"
    """Which rank equal confidences have; the package's code takes the highest."""
    seed: int = 0
    """Of the random baseline."""

    def __post_init__(self) -> None:
        check_models(self.models)
        one_of("forward", self.forward, ("least_confident", "random"))
        one_of("normalise", self.normalise, ("rank", "min_max"))
        one_of("ties", self.ties, ("max", "average"))
        whole("seed", self.seed, 0)
        if self.shares is None:
            return
        several("shares", self.shares)
        if len(self.shares) != len(self.models):
            raise ConfigError(f"shares are {self.shares!r}; {len(self.models)} models need as many")
        for place, share in enumerate(self.shares):
            number(f"shares[{place}]", share, 0)
            if not share:
                raise ConfigError(f"shares[{place}] is {share!r}; it must be above 0")

    def num_kept(self, place: int, num_items: int) -> int:
        """Return how many of the items that reach a link it keeps; the last keeps all.

        Raises:
            ConfigError: There is no such place.
        """
        whole("place", place, 0, len(self.models) - 1)
        whole("num_items", num_items, 0)
        if self.shares is None:
            return num_items // (len(self.models) - place)
        if place == len(self.models) - 1:
            return num_items
        # The small term undoes rounding: 90 items in thirds are 30, not 29.
        return int(num_items * self.shares[place] / fsum(self.shares[place:]) + 1e-9)

    def passed_on(self, place: int, confidences: Sequence[float | None] | Floats) -> list[int]:
        """Return which of the items at a link go to the next one, in their order.

        Args:
            confidences: [N], of the link's labels; any scale, None or NaN where unknown.
        """
        import numpy as np

        floats = _floats(confidences)
        order: NDArray[np.int64]
        if self.forward == "random":
            order = np.random.default_rng([self.seed, place]).permutation(len(floats))
        else:
            order = np.argsort(np.where(np.isnan(floats), np.inf, -floats), kind="stable")
        return sorted(int(i) for i in order[self.num_kept(place, len(floats)) :])

    def winners(self, confidences: Floats, seen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the link [N] whose label each item gets.

        Args:
            confidences: [N, m], NaN where unknown.
            seen: [N, m], whether the link labelled the item.

        Raises:
            DataError: Shapes do not agree, or no link saw an item.
        """
        import numpy as np

        floats, is_seen = _floats(confidences), np.asarray(seen, dtype=bool)
        if floats.shape != is_seen.shape or floats.ndim != 2:
            raise DataError(f"{floats.shape} confidences for {is_seen.shape} labels")
        if not is_seen.any(axis=1).all():
            raise DataError(f"no link saw item {int(is_seen.any(axis=1).argmin())}")
        ranks = normalised(np.where(is_seen, floats, np.nan), self.normalise, self.ties)
        ranks = np.where(is_seen, np.where(np.isnan(ranks), -1.0, ranks), -2.0)
        last = ranks.shape[1] - 1
        result: NDArray[np.int64] = last - ranks[:, ::-1].argmax(axis=1)
        return result

    def play(self, outcomes: Outcomes, confidences: Floats) -> Played:
        """Return what the chain would have given on a table; `answer` is the winning link.

        Args:
            confidences: [P, M], of any scale; NaN where unknown.

        Raises:
            DataError: A model is not in the table or was not tried on a prompt, or the
                confidences do not fit.
        """
        import numpy as np

        table = tried(outcomes, self.models)
        floats = _floats(confidences)
        if floats.shape != outcomes.scores.shape:
            raise DataError(
                f"confidences have the shape {floats.shape}, the table {outcomes.scores.shape}"
            )
        floats = floats[:, columns_of(outcomes, self.models)]
        seen = np.zeros(floats.shape, dtype=bool)
        rows = np.arange(len(floats))
        for place in range(len(self.models)):
            seen[rows, place] = True
            rows = rows[self.passed_on(place, floats[rows, place])]
        return played(table, seen, self.winners(floats, seen))


def _floats(values: Any) -> Floats:
    import numpy as np

    try:
        floats: Floats = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise DataError(f"confidences are no array of numbers: {exc}") from exc
    if np.isinf(floats).any():
        raise DataError("confidences hold an infinite value")
    return floats
