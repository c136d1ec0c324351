"""The loop of one model: completions join and leave a running batch at every step."""

from __future__ import annotations

import bisect
import logging
import threading
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from motet.errors import EngineError, EngineUnavailableError, MotetError
from motet.serving.local.attention import Chunk
from motet.serving.local.prefix_cache import BLOCK_TOKENS, PrefixCache, common_length
from motet.serving.local.sampler import choose

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from motet.engine import Reply
    from motet.serving.local.generation import Generation, Job
    from motet.serving.local.model import LoadedModel

logger = logging.getLogger(__name__)

_ALONE_FACTOR = 4
"""How much longer a chunk of a prompt may be while no other row generates."""


@dataclass(slots=True)
class Stats:
    """Counts of one scheduler since it began."""

    num_running: int = 0
    num_waiting: int = 0
    num_steps: int = 0
    num_computed_tokens: int = 0
    """Tokens that went through the network."""
    num_generated_tokens: int = 0


class Scheduler:
    """Runs completions by one model. `run` belongs to one thread, the rest may come from any."""

    def __init__(
        self,
        model: LoadedModel,
        *,
        max_rows: int,
        max_slots: int | None,
        prefix_cache_bytes: int,
        prefill_chunk: int,
    ) -> None:
        self.stats = Stats()
        self._model = model
        self._max_rows = max_rows
        self._prefill_chunk = prefill_chunk
        self._buffer = model.buffer(max_slots)
        self._prefixes = PrefixCache(prefix_cache_bytes)
        self._rows: list[Generation] = []
        """The running completions; the index is the row in the buffer."""
        self._waiting: list[Generation] = []
        """Sorted by priority, then arrival."""
        self._changed = threading.Condition()
        self._inbox: deque[Job] = deque()
        self._is_stopping = False
        self._num_arrived = 0
        self._outbox: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = defaultdict(list)
        self._names: dict[int, str] = {}

    def submit(self, job: Job) -> None:
        """Queue the completions of `job`."""
        with self._changed:
            if self._is_stopping:
                raise EngineError("the local engine was shut down")
            self._inbox.append(job)
            self._changed.notify()

    def abort(self, job: Job) -> None:
        """Drop `job` before the next step."""
        with self._changed:
            job.is_over = True
            self._changed.notify()

    def stop(self) -> None:
        """Make `run` return after the present step; what is running then fails."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()

    def run(self) -> None:
        """Step until `stop`."""
        with torch.inference_mode():
            while self._take_news():
                try:
                    self._admit()
                    self._step()
                except Exception as exc:
                    logger.exception("a step of the local engine failed")
                    self._fail_rows(exc)
                self._count()
                self._send()
        for job in {g.job for g in (*self._rows, *self._waiting)} | set(self._inbox):
            self._end(job, EngineError("the local engine was shut down"))
        self._send()

    def _take_news(self) -> bool:
        """Queue what has arrived and drop what was given up; wait where nothing is to do."""
        with self._changed:
            while not (self._inbox or self._rows or self._waiting or self._is_stopping):
                self._changed.wait()
            arrived = list(self._inbox)
            self._inbox.clear()
            if self._is_stopping:
                self._inbox.extend(arrived)
                return False
        for job in arrived:
            for generation in job.generations:
                self._num_arrived += 1
                generation.order = self._num_arrived
                bisect.insort(self._waiting, generation, key=_rank)
        self._waiting = [g for g in self._waiting if not g.job.is_over]
        for row in reversed(range(len(self._rows))):
            if self._rows[row].job.is_over:
                self._leave(row)
        self._count()
        return True

    def _admit(self) -> None:
        """Let waiting completions join, in order, while rows and memory are free.

        One that begins like a row whose prompt is still being computed waits for that row, to
        take over the common part; its place stays free meanwhile.
        """
        free = self._max_rows - len(self._rows)
        longest = max((g.max_length for g in self._rows), default=0)
        kept_back: list[Generation] = []
        while self._waiting and free > 0:
            generation = self._waiting[0]
            if self._rows:
                longest = max(longest, generation.max_length)
                if not self._buffer.fits(len(self._rows) + 1 + len(kept_back), longest):
                    break
            del self._waiting[0]
            free -= 1
            try:
                if not self._join(generation):
                    kept_back.append(generation)
            except Exception as exc:
                self._end(generation.job, _broken(exc))
        self._waiting[:0] = kept_back

    def _join(self, generation: Generation) -> bool:
        """Give the completion a row and what is computed of its prompt; False where it must wait."""
        tokens = generation.tokens
        most = len(tokens) - 1
        cached = min(self._prefixes.match(tokens), most)
        source, shared, coming = -1, cached, 0
        for row, other in enumerate(self._rows):
            common = min(common_length(other.tokens, tokens), most)
            if min(common, other.num_computed) > shared:
                source, shared = row, min(common, other.num_computed)
            if other.is_prefilling:
                coming = max(coming, common)
        if coming >= shared + BLOCK_TOKENS:
            return False
        used = max((g.num_computed for g in self._rows), default=0)
        row = self._buffer.join(generation.max_length, used)
        if source >= 0:
            self._buffer.copy(source, row, shared)
        elif shared:
            self._prefixes.load(tokens, shared, self._buffer, row)
        generation.num_computed = generation.num_cached = shared
        self._rows.append(generation)
        return True

    def _leave(self, row: int) -> None:
        """Take a row out of the batch and keep its blocks for others."""
        generation, last = self._rows[row], self._rows[-1]
        computed = generation.tokens[: generation.num_computed]
        self._prefixes.store(computed, self._buffer, row)
        self._buffer.leave(row, last.num_computed)
        self._rows[row] = last
        self._rows.pop()
        if not self._rows and not self._waiting:
            self._buffer.clear()

    def _plan(self) -> list[Chunk]:
        """Choose the tokens of the next step: one of each row that generates, and of the prompts
        that are not computed yet, first come first served, as many as a chunk holds.
        """
        chunks = [
            Chunk(row, g.num_computed, g.tokens[-1:])
            for row, g in enumerate(self._rows)
            if len(g.tokens) - g.num_computed == 1
        ]
        room = self._prefill_chunk * (1 if chunks else _ALONE_FACTOR)
        waiting = [
            (g.order, row) for row, g in enumerate(self._rows) if len(g.tokens) - g.num_computed > 1
        ]
        for _, row in sorted(waiting):
            if room <= 0:
                break
            g = self._rows[row]
            tokens = g.tokens[g.num_computed : g.num_computed + room]
            room -= len(tokens)
            chunks.append(Chunk(row, g.num_computed, tokens))
        return sorted(chunks, key=lambda chunk: chunk.row)

    def _step(self) -> None:
        """Compute the planned tokens, and choose the next token of each row that is up to date."""
        chunks = self._plan()
        if not chunks:
            return
        wanted = [
            i
            for i, chunk in enumerate(chunks)
            if chunk.past + len(chunk.tokens) == len(self._rows[chunk.row].tokens)
        ]
        logits = self._model.step(chunks, self._buffer, wanted)
        self.stats.num_steps += 1
        for chunk in chunks:
            self._rows[chunk.row].num_computed += len(chunk.tokens)
            self.stats.num_computed_tokens += len(chunk.tokens)
        if not wanted:
            return
        chosen = [self._rows[chunks[i].row] for i in wanted]
        for generation, choice in zip(
            chosen, choose(logits, [g.sampler for g in chosen]), strict=True
        ):
            if choice.error is not None:
                self._end(generation.job, choice.error)
                continue
            try:
                text = generation.accept(choice, self._model.eos_ids, self._name)
            except MotetError as error:
                self._end(generation.job, error)
                continue
            except Exception as exc:
                self._end(generation.job, _broken(exc))
                continue
            self.stats.num_generated_tokens += 1
            self._report(generation, text)
        for row in reversed(range(len(self._rows))):
            if self._rows[row].finish_reason is not None or self._rows[row].job.is_over:
                self._leave(row)

    def _report(self, generation: Generation, text: str) -> None:
        """Send text on, and the reply with the last completion."""
        job = generation.job
        if job.is_over:
            return
        if text and job.on_delta is not None:
            index = generation.index
            self._outbox[job.loop].append(lambda: job.deliver(index, text))
        if generation.finish_reason is not None:
            job.num_open -= 1
            if job.num_open == 0:
                self._end(job, job.reply())

    def _end(self, job: Job, outcome: Reply | MotetError) -> None:
        """Tell the caller once; rows of a job that is over leave with this step."""
        if not job.is_over:
            job.is_over = True
            self._outbox[job.loop].append(lambda: job.resolve(outcome))

    def _send(self) -> None:
        """Hand what happened to the callers' loops, one call a loop."""
        for loop, calls in self._outbox.items():
            try:
                loop.call_soon_threadsafe(_call_all, calls)
            except RuntimeError:
                logger.debug("an event loop was closed while its request ran")
        self._outbox.clear()

    def _fail_rows(self, exc: Exception) -> None:
        """After a step that broke: fail what was running and begin with an empty batch."""
        for job in {g.job for g in self._rows}:
            self._end(job, _broken(exc))
        self._rows.clear()
        self._buffer.clear()

    def _count(self) -> None:
        self.stats.num_running = len(self._rows)
        self.stats.num_waiting = len(self._waiting)

    def _name(self, token: int) -> str:
        """Return the text of one token; special tokens have theirs too."""
        if token not in self._names:
            self._names[token] = self._model.decode([token], keep_special=True)
        return self._names[token]


def _broken(exc: Exception) -> EngineUnavailableError:
    error = EngineUnavailableError(f"a step failed with {type(exc).__name__}: {exc}")
    error.__cause__ = exc
    return error


def _rank(generation: Generation) -> tuple[int, int]:
    return generation.job.priority, generation.order


def _call_all(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()
