"""The folder of a study: its settings, its run, and what came of it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from motet.cli.failures import FAILED, CommandError
from motet.cli.locks import lock

_STATE, _STORE = "study.json", "runs.db"
DIGEST_OF = "digest of "
"""Begins the names of what a signature holds as a digest, which says nothing to a reader."""
_SEARCH = "motet eval search"


class Folder:
    """Where a study is kept. All that must be written there is tried before anything is asked."""

    def __init__(
        self,
        path: str,
        signature: dict[str, Any],
        files: Sequence[str],
        command: str = _SEARCH,
    ) -> None:
        """Open or make the folder, for this process alone.

        Args:
            path: The folder.
            signature: What a continuation must have the same, as JSON values.
            files: Names that will be written at the end.
            command: The command whose study it is, for messages.

        Raises:
            CommandError: It cannot be written, is in use, or was begun with other settings.
        """
        self.path = Path(path)
        self._signature = signature
        self._command = command
        self.run_id: str | None = None
        """The run to go on with; None where it is to be a new one."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            raise CommandError(f"--out {path} cannot be used: {exc.strerror}") from None
        try:
            self._lock()
            self._read()
            self._try(files)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._descriptor)

    @property
    def store(self) -> str:
        return str(self.path / _STORE)

    @property
    def state(self) -> Path:
        return self.path / _STATE

    def begin(self, run_id: str) -> None:
        """Remember the run that is to be gone on with."""
        self.run_id = run_id
        self._save()

    def forget(self) -> None:
        """Leave nothing to be gone on with: nothing was paid."""
        with contextlib.suppress(OSError):
            self.state.unlink()

    def write(self, name: str, text: str) -> None:
        """Put a file in the place of what was there.

        Raises:
            CommandError: There is no room, or the place is taken.
        """
        write_file(self.path / name, text)

    def _lock(self) -> None:
        lock(self._descriptor, f"another process works on the study in {self.path}")

    def _read(self) -> None:
        try:
            kept = json.loads(self.state.read_text(encoding="utf-8"))
            before, run_id = kept["signature"], kept["run_id"]
            command = kept.get("command", _SEARCH)
            if not isinstance(before, dict) or not isinstance(run_id, str | None):
                raise TypeError
        except FileNotFoundError:
            return
        except OSError as exc:
            raise CommandError(
                f"{self.state} cannot be read: {exc.strerror}", "give another --out"
            ) from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise CommandError(
                f"{self.state} is no state of `{self._command}`",
                "give another --out; or remove the file to begin anew, which pays for all again",
            ) from None
        if run_id is None:
            return  # it ended before it asked anything
        if command != self._command:
            raise CommandError(
                f"{self.path} was begun by `{command}`, not by `{self._command}`",
                "give another --out",
            )
        for name, value in self._signature.items():
            if before.get(name) != value and name.startswith(DIGEST_OF):
                raise CommandError(
                    f"{name.removeprefix(DIGEST_OF)} changed since {self.path} was begun",
                    "undo the change to go on, or give another --out",
                )
            if before.get(name) != value:
                raise CommandError(
                    f"{self.path} was begun with {name} {_cut(before.get(name))}, not {_cut(value)}",
                    "give the same as then, or another --out",
                )
        self.run_id = run_id
        if not (self.path / _STORE).exists():
            raise CommandError(
                f"{self.state} names a run, but {self.path / _STORE}, which held it, is gone",
                "bring it back, or give another --out",
            )

    def _try(self, files: Sequence[str]) -> None:
        for name in (_STATE, _STORE, *files):
            if (self.path / name).is_dir() or (self.path / f"{name}.new").is_dir():
                raise CommandError(
                    f"{self.path / name} cannot be written: it is a folder", "give another --out"
                )
        self._save()

    def _save(self) -> None:
        kept = {"command": self._command, "signature": self._signature, "run_id": self.run_id}
        self.write(_STATE, json.dumps(kept))


def write_file(path: Path, text: str) -> None:
    """Put a file in the place of what was there, whole or not at all.

    Raises:
        CommandError: There is no room, or the place is taken.
    """
    scratch = path.with_name(f"{path.name}.new")
    try:
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, path)  # noqa: PTH105
    except OSError as exc:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise CommandError(
            f"{path} cannot be written: {exc.strerror}",
            "make room and start the same command again: it goes on",
            code=FAILED,
        ) from exc


def _cut(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
