"""Fixtures that several folders share."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--forbid-skips", action="store_true", help="fail when a test is skipped")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # With several workers the longest go first, so that none is left alone with one at the end.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None or _is_of_vllm(item))
    if importlib.util.find_spec("vllm") is None:
        reason = pytest.mark.skip(reason="vLLM is not installed; `make test-vllm` installs it")
        for item in items:
            if _is_of_vllm(item):
                item.add_marker(reason)


def _is_of_vllm(item: pytest.Item) -> bool:
    return item.get_closest_marker("vllm") is not None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadgroup`, tests that share an engine are a group."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from tests.serving.vllm.workers import ByEngine

    return ByEngine(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not session.config.getoption("--forbid-skips") or reporter is None:
        return
    skipped = reporter.stats.get("skipped", [])
    if skipped:
        reporter.write_line(f"{len(skipped)} skipped; --forbid-skips is given", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a temporary PostgreSQL server, whose password is `s3cret`."""
    programs = _find_programs()
    if programs is None:
        pytest.skip("PostgreSQL's programs initdb and pg_ctl are not installed")
    if os.getuid() == 0 and (shutil.which("runuser") is None or not _has_user("postgres")):
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="motet-pg-"))
    as_server = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if as_server:
        shutil.chown(folder, "postgres")
    password = folder / "password"
    password.write_text("s3cret")
    password.chmod(0o644)
    data, port = folder / "data", _free_port()

    def call(program: str, *arguments: str) -> None:
        command = [*as_server, str(programs / program), *arguments]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    settings = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    try:
        call(
            *("initdb", "-D", str(data), "-U", "motet", "-A", "scram-sha-256"),
            *(f"--pwfile={password}", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
        )
        call("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-w", "-o", settings, "start")
        try:
            yield f"postgresql://motet:s3cret@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _find_programs() -> Path | None:
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    needed = ("initdb", "pg_ctl", "postgres")
    return next((f for f in folders if all((f / name).exists() for name in needed)), None)


def _has_user(name: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
