"""The loop of one model: rows join and leave a running batch at every step."""

from __future__ import annotations

import bisect
import logging
import threading
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from motet.errors import EngineError, EngineUnavailableError, MotetError
from motet.serving.local.attention import Chunk
from motet.serving.local.contrast import Seen
from motet.serving.local.generation import Generation
from motet.serving.local.prefix_cache import BLOCK_TOKENS, PrefixCache, common_length
from motet.serving.local.sampler import choose
from motet.serving.local.scoring import Scoring
from motet.serving.local.telling import Telling

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from motet.engine import Reply
    from motet.serving.local.jobs import Job
    from motet.serving.local.model import LoadedModel, StepLogits
    from motet.serving.local.rows import Member, Row

logger = logging.getLogger(__name__)

_ALONE_FACTOR = 4
"""How much longer a chunk of a prompt may be while no other row generates."""


@dataclass(slots=True)
class Stats:
    """Counts of one scheduler since it began."""

    num_running: int = 0
    """Rows in the batch; a completion of a paired rule has two."""
    num_waiting: int = 0
    """Completions and candidates that have no place yet."""
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
        max_members: int,
        max_slots: int | None,
        prefix_cache_bytes: int,
        prefill_chunk: int,
    ) -> None:
        self.stats = Stats()
        self._model = model
        self._max_members = max_members
        self._prefill_chunk = prefill_chunk
        self._buffer = model.buffer(max_slots)
        self._prefixes = PrefixCache(prefix_cache_bytes)
        self._rows: list[Row] = []
        """Those that run; the index is the row in the buffer."""
        self._joining: list[Member] = []
        """Admitted, but some of their rows wait for a prefix that is being computed."""
        self._waiting: list[Member] = []
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
        members = {*self._waiting, *self._joining, *(row.owner for row in self._rows)}
        for job in {member.job for member in members} | set(self._inbox):
            self._end(job, EngineError("the local engine was shut down"))
        self._send()

    def _take_news(self) -> bool:
        """Queue what has arrived and drop what was given up; wait where nothing is to do."""
        with self._changed:
            while not (self._inbox or self._rows or self._is_stopping or self._num_outside):
                self._changed.wait()
            arrived = list(self._inbox)
            self._inbox.clear()
            if self._is_stopping:
                self._inbox.extend(arrived)
                return False
        for job in arrived:
            for member in job.members:
                self._num_arrived += 1
                member.order = self._num_arrived
                bisect.insort(self._waiting, member, key=_rank)
        self._waiting = [m for m in self._waiting if not m.job.is_over]
        self._joining = [m for m in self._joining if not m.job.is_over]
        self._drop(lambda row: row.owner.job.is_over)
        self._count()
        return True

    @property
    def _num_outside(self) -> int:
        return len(self._waiting) + len(self._joining)

    def _admit(self) -> None:
        """Let members join, in order, while places and memory are free.

        One that begins like a row whose prompt is still being computed waits for that row, to
        take over the common part; its place stays free meanwhile.
        """
        self._joining = [m for m in self._joining if not self._join(m)]
        while self._waiting and self._has_room(self._waiting[0]):
            member = self._waiting.pop(0)
            if not self._join(member):
                self._joining.append(member)
        self._drop(lambda row: row.owner.is_done and not row.owner.job.num_outside)

    def _has_room(self, member: Member) -> bool:
        """Say whether `member` may join; one that is too large for the limit is served alone."""
        running = {id(row.owner) for row in self._rows if not row.owner.is_done}
        running.update(id(other) for other in self._joining)
        if len(running) >= self._max_members:
            return False
        coming = [row for m in (*self._joining, member) for row in m.rows if not row.is_in]
        longest = max(row.max_length for row in (*self._rows, *coming))
        if self._buffer.fits(len(self._rows) + len(coming), longest):
            return True
        if not running:
            self._drop(lambda _: True)
        return not running

    def _join(self, member: Member) -> bool:
        """Give each row of `member` a place; False where one of them has to wait."""
        if member.job.is_over:
            return True
        try:
            found = [row.is_in or self._enter(row, member.job.salt) for row in member.rows]
        except Exception as exc:
            self._end(member.job, _broken(exc))
            return True
        if not all(found):
            return False
        member.job.num_outside -= 1
        return True

    def _enter(self, row: Row, salt: str) -> bool:
        """Give `row` a place and what is computed of its tokens; False where it must wait."""
        tokens, most = row.tokens, row.most_shared
        cached = min(self._prefixes.match(tokens, salt), most)
        source, shared, coming, of_siblings = -1, cached, 0, 0
        for place, other in enumerate(self._rows):
            if other.owner.job.salt != salt:
                continue
            common = min(common_length(other.tokens, tokens), most)
            if min(common, other.num_computed) > shared:
                source, shared = place, min(common, other.num_computed)
            if not other.is_prefilling:
                continue
            # The last token of a pair's prompt may wait for this very row.
            common = min(common, other.num_prompt - other.is_paired)
            if other.owner.job is row.owner.job:
                of_siblings = max(of_siblings, common)
            else:
                coming = max(coming, common)
        if of_siblings > shared or coming >= shared + BLOCK_TOKENS:
            return False
        used = max((other.num_computed for other in self._rows), default=0)
        place = self._buffer.join(row.max_length, used)
        self._rows.append(row)
        row.is_in = True
        if source >= 0:
            self._buffer.copy(source, place, shared)
        elif shared:
            self._prefixes.load(tokens, shared, self._buffer, place, salt)
        row.num_computed = row.num_cached = shared
        return True

    def _drop(self, is_over: Callable[[Row], bool]) -> None:
        """Take rows out of the batch and keep their blocks for others."""
        for place in reversed(range(len(self._rows))):
            row, last = self._rows[place], self._rows[-1]
            if not is_over(row):
                continue
            computed = row.tokens[: row.num_computed]
            self._prefixes.store(computed, self._buffer, place, row.owner.job.salt)
            self._buffer.leave(place, last.num_computed)
            row.is_in = False
            self._rows[place] = last
            self._rows.pop()
        if not self._rows and not self._num_outside:
            self._buffer.clear()

    def _plan(self) -> list[Chunk]:
        """Choose the tokens of the next step: one of each row that generates, and of the prompts
        that are not computed yet, first come first served, as many as a chunk holds.

        The last token of a pair's prompt waits until both rows of the pair can take theirs.
        """
        chunks: list[Chunk] = []
        waiting: list[tuple[int, int]] = []
        for place, row in enumerate(self._rows):
            if row.num_left == 1 and row.owner.is_level:
                chunks.append(self._chunk(place, 1))
            elif row.num_left > (1 if row.is_paired else 0):
                waiting.append((row.owner.order, place))
        is_alone = not chunks and all(self._rows[p].scored_from is None for _, p in waiting)
        room = self._prefill_chunk * (_ALONE_FACTOR if is_alone else 1)
        for _, place in sorted(waiting):
            if room <= 0:
                break
            row = self._rows[place]
            count = min(room, row.num_left - (1 if row.is_paired else 0))
            room -= count
            chunks.append(self._chunk(place, count))
        return sorted(chunks, key=lambda chunk: chunk.row)

    def _chunk(self, place: int, count: int) -> Chunk:
        row = self._rows[place]
        past = row.num_computed
        num_logits = row.num_logits(past, count)
        layers = row.owner.layers if num_logits and row is row.owner.rows[0] else ()
        return Chunk(place, past, row.tokens[past : past + count], num_logits, layers)

    def _step(self) -> None:
        """Compute the planned tokens; score candidates, and choose tokens of completions."""
        chunks = self._plan()
        if not chunks:
            return
        found = self._model.step(chunks, self._buffer)
        self.stats.num_steps += 1
        for chunk in chunks:
            self._rows[chunk.row].num_computed += len(chunk.tokens)
            self.stats.num_computed_tokens += len(chunk.tokens)
        if not found.last.shape[0]:
            return
        self._use(chunks, found)
        self._drop(self._is_over)

    def _use(self, chunks: list[Chunk], found: StepLogits) -> None:
        """Hand the logits of a step to those that asked for them."""
        main: list[int] = []
        chosen: list[Generation] = []
        seen: dict[int, Seen] = {}
        partners: dict[Member, int] = {}
        start = 0
        for i, chunk in enumerate(chunks):
            line, start = start, start + chunk.num_logits
            if not chunk.num_logits:
                continue
            row = self._rows[chunk.row]
            owner = row.owner
            if isinstance(owner, (Scoring, Telling)):
                owner.accept(found.last[line:start])
                self._report(owner, "")
            elif row is not owner.rows[0]:
                partners[owner] = line
            elif isinstance(owner, Generation):
                if row.is_paired or i in found.early:
                    seen[len(chosen)] = Seen(early=found.early.get(i))
                main.append(line)
                chosen.append(owner)
        for i, generation in enumerate(chosen):
            if generation in partners:
                partner = found.last[partners[generation]]
                seen[i] = Seen(partner=partner, early=seen[i].early)
        logits = found.last if len(main) == start else found.last[main]
        self._choose(chosen, logits, seen)

    def _choose(self, chosen: list[Generation], logits: Any, seen: dict[int, Seen]) -> None:
        """Choose the next token of each of `chosen` by its `logits` `[S, V]`."""
        if not chosen:
            return
        choices = choose(logits, [g.sampler for g in chosen], seen)
        for generation, choice in zip(chosen, choices, strict=True):
            if choice.error is not None:
                self._end(generation.job, choice.error)
                continue
            try:
                text = generation.accept(choice, self._model, self._name)
            except MotetError as error:
                self._end(generation.job, error)
                continue
            except Exception as exc:
                self._end(generation.job, _broken(exc))
                continue
            self.stats.num_generated_tokens += 1
            self._report(generation, text)

    def _is_over(self, row: Row) -> bool:
        """Say whether `row` leaves; one candidate's stays while others of its job are outside."""
        job = row.owner.job
        if job.is_over or not row.owner.is_done:
            return job.is_over
        if row.scored_from is None or not job.num_outside:
            return True
        if job.donor is None or not job.donor.is_in:
            job.donor = row
        return job.donor is not row

    def _report(self, member: Member, text: str) -> None:
        """Send text on, and the reply with the job's last member."""
        job = member.job
        if job.is_over:
            return
        if text and job.on_delta is not None:
            index = member.index
            self._outbox[job.loop].append(lambda: job.deliver(index, text))
        if member.is_done:
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
        for job in {row.owner.job for row in self._rows}:
            self._end(job, _broken(exc))
        for row in self._rows:
            row.is_in = False
        self._rows.clear()
        self._buffer.clear()

    def _count(self) -> None:
        self.stats.num_running = len(self._rows)
        self.stats.num_waiting = self._num_outside

    def _name(self, token: int) -> str:
        """Return the text of one token; special tokens have theirs too."""
        if token not in self._names:
            self._names[token] = self._model.decode([token], keep_special=True)
        return self._names[token]


def _broken(exc: Exception) -> EngineUnavailableError:
    error = EngineUnavailableError(f"a step failed with {type(exc).__name__}: {exc}")
    error.__cause__ = exc
    return error


def _rank(member: Member) -> tuple[int, int]:
    return member.job.priority, member.order


def _call_all(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()
