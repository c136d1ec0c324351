"""Embeddings of texts, kept in one file, so that a second run reads what the first worked out."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

AT_ONCE = 512
"""Texts that are embedded, and then kept, together."""


def default_folder() -> Path:
    return Path(platformdirs.user_cache_dir("motet")) / "benchmarks"


class Embeddings:
    """Embeds texts by one model, each distinct text once; of long ones the first tokens count."""

    def __init__(self, model: str, folder: Path) -> None:
        self.model = model
        self.path = folder / f"embeddings-{model.replace(':', '-').replace('/', '-')}.npz"
        self.known: dict[str, Any] = {}
        if self.path.exists():
            with np.load(self.path, allow_pickle=False) as file:
                self.known = dict(zip(file["keys"].tolist(), file["values"], strict=True))

    def of(self, texts: Sequence[str]) -> Any:
        """Return float32 [N, D]."""
        keys = [hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts]
        missing = {k: t for k, t in zip(keys, texts, strict=True) if k not in self.known}
        ordered = sorted(missing, key=lambda key: len(missing[key]))
        for start in range(0, len(ordered), AT_ONCE):
            part = ordered[start : start + AT_ONCE]
            vectors = self._embedded([missing[key] for key in part])
            self.known.update(zip(part, vectors, strict=True))
            self._keep()
            print(f"embedded {start + len(part):,} of {len(ordered):,} texts", file=sys.stderr)
        return np.stack([self.known[key] for key in keys])

    def _embedded(self, texts: list[str]) -> Any:
        import motet
        from motet import Model, Sampling
        from motet.programs.choices import embedded

        sampling = Sampling(extra={"truncate_prompt_tokens": -1})
        call = motet.map(embedded.embeddings().on(Model(self.model, sampling=sampling)), texts)
        found = motet.run(call, store=None).value
        return np.asarray([each.values for each in found], dtype=np.float32)

    def _keep(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part.npz")
        np.savez(part, keys=np.array(list(self.known)), values=np.stack(list(self.known.values())))
        part.replace(self.path)
