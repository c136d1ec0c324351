"""Code that a model wrote, run where it can harm nothing."""

from motet.sandbox.checking import check_sandbox
from motet.sandbox.outcome import Ended, Limits, Outcome
from motet.sandbox.running import run_code

__all__ = ["Ended", "Limits", "Outcome", "check_sandbox", "run_code"]
