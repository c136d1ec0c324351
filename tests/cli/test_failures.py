import subprocess
import sys

import pytest

from motet.cli.failures import exit_code
from motet.errors import (
    BudgetExhaustedError,
    ConfigError,
    EngineUnavailableError,
    ModelNotFoundError,
    MotetError,
    ParseError,
    PluginError,
    ProgramError,
    RunFailedError,
    StoreError,
    TooFewSurvivorsError,
)

SPENT = BudgetExhaustedError("spent", limit="max_calls", limit_value=1)
LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
from motet.cli import main
main()
"""


def failed(cause):
    error = RunFailedError("failed", run_id="r")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ProgramError("x"), 2),
        (ConfigError("x"), 2),
        (PluginError("x"), 2),
        (StoreError("x"), 3),
        (EngineUnavailableError("x"), 4),
        (ModelNotFoundError("x"), 4),
        (SPENT, 5),
        (ParseError("x"), 1),
        (TooFewSurvivorsError("x", failures=[EngineUnavailableError("x")] * 2), 4),
        (TooFewSurvivorsError("x", failures=[SPENT, EngineUnavailableError("x")]), 1),
        (TooFewSurvivorsError("x"), 1),
    ],
)
def test_each_error_has_its_exit_code(error, code):
    """The exit code is that of the error's kind, inside a failed run too, save usage errors."""
    assert exit_code(error) == code
    assert exit_code(failed(error)) == (code if code != 2 else 1)


def test_every_error_has_one():
    """No error of motet's tree is without an exit code."""
    stack = [MotetError]
    while stack:
        kind = stack.pop()
        stack.extend(kind.__subclasses__())
        error = kind.__new__(kind)
        Exception.__init__(error, "x")
        if isinstance(error, TooFewSurvivorsError):
            error.failures = ()

        assert exit_code(error) in (1, 2, 3, 4, 5)


def test_a_store_on_a_full_disk_is_told(stub):
    """Where the store's file may not grow the run ends with 3 and no traceback."""
    process = subprocess.run(
        [sys.executable, "-c", LIMITED, "run", "prog.py:wide", "q", "--width", "40", "--model",
         stub.url, "--store", "s.db"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert process.returncode == 3, process.stderr
    assert "s.db" in process.stderr
    assert "Traceback" not in process.stderr
