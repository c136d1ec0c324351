"""Runs the command of its arguments, and sees to it that none of its processes stays behind.

`python launch_child.py PARENT GRACE_S COMMAND...`. It leads a session. Signals are passed on to the
command. When the command ends, what is left of the session is killed. When PARENT, the id of the
process that started this one, is not 0 and ends, by SIGKILL too, the command is ended. That, and
finding processes that left the group, needs Linux.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: list[str]) -> int:
    """Run the command; return its exit code, or 128 and the number of the signal that ended it."""
    parent, grace_s, *command = arguments
    process: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, frame: FrameType | None) -> None:
        if process is not None:
            process.send_signal(number)

    def on_parent_end(number: int = 0, frame: FrameType | None = None) -> None:
        if int(parent) and os.getppid() != int(parent):
            pass_on(signal.SIGTERM, frame)
            signal.alarm(int(grace_s))

    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    signal.signal(signal.SIGUSR1, on_parent_end)
    signal.signal(signal.SIGALRM, lambda number, frame: pass_on(signal.SIGKILL, frame))
    if int(parent):
        _ask_for(signal.SIGUSR1)
    process = subprocess.Popen(  # noqa: S603 - the caller's own command
        command,
        preexec_fn=lambda: _ask_for(signal.SIGKILL),  # noqa: PLW1509 - there is one thread
    )
    on_parent_end()  # it may have ended before the kernel was asked
    code = process.wait()
    _kill_rest()
    return code if code >= 0 else 128 - code


def _ask_for(number: int) -> None:
    """Have the kernel send this process the signal when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def _kill_rest() -> None:
    """Kill all processes of this one's session but itself."""
    own = os.getpid()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            pid = int(entry.name)
            if pid != own and os.getsid(pid) == own:
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
