"""motet: declarative LLM programs as typed Python, run as journaled, budgeted DAGs."""

from motet.budget import Budget
from motet.combinators import map, race, settled, successful  # noqa: A004
from motet.engine import Capability, Completion, Engine, Sampling, Usage
from motet.errors import MotetError, RunFailedError
from motet.graph import Graph
from motet.model import Model
from motet.operations import program, step
from motet.prompts import prompt
from motet.refs import Ref
from motet.runtime.planning import plan
from motet.runtime.result import Result
from motet.runtime.running import arun, current, run, stream
from motet.scopes import scope
from motet.types import Chat, Message, Outcome, Price

__version__ = "0.1.0.dev0"

__all__ = [
    "Budget",
    "Capability",
    "Chat",
    "Completion",
    "Engine",
    "Graph",
    "Message",
    "Model",
    "MotetError",
    "Outcome",
    "Price",
    "Ref",
    "Result",
    "RunFailedError",
    "Sampling",
    "Usage",
    "arun",
    "current",
    "map",
    "plan",
    "program",
    "prompt",
    "race",
    "run",
    "scope",
    "settled",
    "step",
    "stream",
    "successful",
]
