"""Lazy packages: a module is loaded when one of its names is asked for."""

import subprocess
import sys

import pytest

import motet
import motet.search


def test_importing_motet_loads_nothing_that_only_a_run_needs() -> None:
    code = (
        "import sys, motet; "
        "assert not [m for m in sys.modules if m.startswith('motet.runtime.')], sys.modules; "
        "motet.run; assert 'motet.runtime.running' in sys.modules; from motet import plan, Graph"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("package", [motet, motet.search])
def test_every_public_name_is_there_and_listed_and_others_are_refused(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]

    assert set(names) <= set(dir(package))
    for name in names:
        assert getattr(package, name) is getattr(package, name)
    with pytest.raises(AttributeError, match="has no attribute 'beem'"):
        package.beem  # type: ignore[attr-defined]  # noqa: B018
