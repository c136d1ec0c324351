"""Judges: models that compare answers or score them, with verdicts that are typed."""

from motet.programs.judges.additive import AdditiveScore, additive_score
from motet.programs.judges.critique_formats import (
    PandaLMComparison,
    PandaLMGame,
    auto_j_compare,
    auto_j_score,
    pandalm_compare,
)
from motet.programs.judges.debate import DebateComparison, DebateRound, debate_compare
from motet.programs.judges.jury import (
    Ballot,
    Juror,
    JuryScore,
    JuryVerdict,
    jury_compare,
    jury_score,
)
from motet.programs.judges.pairwise import (
    REFERENCE_CATEGORIES,
    compare_answers,
    compare_conversations,
)
from motet.programs.judges.preference import Preference, prefer
from motet.programs.judges.reading import PairComparison
from motet.programs.judges.referees import (
    PERSONAS,
    RefereeComparison,
    RefereeGame,
    referees_compare,
)
from motet.programs.judges.scoring import (
    ANCHORS,
    ExpectedScore,
    expected_score,
    score_answer,
    score_by_rubric,
)

__all__ = [
    "ANCHORS",
    "PERSONAS",
    "REFERENCE_CATEGORIES",
    "AdditiveScore",
    "Ballot",
    "DebateComparison",
    "DebateRound",
    "ExpectedScore",
    "Juror",
    "JuryScore",
    "JuryVerdict",
    "PairComparison",
    "PandaLMComparison",
    "PandaLMGame",
    "Preference",
    "RefereeComparison",
    "RefereeGame",
    "additive_score",
    "auto_j_compare",
    "auto_j_score",
    "compare_answers",
    "compare_conversations",
    "debate_compare",
    "expected_score",
    "jury_compare",
    "jury_score",
    "pandalm_compare",
    "prefer",
    "referees_compare",
    "score_answer",
    "score_by_rubric",
]
