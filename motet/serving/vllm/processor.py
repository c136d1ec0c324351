"""motet's logits processor inside vLLM: one class that both model runners load.

vLLM finds it by its entry point, `vllm.logits_processors`. It costs next to nothing while no
request carries rules. Nothing here raises in a step: that would end the engine.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from vllm.v1.sample.logits_processor import LogitsProcessor as ProcessorV1

from motet.serving.decoding.constraints import ConstraintCompiler
from motet.serving.vllm.rows import RowMaker
from motet.serving.vllm.rows_batches import BatchRows, RowSource, SlotRows
from motet.serving.vllm.rows_checks import check_params
from motet.serving.vllm.rows_step import carry_out

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.config import VllmConfig
    from vllm.v1.sample.logits_processor import BatchUpdate

try:
    from vllm.v1.worker.gpu.sample.logits_processor.interface import (
        LogitsProcessor as ProcessorV2,
    )
except ImportError:  # a vLLM that has no second runner

    class ProcessorV2:  # type: ignore[no-redef]
        """Stands where vLLM has no second runner."""


_MARK = "_motet_processor"


class MotetProcessor(ProcessorV1, ProcessorV2):  # type: ignore[misc]
    """Carries out the rules of requests that bring some in `vllm_xargs`."""

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Raise ValueError, which a client sees as 400, where a request's rules are wrong."""
        check_params(sampling_params)

    def __init__(self, vllm_config: VllmConfig, *runner: Any) -> None:
        """Take V1's (device, is_pin_memory) or V2's (req_states,)."""
        source = RowSource(_maker(vllm_config), 4 * vllm_config.scheduler_config.max_num_seqs)
        self._batch = BatchRows(source) if len(runner) != 1 else None
        self._slots = SlotRows(source, runner[0]) if len(runner) == 1 else None
        # Loaded by its entry point and by a flag as well, it works once.
        twin = getattr(vllm_config, _MARK, None)
        self._is_idle = twin is not None and twin() is not None
        if not self._is_idle:
            object.__setattr__(vllm_config, _MARK, weakref.ref(self))

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        if self._batch is not None and batch_update is not None and not self._is_idle:
            self._batch.update(batch_update)

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        if self._slots is None or self._is_idle:
            return False
        return self._slots.add(req_idx, sampling_params)

    def apply_staged_writes(self) -> None:
        pass

    def apply(self, logits: Any, ctx: Any = None) -> Any:
        num_rows = logits.shape[0]
        if self._batch is not None:
            present = self._batch.present(num_rows)
            return carry_out(logits, present, runner=1) if present else logits
        assert self._slots is not None
        present = self._slots.present(num_rows, ctx)
        return carry_out(logits, present, runner=2) if present else logits


def _maker(vllm_config: VllmConfig) -> RowMaker:
    model = vllm_config.model_config
    eos_ids = _ends_of_turn(model)

    def tokenizer() -> Any:
        from vllm.tokenizers import cached_tokenizer_from_config

        return cached_tokenizer_from_config(model)

    return RowMaker(eos_ids, ConstraintCompiler(tokenizer, model.get_vocab_size(), eos_ids))


def _ends_of_turn(model: Any) -> frozenset[int]:
    """Return the model's ends of turn, by its generation config or else by its own."""
    found = (model.try_get_generation_config() or {}).get("eos_token_id")
    if found is None:
        found = getattr(model.hf_text_config, "eos_token_id", None)
    if found is None:
        return frozenset()
    return frozenset({found} if isinstance(found, int) else found)
