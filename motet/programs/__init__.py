"""Programs: published algorithms, ready to run and to nest."""

from motet.programs.agent_q import agent_q
from motet.programs.annotate import annotate, annotate_all
from motet.programs.best_of_n import best_of_n
from motet.programs.cascade import cascade
from motet.programs.diver import diver
from motet.programs.entropy_adaptive import entropy_adaptive
from motet.programs.judges import (
    additive_score,
    auto_j_compare,
    auto_j_score,
    compare_answers,
    compare_conversations,
    debate_compare,
    expected_score,
    jury_compare,
    jury_score,
    pandalm_compare,
    prefer,
    referees_compare,
    score_answer,
    score_by_rubric,
)
from motet.programs.label_classifier import estimate_win
from motet.programs.listwise_reranking import listwise_reranking
from motet.programs.minimum_bayes_risk import minimum_bayes_risk
from motet.programs.mixture_of_agents import mixture_of_agents
from motet.programs.model_sat import capability_score
from motet.programs.pick import pick_answer, pick_candidate
from motet.programs.play import play
from motet.programs.rap import rap
from motet.programs.refine import refine
from motet.programs.reward_guided import reward_guided
from motet.programs.route import route
from motet.programs.rstar import rstar
from motet.programs.self_consistency import self_consistency
from motet.programs.solve import solve
from motet.programs.steer import steer, steer_steps
from motet.programs.tree_of_thoughts import think_in_trees
from motet.programs.verifier import grade, verify

__all__ = [
    "additive_score",
    "agent_q",
    "annotate",
    "annotate_all",
    "auto_j_compare",
    "auto_j_score",
    "best_of_n",
    "capability_score",
    "cascade",
    "compare_answers",
    "compare_conversations",
    "debate_compare",
    "diver",
    "entropy_adaptive",
    "estimate_win",
    "expected_score",
    "grade",
    "jury_compare",
    "jury_score",
    "listwise_reranking",
    "minimum_bayes_risk",
    "mixture_of_agents",
    "pandalm_compare",
    "pick_answer",
    "pick_candidate",
    "play",
    "prefer",
    "rap",
    "referees_compare",
    "refine",
    "reward_guided",
    "route",
    "rstar",
    "score_answer",
    "score_by_rubric",
    "self_consistency",
    "solve",
    "steer",
    "steer_steps",
    "think_in_trees",
    "verify",
]
