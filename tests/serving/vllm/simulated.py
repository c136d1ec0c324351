"""vLLM's real scheduler over a worker that only counts: what tests of scheduling laws run on."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motet.serving.decoding import wire

SYNC = 1
"""Token that a member gets which is sampled without its other one; it ends it."""
TOKEN = 7
BLOCK = 16


@dataclass
class Setup:
    """Settings of one simulated engine."""

    policy: str = "fcfs"
    max_num_seqs: int = 8
    max_num_batched_tokens: int = 512
    num_blocks: int = 4096
    is_async: bool = False
    chunked: bool = True
    prefix_caching: bool = True
    timeout_s: float = 5.0
    is_stock: bool = False


@dataclass
class Engine:
    """A scheduler and the worker's side of it."""

    scheduler: Any
    is_async: bool
    now_s: float = 0.0
    steps: int = 0
    outputs: dict[str, list[int]] = field(default_factory=dict)
    """Request -> the tokens that came of it."""
    ended: dict[str, str] = field(default_factory=dict)
    """Request -> why it ended: `sync`, `length` or `abort`."""
    pairs: dict[str, tuple[str, str]] = field(default_factory=dict)
    in_flight: deque[tuple[Any, Any]] = field(default_factory=deque)
    arrivals: int = 0

    def add(
        self,
        name: str,
        prompt: list[int],
        max_tokens: int,
        pair: tuple[str, Any] | None = None,
        priority: int = 0,
    ) -> None:
        from vllm import SamplingParams
        from vllm.utils.hashing import sha256
        from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
        from vllm.v1.request import Request

        init_none_hash(sha256)
        extra = None if pair is None else {wire.FIELD: wire.write(pair=pair, sync=SYNC)}
        params = SamplingParams(
            max_tokens=max_tokens, temperature=0, ignore_eos=True, extra_args=extra
        )
        params.stop_token_ids = [SYNC]
        self.arrivals += 1
        self.outputs[name] = []
        if pair is not None:
            self.pairs[name] = pair
        self.scheduler.add_request(
            Request(
                request_id=name,
                prompt_token_ids=list(prompt),
                sampling_params=params,
                pooling_params=None,
                arrival_time=float(self.arrivals),
                priority=priority,
                block_hasher=get_request_block_hasher(BLOCK, sha256),
            )
        )

    def abort(self, name: str) -> None:
        from vllm.v1.request import RequestStatus

        if name not in self.ended:
            self.scheduler.finish_requests(name, RequestStatus.FINISHED_ABORTED)
            self.ended[name] = "abort"

    def step(self) -> int:
        """Schedule a step and take in the oldest result; return the tokens scheduled."""
        self.steps += 1
        self.now_s += 0.01
        output = self.scheduler.schedule()
        if output.total_num_scheduled_tokens:
            self.in_flight.append((output, self._sampled(output)))
        if self.in_flight and (
            len(self.in_flight) > self.is_async or not output.total_num_scheduled_tokens
        ):
            self._take_in(*self.in_flight.popleft())
        return int(output.total_num_scheduled_tokens)

    def run(self, max_steps: int = 20_000) -> None:
        """Step until all have ended; a failure where they do not."""
        for _ in range(max_steps):
            if not self.scheduler.has_unfinished_requests() and not self.in_flight:
                return
            self.step()
        left = {name for name in self.outputs if name not in self.ended}
        raise AssertionError(f"not ended after {max_steps} steps: {sorted(left)}")

    def num_synced(self) -> int:
        return sum(reason == "sync" for reason in self.ended.values())

    def _sampled(self, output: Any) -> dict[str, list[int]]:
        """What the worker samples: pairs as motet's processor would, others always `TOKEN`."""
        requests = {name: self.scheduler.requests[name] for name in output.num_scheduled_tokens}
        places = {
            name: request.num_output_tokens + max(0, request.num_output_placeholders - 1)
            for name, request in requests.items()
            if not request.is_prefill_chunk
        }
        by_member = {self.pairs[name]: name for name in places if name in self.pairs}
        sampled = {name: [] for name in requests}
        for name, place in places.items():
            token = TOKEN
            if name in self.pairs:
                pair, role = self.pairs[name]
                other = by_member.get((pair, "partner" if role == "main" else "main"))
                token = TOKEN if other is not None and places[other] == place else SYNC
            sampled[name] = [token]
        return sampled

    def _take_in(self, output: Any, sampled: dict[str, list[int]]) -> None:
        from vllm.v1.outputs import ModelRunnerOutput

        names = list(sampled)
        result = ModelRunnerOutput(
            req_ids=names,
            req_id_to_index={name: index for index, name in enumerate(names)},
            sampled_token_ids=[sampled[name] for name in names],
        )
        for outputs in self.scheduler.update_from_output(output, result).values():
            for each in outputs.outputs:
                self.outputs[each.request_id] += each.new_token_ids
                if each.finish_reason is not None:
                    is_sync = each.stop_reason == SYNC
                    self.ended[each.request_id] = "sync" if is_sync else "length"


def write_model(folder: Path) -> Path:
    """Write the configuration of a small Llama, without weights."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "vocab_size": 64,
        "max_position_embeddings": 2048,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def engines(folder: Path) -> Iterator[Any]:
    """Make the factory of simulated engines: `Setup` -> `Engine`."""
    import torch
    from vllm.config import (
        CacheConfig,
        ModelConfig,
        SchedulerConfig,
        VllmConfig,
        set_current_vllm_config,
    )
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
    from vllm.v1.structured_output import StructuredOutputManager

    from motet.serving.vllm.pair_scheduler import AsyncPairScheduler, PairScheduler

    model = ModelConfig(
        model=str(folder), skip_tokenizer_init=True, dtype="float32", max_model_len=2048
    )

    def make(setup: Setup) -> Engine:
        config = VllmConfig(
            model_config=model,
            cache_config=CacheConfig(block_size=BLOCK, enable_prefix_caching=setup.prefix_caching),
            scheduler_config=SchedulerConfig(
                max_num_seqs=setup.max_num_seqs,
                max_num_batched_tokens=setup.max_num_batched_tokens,
                max_model_len=2048,
                is_encoder_decoder=False,
                policy=setup.policy,
                async_scheduling=setup.is_async,
            ),
            additional_config={"motet_pair_timeout_s": setup.timeout_s},
        )
        config.scheduler_config.async_scheduling = setup.is_async  # a CPU turns it off
        config.scheduler_config.enable_chunked_prefill = setup.chunked
        config.cache_config.num_gpu_blocks = setup.num_blocks
        spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=1, dtype=torch.float32)
        kinds = {
            (True, False): Scheduler,
            (True, True): AsyncScheduler,
            (False, False): PairScheduler,
            (False, True): AsyncPairScheduler,
        }
        with set_current_vllm_config(config):
            scheduler = kinds[setup.is_stock, setup.is_async](
                vllm_config=config,
                kv_cache_config=KVCacheConfig(
                    num_blocks=setup.num_blocks,
                    kv_cache_tensors=[],
                    kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)],
                ),
                structured_output_manager=StructuredOutputManager(config),
                block_size=BLOCK,
                log_stats=False,
            )
        engine = Engine(scheduler, setup.is_async)
        if not setup.is_stock:
            scheduler.clock = lambda: engine.now_s
        return engine

    yield make
