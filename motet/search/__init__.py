"""Searches at inference time: pure algorithms over callables, under one driver."""

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
