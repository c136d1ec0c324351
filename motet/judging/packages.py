"""Packages of the extra `routing`, imported when a statistic needs them."""

from __future__ import annotations

import importlib
from typing import Any

from motet.errors import ConfigError


def imported(module: str) -> Any:
    """Import a module of scikit-learn or SciPy: `sklearn.linear_model`, `scipy.stats`.

    Raises:
        ConfigError: The package is not installed; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        raise ConfigError(
            f"{module} cannot be imported ({exc}); pip install 'motet[routing]' brings it"
        ) from exc


def lasso_settings() -> dict[str, Any]:
    """Return what asks scikit-learn's logistic regression for an L1 penalty by liblinear."""
    version = imported("sklearn").__version__.split(".")
    # From 1.8 on `penalty` is deprecated; before it `l1_ratio` is for the elastic net alone.
    is_new = (int(version[0]), int(version[1])) >= (1, 8)
    return {"solver": "liblinear", **({"l1_ratio": 1.0} if is_new else {"penalty": "l1"})}
