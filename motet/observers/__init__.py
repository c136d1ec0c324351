"""Observers: a run's progress in the terminal, as JSON lines, and as OpenTelemetry spans."""

from motet.observers.lines import JsonLines
from motet.observers.spans import OpenTelemetrySpans
from motet.observers.tree import ProgressTree

__all__ = ["JsonLines", "OpenTelemetrySpans", "ProgressTree"]
