"""Searches at inference time: pure algorithms over callables, under one driver."""

from typing import TYPE_CHECKING

from motet.lazy import lazy_names

if TYPE_CHECKING:
    from motet.search.adaptive import AdaptiveSampling
    from motet.search.adaptive_consistency import AdaptiveConsistency
    from motet.search.agent_q import AgentQ
    from motet.search.astar import AStar
    from motet.search.beam import Beam
    from motet.search.best_of_n import BestOfN
    from motet.search.checkpoints import FileCheckpoint
    from motet.search.compute_optimal import ComputeOptimal
    from motet.search.dfs_prune import DFSPrune
    from motet.search.diver import Diver
    from motet.search.driver import SearchResult, search, search_all
    from motet.search.dvts import DVTS
    from motet.search.early_pruning import EarlyPruning
    from motet.search.mbr import Mbr
    from motet.search.mcts import MCTS
    from motet.search.mcts_alpha import MCTSAlpha
    from motet.search.minimax import Minimax
    from motet.search.partials import Candidate, Partial, Step
    from motet.search.particle_gibbs import ParticleGibbs
    from motet.search.particles import Particles
    from motet.search.refinement import Refinement
    from motet.search.registry import find_algorithm
    from motet.search.revisions import Revisions
    from motet.search.rstar import RStar
    from motet.search.speculative_rejection import SpeculativeRejection
    from motet.search.spending import Limits, Spend
    from motet.search.steering import Steering
    from motet.search.tempering import ParallelTempering
    from motet.search.tools import FAILED, UNPAID, Ask, Problem
    from motet.search.transfer_q import TransferQ
    from motet.search.tree import Tree
    from motet.search.tree_of_thoughts import DepthFirstThoughts, TreeOfThoughts

__all__ = [
    "DVTS",
    "FAILED",
    "MCTS",
    "UNPAID",
    "AStar",
    "AdaptiveConsistency",
    "AdaptiveSampling",
    "AgentQ",
    "Ask",
    "Beam",
    "BestOfN",
    "Candidate",
    "ComputeOptimal",
    "DFSPrune",
    "DepthFirstThoughts",
    "Diver",
    "EarlyPruning",
    "FileCheckpoint",
    "Limits",
    "MCTSAlpha",
    "Mbr",
    "Minimax",
    "ParallelTempering",
    "Partial",
    "ParticleGibbs",
    "Particles",
    "Problem",
    "RStar",
    "Refinement",
    "Revisions",
    "SearchResult",
    "SpeculativeRejection",
    "Spend",
    "Steering",
    "Step",
    "TransferQ",
    "Tree",
    "TreeOfThoughts",
    "find_algorithm",
    "search",
    "search_all",
]

_NAMES = {
    "adaptive": "AdaptiveSampling",
    "adaptive_consistency": "AdaptiveConsistency",
    "agent_q": "AgentQ",
    "astar": "AStar",
    "beam": "Beam",
    "best_of_n": "BestOfN",
    "checkpoints": "FileCheckpoint",
    "compute_optimal": "ComputeOptimal",
    "dfs_prune": "DFSPrune",
    "diver": "Diver",
    "driver": "SearchResult search search_all",
    "dvts": "DVTS",
    "early_pruning": "EarlyPruning",
    "mbr": "Mbr",
    "mcts": "MCTS",
    "mcts_alpha": "MCTSAlpha",
    "minimax": "Minimax",
    "partials": "Candidate Partial Step",
    "particle_gibbs": "ParticleGibbs",
    "particles": "Particles",
    "refinement": "Refinement",
    "registry": "find_algorithm",
    "revisions": "Revisions",
    "rstar": "RStar",
    "speculative_rejection": "SpeculativeRejection",
    "spending": "Limits Spend",
    "steering": "Steering",
    "tempering": "ParallelTempering",
    "tools": "FAILED UNPAID Ask Problem",
    "transfer_q": "TransferQ",
    "tree": "Tree",
    "tree_of_thoughts": "DepthFirstThoughts TreeOfThoughts",
}
"""Module -> what it gives. One is loaded when it is first asked for, since all take 0.3 s."""

if not TYPE_CHECKING:  # a checker is to find names that there are not
    __getattr__, __dir__ = lazy_names(globals(), _NAMES)
