"""A program with its files and limits, and the process that runs it."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from motet.errors import ConfigError, SandboxError
from motet.sandbox.command import Tools, command, options
from motet.sandbox.outcome import Limits
from motet.sandbox.seccomp import seccomp_filter

_MOST_OF_COMMAND: Final = 100_000
"""Bytes; the kernel takes at least as many."""
_MOST_FILES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be run."""

    program: tuple[str, ...]
    files: Mapping[str, bytes]
    stdin: bytes
    limits: Limits
    has_proc: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A process of bubblewrap, and the ends of its pipes to read from."""

    process: subprocess.Popen[bytes]
    stdout: int
    stderr: int
    status: int


def job_of(
    program: str | Sequence[str],
    *,
    files: Mapping[str, str | bytes],
    stdin: str | bytes,
    limits: Limits,
    has_proc: bool,
) -> Job:
    """Check what is to be run.

    Raises:
        ConfigError: The command or a path in `files` cannot be.
    """
    contents = {_path(path): _bytes(content) for path, content in files.items()}
    if isinstance(program, str):
        contents["main.py"] = _bytes(program)
        program = ("python3", "-s", "main.py")
    if len(contents) > _MOST_FILES:
        raise ConfigError(f"files are {len(contents)}; they must be {_MOST_FILES} at most")
    size = max(map(len, contents.values()), default=0)
    if size > limits.max_file_mb * 1024 * 1024:
        raise ConfigError(
            f"a file has {size} bytes; max_file_mb, which is {limits.max_file_mb}, must allow them"
        )
    return Job(
        program=_command(program),
        files=contents,
        stdin=_bytes(stdin),
        limits=limits,
        has_proc=has_proc,
    )


def start(job: Job, tools: Tools) -> Started:
    """Start a job; whoever calls this closes the pipes, and waits for the process.

    Raises:
        SandboxError: The process cannot be started.
    """
    with ExitStack() as stack, ExitStack() as kept:
        try:
            pipes = [_pipe(stack, kept) for _ in range(3)]
            (stdout, to_stdout), (stderr, to_stderr), (status, to_status) = pipes
            stdin = _filled(stack, job.stdin)
            files = {path: _filled(stack, content) for path, content in job.files.items()}
            seccomp_fd = _filled(stack, seccomp_filter())
            words = options(
                job.limits,
                files,
                seccomp_fd=seccomp_fd,
                status_fd=to_status,
                has_proc=job.has_proc,
            )
            options_fd = _filled(stack, words)
            process = subprocess.Popen(  # noqa: S603
                command(tools, options_fd, job.program, job.limits),
                stdin=stdin,
                stdout=to_stdout,
                stderr=to_stderr,
                env={},
                cwd="/",
                pass_fds=(options_fd, seccomp_fd, to_status, *files.values()),
                start_new_session=True,
            )
        except OSError as exc:
            raise SandboxError(f"the sandbox cannot be started: {exc}") from exc
        kept.pop_all()
    return Started(process=process, stdout=stdout, stderr=stderr, status=status)


def _pipe(stack: ExitStack, kept: ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe()
    kept.callback(os.close, reader)
    stack.callback(os.close, writer)
    os.set_blocking(reader, False)
    return reader, writer


def _filled(stack: ExitStack, content: bytes) -> int:
    """Return the descriptor of a file in memory, which nobody can change."""
    fd = os.memfd_create("motet", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    stack.callback(os.close, fd)
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def _command(program: Sequence[str]) -> tuple[str, ...]:
    words = tuple(program)
    if not words or not all(isinstance(word, str) and "\0" not in word for word in words):
        raise ConfigError(f"program is {words!r:.80}; it must be words, without zero bytes")
    size = sum(len(_bytes(word)) + 1 for word in words)
    if size > _MOST_OF_COMMAND:
        raise ConfigError(f"program has {size} bytes; it must have {_MOST_OF_COMMAND} at most")
    return words


def _path(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise ConfigError(f"file {path!r:.80} must lie below the working folder")
    return str(PurePosixPath(path))


def _bytes(text: str | bytes) -> bytes:
    """Encode a text of a model; what is no Unicode stays as it is, for the program to fail at."""
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
