"""Packages of the extra `routing`, imported when something needs them."""

from __future__ import annotations

import importlib
from typing import Any

from motet.errors import ConfigError


def sklearn(module: str) -> Any:
    """Import a module of scikit-learn: `linear_model` for `sklearn.linear_model`.

    Raises:
        ConfigError: scikit-learn is not installed; says how to install it.
    """
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as exc:
        raise ConfigError(
            f"sklearn.{module} cannot be imported ({exc}); pip install 'motet[routing]' brings it"
        ) from exc
