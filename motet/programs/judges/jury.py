"""Juries: several judges on one pair or one answer, with weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from motet.combinators import settled
from motet.errors import ConfigError, TooFewSurvivorsError
from motet.judging.verdicts import PairVerdict, ScoreVerdict, Winner
from motet.model import Model
from motet.operations import program, step
from motet.programs.judges.additive import AdditiveScore, additive_score
from motet.programs.judges.critique_formats import (
    PandaLMComparison,
    auto_j_compare,
    auto_j_score,
    pandalm_compare,
)
from motet.programs.judges.debate import DebateComparison, debate_compare
from motet.programs.judges.pairwise import compare_answers
from motet.programs.judges.preference import Preference, prefer
from motet.programs.judges.reading import PairComparison, winner_of
from motet.programs.judges.scoring import (
    ExpectedScore,
    expected_score,
    score_answer,
    score_by_rubric,
)
from motet.programs.quoting import question_text
from motet.refs import Ref
from motet.search.settings import number, one_of
from motet.types import Chat, Outcome

PairForm: TypeAlias = Literal["compare", "prefer", "auto_j", "pandalm", "debate"]
ScoreForm: TypeAlias = Literal["rating", "rubric", "expected", "additive", "auto_j"]

_PAIR_FORMS: Final = ("compare", "prefer", "auto_j", "pandalm", "debate")
_SCALES: Final[dict[Any, tuple[int, int]]] = {
    "rating": (1, 10),
    "rubric": (0, 10),
    "expected": (0, 10),
    "additive": (0, 5),
    "auto_j": (1, 10),
}
_SHARES: Final[dict[Winner, float]] = {"A": 1.0, "tie": 0.5, "B": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Juror:
    """A judge of a jury.

    Raises:
        ConfigError: The weight is not above 0.
    """

    model: Model
    weight: float = 1.0
    form: PairForm | ScoreForm | None = None
    """How it judges pairs or answers; None is `compare`, or `rating`."""

    def __post_init__(self) -> None:
        number("weight", self.weight, 0)
        if not self.weight:
            raise ConfigError(f"weight is {self.weight!r}; it must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """One judge's word on a pair."""

    share: float | None
    """How far it prefers A, from 0 to 1; None where it could not be read."""
    verdict: PairVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class JuryVerdict:
    """What a jury says of a pair."""

    winner: Winner
    """An error where no judge could be read."""
    share: float | None
    """How far the jury prefers A, from 0 to 1: the weighted mean of the judges that were read."""
    ballots: tuple[Ballot | None, ...]
    """Of each judge; None where its call failed."""

    @property
    def num_left_out(self) -> int:
        """Judges whose call failed or whose verdict could not be read."""
        return sum(each is None or each.share is None for each in self.ballots)


@dataclass(frozen=True, slots=True, kw_only=True)
class JuryScore:
    """What a jury gives to one answer."""

    score: float | None
    """From 0 to 1, the weighted mean of the judges that were read; None where none was."""
    verdicts: tuple[ScoreVerdict | None, ...]
    """Of each judge, put onto 0 to 1 from its scale; None where its call failed."""

    @property
    def num_left_out(self) -> int:
        """Judges whose call failed or whose score could not be read."""
        return sum(each is None or each.score is None for each in self.verdicts)


@step
def pair_ballot(
    found: PairComparison | Preference | PandaLMComparison | DebateComparison,
) -> Ballot:
    """One judge's word on a pair, of its own result."""
    if isinstance(found, Preference):
        return Ballot(share=found.share, verdict=found.verdict)
    games = [g if isinstance(g, PairVerdict) else g.verdict for g in found.games]
    verdict = PairVerdict(winner=found.winner, raw="\n\n".join(game.raw for game in games))
    return Ballot(share=_SHARES.get(found.winner), verdict=verdict)


@step
def score_ballot(
    found: ScoreVerdict | ExpectedScore | AdditiveScore, low: int, high: int
) -> ScoreVerdict:
    """One judge's score from `low` to `high`, put onto 0 to 1."""
    verdict = found if isinstance(found, ScoreVerdict) else found.verdict
    if verdict.score is None:
        return verdict
    return ScoreVerdict(score=(verdict.score - low) / (high - low), raw=verdict.raw)


@step
def jury_of_pair(
    outcomes: Sequence[Outcome[Ballot]], weights: Sequence[float], rule: str
) -> JuryVerdict:
    """Fold the ballots into one verdict."""
    ballots = _of_calls(outcomes)
    read = [
        (ballot.share, ballot.verdict.winner, weight)
        for ballot, weight in zip(ballots, weights, strict=True)
        if ballot is not None and ballot.share is not None
    ]
    share = _mean([(share, weight) for share, _, weight in read])
    if share is None:
        return JuryVerdict(winner="error", share=None, ballots=ballots)
    if rule == "mean":
        winner = winner_of(share)
    else:
        winner = _majority([(winner, weight) for _, winner, weight in read])
    return JuryVerdict(winner=winner, share=share, ballots=ballots)


@step
def jury_of_scores(
    outcomes: Sequence[Outcome[ScoreVerdict]], weights: Sequence[float]
) -> JuryScore:
    """Fold the scores into one."""
    verdicts = _of_calls(outcomes)
    read = [
        (verdict.score, weight)
        for verdict, weight in zip(verdicts, weights, strict=True)
        if verdict is not None and verdict.score is not None
    ]
    return JuryScore(score=_mean(read), verdicts=verdicts)


def _of_calls(outcomes: Sequence[Outcome[Any]]) -> tuple[Any, ...]:
    """Return the values; None for a call that failed, while another did not."""
    failures = [each.error for each in outcomes if each.error is not None]
    if len(failures) == len(outcomes):
        first = failures[0]
        raise TooFewSurvivorsError(
            f"all {len(outcomes)} judges failed; the first: {type(first).__name__}: {first}",
            failures=failures,
        )
    return tuple(each.value if each.is_success else None for each in outcomes)


def _mean(found: Sequence[tuple[float, float]]) -> float | None:
    total = math.fsum(weight for _, weight in found)
    return math.fsum(value * weight for value, weight in found) / total if found else None


def _majority(found: Sequence[tuple[Winner, float]]) -> Winner:
    """Return the winner of most weight; a tie among equals."""
    names: tuple[Winner, ...] = ("A", "B", "tie")
    weights = {
        name: math.fsum(weight for winner, weight in found if winner == name) for name in names
    }
    most = max(weights.values())
    leading = [name for name in names if math.isclose(weights[name], most, rel_tol=1e-9)]
    return leading[0] if len(leading) == 1 else "tie"


@program
def jury_compare(
    question: str | Chat,
    answer_a: str,
    answer_b: str,
    *,
    judges: Sequence[Juror | Model],
    rule: Literal["majority", "mean"] = "majority",
    max_tokens: int = 1024,
) -> Ref[JuryVerdict]:
    """Let several judges compare two answers, each in both orders.

    A judge that fails, or that cannot be read, is left out and counted. Where none can be read
    there is no verdict; where every call fails, so does the jury.

    Args:
        question: A text, or a chat whose last message is answered.
        answer_a: The one answer.
        answer_b: The other.
        judges: At least one; a model is a juror of weight 1 that compares.
        rule: `majority` takes the winner of most weight, and a tie among equals; `mean` the side
            on which the weighted mean of the judges' preferences lies.
        max_tokens: Of each judge's text.

    Source: Verga et al. 2024, arXiv:2404.18796 (a panel of judges), votes and average pooling.
    Departure: judges may have weights.
    """
    one_of("rule", rule, ("majority", "mean"))
    jurors = _jurors(judges, _PAIR_FORMS)
    ballots = [
        pair_ballot(_pair_call(juror, question, answer_a, answer_b, max_tokens)) for juror in jurors
    ]
    return jury_of_pair(settled(ballots), [juror.weight for juror in jurors], rule)


@program
def jury_score(
    question: str | Chat,
    answer: str,
    *,
    judges: Sequence[Juror | Model],
    max_tokens: int = 1024,
) -> Ref[JuryScore]:
    """Let several judges score an answer, and take the weighted mean, from 0 to 1.

    Args:
        question: A text, or a chat whose last message is answered.
        answer: What is judged.
        judges: At least one, of any `ScoreForm`; a model is a juror of weight 1 that rates.
        max_tokens: Of each judge's text.

    Source: as of `jury_compare`. Departure: scales are put onto 0 to 1 first.
    """
    jurors = _jurors(judges, tuple(_SCALES))
    ballots = [
        score_ballot(_score_call(juror, question, answer, max_tokens), *_SCALES[juror.form])
        for juror in jurors
    ]
    return jury_of_scores(settled(ballots), [juror.weight for juror in jurors])


def _jurors(judges: Sequence[Juror | Model], forms: Sequence[str]) -> list[Juror]:
    if not judges:
        raise ConfigError(f"judges is {judges!r}; a jury needs at least one")
    found: list[Juror] = []
    for judge in judges:
        juror = Juror(model=judge) if isinstance(judge, Model) else judge
        form: Any = juror.form or forms[0]
        one_of("form", form, forms)
        found.append(Juror(model=juror.model, weight=juror.weight, form=form))
    return found


def _pair_call(
    juror: Juror, question: str | Chat, answer_a: str, answer_b: str, max_tokens: int
) -> Ref[Any]:
    pair = (answer_a, answer_b)
    match juror.form:
        case "prefer":
            return prefer(question, *pair, model=juror.model)
        case "auto_j":
            return auto_j_compare(question, *pair, model=juror.model, max_tokens=max_tokens)
        case "pandalm":
            asked = question_text(question)
            return pandalm_compare(asked, *pair, model=juror.model, max_tokens=max_tokens)
        case "debate":
            return debate_compare(question, *pair, model=juror.model, max_tokens=max_tokens)
    return compare_answers(question, *pair, model=juror.model, max_tokens=max_tokens)


def _score_call(juror: Juror, question: str | Chat, answer: str, max_tokens: int) -> Ref[Any]:
    match juror.form:
        case "rubric":
            return score_by_rubric(question, answer, model=juror.model)
        case "expected":
            return expected_score(question, answer, model=juror.model)
        case "additive":
            return additive_score(question, answer, model=juror.model, max_tokens=max_tokens)
        case "auto_j":
            return auto_j_score(question, answer, model=juror.model, max_tokens=max_tokens)
    return score_answer(question, answer, model=juror.model, max_tokens=max_tokens)
