"""Packages of an extra, imported when something needs them."""

from __future__ import annotations

import importlib
from typing import Any

from motet.errors import ConfigError


def imported(module: str, *, extra: str = "routing") -> Any:
    """Import a module of a package that motet does without: `sklearn.linear_model`, `scipy.stats`.

    Args:
        module: With its package.
        extra: The extra of motet that brings it.

    Raises:
        ConfigError: It is not installed; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        raise ConfigError(
            f"{module} cannot be imported ({exc}); pip install 'motet[{extra}]' brings it"
        ) from exc
