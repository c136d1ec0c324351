"""motet: declarative LLM programs as typed Python, run as journaled, budgeted DAGs."""

import typing as _typing

from motet.budget import Budget
from motet.combinators import map, race, settled, successful  # noqa: A004
from motet.engine import Capability, Completion, Engine, Sampling, Usage
from motet.errors import MotetError, RunFailedError
from motet.lazy import lazy_names as _lazy_names
from motet.model import Model
from motet.operations import program, step
from motet.prompts import prompt
from motet.refs import Ref
from motet.scopes import scope
from motet.types import Chat, Message, Outcome, Price

if _typing.TYPE_CHECKING:
    from motet.graph import Graph
    from motet.runtime.planning import plan
    from motet.runtime.result import Result
    from motet.runtime.running import arun, current, run, stream

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

_NAMES = {
    "graph": "Graph",
    "runtime.planning": "plan",
    "runtime.result": "Result",
    "runtime.running": "arun current run stream",
}
"""Module -> what it gives. Building a program needs none of them, and they take a while to load."""

if not _typing.TYPE_CHECKING:  # a checker is to find names that there are not
    __getattr__, __dir__ = _lazy_names(globals(), _NAMES)
