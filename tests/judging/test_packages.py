"""Packages that are imported when needed."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from motet.errors import ConfigError
from motet.judging import packages
from motet.judging.calibration import fit_isotonic


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without scikit-learn a fit is a setting's error that names the extra."""
    monkeypatch.setitem(sys.modules, "sklearn.isotonic", None)

    with pytest.raises(ConfigError, match=r"sklearn\.isotonic .*pip install 'motet\[routing\]'"):
        fit_isotonic([0.1, 0.9], [0, 1])


@pytest.mark.parametrize(
    ("version", "settings"),
    [("1.5.2", {"penalty": "l1"}), ("1.8.0", {"l1_ratio": 1.0}), ("1.10.dev0", {"l1_ratio": 1.0})],
)
def test_the_penalty_is_named_as_the_version_names_it(
    version: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 1.8 on scikit-learn calls the L1 penalty by its ratio."""
    monkeypatch.setattr(packages, "imported", lambda name: SimpleNamespace(__version__=version))

    assert packages.lasso_settings() == {"solver": "liblinear", **settings}


def test_importing_statistics_imports_no_heavy_package() -> None:
    """NumPy, SciPy and scikit-learn come with the first fit, not with the import."""
    code = """
import sys
from motet.judging import agreement, calibration, datasets, length_control, orders, ranking
heavy = {"numpy", "scipy", "sklearn"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
