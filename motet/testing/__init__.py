"""Doubles for tests: a scripted engine, a stub server; the laws that engines and searches keep."""

from motet.testing.engine_laws import check_engine
from motet.testing.potential_laws import check_potential
from motet.testing.scripted import Delayed, ScriptedEngine
from motet.testing.search import check_search

__all__ = ["Delayed", "ScriptedEngine", "check_engine", "check_potential", "check_search"]
