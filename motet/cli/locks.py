"""Lock a file against other processes."""

from __future__ import annotations

from motet.cli.failures import CommandError


def lock(descriptor: int, refusal: str) -> None:
    """Lock an open file until it is closed; Windows has no such lock.

    Raises:
        CommandError: Another process holds it; says `refusal`.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise CommandError(refusal) from None
