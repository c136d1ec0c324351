"""Hides motet's entry points from vLLM: a server that has this on its path is a stock one."""

import importlib.metadata

_find = importlib.metadata.entry_points


def entry_points(**params):
    found = _find(**params)
    if not params.get("group", "").startswith("vllm."):
        return found
    kept = [e for e in found if not e.value.startswith("motet.")]
    return importlib.metadata.EntryPoints(kept)


importlib.metadata.entry_points = entry_points
