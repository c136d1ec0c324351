"""Self-consistency of the same compute: as many samples as a contender's spend would have paid."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from motet.engine import Completion, Usage
from motet.evaluation.given import Given
from motet.evaluation.replies import Reply, measured
from motet.evaluation.task import Metric
from motet.evaluation.texts import Said, text_of
from motet.model import Model
from motet.operations import program, step
from motet.programs.measuring import spent_in, usage_of
from motet.programs.replies import tokens_of
from motet.programs.solution_calls import continue_solution
from motet.runtime.metering import cost_of
from motet.scopes import scope
from motet.search.mbr import word_counts, word_f1
from motet.search.settings import number, one_of, whole

Match = Literal["tokens", "cost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """How self-consistency samples, and by what its spend is matched.

    Raises:
        ConfigError: A setting is out of range.
    """

    match: Match = "tokens"
    temperature: float = 0.7
    max_samples: int = 64
    sample_tokens: int = 1024
    """Most tokens of each sample."""

    def __post_init__(self) -> None:
        one_of("match", self.match, ("tokens", "cost"))
        number("temperature", self.temperature, 0)
        whole("max_samples", self.max_samples)
        whole("sample_tokens", self.sample_tokens)


@dataclass(slots=True)
class _Drawn:
    """Samples so far, and what one request of so many would take."""

    samples: list[Completion]
    tokens: float = 0.0
    cost: float = 0.0
    of_prompt: float = 0.0
    """Of what is matched, the part of the prompt, which counts once."""

    def spent(self, match: Match) -> float:
        return self.cost if match == "cost" else self.tokens


@program
async def answer_alike(
    prompt: str,
    asked: Given,
    *,
    metric: Metric,
    model: Model,
    target: float,
    matching: Matching,
    seed: int,
) -> Reply:
    """Sample until the spend best matches `target`; reply what most samples answer.

    Samples are asked for in few requests, of which the prompt counts once, as in one request of all.
    There is one sample at least; the last one counts only where it brings the sum nearer. Where no
    answer has a form to vote by, as in free text and code, the reply is the sample that has most
    words in common with the others.

    Args:
        prompt: What is asked, with the instruction behind it.
        asked: The row, which says in which form answers vote.
        metric: Tells their form.
        model: Answers.
        target: What the contender spent on this row, in tokens or money.
        matching: How samples are drawn.
        seed: Of the attempt.

    Source: Wang et al. 2022, arXiv:2203.11171, unweighted majority, ties to the answer that came
    first. For texts without a form to vote by: Kumar and Byrne 2004, minimum Bayes risk, here with
    ROUGE-1 F1 as its gain.
    """
    drawn = _Drawn([])

    async def work() -> Said:
        await _draw(drawn, prompt, model, target, matching)
        said = [text_of(each) for each in drawn.samples]
        whole = [each.text for each in said if each.text is not None and not each.is_cut_off]
        if not whole:
            return next((each for each in said if each.text is not None), Said(text=None))
        return Said(text=whole[await most_agreed(asked, whole, metric)])

    reply = await measured(work)
    if not drawn.samples:
        return replace(reply, samples=0)
    tokens = round(drawn.tokens)
    return replace(reply, tokens=tokens, cost=drawn.cost, samples=len(drawn.samples))


async def _draw(
    drawn: _Drawn, prompt: str, model: Model, target: float, matching: Matching
) -> None:
    """Ask for samples, so many at once as are likely to be needed."""
    sampled = continue_solution.on(
        model, temperature=matching.temperature, max_tokens=matching.sample_tokens
    )
    num = 1
    while num:
        with scope() as limits:
            ref = sampled.samples(num)(prompt, "", "")
            batch = await ref
        spent, usage = spent_in(limits), usage_of(ref)
        shown = Usage(prompt_tokens=usage.prompt_tokens, cached_tokens=usage.cached_tokens)
        shown_cost = cost_of(model, shown)
        if not drawn.samples:
            drawn.tokens, drawn.cost = shown.tokens, shown_cost
            drawn.of_prompt = drawn.spent(matching.match)
        weights = [tokens_of(each, matching.sample_tokens) for each in batch]
        if not _took(
            drawn,
            batch,
            [_share(spent.tokens - shown.tokens, weights, at) for at in range(num)],
            [_share(spent.cost - shown_cost, weights, at) for at in range(num)],
            target,
            matching.match,
        ):
            return
        num = _next(drawn, target, matching)


def _share(total: float, weights: Sequence[int], at: int) -> float:
    every = sum(weights)
    return total * weights[at] / every if every else total / len(weights)


def _took(
    drawn: _Drawn,
    batch: Sequence[Completion],
    tokens: Sequence[float],
    costs: Sequence[float],
    target: float,
    match: Match,
) -> bool:
    """Take samples while each brings the spend nearer; say whether all were taken."""
    for sample, num_tokens, cost in zip(batch, tokens, costs, strict=True):
        before = drawn.spent(match)
        after = before + (cost if match == "cost" else num_tokens)
        if drawn.samples and abs(target - after) >= abs(target - before):
            return False
        drawn.samples.append(sample)
        drawn.tokens += num_tokens
        drawn.cost += cost
    return True


def _next(drawn: _Drawn, target: float, matching: Matching) -> int:
    """Return how many samples of the mean size so far would bring the spend nearest."""
    spent = drawn.spent(matching.match)
    mean = (spent - drawn.of_prompt) / len(drawn.samples)
    if mean <= 0:
        return 0
    wanted = math.ceil((target - spent) / mean - 0.5)
    return max(0, min(wanted, matching.max_samples - len(drawn.samples)))


@step
def most_agreed(asked: Given, texts: list[str], metric: Metric) -> int:
    """The place of the text that stands for most: of the answer with most votes, else the medoid."""
    votes = [metric.vote_of(asked.row, text) for text in texts]
    counted = Counter(vote for vote in votes if vote is not None)
    if counted:
        return votes.index(counted.most_common(1)[0][0])
    return medoid(texts)


def medoid(texts: Sequence[str]) -> int:
    """Return the place of the text whose mean word F1 with the others is highest, the first such."""
    counted = [word_counts(text) for text in texts]
    shared = [0.0] * len(texts)
    for one, other in combinations(range(len(texts)), 2):
        found = word_f1(counted[one], counted[other])
        shared[one] += found
        shared[other] += found
    return max(range(len(texts)), key=lambda place: round(shared[place], 9))
