"""The command that runs a program under bubblewrap, and what of this machine it may see."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from motet.errors import SandboxError
from motet.sandbox.outcome import Limits

BOX: Final = "/box"
"""The working folder inside."""
READY: Final = b"\x06"
"""The first byte of stdout, written when the program is about to start; not the program's."""
_PYTHON: Final = "/python"
_BORROWED: Final = "/mnt"
"""Where root shows the interpreter to the unprivileged user, in a mount namespace of its own."""
_NOBODY: Final = "65534"
_MIB: Final = 1024 * 1024
_OF_SYSTEM: Final = (
    *("bin", "sbin", "lib", "lib32", "lib64", "libx32"),
    *("libexec", "include", "share/zoneinfo"),
)
_DEVICES: Final = ("null", "zero", "full", "random", "urandom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Programs of this machine that start the sandbox, by absolute path."""

    bwrap: str
    prlimit: str
    as_nobody: tuple[str, ...]
    """What root puts before the command: the same, but as a user without rights."""


def find_tools() -> Tools:
    """Find what the sandbox is made of.

    Raises:
        SandboxError: This is not Linux, or a program is missing.
    """
    if not sys.platform.startswith("linux"):
        raise SandboxError(f"the sandbox needs Linux; this is {sys.platform}")
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxError(
            "bubblewrap is not installed, without which no code of a model is run; install it "
            "with `apt-get install bubblewrap` or `dnf install bubblewrap`"
        )
    prefix = () if os.geteuid() else _as_nobody()
    return Tools(bwrap=bwrap, prlimit=_of_util_linux("prlimit"), as_nobody=prefix)


def _as_nobody() -> tuple[str, ...]:
    script = f'{_of_util_linux("mount")} --bind "$0" {_BORROWED} && exec "$@"'
    drop = [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--"]
    return (
        *(_of_util_linux("unshare"), "--mount", "--", "/bin/sh", "-c", script),
        *(os.path.realpath(sys.base_prefix), _of_util_linux("setpriv"), *drop),
    )


def _of_util_linux(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise SandboxError(f"the sandbox needs the program {name}; install util-linux")
    return path


def command(tools: Tools, options_fd: int, program: Sequence[str], limits: Limits) -> list[str]:
    """Return the command whose options `options_fd` holds."""
    limited = {
        "as": limits.memory_mb * _MIB,
        "cpu": f"{limits.cpu_s}:{limits.cpu_s + 1}",
        "fsize": limits.max_file_mb * _MIB,
        "nproc": limits.max_processes,
        "nofile": limits.max_open_files,
        "core": 0,
        "memlock": 0,
        "msgqueue": 0,
    }
    start = f"""printf '\\{READY[0]:03o}'; exec "$@\""""
    return [
        *(*tools.as_nobody, tools.bwrap, "--args", str(options_fd), "--", tools.prlimit),
        *(f"--{name}={value}" for name, value in limited.items()),
        *("/bin/sh", "-c", start, "sh", *program),
    ]


def options(
    limits: Limits, files: Mapping[str, int], *, seccomp_fd: int, status_fd: int, has_proc: bool
) -> bytes:
    """Return the options of bubblewrap, each ended by a zero byte.

    Args:
        files: By path below the working folder, the descriptor that holds the content.
    """
    size = str(limits.disk_mb * _MIB)
    words = [
        *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
        *("--unshare-cgroup-try", "--disable-userns", "--uid", "1000", "--gid", "1000"),
        *("--hostname", "box", "--new-session", "--die-with-parent", "--cap-drop", "ALL"),
        *("--seccomp", str(seccomp_fd), "--json-status-fd", str(status_fd), "--clearenv"),
        *_system(),
        *_interpreter(),
        *(("--proc", "/proc") if has_proc else ()),
        *(word for name in _DEVICES for word in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")),
        *("--perms", "1777", "--size", size, "--tmpfs", "/dev/shm"),  # noqa: S108
        *("--perms", "1777", "--size", size, "--tmpfs", "/tmp"),  # noqa: S108
        *("--perms", "0700", "--size", size, "--tmpfs", BOX),
        *(w for path, fd in files.items() for w in ("--file", str(fd), f"{BOX}/{path}")),
        *("--remount-ro", "/", "--chdir", BOX),
        *_environment(),
    ]
    return b"".join(os.fsencode(word) + b"\0" for word in words)


def _environment() -> Iterator[str]:
    variables = {
        "PATH": f"{_PYTHON}/bin:/usr/bin:/bin",
        "HOME": BOX,
        "USER": "box",
        "TMPDIR": "/tmp",  # noqa: S108
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MALLOC_ARENA_MAX": "1",  # of glibc, each of which takes address space
    }
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and not _is_of_system():
        variables["LD_LIBRARY_PATH"] = f"{_PYTHON}/lib"
    for name, value in variables.items():
        yield from ("--setenv", name, value)


def _system() -> Iterator[str]:
    for name in _OF_SYSTEM:
        if Path("/usr", name).is_dir():
            yield from ("--ro-bind", f"/usr/{name}", f"/usr/{name}")
        top = Path("/", name)
        if top.is_symlink():
            yield from ("--symlink", str(top.readlink()), str(top))
        elif "/" not in name and top.is_dir():
            yield from ("--ro-bind", str(top), str(top))
    if Path("/etc/ld.so.cache").is_file():
        yield from ("--ro-bind", "/etc/ld.so.cache", "/etc/ld.so.cache")


def _interpreter() -> Iterator[str]:
    """Show the running interpreter and its standard library, without installed packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if _is_of_system():
        yield from ("--symlink", f"/usr/bin/{version}", f"{_PYTHON}/bin/python3")
        for folder in ("lib", "lib64"):
            for name in ("python3", version):
                yield from _hide_packages(f"/usr/{folder}/{name}", f"/usr/{folder}/{name}")
        return
    prefix = Path(sys.base_prefix).resolve()
    lent = Path(_BORROWED) if os.geteuid() == 0 else prefix
    executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    if executable.is_relative_to(prefix):
        executable = lent / executable.relative_to(prefix)
    yield from ("--ro-bind", str(executable), f"{_PYTHON}/bin/{version}")
    yield from ("--symlink", version, f"{_PYTHON}/bin/python3")
    is_whole = any((prefix / "lib").glob("*.so*"))
    folder = "lib" if is_whole else f"lib/{version}"
    yield from ("--ro-bind", str(lent / folder), f"{_PYTHON}/{folder}")
    yield from _hide_packages(str(prefix / "lib" / version), f"{_PYTHON}/lib/{version}")


def _hide_packages(folder: str, shown_as: str) -> Iterator[str]:
    for name in ("site-packages", "dist-packages"):
        if Path(folder, name).is_dir():
            yield from ("--tmpfs", f"{shown_as}/{name}", "--remount-ro", f"{shown_as}/{name}")


def _is_of_system() -> bool:
    return str(Path(sys.base_prefix).resolve()) == "/usr"
