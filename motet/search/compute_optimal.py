"""Choose per question, by its difficulty, how a number of samples is spent."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from pydantic import JsonValue, TypeAdapter

from motet.errors import ConfigError
from motet.search.algorithm import Algorithm, Found
from motet.search.partials import Candidate, Partial
from motet.search.selection import ranked
from motet.search.settings import at_once, number, several, whole
from motet.search.spending import NOTHING, Spend
from motet.search.tools import Ask, Tools
from motet.search.tree import Tree


@dataclass(frozen=True, slots=True)
class Bins:
    """Bins of difficulty, told apart by how well questions go: bin 0 is the hardest."""

    edges: tuple[float, ...]
    """Ascending; a value that is an edge is in the bin below it."""

    def __post_init__(self) -> None:
        several("edges", self.edges)
        for edge in self.edges:
            number("edges", edge)
        if list(self.edges) != sorted(self.edges):
            raise ConfigError(f"edges is {self.edges}; they must ascend")

    @classmethod
    def of(cls, values: Sequence[float], num_bins: int = 5) -> Bins:
        """Return the bins of equal size of `values`: each question's pass@1 (the oracle's), or its
        mean score by the verifier (predicted, without labels).

        Sizes differ by at most 1 where values differ. Equal values are in one bin always, the
        hardest that they reach, so that bins can be uneven or empty where many are equal (pass@1
        of 0, say).

        Raises:
            ConfigError: There are fewer values than bins, or one is not finite.
        """
        whole("num_bins", num_bins)
        if len(values) < num_bins:
            raise ConfigError(f"num_bins is {num_bins}; there are {len(values)} values")
        for value in values:
            number("values", value)
        ordered = sorted(values)
        return cls(tuple(ordered[i * len(values) // num_bins - 1] for i in range(1, num_bins)))

    @property
    def num_bins(self) -> int:
        return len(self.edges) + 1

    def bin(self, value: float) -> int:
        """Return the bin of a question that goes as well as `value`."""
        return bisect_left(self.edges, value)


@dataclass(frozen=True, slots=True)
class Trial:
    """How a strategy did on a question with `n` samples."""

    question: str
    bin: int
    n: int
    strategy: str
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyTable:
    """The best strategy for each bin and number of samples."""

    num_bins: int
    chosen: Mapping[tuple[int, int], str]
    """(bin, n) -> strategy; every bin has an entry for every n that was tried."""

    @classmethod
    def fit(cls, trials: Sequence[Trial], num_bins: int) -> StrategyTable:
        """Choose the strategy of best mean accuracy for every bin and n; ties to the first named.

        A bin without trials takes what is best over all bins.

        Raises:
            ConfigError: There is no trial, or a bin is out of range.
        """
        whole("num_bins", num_bins)
        if not trials:
            raise ConfigError("trials is empty; a table needs at least one")
        for trial in trials:
            if not 0 <= trial.bin < num_bins:
                raise ConfigError(f"bin is {trial.bin}; num_bins is {num_bins}")
            number("accuracy", trial.accuracy, 0, 1)
        chosen = {}
        for n in dict.fromkeys(trial.n for trial in trials):
            of_n = [trial for trial in trials if trial.n == n]
            for place in range(num_bins):
                of_bin = [trial for trial in of_n if trial.bin == place]
                chosen[place, n] = _best_strategy(of_bin or of_n)
        return cls(num_bins=num_bins, chosen=chosen)

    def strategy(self, bin: int, n: int) -> str:
        """Return the strategy for a bin and a number of samples: of the largest n tried that is
        not more, or of the smallest.

        Raises:
            ConfigError: There is no such bin.
        """
        if not 0 <= bin < self.num_bins:
            raise ConfigError(f"bin is {bin}; num_bins is {self.num_bins}")
        tried = sorted({each for _, each in self.chosen})
        return self.chosen[bin, max((each for each in tried if each <= n), default=tried[0])]

    def accuracy(self, trials: Sequence[Trial]) -> float:
        """Return the mean accuracy over questions where each takes the table's strategy.

        Raises:
            ConfigError: A question was not tried with the strategy that the table says.
        """
        questions = dict.fromkeys((trial.question, trial.bin, trial.n) for trial in trials)
        known = {(trial.question, trial.n, trial.strategy): trial.accuracy for trial in trials}
        total = []
        for question, place, n in questions:
            strategy = self.strategy(place, n)
            if (question, n, strategy) not in known:
                raise ConfigError(f"question {question!r} has no trial of {strategy!r} at n {n}")
            total.append(known[question, n, strategy])
        if not total:
            raise ConfigError("trials is empty; an accuracy needs at least one")
        return math.fsum(total) / len(total)


def _best_strategy(trials: Sequence[Trial]) -> str:
    found: dict[str, list[float]] = {}
    for trial in trials:
        found.setdefault(trial.strategy, []).append(trial.accuracy)
    return max(found, key=lambda name: math.fsum(found[name]) / len(found[name]))


def cross_validated(trials: Sequence[Trial], num_bins: int, num_folds: int = 2) -> float:
    """Return the accuracy of tables that are fitted on the other folds than they are used on.

    A question's trials are all in one fold; questions are dealt out in the order in which they
    come.

    Raises:
        ConfigError: There are fewer questions than folds.
    """
    whole("num_folds", num_folds, 2)
    questions = list(dict.fromkeys(trial.question for trial in trials))
    if len(questions) < num_folds:
        raise ConfigError(f"num_folds is {num_folds}; there are {len(questions)} questions")
    fold = {question: place % num_folds for place, question in enumerate(questions)}
    total = 0.0
    for each in range(num_folds):
        held = [trial for trial in trials if fold[trial.question] == each]
        table = StrategyTable.fit([t for t in trials if fold[t.question] != each], num_bins)
        total += table.accuracy(held) * len({(trial.question, trial.n) for trial in held})
    return total / len({(trial.question, trial.n) for trial in trials})


def lookahead_cost(n: int, num_steps: int) -> int:
    """Return the generations that `n` samples take with `num_steps` steps of lookahead each."""
    whole("n", n)
    whole("num_steps", num_steps, 0)
    return n * (num_steps + 1)


@dataclass(frozen=True, slots=True)
class ComputeOptimalState:
    bin: int | None = None
    inner: JsonValue = None
    """The state of the bin's algorithm."""
    probes: tuple[Candidate, ...] = ()
    estimate: Spend = NOTHING
    """What it took to tell the difficulty; part of the search's spend."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeOptimal:
    """Tell how hard the question is, and search it with the algorithm for its bin.

    The difficulty is the mean score of `num_probes` whole answers, or `bin` where it is known
    already. What the probes take is part of the spend, and stands alone in `notes["estimate"]`.
    They are answers too, and are the result where nothing better was found.

    Source: compute-optimal scaling of Snell et al. 2024, arXiv:2408.03314, section 3, with
    predicted difficulty. Departures: the estimate is charged; it takes few samples where the paper
    takes 2,048.
    """

    algorithms: tuple[Algorithm[Any, Any], ...]
    """One a bin, the hardest questions' first; `StrategyTable` says which."""
    bins: Bins | None = None
    """Needed unless `bin` is set."""
    num_probes: int = 8
    bin: int | None = None

    def __post_init__(self) -> None:
        at_once("num_probes", self.num_probes)
        several("algorithms", self.algorithms)
        for algorithm in self.algorithms:
            if not callable(getattr(algorithm, "step", None)):
                raise ConfigError(f"algorithms holds {algorithm!r}; it must hold searches")
        if self.bins is not None and not isinstance(self.bins, Bins):
            raise ConfigError(f"bins is {self.bins!r}; it must be Bins, or None")
        if self.bin is None and self.bins is None:
            raise ConfigError("bins is None; it must be set where bin is not")
        if self.bins is not None and len(self.algorithms) != self.bins.num_bins:
            raise ConfigError(
                f"algorithms has {len(self.algorithms)} members; bins has {self.bins.num_bins}"
            )
        if self.bin is not None:
            whole("bin", self.bin, 0)
            if self.bin >= len(self.algorithms):
                raise ConfigError(f"bin is {self.bin}; algorithms has {len(self.algorithms)}")

    def init(self, seed: int) -> ComputeOptimalState:
        state = ComputeOptimalState(seed=seed)
        return state if self.bin is None else self._begun(state, self.bin)

    async def step(self, state: ComputeOptimalState, tools: Tools) -> ComputeOptimalState:
        """Draw and score the probes; after that step the bin's algorithm."""
        if state.bin is not None:
            algorithm = self.algorithms[state.bin]
            inner = await algorithm.step(self._inner(state), tools)
            return replace(state, inner=_written(inner))
        before = tools.spend
        [steps] = await tools.propose([Ask(Partial(), self.num_probes, is_whole=True)])
        partials = [Partial((step,)) for step in steps]
        scores = await tools.score(partials)
        probes = tuple(Candidate(*each) for each in zip(partials, scores, strict=True))
        state = replace(state, probes=probes, estimate=tools.spend - before)
        known = [score for score in scores if score is not None]
        mean = math.fsum(known) / len(known) if known else -math.inf
        return self._begun(state, self.bins.bin(mean) if self.bins is not None else 0)

    def _begun(self, state: ComputeOptimalState, place: int) -> ComputeOptimalState:
        inner = self.algorithms[place].init(state.seed)
        return replace(state, bin=place, inner=_written(inner))

    def _inner(self, state: ComputeOptimalState) -> Any:
        assert state.bin is not None
        kind: Any = type(self.algorithms[state.bin].init(state.seed))
        return _adapter(kind).validate_python(state.inner)

    def is_done(self, state: ComputeOptimalState) -> bool:
        return state.bin is not None and self.algorithms[state.bin].is_done(self._inner(state))

    def found(self, state: ComputeOptimalState) -> Found:
        finished = tuple(c for c in ranked(state.probes) if c.partial.is_finished)
        estimate: Any = {"proposals": state.estimate.proposals, "scores": state.estimate.scores}
        notes: dict[str, Any] = {"bin": state.bin, "estimate": estimate}
        if state.bin is None:
            return Found(best=None, tree=Tree(), notes=notes)
        algorithm = self.algorithms[state.bin]
        inner = algorithm.found(self._inner(state))
        notes["strategy"] = type(algorithm).__name__
        best = inner.best
        if best is None or (not best.partial.is_finished and finished):
            best = finished[0] if finished else best
        return replace(
            inner,
            best=best,
            is_elected=inner.is_elected and best is inner.best,
            candidates=ranked((*inner.candidates, *finished)),
            notes={**inner.notes, **notes},
        )


@lru_cache(maxsize=64)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _written(state: Any) -> JsonValue:
    kind: Any = type(state)
    written: JsonValue = _adapter(kind).dump_python(state, mode="json")
    return written
