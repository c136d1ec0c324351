"""A figure that others stated, beside what the stored outputs give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

StatedBy: TypeAlias = Literal["source", "data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One figure, in the unit of its source: mostly percents."""

    source: str
    """The data set, by the name of its folder."""
    kind: str
    """What is measured; figures of one kind share a unit."""
    name: str
    """What it is measured of: a model, a judge, a task."""
    published: float
    """What is compared."""
    computed: float
    """NaN where the folder holds no row for it."""
    tolerance: float
    """Largest difference that counts as the same: half of the last digit written, or what the
    source or the data's README says of its error."""
    stated_by: StatedBy
    """`source`: published of these very rows. `data`: by the `expected.json` beside the rows, whose
    figures were worked out apart when the data were collected."""
    whole: float | None = None
    """The figure of all rows of the source, where `published` is of the part that is stored."""
    note: str = ""

    @property
    def error(self) -> float:
        """Distance of the two; NaN where nothing was computed."""
        return abs(self.computed - self.published)

    @property
    def is_reproduced(self) -> bool:
        return self.error <= self.tolerance


def rounded(digits: int) -> float:
    """Return the tolerance of a number that was written with so many digits after the point."""
    return 0.5 / float(10**digits) + 1e-9
