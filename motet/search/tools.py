"""The callables of a problem as an algorithm sees them: checked, counted, and in batches."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from numbers import Real
from typing import Any, Final, TypeAlias

from motet.errors import BudgetExhaustedError, ConfigError, MotetError, SearchError
from motet.search.partials import Partial, Step
from motet.search.settings import whole
from motet.search.spending import NO_LIMITS, NOTHING, Limits, Spend


class Lost(Enum):
    """Why a batch has nothing for one of its members."""

    FAILED = "failed"
    """It failed, and costs itself alone."""
    UNPAID = "unpaid"
    """The budget did not hold it."""


FAILED: Final = Lost.FAILED
UNPAID: Final = Lost.UNPAID
_MOST_REFUSALS = 10_000


@dataclass(frozen=True, slots=True)
class Ask:
    """What to propose behind a partial solution."""

    partial: Partial
    n: int = 1
    """Different continuations, at most."""
    is_whole: bool = False
    """To the end, instead of one step."""
    temperature: float | None = None
    """None is the proposer's own; 0 is greedy."""
    max_tokens: int | None = None
    """Of each continuation; None is the proposer's own bound."""
    seed: int | None = None
    """Of the first continuation, from which the others count on; None is the proposer's own."""


Proposed: TypeAlias = Sequence[Step | Lost] | Lost
Propose: TypeAlias = Callable[[Sequence[Ask]], Awaitable[Sequence[Proposed]] | Sequence[Proposed]]
"""Takes a batch, returns for each member at most `n` steps; one that was lost may stand among them."""
Score: TypeAlias = Callable[
    [Sequence[Partial]], Awaitable[Sequence[float | Lost]] | Sequence[float | Lost]
]
"""Takes a batch, returns a score for each member; higher is better."""
Verify: TypeAlias = Callable[
    [Sequence[Partial]], Awaitable[Sequence[bool | Lost]] | Sequence[bool | Lost]
]
"""Takes a batch of finished solutions, returns which are right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a search needs of a problem, as callables; sync or async, each takes whole batches."""

    propose: Propose
    score: Score | None = None
    verify: Verify | None = None
    is_terminal: Callable[[Partial], bool] | None = None
    """Whether a partial solution ends here though its last step does not say so."""
    score_range: tuple[float, float] | None = (0.0, 1.0)
    """Bounds of scores, both included; None for any finite number."""
    step_tokens: int | None = None
    """The most tokens of one step or answer whose `Ask` sets no bound; needed for `max_tokens`."""
    answer_tokens: int | None = None
    """Of a whole answer, where that is another number."""

    def __post_init__(self) -> None:
        if self.step_tokens is not None:
            whole("step_tokens", self.step_tokens)
        if self.score_range is not None and not self.score_range[0] <= self.score_range[1]:
            raise ConfigError(f"score_range is {self.score_range!r}; it must be (low, high)")

    def tools(self, limits: Limits, spend: Spend) -> Tools:
        """Return the callables as a search sees them."""
        return Tools(self, limits, spend)


class Tools:
    """A problem's callables while a search runs; they keep its limits."""

    def __init__(
        self, problem: Problem, limits: Limits = NO_LIMITS, spend: Spend = NOTHING
    ) -> None:
        if limits.max_tokens is not None and problem.step_tokens is None:
            raise ConfigError("max_tokens is set, so the problem must say step_tokens")
        self._problem = problem
        self._limits = limits
        self.spend = spend
        self._num_refusals = 0
        self._held = NOTHING
        """What calls that are under way may use at most."""
        self.is_spent = False
        """Whether something was not asked for because a limit was reached."""

    @property
    def has_scorer(self) -> bool:
        return self._problem.score is not None

    @property
    def has_verifier(self) -> bool:
        return self._problem.verify is not None

    async def propose(self, asks: Sequence[Ask]) -> list[list[Step]]:
        """Return continuations for each ask; none where it failed or a limit was reached.

        Raises:
            SearchError: The proposer breaks its contract.
        """
        granted, most = self._grant(asks)
        if not granted:
            self._refuse(bool(asks))
            return [[] for _ in asks]
        self._held += most
        try:
            found = await call_batch(self._problem.propose, [ask for _, ask in granted], "propose")
        finally:
            self._held -= most
        results: list[list[Step]] = [[] for _ in asks]
        for (place, ask), given in zip(granted, found, strict=True):
            if given is UNPAID:
                self.is_spent = True
                continue
            kept, num_unpaid = _parted(given)
            self.is_spent |= num_unpaid > 0
            steps = [] if given is FAILED else checked_steps(kept, ask.n - num_unpaid)
            self.spend += Spend(
                proposals=ask.n - num_unpaid, tokens=sum(step.num_tokens for step in steps)
            )
            for step in steps:
                if self._limits.max_tokens is not None and step.num_tokens > self._most(ask):
                    raise SearchError(
                        f"propose gave a step of {step.num_tokens} tokens; at most "
                        f"{self._most(ask)} were asked for"
                    )
            results[place] = [self._ended(ask.partial, step) for step in steps]
        return results

    def _ended(self, partial: Partial, step: Step) -> Step:
        """Mark a step as the last one where the problem says so."""
        is_terminal = self._problem.is_terminal
        if step.is_last or is_terminal is None:
            return step
        try:
            is_last = is_terminal(partial.then(step))
        except MotetError:
            raise
        except Exception as exc:
            raise SearchError(f"is_terminal failed: {type(exc).__name__}: {exc}") from exc
        return replace(step, is_last=True) if is_last else step

    def _most(self, ask: Ask) -> int:
        """Return the most tokens of one continuation."""
        if ask.max_tokens is not None:
            return ask.max_tokens
        whole = self._problem.answer_tokens if ask.is_whole else None
        return whole or self._problem.step_tokens or 0

    def _grant(self, asks: Sequence[Ask]) -> tuple[list[tuple[int, Ask]], Spend]:
        """Choose what the limits hold, in order, and what it takes at most."""
        limits, used = self._limits, self.spend + self._held
        granted: list[tuple[int, Ask]] = []
        most = NOTHING
        for place, ask in enumerate(asks):
            if ask.n < 1 or (ask.max_tokens is not None and ask.max_tokens < 1):
                continue
            n, each = ask.n, self._most(ask)
            if limits.max_proposals is not None:
                n = min(n, limits.max_proposals - used.proposals - most.proposals)
            if limits.max_tokens is not None:
                n = min(n, (limits.max_tokens - used.tokens - most.tokens) // each)
            self.is_spent |= n < ask.n
            if n > 0:
                granted.append((place, ask if n == ask.n else replace(ask, n=n)))
                most += Spend(proposals=n, tokens=n * each)
        return granted, most

    async def score(self, partials: Sequence[Partial]) -> list[float | None]:
        """Return the scores; None where one failed or a limit was reached.

        Raises:
            SearchError: The scorer breaks its contract.
            ConfigError: The problem has no scorer.
        """
        if self._problem.score is None:
            raise ConfigError("this search needs a scorer, and the problem has none")
        found = await self._judged(self._problem.score, partials, "score")
        return [None if isinstance(value, Lost) else self._checked(value) for value in found]

    async def verify(self, partials: Sequence[Partial]) -> list[bool | None]:
        """Say which are right; None where that cannot be told. Counts as scoring.

        Raises:
            SearchError: The verifier breaks its contract.
            ConfigError: The problem has no verifier.
        """
        if self._problem.verify is None:
            raise ConfigError("this search needs a verifier, and the problem has none")
        found = await self._judged(self._problem.verify, partials, "verify")
        verdicts: list[bool | None] = []
        for value in found:
            if not isinstance(value, (bool, Lost)):
                raise SearchError(f"verify gave {value!r}; it must give True or False")
            verdicts.append(None if isinstance(value, Lost) else value)
        return verdicts

    async def _judged(
        self, call: Callable[[Any], Any], partials: Sequence[Partial], name: str
    ) -> list[Any]:
        """Hand over as many as the limit holds; the rest is `UNPAID`."""
        num = len(partials)
        if self._limits.max_scores is not None:
            num = min(num, self._limits.max_scores - self.spend.scores - self._held.scores)
        asked = list(partials[: max(num, 0)])
        self._refuse(not asked and bool(partials))
        held = Spend(scores=len(asked))
        self._held += held
        try:
            found = await call_batch(call, asked, name) if asked else []
        finally:
            self._held -= held
        found += [UNPAID] * (len(partials) - len(asked))
        self.is_spent |= any(value is UNPAID for value in found)
        self.spend += Spend(scores=sum(value is not UNPAID for value in found))
        return found

    def _refuse(self, is_refused: bool) -> None:
        """Count batches of which nothing was asked: a step that does not end would ask for ever."""
        self._num_refusals += is_refused
        if self._num_refusals > _MOST_REFUSALS:
            raise SearchError(f"a search asked {_MOST_REFUSALS} times for what no limit holds")

    def _checked(self, value: Any) -> float:
        bounds = self._problem.score_range
        return checked_number(value, "score", *(bounds or (-math.inf, math.inf)))


def checked_number(
    value: Any, name: str, least: float = -math.inf, most: float = math.inf
) -> float:
    """Return what the callable `name` gave as a float.

    Raises:
        SearchError: It is no finite number from `least` to `most`.
    """
    if type(value) is float:  # asking an abstract class takes longer than all the rest
        number = value
    else:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise SearchError(f"{name} gave {value!r}; it must give numbers")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    if not least <= number <= most or abs(number) == math.inf:
        is_open = (least, most) == (-math.inf, math.inf)
        wanted = "finite" if is_open else f"from {least:g} to {most:g}"
        raise SearchError(f"{name} gave {value}; its numbers must be {wanted}")
    return number


def checked_flag(value: Any, name: str) -> bool:
    """Return what the callable `name` gave as a bool.

    Raises:
        SearchError: It is neither True nor False.
    """
    if not isinstance(value, bool):
        raise SearchError(f"{name} gave {value!r}; it must give True or False")
    return value


async def call_batch(call: Callable[[Any], Any], batch: Sequence[Any], name: str) -> list[Any]:
    """Return what a callable gives for a batch; all `UNPAID` where a budget is spent.

    Raises:
        SearchError: The callable `name` raised, or gave no sequence as long as the batch.
    """
    try:
        found = call(batch)
        if type(found) is not list and inspect.isawaitable(found):
            found = await found
        results = list(found)
    except BudgetExhaustedError:
        return [UNPAID] * len(batch)
    except MotetError:
        raise
    except Exception as exc:
        raise SearchError(f"{name} failed: {type(exc).__name__}: {exc}") from exc
    if len(results) != len(batch):
        raise SearchError(f"{name} gave {len(results)} results for a batch of {len(batch)}")
    return results


def _parted(given: Any) -> tuple[Any, int]:
    """Return a member's steps without those that were lost, and how many were not paid for."""
    if not isinstance(given, (list, tuple)):
        return given, 0
    kept = [each for each in given if not isinstance(each, Lost)]
    return kept, sum(each is UNPAID for each in given)


def checked_steps(given: Any, most: int | None = None, name: str = "propose") -> list[Step]:
    """Return what the callable `name` gave as steps, at most `most` of them.

    Raises:
        SearchError: It gave something else.
    """
    if isinstance(given, (str, Step)) or not isinstance(given, Sequence):
        raise SearchError(f"{name} gave {given!r}; it must give a sequence of Step, or be lost")
    steps = list(given)
    if most is not None and len(steps) > most:
        raise SearchError(f"{name} gave {len(steps)} steps where {most} were asked for")
    for step in steps:
        if not isinstance(step, Step) or not isinstance(step.text, str):
            raise SearchError(f"{name} gave {step!r}; it must give Step objects")
        if type(step.num_tokens) is not int or step.num_tokens < 0:
            raise SearchError(f"{name} gave num_tokens {step.num_tokens!r}; it is a count")
        if step.prior is not None:
            checked_number(step.prior, "a step's prior")
        if step.log_weight != -math.inf:
            checked_number(step.log_weight, "a step's log_weight")
        if not _is_json(step.data):
            raise SearchError(f"{name} gave data {step.data!r}; it must be JSON, with lists")
    return steps


def _is_json(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, dict):
        return all(type(key) is str and _is_json(each) for key, each in value.items())
    return value is None or type(value) in (str, int, float, bool)
