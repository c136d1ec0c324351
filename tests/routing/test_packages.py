"""Packages of the extra `routing`."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from motet.errors import ConfigError
from motet.routing.logistic import LinearRouter
from motet.routing.outcomes import Outcomes
from motet.routing.packages import sklearn


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where scikit-learn is not installed, a fit says what to install."""
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    outcomes = Outcomes(
        prompts=("p", "q"),
        models=("a",),
        scores=np.array([[1.0], [0.0]]),
        costs=np.zeros((2, 1)),
    )

    with pytest.raises(ConfigError, match=r"pip install 'motet\[routing\]'"):
        LinearRouter().fit(outcomes, np.eye(2))


def test_a_module_is_imported_by_its_name() -> None:
    """`linear_model` is sklearn.linear_model."""
    assert sklearn("linear_model").__name__ == "sklearn.linear_model"
