"""Doubles for tests: a scripted engine, a stub server, and the laws that every engine keeps."""

from motet.testing.engine_laws import check_engine
from motet.testing.scripted import Delayed, ScriptedEngine

__all__ = ["Delayed", "ScriptedEngine", "check_engine"]
