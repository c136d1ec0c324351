"""Verdicts of a judge: one pair shown once, the two orders of a pair, and counts over many pairs.

Source: Zheng et al. 2023, arXiv:2306.05685: both orders, adjusted win rate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from motet.errors import DataError
from motet.search.settings import number, one_of

Winner: TypeAlias = Literal["A", "B", "tie", "error"]
Order: TypeAlias = Literal["AB", "BA"]

WINNERS: Final = ("A", "B", "tie", "error")
ORDERS: Final = ("AB", "BA")


def other(winner: Winner) -> Winner:
    """Return the winner with A and B exchanged; ties and errors stay."""
    return "B" if winner == "A" else "A" if winner == "B" else winner


@dataclass(frozen=True, slots=True, kw_only=True)
class PairVerdict:
    """What a judge said of one pair that was shown once.

    Raises:
        ConfigError: The winner or the order is none of the known ones.
    """

    winner: Winner
    """As the judge said: `A` is the response that was shown first."""
    raw: str = ""
    order: Order = "AB"
    """`BA` where the caller's second response was shown first."""

    def __post_init__(self) -> None:
        one_of("winner", self.winner, WINNERS)
        one_of("order", self.order, ORDERS)

    @property
    def chosen(self) -> Winner:
        """The winner in the caller's names, whichever was shown first."""
        return self.winner if self.order == "AB" else other(self.winner)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreVerdict:
    """What a judge gave to one response.

    Raises:
        ConfigError: The score is no finite number.
    """

    score: float | None
    """None where the reply held no score: it is dropped, and is never 0."""
    raw: str = ""

    def __post_init__(self) -> None:
        if self.score is not None:
            number("score", self.score)


def compare(first: ScoreVerdict, second: ScoreVerdict, *, tie_below: float = 0.1) -> PairVerdict:
    """Make a verdict on a pair from two scores; without both it is an error.

    Args:
        tie_below: A difference smaller than this is a tie.

    Source: the pairwise win rate of FastChat's `show_result`.
    """
    number("tie_below", tie_below, 0)
    raw = f"{first.raw}\n{second.raw}"
    if first.score is None or second.score is None:
        return PairVerdict(winner="error", raw=raw)
    if abs(first.score - second.score) < tie_below:
        return PairVerdict(winner="tie", raw=raw)
    return PairVerdict(winner="A" if first.score > second.score else "B", raw=raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What the two orders of a pair say together."""

    winner: Winner
    """In the caller's names."""
    is_consistent: bool
    """Whether both orders could be read and say the same, ties included."""


def reconcile(
    first: PairVerdict, second: PairVerdict, *, rule: Literal["agree", "majority"] = "agree"
) -> Reconciled:
    """Fold the verdicts of a pair in both orders into one.

    Args:
        rule: With `agree` a response wins where both orders choose it; orders that differ are an
            inconsistent tie, and an unreadable order makes the pair an error. With `majority` a
            tie or an unreadable order leaves the word to the other one.

    Raises:
        ConfigError: The rule is unknown.
        DataError: Both verdicts are of the same order.

    Source: `agree` is FastChat's, `majority` is JudgeBench's, arXiv:2410.12784, section 3.3.
    """
    one_of("rule", rule, ("agree", "majority"))
    if first.order == second.order:
        raise DataError(
            f"both verdicts have the order {first.order!r}; a pair is to be judged in both orders"
        )
    chosen = (first.chosen, second.chosen)
    is_consistent = chosen[0] == chosen[1] != "error"
    if rule == "majority":
        return Reconciled(winner=_majority(chosen), is_consistent=is_consistent)
    if "error" in chosen:
        return Reconciled(winner="error", is_consistent=False)
    return Reconciled(winner=chosen[0] if is_consistent else "tie", is_consistent=is_consistent)


def _majority(chosen: tuple[Winner, Winner]) -> Winner:
    if chosen == ("error", "error"):
        return "error"
    lead = sum((winner == "A") - (winner == "B") for winner in chosen)
    return "A" if lead > 0 else "B" if lead < 0 else "tie"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts of A's games; `wins + ties + losses + errors` is their number."""

    wins: int
    ties: int
    losses: int
    errors: int

    @property
    def num_games(self) -> int:
        return self.num_read + self.errors

    @property
    def num_read(self) -> int:
        return self.wins + self.ties + self.losses

    @property
    def win_rate(self) -> float:
        """Share of wins among the verdicts that could be read.

        Raises:
            DataError: None could be read.
        """
        return self.wins / self._some_read()

    @property
    def adjusted_win_rate(self) -> float:
        """As `win_rate`, where a tie is half a win.

        Raises:
            DataError: None could be read.
        """
        return (self.wins + self.ties / 2) / self._some_read()

    @property
    def tie_share(self) -> float:
        """Share of ties among the verdicts that could be read.

        Raises:
            DataError: None could be read.
        """
        return self.ties / self._some_read()

    def _some_read(self) -> int:
        if not self.num_read:
            raise DataError(f"none of {self.num_games} verdicts could be read; there is no rate")
        return self.num_read


def tally(winners: Iterable[Winner]) -> Tally:
    """Count winners that are in the caller's names.

    Raises:
        ConfigError: One is no winner.
    """
    counts: dict[str, int] = dict.fromkeys(WINNERS, 0)
    for winner in winners:
        one_of("winner", winner, WINNERS)
        counts[winner] += 1
    return Tally(wins=counts["A"], ties=counts["tie"], losses=counts["B"], errors=counts["error"])
