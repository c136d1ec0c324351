"""Minimum Bayes risk: of N samples choose the one that the others, as references, rate highest."""

from __future__ import annotations

import inspect
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from motet.errors import ConfigError, SearchError
from motet.search.algorithm import Found, rng
from motet.search.metering import Meter
from motet.search.partials import Candidate, Partial, Step
from motet.search.selection import best, ranked
from motet.search.settings import number, whole
from motet.search.spending import Limits, Spend
from motet.search.tools import Ask, Lost, Problem, Propose, checked_number
from motet.search.tree import Tree

Utility: TypeAlias = Callable[
    [Sequence[tuple[str, str]]], Awaitable[Sequence[float | Lost]] | Sequence[float | Lost]
]
"""Takes pairs of a candidate's text and a reference's, returns how good each candidate is if its
reference is right; `FAILED` where a judge's reply holds no verdict."""
Vectors: TypeAlias = Sequence[Sequence[float]]
Embed: TypeAlias = Callable[[Sequence[str]], Awaitable[Vectors] | Vectors]
"""Takes texts, returns a vector for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MbrProblem:
    """What minimum Bayes risk needs of a problem; each callable takes whole batches.

    Of the limits, `max_scores` bounds the pairs that are rated.
    """

    propose: Propose
    utility: Utility
    step_tokens: int | None = None
    """The most tokens of one answer; needed for `max_tokens`."""

    def tools(self, limits: Limits, spend: Spend) -> MbrTools:
        """Return the callables as a search sees them."""
        return MbrTools(self, limits, spend)


class MbrTools(Meter):
    """The callables of an `MbrProblem` while a search runs; they keep its limits."""

    def __init__(self, problem: MbrProblem, limits: Limits, spend: Spend) -> None:
        super().__init__(limits, spend, step_tokens=problem.step_tokens)
        self._mbr = problem

    async def draw(self, n: int, temperature: float | None) -> list[Step]:
        """Return up to `n` whole answers, fewer where some failed or a limit was reached."""
        problem = Problem(propose=self._mbr.propose, step_tokens=self._mbr.step_tokens)
        tools = problem.tools(self._limits, self.spend)
        [steps] = await tools.propose([Ask(Partial(), n=n, is_whole=True, temperature=temperature)])
        self.spend = tools.spend
        self.is_spent |= tools.is_spent
        return steps

    async def rate(self, pairs: Sequence[tuple[str, str]]) -> list[float | None]:
        """Return the utility of each (candidate, reference); None where there is none.

        Raises:
            SearchError: The utility breaks its contract.
        """
        asked = list(pairs[: self.may_score(len(pairs))])
        found = await self.call("utility", self._mbr.utility, asked) if asked else []
        rated = [None if self.is_lost(each) else checked_number(each, "utility") for each in found]
        self.count(scores=len(asked))
        return [*rated, *[None] * (len(pairs) - len(asked))]


@dataclass(frozen=True, slots=True)
class MbrState:
    tree: Tree
    candidates: tuple[Candidate, ...] = ()
    num_pairs: int = 0
    """Pairs of texts that were rated."""
    num_unrated: int = 0
    """Of those, pairs without a verdict."""
    is_drawn: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mbr:
    """Draw `n` whole answers; choose the one of highest mean utility under the others.

    Every answer is a reference for every other one, so that n^2 - n pairs are rated, fewer where
    answers are equal: a pair of texts is rated once and counts as often as it stands there. A pair
    without a verdict is left out of the mean. An answer is its own reference only where it was
    drawn twice.

    Source: minimum Bayes risk with a judge of Wu et al. 2024, arXiv:2410.02902. Departures: an
    answer is not its own reference; references may be a sample of the answers.
    """

    n: int = 30
    num_references: int | None = None
    """Answers that are references, drawn by chance; None is all."""
    temperature: float | None = None
    """Of the answers; None is the proposer's own."""

    def __post_init__(self) -> None:
        whole("n", self.n)
        if self.num_references is not None:
            whole("num_references", self.num_references, 2)
            if self.num_references > self.n:
                raise ConfigError(
                    f"num_references is {self.num_references}; it must be at most n, {self.n}"
                )

        if self.temperature is not None:
            number("temperature", self.temperature, 0)

    def init(self, seed: int) -> MbrState:
        return MbrState(Tree(), seed=seed)

    async def step(self, state: MbrState, tools: MbrTools) -> MbrState:
        steps = [step for step in await tools.draw(self.n, self.temperature) if step.is_last]
        texts = [step.text for step in steps]
        references = list(range(len(texts)))
        if self.num_references is not None and self.num_references < len(texts):
            references = rng(state.seed).sample(references, self.num_references)
        others = [Counter(texts[j] for j in references if j != i) for i in range(len(texts))]
        pairs = _pairs(texts, others)
        rated = dict(zip(pairs, await tools.rate(pairs), strict=True))
        scores = [_mean(text, counted, rated) for text, counted in zip(texts, others, strict=True)]
        added = [(0, step, score) for step, score in zip(steps, scores, strict=True)]
        tree, ids = state.tree.grown(added)
        candidates = tuple(
            Candidate(Partial((step,)), score, node)
            for step, score, node in zip(steps, scores, ids, strict=True)
        )
        return replace(
            state,
            tree=tree,
            candidates=candidates,
            num_pairs=len(pairs),
            num_unrated=sum(each is None for each in rated.values()),
            is_drawn=True,
        )

    def is_done(self, state: MbrState) -> bool:
        return state.is_drawn

    def found(self, state: MbrState) -> Found:
        return Found(
            best=best(state.candidates),
            is_elected=True,
            candidates=ranked(state.candidates),
            tree=state.tree,
            notes={"num_pairs": state.num_pairs, "num_unrated": state.num_unrated},
        )


def _pairs(texts: Sequence[str], others: Sequence[Counter[str]]) -> list[tuple[str, str]]:
    """Return each pair to rate once; those of one reference stand together, for a prefix cache."""
    found = {
        (text, each): None for text, counted in zip(texts, others, strict=True) for each in counted
    }
    first = {text: -place for place, text in reversed(list(enumerate(texts)))}
    return sorted(found, key=lambda pair: -first[pair[1]])


def _mean(
    text: str, counted: Counter[str], rated: dict[tuple[str, str], float | None]
) -> float | None:
    """Return the mean utility of `text` over its references with a verdict."""
    valid = [
        (number, utility)
        for each, number in counted.items()
        if (utility := rated[text, each]) is not None
    ]
    total = sum(number for number, _ in valid)
    return math.fsum(number * utility for number, utility in valid) / total if total else None


def rouge_1(pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Rate by ROUGE-1 F1: shared words, with case folded and nothing stemmed; 0 to 1.

    Source: Lin 2004, ROUGE-N with N = 1.
    """
    return [
        word_f1(word_counts(candidate), word_counts(reference)) for candidate, reference in pairs
    ]


def word_counts(text: str) -> Counter[str]:
    """Count the words of a text, whatever their case."""
    return Counter(re.findall(r"\w+", text.casefold()))


def word_f1(one: Counter[str], other: Counter[str]) -> float:
    """Return the F1 of two counts of words, 0 to 1; 0 where both are empty."""
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 0.0


def embedding_cosine(embed: Embed) -> Utility:
    """Return a utility that rates by the cosine of embeddings; each text is embedded once.

    A text whose vector is 0 has cosine 0 with every other.
    """

    async def rate(pairs: Sequence[tuple[str, str]]) -> list[float | Lost]:
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        found = embed(texts)
        vectors = list(await found if inspect.isawaitable(found) else found)
        if len(vectors) != len(texts) or len({len(each) for each in vectors}) > 1:
            raise SearchError(
                f"embed gave {len(vectors)} vectors for {len(texts)} texts, or of unequal lengths"
            )
        units = {text: _unit(vector) for text, vector in zip(texts, vectors, strict=True)}
        return [math.fsum(x * y for x, y in zip(units[a], units[b], strict=True)) for a, b in pairs]

    return rate


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.hypot(*vector)
    return [each / length if length else 0.0 for each in vector]
