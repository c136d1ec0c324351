"""Programs: published algorithms, ready to run and to nest."""

from motet.programs.best_of_n import best_of_n
from motet.programs.mixture_of_agents import mixture_of_agents
from motet.programs.self_consistency import self_consistency

__all__ = ["best_of_n", "mixture_of_agents", "self_consistency"]
