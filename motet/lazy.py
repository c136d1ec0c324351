"""Packages that load a module when one of its names is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: dict[str, Any], names: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package.

    Args:
        package: The package's `globals()`; it has `__all__`.
        names: Module below the package -> what it gives, with spaces between.
    """
    module_of = {name: module for module, given in names.items() for name in given.split()}

    def getattr_(name: str) -> Any:
        module = module_of.get(name)
        if module is None:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        found = getattr(import_module(f"{package['__name__']}.{module}"), name)
        package[name] = found
        return found

    def dir_() -> list[str]:
        return sorted({*package, *package["__all__"]})

    return getattr_, dir_
