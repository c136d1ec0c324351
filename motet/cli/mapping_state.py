"""What `motet map` must remember beside its output to go on after it was killed."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from motet.cli.failures import FAILED, CommandError
from motet.engine import Usage


@dataclass(slots=True)
class MappingState:
    """Which run holds the part that is worked on, and what the parts before have used."""

    signature: dict[str, Any]
    """Settings that decide the values; a continuation must have the same."""
    path: Path | None
    part: int | None = None
    run_id: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost: float = 0.0
    retries: int = 0
    """How often the failed rows were asked again."""

    def begin(self, part: int, run_id: str) -> None:
        """Remember the run that works on `part`."""
        self.part, self.run_id = part, run_id
        self.save()

    def resumable(self, part: int) -> str | None:
        """The run to go on with for `part`; None where it is to be a new one."""
        return self.run_id if self.part == part else None

    def end(self, usage: Usage, cost: float) -> None:
        """Count what the part's run has used; it will not be gone on with."""
        self.part = self.run_id = None
        self.usage += usage
        self.cost += cost
        self.save()

    def save(self) -> None:
        """Write everything down.

        Raises:
            CommandError: There is no room.
        """
        if self.path is None:
            return
        shown = {
            "motet_map": 1,
            "signature": self.signature,
            "part": self.part,
            "run_id": self.run_id,
            "usage": asdict(self.usage),
            "cost": self.cost,
            "retries": self.retries,
        }
        scratch = self.path.with_name(self.path.name + ".new")
        try:
            scratch.write_text(json.dumps(shown), encoding="ascii")
            os.replace(scratch, self.path)  # noqa: PTH105
        except OSError as exc:
            with contextlib.suppress(OSError):
                scratch.unlink()
            raise CommandError(
                f"{self.path} cannot be written: {exc.strerror}",
                "make room and start the same command again: it goes on",
                code=FAILED,
            ) from exc

    def remove(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Keep only what decides the values: the output is whole."""
        self.part = self.run_id = None
        self.usage, self.cost = Usage(), 0.0
        self.save()


def open_state(output: str | None, signature: dict[str, Any], *, is_begun: bool) -> MappingState:
    """Return the state beside `output`, a new one where there is none.

    Raises:
        CommandError: The output was begun with other settings.
    """
    if output is None:
        return MappingState(signature, None)
    path = Path(f"{output}.motet")
    try:
        kept = json.loads(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return MappingState(signature, path)
    except (OSError, ValueError) as exc:
        raise CommandError(f"{path} cannot be read: {exc}", "remove it to start anew") from None
    before = kept.get("signature", {})
    changed = [k for k in {**before, **signature} if before.get(k) != signature.get(k)]
    if changed and is_begun:
        name = changed[0]
        raise CommandError(
            f"{output} was begun with {name} {json.dumps(before.get(name))}, "
            f"not {json.dumps(signature.get(name))}",
            "give the same as then, another -o, or --force to begin it anew",
        )
    if changed:
        return MappingState(signature, path)
    try:
        usage, cost = Usage(**kept["usage"]), kept["cost"]
        part, run_id = kept["part"], kept["run_id"]
    except (KeyError, TypeError) as exc:
        raise CommandError(f"{path} is no state of `motet map`", "remove it") from exc
    return MappingState(signature, path, part, run_id, usage, cost, kept.get("retries", 0))
