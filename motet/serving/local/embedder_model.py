"""A loaded embedding model: texts as token ids, and token ids as vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from motet.errors import ConfigError, ModelNotFoundError
from motet.serving.local.text import mend_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motet.serving.local.embedder_files import EmbedderFiles


@dataclass(frozen=True, slots=True)
class EmbedderModel:
    """The network, its tokenizer, and how vectors are made."""

    files: EmbedderFiles
    network: Any
    backend: Any
    """The tokenizer without truncation and padding; special tokens are ordinary text to it."""

    def encode(self, text: str, most: int | None = None) -> tuple[int, ...]:
        """Return the ids of `text` between the model's own tokens, `most` in all at most."""
        mended = mend_text(text.lower() if self.files.is_lowered else text)
        encoding = self.backend.encode(mended, add_special_tokens=False)
        if most is not None:
            encoding.truncate(max(0, most - self.num_own))
        return tuple(self.backend.post_process(encoding).ids)

    @property
    def num_own(self) -> int:
        """How many tokens the model puts around a text."""
        return int(self.backend.num_special_tokens_to_add(False))

    def embed(self, rows: Sequence[Sequence[int]]) -> list[tuple[float, ...]]:
        """Return the vector of each row of ids, computed together."""
        longest = max(map(len, rows))
        ids = torch.zeros((len(rows), longest), dtype=torch.long)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        with torch.inference_mode():
            hidden = self.network(input_ids=ids, attention_mask=mask).last_hidden_state
            vectors = self._pooled(hidden, mask)
            if self.files.is_normalised:
                vectors = torch.nn.functional.normalize(vectors, dim=1)
        return [tuple(vector) for vector in vectors.tolist()]

    def _pooled(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Make float `[N, H]` of the states of N rows, `[N, L, H]`, by their mask, `[N, L]`."""
        if self.files.pooling == "cls":
            return hidden[:, 0]
        if self.files.pooling == "lasttoken":
            return hidden[torch.arange(len(mask)), mask.sum(1) - 1]
        shares = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * shares).sum(1) / shares.sum(1)


def load(files: EmbedderFiles) -> EmbedderModel:
    """Load the model in float32.

    Raises:
        ModelNotFoundError: The folder is damaged.
        ConfigError: It has no tokenizer.json.
    """
    had_progress = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        network = AutoModel.from_pretrained(
            files.network, dtype=torch.float32, local_files_only=True
        ).eval()
        tokenizer = AutoTokenizer.from_pretrained(files.network, local_files_only=True)
    except Exception as exc:
        raise ModelNotFoundError(f"the model in {files.network} does not load: {exc}") from exc
    finally:
        if had_progress:
            transformers_logging.enable_progress_bar()
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigError(f"the model in {files.network} has no tokenizer.json")
    backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    return EmbedderModel(files, network, backend)
