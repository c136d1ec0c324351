"""Programs: published algorithms, ready to run and to nest."""

from motet.programs.best_of_n import best_of_n
from motet.programs.entropy_adaptive import entropy_adaptive
from motet.programs.listwise_reranking import listwise_reranking
from motet.programs.minimum_bayes_risk import minimum_bayes_risk
from motet.programs.mixture_of_agents import mixture_of_agents
from motet.programs.refine import refine
from motet.programs.self_consistency import self_consistency
from motet.programs.solve import solve
from motet.programs.tree_of_thoughts import think_in_trees
from motet.programs.verifier import grade, verify

__all__ = [
    "best_of_n",
    "entropy_adaptive",
    "grade",
    "listwise_reranking",
    "minimum_bayes_risk",
    "mixture_of_agents",
    "refine",
    "self_consistency",
    "solve",
    "think_in_trees",
    "verify",
]
