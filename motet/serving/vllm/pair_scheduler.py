"""Schedulers for vLLM that keep the two requests of a pair in step.

    --scheduler-cls motet.serving.vllm.pair_scheduler.PairScheduler

What a pair generates is right under any scheduler: a pair that falls out of step ends early and is
sent again. These make that rare. A member is computed up to its last token but one, then held until
its other one is as far; both get their last token, and with it a sample, in the same steps. Two
members are admitted together and preempted together. Requests without a pair are scheduled as ever.

Setting: `--additional-config '{"motet_pair_timeout_s": 5}'`, seconds that a member waits for its
other one to arrive; then it runs alone, which ends it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.interface import PauseState
from vllm.v1.core.sched.request_queue import SchedulingPolicy
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec
from vllm.v1.request import RequestStatus

from motet.errors import ConfigError
from motet.serving.vllm.pair_book import Pair, PairBook

TIMEOUT_SETTING = "motet_pair_timeout_s"
_MAX_STALLS = 3
"""Steps in a row in which held members keep everything from moving."""


@dataclass(slots=True)
class PairCounts:
    """What happened to pairs since the start."""

    sampled: int = 0
    """Steps of a pair in which both members were let sample."""
    preempted: int = 0
    """Times that a pair was preempted as a whole."""
    loosened: int = 0
    """Pairs whose members were let run on their own while both or one still had to go on."""


_Hooks: Any = Scheduler if TYPE_CHECKING else object


class _PairSteps(_Hooks):  # type: ignore[misc]
    """What the schedulers below add to vLLM's; it overrides hooks of `Scheduler`."""

    max_num_active_reqs: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pairs = PairBook(_timeout_s(self.vllm_config.additional_config))
        self.pair_counts = PairCounts()
        self.clock = time.monotonic
        self._may_sample: set[str] = set()
        self._num_joining = 0
        self._is_short_of_tokens = False
        self._num_stalls = 0

    def add_request(self, request: Any) -> None:
        is_new = request.request_id not in self.requests
        super().add_request(request)
        if is_new:
            pair = self.pairs.add(request, self.clock())
            if pair is not None and self.max_num_active_reqs < 2:
                pair.is_loose = True

    def _free_request(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        if self.pairs:
            self.pairs.remove(request)
        return super()._free_request(request, *args, **kwargs)

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        if not self.pairs:
            return super().schedule(*args, **kwargs)
        max_active = self.max_num_active_reqs
        self._begin_step()
        try:
            output = super().schedule(*args, **kwargs)
        finally:
            self.max_num_active_reqs = max_active
            self._may_sample.clear()
            self._num_joining = 0
        self._note_stall(output)
        return output

    # Before a step: who may sample, and is there room for them?

    def _begin_step(self) -> None:
        self.pair_counts.loosened += self.pairs.loosen_overdue(self.clock())
        self._sort_queues()
        joining = self._choose()
        if self._make_room():
            self._shut()
            for pair in joining:
                self._may_sample -= _ids(pair.members.values())
            self._num_joining = 0
        planned = sum(self._num_planned(request) for request in self.running)
        self._is_short_of_tokens = planned + self._num_joining > self.max_num_scheduled_tokens
        if self._may_sample:
            self.running.sort(key=self._place)

    def _place(self, request: Any) -> int:
        """Where a running request stands: those that sample are to get their tokens first."""
        if request.request_id in self._may_sample:
            return 0
        return 1 + (self._is_short_of_tokens and self._num_planned(request) > 1)

    def _sort_queues(self) -> None:
        """Put members whose other one runs before all that waits; and back, where it stopped."""
        for pair in self.pairs:
            for request in pair.members.values():
                if request.status == RequestStatus.RUNNING or self._holds_kv_blocks(request):
                    continue
                other = pair.other(request)
                is_urgent = other is not None and other.status == RequestStatus.RUNNING
                if is_urgent and not pair.is_loose:
                    self._move(request, self.waiting, self.kv_holding_waiting)
                elif self.kv_holding_waiting:
                    self._move(request, self.kv_holding_waiting, self.waiting)

    def _choose(self) -> list[Pair]:
        """Say who may sample; return the pairs of which a one-token prompt joins for that."""
        joining = []
        for pair in self.pairs:
            members = tuple(pair.members.values())
            if pair.is_loose:
                self._may_sample |= _ids(members)
            elif pair.is_whole:
                ready = [request for request in members if self._is_ready(request)]
                joiners = [request for request in members if _is_joiner(request)]
                if len(ready) == 2:
                    self._may_sample |= _ids(members)
                    self.pair_counts.sampled += 1
                elif len(joiners) + len(ready) == 2 and self._has_slots_for(pair, len(joiners)):
                    self._join(joiners)
                    joining.append(pair)
        return joining

    def _has_slots_for(self, pair: Pair, num_joiners: int) -> bool:
        """Say whether one-token prompts may join now: the slot of one whose other runs is kept."""
        free = self._num_free_slots() - self._num_joining
        return free >= 1 if num_joiners == 1 else pair.is_next and free >= 2 + self._num_halves()

    def _join(self, joiners: list[Any]) -> None:
        """Have one-token prompts admitted in this step, before all others."""
        for request in joiners:
            self._move(request, self.waiting, self.kv_holding_waiting)
            self._move(request, self.kv_holding_waiting, self.kv_holding_waiting)
            pair = self.pairs.of(request)
            assert pair is not None
            pair.is_next = False
            self._may_sample |= _ids(pair.members.values())
        self._num_joining += len(joiners)
        self.pair_counts.sampled += 1

    def _make_room(self) -> bool:
        """Preempt until the step's running requests have their blocks; say whether any was."""
        is_done = False
        while self._num_blocks_wanted() > self.kv_cache_manager.block_pool.get_num_free_blocks():
            victims = self._victims()
            if not victims or not all(map(self._request_blocks_can_be_freed, victims)):
                break
            for request in victims:
                self.running.remove(request)
                self._preempt_request(request, time.monotonic())
                self._may_sample.discard(request.request_id)
            self.pair_counts.preempted += len(victims) == 2
            is_done = True
        return is_done

    def _victims(self) -> list[Any]:
        """Return the request to preempt first, and its other one; empty where none else runs."""
        if self.policy == SchedulingPolicy.PRIORITY:
            last = max(self.running, key=lambda r: (r.priority, r.arrival_time))
        else:
            last = self.running[-1]
        pair = self.pairs.of(last)
        other = None if pair is None or pair.is_loose else pair.other(last)
        victims = [last]
        if other is not None and other.status == RequestStatus.RUNNING:
            victims.append(other)
        return victims if len(victims) < len(self.running) else []

    # During a step: hooks that vLLM's loops call.

    def _reserve_prefill_lookahead(self, request: Any, num_computed: int, num_new: int) -> int:
        num_new = super()._reserve_prefill_lookahead(request, num_computed, num_new)
        if not self.pairs or request.request_id in self._may_sample:
            return num_new
        is_running = request.status == RequestStatus.RUNNING
        if self.pairs.of(request) is not None:
            num_known = request.num_tokens + request.num_output_placeholders
            # At 0, vLLM passes over a running request, but admits none behind a waiting one.
            least = 0 if is_running else min(num_new, 1)
            num_new = max(least, min(num_new, num_known - 1 - num_computed))
        if is_running and self._is_short_of_tokens and num_new > 1:
            num_new = max(0, num_new - self._num_joining)
        return num_new

    def _get_local_prefix_cache_hit(self, request: Any, *args: Any) -> Any:
        hit = super()._get_local_prefix_cache_hit(request, *args)
        blocks, num_cached, *rest = hit
        if not num_cached or request.num_tokens - num_cached != 1 or not self._is_held(request):
            return hit
        # Nothing would be left to compute before the token that is held back.
        groups = self.kv_cache_config.kv_cache_groups
        kept = (num_cached - 1) // self.block_size * self.block_size
        if len(groups) > 1 or type(groups[0].kv_cache_spec) is not FullAttentionSpec or not kept:
            return self.kv_cache_manager.empty_kv_cache_blocks, 0, *rest
        return self.kv_cache_manager.truncate_computed_blocks(blocks, kept), kept, *rest

    def _handle_blocked_waiting_request(self, request: Any) -> bool:
        if not super()._handle_blocked_waiting_request(request):
            return False
        if not self.pairs:
            return True
        pair = self.pairs.of(request)
        if pair is None or pair.is_loose:
            return self._has_room_for(1)
        if request.request_id in self._may_sample:
            return True
        other = pair.other(request)
        if other is None or self._is_blocked_waiting_status(other.status):
            return False
        if other.status == RequestStatus.RUNNING:
            is_behind = self._num_joining > 0 and self.policy == SchedulingPolicy.PRIORITY
            return request.num_tokens > 1 and not is_behind
        if not self._fits(request, other) or not self._has_room_for(2):
            self._shut()
            return False
        if request.num_tokens == 1 and other.num_tokens == 1:
            pair.is_next = True
            self._shut()
            return False
        if other.num_tokens > 1 and not self.kv_holding_waiting:
            self._move(other, self.waiting, self.kv_holding_waiting)
        return bool(request.num_tokens > 1)

    def _has_room_for(self, count: int) -> bool:
        """Say whether slots are free that no member needs whose other one runs; if not, shut."""
        if self._num_free_slots() - self._num_halves() >= count:
            return True
        self._shut()
        return False

    def _shut(self) -> None:
        """Admit no more requests in this step."""
        self.max_num_active_reqs = 0

    def _note_stall(self, output: Any) -> None:
        """Let held members go that keep everything from moving, such as two too large together."""
        if (
            output.total_num_scheduled_tokens
            or self.pause_state != PauseState.UNPAUSED
            or any(request.num_in_flight_tokens for request in self.running)
        ):
            self._num_stalls = 0
            return
        held = [pair for pair in self.pairs if self._is_stuck(pair)]
        self._num_stalls = self._num_stalls + 1 if held else 0
        if self._num_stalls == _MAX_STALLS:
            for pair in held:
                pair.is_loose = True
            self.pair_counts.loosened += len(held)
            self._num_stalls = 0

    # Questions about requests.

    def _is_stuck(self, pair: Pair) -> bool:
        """Say whether a member runs, held, and nothing but the scheduler keeps the other one."""
        statuses = [request.status for request in pair.members.values()]
        return (
            not pair.is_loose
            and RequestStatus.RUNNING in statuses
            and not any(map(self._is_blocked_waiting_status, statuses))
        )

    def _is_held(self, request: Any) -> bool:
        is_ordinary = not self.pairs or self.pairs.of(request) is None
        return not is_ordinary and request.request_id not in self._may_sample

    def _is_ready(self, request: Any) -> bool:
        return request.status == RequestStatus.RUNNING and _num_pending(request) == 1

    def _num_free_slots(self) -> int:
        used = len(self.running) + self.num_waiting_for_streaming_input
        return int(self.max_num_active_reqs - used)

    def _num_halves(self) -> int:
        """Pairs of which one member runs and the other waits."""
        num = 0
        for pair in self.pairs:
            if pair.is_whole and not pair.is_loose:
                first, second = pair.members.values()
                num += (first.status == RequestStatus.RUNNING) != (
                    second.status == RequestStatus.RUNNING
                )
        return num

    def _fits(self, *requests: Any) -> bool:
        if not self.running:
            return True
        wanted = sum(self._num_blocks(request.num_tokens + 1) for request in requests)
        return bool(wanted <= self.kv_cache_manager.block_pool.get_num_free_blocks())

    def _num_planned(self, request: Any) -> int:
        pending = _num_pending(request)
        return max(0, pending - 1 if self._is_held(request) else pending)

    def _num_blocks(self, num_tokens: int) -> int:
        per_group = -(-(num_tokens + self.num_lookahead_tokens) // self.block_size)
        return int(per_group * len(self.kv_cache_config.kv_cache_groups))

    def _num_blocks_wanted(self) -> int:
        """Blocks that the running requests and those that join will take in this step."""
        budget = self.max_num_scheduled_tokens
        wanted = 0
        if self._num_joining:
            wanted = (
                self._num_joining * self._num_blocks(1) + self.kv_cache_manager.watermark_blocks
            )
        for request in self.running:
            num_new = min(self._num_planned(request), budget)
            budget -= num_new
            computed = request.num_computed_tokens
            wanted += self._num_blocks(computed + num_new) - self._num_blocks(computed)
        return wanted

    @staticmethod
    def _move(request: Any, source: Any, target: Any) -> None:
        """Move a waiting request to the front of another queue, where it is in the first."""
        try:
            source.remove_request(request)
        except ValueError:
            return
        target.prepend_request(request)


class PairScheduler(_PairSteps, Scheduler):  # type: ignore[misc]
    """vLLM's scheduler, with pairs kept in step."""

    def __init__(self, vllm_config: Any, *args: Any, **kwargs: Any) -> None:
        _check_mode(vllm_config, is_async=False)
        super().__init__(vllm_config, *args, **kwargs)


class AsyncPairScheduler(_PairSteps, AsyncScheduler):  # type: ignore[misc]
    """vLLM's asynchronous scheduler, with pairs kept in step."""

    def __init__(self, vllm_config: Any, *args: Any, **kwargs: Any) -> None:
        _check_mode(vllm_config, is_async=True)
        super().__init__(vllm_config, *args, **kwargs)


def _check_mode(vllm_config: Any, *, is_async: bool) -> None:
    setting = bool(vllm_config.scheduler_config.async_scheduling)
    if setting != is_async:
        right = "AsyncPairScheduler" if setting else "PairScheduler"
        raise ConfigError(f"async_scheduling is {setting}; scheduler_cls must then be {right}")


def _timeout_s(settings: Any) -> float:
    value = settings.get(TIMEOUT_SETTING, 5.0) if isinstance(settings, dict) else 5.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigError(f"{TIMEOUT_SETTING} is {value!r}; it must be above 0")
    return float(value)


def _num_pending(request: Any) -> int:
    """Tokens that are known and not computed."""
    return int(request.num_tokens + request.num_output_placeholders - request.num_computed_tokens)


def _is_joiner(request: Any) -> bool:
    """Say whether this is a waiting prompt of one token, which cannot be computed but by sampling."""
    return bool(request.num_tokens == 1 and request.status == RequestStatus.WAITING)


def _ids(requests: Iterable[Any]) -> set[str]:
    return {request.request_id for request in requests}
