"""Outcomes: what the answer of each model to each prompt was worth, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from motet.errors import ConfigError, DataError
from motet.search.settings import number, whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """A table of P prompts and M models, at least one of each.

    NaN stands where a model was not tried on a prompt; costs may be unknown where scores are not.
    The arrays are copied and cannot be written to.

    Raises:
        DataError: Shapes do not agree, names repeat, a score is infinite or outside 0 to 1, or a
            cost is negative or infinite; names the prompt and the model.
    """

    prompts: tuple[str, ...]
    """[P]. The same prompt may stand in several rows."""
    models: tuple[str, ...]
    """[M], without repetition."""
    scores: Floats
    """[P, M], 0 to 1."""
    costs: Floats
    """[P, M], in any one unit."""
    groups: tuple[str, ...] | None = None
    """[P], the task that each prompt is of."""

    def __post_init__(self) -> None:
        _names("prompts", self.prompts)
        _names("models", self.models)
        repeated = sorted({model for model in self.models if self.models.count(model) > 1})
        if repeated:
            raise DataError(f"model {repeated[0]!r} stands more than once in models")
        if self.groups is not None:
            _names("groups", self.groups)
            if len(self.groups) != len(self.prompts):
                raise DataError(f"{len(self.groups)} groups for {len(self.prompts)} prompts")
        scores = self._checked("scores", self.scores, most=1.0)
        costs = self._checked("costs", self.costs)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "costs", costs)

    def _checked(self, name: str, values: Any, most: float | None = None) -> Floats:
        import numpy as np

        floats = _floats(name, values).copy()
        if floats.shape != (len(self.prompts), len(self.models)):
            raise DataError(
                f"{name} has the shape {floats.shape}; "
                f"{len(self.prompts)} prompts and {len(self.models)} models need another"
            )
        wrong = np.isinf(floats) | (floats < 0)
        if most is not None:
            wrong |= floats > most
        if wrong.any():
            row, column = (int(i) for i in np.argwhere(wrong)[0])
            bounds = "a finite number from 0" + (f" to {most:g}" if most is not None else "")
            raise DataError(
                f"{name} holds {float(floats[row, column])!r} of model {self.models[column]!r} on "
                f"prompt {self.prompts[row][:80]!r} (row {row}); it must be {bounds}, or NaN"
            )
        floats.flags.writeable = False
        return floats

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Outcomes:
        """Return the table of these rows, in this order.

        Raises:
            DataError: There is no such row, or none is asked for.
        """
        import numpy as np

        index = np.asarray(rows)
        if index.ndim != 1 or not len(index) or index.dtype.kind not in "iu":
            raise DataError(f"rows are {rows!r:.80}; they must be some row numbers")
        wrong = (index < 0) | (index >= len(self.prompts))
        if wrong.any():
            raise DataError(f"row {index[wrong][0]} is not in a table of {len(self.prompts)} rows")
        return Outcomes(
            prompts=tuple(self.prompts[i] for i in index),
            models=self.models,
            scores=self.scores[index],
            costs=self.costs[index],
            groups=None if self.groups is None else tuple(self.groups[i] for i in index),
        )

    def only(self, models: Sequence[str]) -> Outcomes:
        """Return the table of these models, in this order.

        Raises:
            DataError: A model is not in the table, or stands twice in `models`.
        """
        column_of = {model: column for column, model in enumerate(self.models)}
        for model in models:
            if model not in column_of:
                raise DataError(f"model {model!r} is not in the table; it has {_some(self.models)}")
        columns = [column_of[model] for model in models]
        return Outcomes(
            prompts=self.prompts,
            models=tuple(models),
            scores=self.scores[:, columns],
            costs=self.costs[:, columns],
            groups=self.groups,
        )

    def complete(self) -> Outcomes:
        """Return the table of those rows where every model has a score and a known cost.

        Raises:
            DataError: There is no such row.
        """
        import numpy as np

        known = ~np.isnan(self.scores) & ~np.isnan(self.costs)
        rows = np.flatnonzero(known.all(axis=1))
        if not len(rows):
            rarest = self.models[int(known.sum(axis=0).argmin())]
            raise DataError(
                "no prompt has a score and a cost of every model; "
                f"model {rarest!r} has {int(known.sum(axis=0).min())} of {len(known)}"
            )
        return self.take(rows)

    def split(self, share: float, seed: int = 0) -> tuple[Outcomes, Outcomes]:
        """Part the rows by prompt, so that the same prompt is never on both sides.

        Which side a prompt is on does not depend on the order of the rows. Either side has at
        least one prompt, and keeps the order of its rows.

        Args:
            share: About this share of the distinct prompts is in the first table.

        Raises:
            ConfigError: `share` is not between 0 and 1, both excluded.
            DataError: The table has one distinct prompt only.
        """
        import numpy as np

        number("share", share, 0, 1)
        if share in (0, 1):
            raise ConfigError(f"share is {share!r}; it must be between 0 and 1, both excluded")
        whole("seed", seed, 0)
        distinct = sorted(set(self.prompts))
        if len(distinct) < 2:
            raise DataError("the table has one distinct prompt; a split needs two")
        count = min(max(round(share * len(distinct)), 1), len(distinct) - 1)
        order = np.random.default_rng(seed).permutation(len(distinct))
        first = {distinct[i] for i in order[:count]}
        sides = [row for row, prompt in enumerate(self.prompts) if prompt in first]
        others = [row for row, prompt in enumerate(self.prompts) if prompt not in first]
        return self.take(sides), self.take(others)


def check_embeddings(embeddings: Any, rows: int, dimensions: int | None = None) -> Floats:
    """Return embeddings as floats [rows, dimensions].

    Raises:
        DataError: Another shape, or a value that is not finite.
    """
    import numpy as np

    floats = _floats("embeddings", embeddings)
    if floats.ndim != 2 or len(floats) != rows or not floats.shape[1]:
        raise DataError(
            f"embeddings have the shape {floats.shape}; "
            f"they must be a matrix of {rows} rows, one for each prompt"
        )
    if dimensions is not None and floats.shape[1] != dimensions:
        raise DataError(f"embeddings have {floats.shape[1]} dimensions; {dimensions} are needed")
    wrong = ~np.isfinite(floats)
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise DataError(
            f"embeddings hold {float(floats[row, column])!r} in row {row}, dimension {column}; "
            "all must be finite"
        )
    return floats


def _floats(name: str, values: Any) -> Floats:
    import numpy as np

    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise DataError(f"{name} are no array of numbers: {exc}") from exc


def _names(name: str, values: Any) -> None:
    if not isinstance(values, tuple) or not all(isinstance(value, str) for value in values):
        raise DataError(f"{name} is {values!r:.80}; it must be a tuple of texts")
    if not values:
        raise DataError(f"{name} is empty")


def _some(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
