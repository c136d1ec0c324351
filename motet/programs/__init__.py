"""Programs: published algorithms, ready to run and to nest."""

from motet.programs.best_of_n import best_of_n
from motet.programs.entropy_adaptive import entropy_adaptive
from motet.programs.listwise_reranking import listwise_reranking
from motet.programs.mixture_of_agents import mixture_of_agents
from motet.programs.self_consistency import self_consistency
from motet.programs.solve import solve
from motet.programs.verifier import grade, verify

__all__ = [
    "best_of_n",
    "entropy_adaptive",
    "grade",
    "listwise_reranking",
    "mixture_of_agents",
    "self_consistency",
    "solve",
    "verify",
]
