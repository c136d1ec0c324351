import subprocess
import sys

import pytest
from sqlalchemy import make_url

from motet.cli.failures import describe, exit_code, resume_command, way_on
from motet.errors import (
    BudgetExhaustedError,
    CapabilityError,
    ConfigError,
    CutOffReplyError,
    EngineUnavailableError,
    ModelNotFoundError,
    MotetError,
    ParseError,
    PluginError,
    ProgramError,
    RequestRejectedError,
    RunFailedError,
    StepError,
    StoreError,
    TooFewSurvivorsError,
)
from motet.store.failures import hide_password

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


FINAL = [ParseError("x"), RequestRejectedError("x", status=401)]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        *[(error, "runs show r --prompts") for error in FINAL],
        (TooFewSurvivorsError("x", failures=FINAL), "runs show r --prompts"),
        (CutOffReplyError("x"), "raise --max-tokens"),
        (EngineUnavailableError("x"), "resume it by"),
        (TooFewSurvivorsError("x", failures=[*FINAL, SPENT]), "resume it by"),
        (StepError("x", error_type="E"), "resume it by"),
    ],
)
def test_resuming_is_offered_where_it_can_help(error, told):
    """What is final is not to be resumed; what was said is shown instead."""
    way = way_on(error, "r", is_kept=True, has_max_tokens=True) or ""

    assert told in way
    assert ("resume" in way) == ("resume" in told)


def test_what_was_said_is_not_offered_where_nothing_was():
    """Where no model was called no command shows what it said."""
    options = {"is_kept": True, "has_max_tokens": True}

    assert "--prompts" in (way_on(FINAL[0], "r", **options, has_replies=True) or "")
    assert way_on(FINAL[0], "r", **options, has_replies=False) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "motet runs resume r"),
        ("i.db", "motet runs resume r --store i.db"),
        ("my runs.db", "motet runs resume r --store 'my runs.db'"),
        ("sqlite:///i.db", "motet runs resume r --store sqlite:///i.db"),
        ("postgresql://u:secret@h/x", "motet runs resume r --store URL"),
        ("postgresql://h/x?password=secret", "motet runs resume r --store URL"),
    ],
)
def test_the_resume_command_names_the_given_store(given, told):
    """It can be pasted into a shell, and holds no password."""
    assert resume_command("r", given) == told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("embedded needs embed, which local:smollm2 has not", "local:minilm"),
        ("embedder is local:smollm2, which lacks embed", "local:minilm"),
        ("choose needs continue, embed, which http://h/v1 has not", "local:minilm"),
        ("embed needs score, which http://h/embed has not", "local:smollm2"),
        ("choose needs continue, which http://h/v1 has not", "local:smollm2"),
    ],
)
def test_what_a_model_lacks_is_hinted_at_by_one_that_has_it(said, told):
    """A model that writes text does not embed, and the other way round."""
    hint = describe(CapabilityError(said)).hint

    assert [name for name in ("local:minilm", "local:smollm2") if name in hint] == [told]


def test_one_attempt_is_singular():
    """A note of one attempt says so."""
    error = EngineUnavailableError("x")
    error.add_note("gave up after 1 attempts")

    assert "(gave up after 1 attempt)" in describe(failed(error)).message


@pytest.mark.parametrize(
    ("url", "text", "shown"),
    [
        ("postgresql://u:p@h/x", "store postgresql://u:p@h/x: up", "postgresql://u:***@h/x: up"),
        (
            "postgresql://postgres:postgres@h/x",
            'postgresql://postgres:postgres@h: user "postgres"',
            'postgresql://postgres:***@h: user "postgres"',
        ),
        ("postgresql://u:s3cr%40t@h/x", "postgresql://u:s3cr%40t@h s3cr@t", "u:***@h ***"),
        ("postgresql://u:secret@h/x", "secretary says secret", "secretary says ***"),
        ("postgresql://u:abc@h/x", "host=h password=abc", "host=h password=***"),
    ],
)
def test_a_password_is_masked_and_nothing_else(url, text, shown):
    """A password is masked in its place, and elsewhere only as a long, whole word."""
    assert hide_password(text, make_url(url)).endswith(shown)
