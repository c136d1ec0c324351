"""The terminal: arguments in, exit code out."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command that the process's arguments name, and exit with its code."""
    from motet.cli.app import run_process

    run_process()
