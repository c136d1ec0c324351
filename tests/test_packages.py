"""Packages that are imported when needed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from motet.errors import ConfigError
from motet.judging.calibration import fit_isotonic
from motet.packages import imported
from motet.routing.logistic import LinearRouter
from motet.routing.outcomes import Outcomes


def _fit() -> Any:
    outcomes = Outcomes(
        prompts=("p", "q"),
        models=("a",),
        scores=np.array([[1.0], [0.0]]),
        costs=np.zeros((2, 1)),
    )
    return LinearRouter().fit(outcomes, np.eye(2))


@pytest.mark.parametrize(
    ("module", "use"),
    [
        ("sklearn.linear_model", _fit),
        ("sklearn.isotonic", lambda: fit_isotonic([0.1, 0.9], [0, 1])),
    ],
)
def test_a_missing_package_says_how_to_install_it(
    module: str, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where scikit-learn is not installed, a fit is a setting's error that names the extra."""
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ConfigError, match=rf"{module} .*pip install 'motet\[routing\]'"):
        use()


def test_an_extra_is_named_as_it_is_given() -> None:
    """The default is the one of routers and statistics."""
    with pytest.raises(ConfigError, match=r"motet_has_no_such .*pip install 'motet\[local\]'"):
        imported("motet_has_no_such", extra="local")


def test_a_module_is_imported_by_its_whole_name() -> None:
    """And is that module."""
    assert imported("sklearn.linear_model").__name__ == "sklearn.linear_model"


def test_importing_routers_and_statistics_imports_no_heavy_package() -> None:
    """NumPy, SciPy and scikit-learn come with the first fit, not with the import."""
    code = """
import sys
from motet.judging import agreement, calibration, datasets, length_control, orders, ranking
from motet.routing import datasets, logistic, mlp
heavy = {"numpy", "scipy", "sklearn"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
