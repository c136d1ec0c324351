"""Bandits: which arm (model, prompt) to try next, learned from the rewards of those tried."""

from motet.routing.bandits.arms import Arms
from motet.routing.bandits.bandit import Bandit
from motet.routing.bandits.greedy import EpsilonGreedy, Greedy
from motet.routing.bandits.linucb import LinearArms, LinUCB
from motet.routing.bandits.memory import Memory
from motet.routing.bandits.thompson import Thompson
from motet.routing.bandits.ucb import UCB

__all__ = [
    "UCB",
    "Arms",
    "Bandit",
    "EpsilonGreedy",
    "Greedy",
    "LinUCB",
    "LinearArms",
    "Memory",
    "Thompson",
]
