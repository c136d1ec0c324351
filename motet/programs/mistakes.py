"""Errors that another model would not mend."""

from __future__ import annotations

from typing import Final

from motet.errors import (
    CallCancelledError,
    CapabilityError,
    ConfigError,
    ReplayMismatchError,
    StepError,
    StoreError,
)

OF_ALL: Final = (
    CallCancelledError,
    CapabilityError,
    ConfigError,
    ReplayMismatchError,
    StepError,
    StoreError,
)
"""A program that goes on without what failed raises these nevertheless."""
