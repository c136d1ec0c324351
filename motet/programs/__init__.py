"""Programs: published algorithms, ready to run and to nest."""

from motet.programs.agent_q import agent_q
from motet.programs.best_of_n import best_of_n
from motet.programs.cascade import cascade
from motet.programs.diver import diver
from motet.programs.entropy_adaptive import entropy_adaptive
from motet.programs.judges import (
    additive_score,
    auto_j_compare,
    auto_j_score,
    compare_answers,
    expected_score,
    jury_compare,
    jury_score,
    pandalm_compare,
    prefer,
    score_answer,
    score_by_rubric,
)
from motet.programs.listwise_reranking import listwise_reranking
from motet.programs.minimum_bayes_risk import minimum_bayes_risk
from motet.programs.mixture_of_agents import mixture_of_agents
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
    "auto_j_compare",
    "auto_j_score",
    "best_of_n",
    "cascade",
    "compare_answers",
    "diver",
    "entropy_adaptive",
    "expected_score",
    "grade",
    "jury_compare",
    "jury_score",
    "listwise_reranking",
    "minimum_bayes_risk",
    "mixture_of_agents",
    "pandalm_compare",
    "play",
    "prefer",
    "rap",
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
