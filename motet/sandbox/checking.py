"""Say before anything is paid for whether code can be run here."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

from motet.errors import SandboxError
from motet.sandbox.outcome import Limits, Outcome
from motet.sandbox.running import run_code

_PROBE: Final = """\
import os, threading
child = os.fork()
if not child:
    os._exit(0)
os.waitpid(child, 0)
thread = threading.Thread(target=print, args=("ready",))
thread.start()
thread.join()
"""
_REFUSALS: Final = ("ot permitted", "ermission", "namespace", "uid map", "No space left", "mount")
_FORBIDDEN: Final = (
    "this host forbids what the sandbox is made of (user namespaces). On a host: set "
    "user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1 and, on Ubuntu, "
    "kernel.apparmor_restrict_unprivileged_userns=0, by sysctl. In a container: start it with "
    "--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt "
    "systempaths=unconfined, or --privileged"
)


@cache
def check_sandbox() -> None:
    """Run a small program in the sandbox; a success is remembered.

    Raises:
        SandboxError: There is no sandbox here; says what to install or to allow.
    """
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(_probe).result()
    if outcome.stdout != b"ready\n":
        said = outcome.stderr.decode("utf-8", "replace").strip()[-500:]
        raise SandboxError(f"Python does not start in the sandbox ({outcome.ended}): {said}")


def _probe() -> Outcome:
    try:
        return asyncio.run(run_code(_PROBE, limits=Limits(wall_s=30.0)))
    except SandboxError as exc:
        raise SandboxError(_explained(str(exc))) from exc


def _explained(message: str) -> str:
    """Say what to do about what bubblewrap complained of."""
    if "nknown option" in message:
        return f"{message}; bubblewrap 0.8 or later is needed"
    if any(word in message for word in _REFUSALS):
        return f"{message}; {_FORBIDDEN}"
    return message
