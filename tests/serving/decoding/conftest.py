"""Formulas are tensors: their tests need the packages of the extra `local`."""

from __future__ import annotations

import importlib.util

if not all(importlib.util.find_spec(name) for name in ("torch", "transformers", "llguidance")):
    names = ("choosing", "constraints", "guidance", "lengths", "trie", "weights")
    collect_ignore = [f"test_{name}.py" for name in names]
