"""The public API: what `import motet` gives, and what it costs."""

import importlib
import json
import subprocess
import sys

import motet

_IMPORT = """
import json, sys, time
before = time.perf_counter()
import motet
seconds = time.perf_counter() - before
heavy = [m for m in ("torch", "vllm", "transformers", "sqlalchemy") if m in sys.modules]
print(json.dumps([seconds, heavy, "motet.testing" in sys.modules]))
"""


def test_the_names_are_sorted_unique_and_there() -> None:
    """`__all__` is the API."""
    assert motet.__all__ == sorted(set(motet.__all__))
    for name in motet.__all__:
        assert getattr(motet, name) is not None


def test_no_other_public_name_is_an_object_of_motet() -> None:
    """What is not in `__all__` is a module, or private."""
    public = {name for name in vars(motet) if not name.startswith("_")} - set(motet.__all__)

    assert all(type(getattr(motet, name)).__name__ == "module" for name in public)


def test_the_names_are_these() -> None:
    """Golden: a change of the API is a change of this list."""
    assert motet.__all__ == [
        "Budget",
        "Capability",
        "Chat",
        "Completion",
        "Engine",
        "Graph",
        "Message",
        "Model",
        "MotetError",
        "Outcome",
        "Price",
        "Ref",
        "Result",
        "RunFailedError",
        "Sampling",
        "Usage",
        "arun",
        "current",
        "map",
        "plan",
        "program",
        "prompt",
        "race",
        "run",
        "scope",
        "settled",
        "step",
        "stream",
        "successful",
    ]


def test_public_objects_say_what_they_are() -> None:
    """Every function and class of the API has a docstring."""
    bare = {
        name
        for name in motet.__all__
        if (callable(getattr(motet, name)) or isinstance(getattr(motet, name), type))
        and not (getattr(motet, name).__doc__ or "").strip()
    }

    assert bare == set()


def test_folders_list_their_names() -> None:
    """The rest is imported by folder, which has a sorted `__all__` too."""
    for folder in ("motet.programs", "motet.testing"):
        module = importlib.import_module(folder)

        assert module.__all__ == sorted(module.__all__, key=lambda n: (n[0].islower(), n))
        assert all(hasattr(module, name) for name in module.__all__)
        assert module.__doc__


def test_import_is_quick_and_light() -> None:
    """Best of five fresh processes: under 0.25 s, and nothing heavy is loaded."""
    runs = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(5)
    ]

    assert min(seconds for seconds, _, _ in runs) < 0.25
    assert all(heavy == [] for _, heavy, _ in runs)
    assert not any(testing for _, _, testing in runs)
