"""What the processes in a sandbox, and its folders in memory, take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_FOLDERS: Final = ("box", "tmp", "dev/shm")
_OF_INODE: Final = 1024
"""Bytes that an empty file takes, about."""


def used_bytes(init: int) -> int:
    """Return the memory of process `init`, all its descendants and its folders.

    Pages that forked processes share count for each of them.
    """
    return sum(map(_of_process, _family(init))) + _of_folders(init)


def _family(init: int) -> Iterator[int]:
    waiting = [init]
    while waiting:
        pid = waiting.pop()
        yield pid
        with suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, (thread / "children").read_bytes().split())


def _of_process(pid: int) -> int:
    kilobytes = 0
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
            if line.startswith((b"RssAnon:", b"RssShmem:")):
                kilobytes += int(line.split()[1])
    return kilobytes * 1024


def _of_folders(init: int) -> int:
    total = 0
    for name in _FOLDERS:
        with suppress(OSError):
            found = os.statvfs(f"/proc/{init}/root/{name}")
            total += (found.f_blocks - found.f_bfree) * found.f_frsize
            total += (found.f_files - found.f_ffree) * _OF_INODE
    return total
