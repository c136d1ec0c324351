"""Annotate: a chain of models labels texts, each passing on what it is least sure of."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from motet.combinators import settled
from motet.engine import Completion
from motet.errors import ConfigError, MotetError, TooFewSurvivorsError
from motet.model import Model
from motet.operations import program
from motet.programs.capabilities import Need, refuse_unable
from motet.programs.judges.label_tokens import TOP
from motet.programs.label_shares import LabelShares, capability_for, label_shares
from motet.programs.mistakes import OF_ALL
from motet.programs.quoting import AS_DATA, tagged
from motet.prompts import prompt
from motet.refs import Ref
from motet.routing.chain_ensemble import ChainEnsemble
from motet.routing.chain_fit import FittedChain, fit_chain
from motet.search.settings import flag, some_text
from motet.types import Chat, Message, Outcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motet.routing.outcomes import Floats

INSTRUCTION: Final = "Which of these labels fits the text best?"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLabel:
    """What one model of a chain said of a text."""

    model: str
    label: str | None
    """None where it failed, or gave no label any probability."""
    confidence: float | None
    """Probability of its label less that of the next best, 0 to 1; None without a label."""
    failure: str | None = None
    """How its call failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """A text's label, and what each model that was asked said."""

    label: str | None
    """None where no model gave one, which happens in a batch only."""
    model: str
    """Label of the model whose word it is."""
    links: tuple[LinkLabel, ...]

    @property
    def text(self) -> str:
        """The label; empty without one."""
        return self.label or ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """A batch of texts with their labels."""

    annotations: tuple[Annotation, ...]
    """In the order of the texts."""
    fitted: FittedChain
    """For `annotate`, on texts like these."""
    num_asked: tuple[int, ...]
    """Texts that each model of the chain was asked about."""

    @property
    def num_unlabelled(self) -> int:
        return sum(each.label is None for each in self.annotations)


def _labelling_chat(text: str, labels: Sequence[str], instruction: str) -> Chat:
    letters = string.ascii_uppercase
    listed = "\n".join(f"{letter}: {each}" for letter, each in zip(letters, labels, strict=False))
    ask = "Reply with the letter in front of the label only."
    return (
        Message.system(f"You label texts. {AS_DATA}\n\n{instruction}\n\n{listed}\n\n{ask}"),
        Message.user(f"{tagged('text', text)}\n\nLetter:"),
    )


@prompt(chat=_labelling_chat)
def label_letter(text: str, labels: Sequence[str], instruction: str) -> Completion:
    """The letter of a text's label."""
    raise NotImplementedError


@program
async def annotate(
    text: str,
    *,
    labels: Sequence[str],
    chain: Sequence[Model],
    fitted: FittedChain | None = None,
    instruction: str = INSTRUCTION,
    is_exact: bool = False,
) -> Annotation:
    """Label a text by the first model of a chain; the next one is asked where it is not sure.

    The label is that of the model whose confidence has the highest rank among its own confidences
    on the batch that the chain was fitted to. A model that fails, or gives no label any
    probability, is passed over. Where the budget ends the labels so far decide.

    Args:
        text: What is labelled.
        labels: What a text may be, 2 to 20.
        chain: Models, the cheapest first.
        fitted: Of `annotate_all` on texts like this; not needed for one model.
        instruction: What the labels are for.
        is_exact: Whether each letter is scored, instead of looked up among the 20 likeliest tokens.

    Raises:
        ConfigError: A setting is wrong.
        CapabilityError: A model is known to lack what it needs.
        BudgetExhaustedError: The budget did not hold the first label.
        TooFewSurvivorsError: No model gave a label.

    Source: as of `annotate_all`. Departure: thresholds and ranks are those of an earlier batch.
    """
    models, names = _check(labels, chain, instruction, is_exact)
    known = fitted
    if known is None:
        if len(models) > 1:
            raise ConfigError(
                f"fitted is None for a chain of {len(models)} models; annotate_all fits one"
            )
        known = FittedChain(thresholds=(), confidences=((),))
    if len(known.confidences) != len(models):
        raise ConfigError(f"fitted is of {len(known.confidences)} models; chain has {len(models)}")
    await refuse_unable(
        [Need("chain", model, capability_for(is_exact=is_exact)) for model in models]
    )
    links: list[LinkLabel] = []
    failures: list[MotetError] = []
    for place, model in enumerate(models):
        try:
            told = await _asked(model, text, names, instruction, is_exact)
            links.append(_link(model, names, told))
        except OF_ALL:
            raise
        except MotetError as exc:
            failures.append(exc)
            links.append(_failed(model, exc))
        if known.keeps(place, links[-1].confidence) and links[-1].label is not None:
            break
    if all(each.label is None for each in links):
        if failures:
            raise failures[-1]
        raise TooFewSurvivorsError(f"none of {len(models)} models gave a label")
    winner = links[known.winner([each.confidence for each in links])]
    return Annotation(label=winner.label, model=winner.model, links=tuple(links))


@program
async def annotate_all(
    texts: Sequence[str],
    *,
    labels: Sequence[str],
    chain: Sequence[Model],
    shares: Sequence[float] | None = None,
    instruction: str = INSTRUCTION,
    is_exact: bool = False,
) -> Annotations:
    """Label many texts by a chain of models, each of which sees fewer of them.

    Each model keeps its most confident share and passes the rest on. A text's label is that of the
    model whose confidence has the highest rank among its own, of those that saw the text. A call
    that fails leaves that text to the next model; earlier labels stay.

    Args:
        texts: What is labelled, at least one.
        labels: What a text may be, 2 to 20.
        chain: Models, the cheapest first.
        shares: Positive, what each model keeps of the whole; equal where None.
        instruction: What the labels are for.
        is_exact: Whether each letter is scored, instead of looked up among the 20 likeliest tokens.

    Raises:
        ConfigError: A setting is wrong.
        CapabilityError: A model is known to lack what it needs.
        MotetError: No call gave a label; the first failure.

    Source: LLM Chain Ensembles, 2024, and the code of its package, with the departures of
    `motet.routing.chain_ensemble`. Departures: letters stand for labels, so that no two begin with
    the same token; the confidence is the gap of the two best letters' probabilities; what has no
    label is always passed on.
    """
    import numpy as np

    models, names = _check(labels, chain, instruction, is_exact)
    items = _texts("texts", texts)
    ensemble = ChainEnsemble(
        models=tuple(map(str, range(len(models)))),
        shares=None if shares is None else tuple(shares),
    )
    await refuse_unable(
        [Need("chain", model, capability_for(is_exact=is_exact)) for model in models]
    )
    links: list[list[LinkLabel]] = [[] for _ in items]
    failures: list[MotetError] = []
    sure: Floats = np.full((len(items), len(models)), np.nan)
    seen: NDArray[np.bool_] = np.zeros(sure.shape, dtype=bool)
    rows = list(range(len(items)))
    for place, model in enumerate(models):
        if not rows:
            break
        refs = [_asked(model, items[row], names, instruction, is_exact) for row in rows]
        outcomes: list[Outcome[LabelShares]] = await settled(refs)
        for row, outcome in zip(rows, outcomes, strict=True):
            link = _outcome(model, names, outcome, failures)
            links[row].append(link)
            sure[row, place] = np.nan if link.confidence is None else link.confidence
        seen[rows, place] = True
        passed = {rows[i] for i in ensemble.passed_on(place, sure[rows, place])}
        rows = [row for row in rows if row in passed or np.isnan(sure[row, place])]
    if all(link.label is None for each in links for link in each):
        raise failures[0] if failures else TooFewSurvivorsError("no model gave a label")
    winners = ensemble.winners(sure, seen)
    found = [
        Annotation(label=each[winner].label, model=each[winner].model, links=tuple(each))
        for each, winner in zip(links, map(int, winners), strict=True)
    ]
    return Annotations(
        annotations=tuple(found),
        fitted=fit_chain(ensemble, sure, seen),
        num_asked=tuple(map(int, seen.sum(axis=0))),
    )


def _asked(
    model: Model, text: str, labels: list[str], instruction: str, is_exact: bool
) -> Ref[LabelShares]:
    letters = list(string.ascii_uppercase[: len(labels)])
    bound = label_letter.on(model)
    return label_shares(bound, letters, text, labels, instruction, is_exact=is_exact)


def _link(model: Model, labels: Sequence[str], told: LabelShares) -> LinkLabel:
    label = None if told.best is None else labels[told.best]
    return LinkLabel(model=model.label, label=label, confidence=told.margin)


def _failed(model: Model, error: BaseException) -> LinkLabel:
    why = f"{type(error).__name__}: {error}"
    return LinkLabel(model=model.label, label=None, confidence=None, failure=why)


def _outcome(
    model: Model, labels: Sequence[str], outcome: Outcome[LabelShares], failures: list[MotetError]
) -> LinkLabel:
    if outcome.error is None:
        return _link(model, labels, outcome.value)
    if isinstance(outcome.error, OF_ALL):
        raise outcome.error
    failures.append(outcome.error)
    return _failed(model, outcome.error)


def _check(
    labels: Sequence[str], chain: Sequence[Model], instruction: str, is_exact: bool
) -> tuple[tuple[Model, ...], list[str]]:
    names = _texts("labels", labels)
    if not 2 <= len(names) <= TOP:
        raise ConfigError(f"labels has {len(names)} texts; there must be 2 to {TOP}")
    for name in names:
        if not name.strip() or names.count(name) > 1:
            raise ConfigError(f"labels is {names!r}; it must hold different texts, none empty")
    some_text("instruction", instruction)
    flag("is_exact", is_exact)
    models = tuple(chain)
    if not models:
        raise ConfigError("chain is (); it needs at least one model")
    for model in models:
        if not isinstance(model, Model):
            raise ConfigError(f"chain holds {model!r}; each must be a Model")
    return models, names


def _texts(name: str, values: Any) -> list[str]:
    is_list = isinstance(values, Sequence) and not isinstance(values, str)
    if not is_list or not values or not all(isinstance(each, str) for each in values):
        raise ConfigError(f"{name} is {values!r:.80}; it must be a list of texts, at least one")
    return list(values)
