"""A model that reads a query and says, by one token, how well the weak model would answer it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from motet.engine import Completion
from motet.errors import ConfigError
from motet.model import Model
from motet.operations import program, step
from motet.programs.capabilities import Need
from motet.programs.choices import without_system
from motet.programs.judges.label_tokens import LEAST_MASS, check_labels
from motet.programs.label_shares import LabelShares, capability_for, label_shares
from motet.programs.quoting import AS_DATA, question_text, tagged
from motet.prompts import prompt
from motet.refs import Ref
from motet.routing.deciding import Prices, StrongFrom
from motet.routing.label_rows import SCORES, LabelRow, check_score_labels
from motet.routing.router import Decision
from motet.search.settings import flag, number, several, whole
from motet.types import Chat, Message

_SYSTEM: Final = (
    "You foresee how well a small language model will answer a query. Do not answer the query. "
    "Reply with the score of the small model's answer only: 1 is useless, 2 bad, 3 middling, 4 good "
    f"and 5 excellent. {AS_DATA}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTemplate:
    """How a query is put to the classifier, and what it may reply.

    Raises:
        ConfigError: A field is wrong.
    """

    system: str = _SYSTEM
    """Empty for a model that was trained without one."""
    user: str = "{query}\n\nScore, 1 to 5:"
    """Holds `{query}` once."""
    is_tagged: bool = True
    """Whether the query stands between tags; a model that was trained on bare queries wants none."""
    labels: tuple[str, ...] = SCORES
    """One token of the model's each, from the worst answer to the best: `("[[1]]", ...)` of a model
    that was trained with such tokens."""
    good_from: int = 4
    """Place of the first label, counted from 1, with which the weak model's answer will do."""

    def __post_init__(self) -> None:
        several("labels", self.labels)
        check_score_labels(self.labels)
        check_labels(self.labels)
        whole("good_from", self.good_from, 2, len(self.labels))
        flag("is_tagged", self.is_tagged)
        if not isinstance(self.system, str):
            raise ConfigError(f"system is {self.system!r}; it must be a text")
        if not isinstance(self.user, str) or self.user.count("{query}") != 1:
            raise ConfigError(f"user is {self.user!r}; it must hold {{query}} once")

    def asked(self, query: str) -> Message:
        """Return the user's turn of a query."""
        shown = tagged("query", query) if self.is_tagged else query
        before, after = self.user.split("{query}")
        return Message.user(f"{before}{shown}{after}")

    def chat(self, query: str, examples: Sequence[tuple[str, str]] = ()) -> Chat:
        """Return the chat that asks for the label of `query`, behind examples with theirs."""
        turns = [Message.system(self.system)] if self.system else []
        for each, label in examples:
            turns += [self.asked(each), Message.assistant(label)]
        return (*turns, self.asked(query))


@dataclass(frozen=True, slots=True, kw_only=True)
class WinEstimate:
    """How likely the strong model's answer is needed."""

    win_rate: float
    """From 0 to 1; 1 where the classifier's reply was no label."""
    is_valid: bool
    """Whether the labels cover enough of the probability to be believed."""
    expected: float | None
    """Mean label, counted from 1; None where none has any probability."""
    shares: tuple[float, ...]
    """Of each label, made to sum to 1."""
    mass: float
    """Probability that the labels cover."""


def _label_chat(
    question: str | Chat, template: LabelTemplate, examples: Sequence[tuple[str, str]]
) -> Chat:
    return template.chat(question_text(without_system(question)), examples)


@prompt(chat=_label_chat)
def say_label(
    question: str | Chat, template: LabelTemplate, examples: Sequence[tuple[str, str]]
) -> Completion:
    """The label of a query."""
    raise NotImplementedError


@step
def estimated(told: LabelShares, good_from: int, least_mass: float) -> WinEstimate:
    """The win rate that a classifier's probabilities tell."""
    is_valid = bool(told.shares) and told.mass >= least_mass
    rate = 1 - math.fsum(told.shares[good_from - 1 :]) if is_valid else 1.0
    mean = math.fsum(place * share for place, share in enumerate(told.shares, 1))
    return WinEstimate(
        win_rate=min(max(rate, 0.0), 1.0),
        is_valid=is_valid,
        expected=mean if told.shares else None,
        shares=told.shares,
        mass=told.mass,
    )


@program
def estimate_win(
    question: str | Chat,
    *,
    model: Model,
    template: LabelTemplate | None = None,
    examples: Sequence[tuple[str, str]] = (),
    is_exact: bool = False,
    least_mass: float = LEAST_MASS,
) -> Ref[WinEstimate]:
    """Estimate how likely a query needs the strong one of two models, by one token of a third.

    The classifier says what score from 1 to 5 the weak model's answer would get; the win rate is 1
    less the probability of 4 and 5. Where its labels cover too little probability it is 1.

    Args:
        question: A text or a chat, whose system turn is left out.
        model: The classifier: any instruction model, or one that was trained for it.
        template: How the query is put; None is for a model that was not trained.
        examples: Queries with their labels, shown first; one that is the question is left out.
        is_exact: Whether each label is scored, instead of looked up among the 20 likeliest tokens.
        least_mass: Least probability that the labels must cover, 0 to 1.

    Raises:
        ConfigError: A setting is wrong.

    Source: Ong et al. 2024 (RouteLLM), arXiv:2406.18665, the causal-LM classifier, with its labels
    and its win rate. Departures: a reply is no label where the labels cover too little, instead of
    where the likeliest token is none; our wording for untrained models.
    """
    known = _check(template, is_exact, least_mass)
    shown = _examples(examples, known)
    asked = question_text(without_system(question))
    others = [(query, label) for query, label in shown if query != asked]
    bound = say_label.on(model)
    told = label_shares(bound, known.labels, question, known, others, is_exact=is_exact)
    return estimated(told, known.good_from, least_mass)


class LabelClassifier:
    """A choice for `route` between two models, by the label that a third gives to the query.

    Args:
        model: The classifier; has to give log-probabilities of its tokens.
        rule: Names the strong and the weak model; its threshold is of the win rate. See
            `motet.routing.strong_weak` for one that holds a share of strong calls.
        template: As of `estimate_win`, as what follows.
        examples: Of `motet.routing.label_rows`, or queries with their labels.
        is_exact: Whether each label is scored.
        least_mass: Least probability that the labels must cover.
        prices: Of an answer of each model, for the decision to name.
    """

    __motet_opaque__: ClassVar[bool] = True

    def __init__(
        self,
        model: Model,
        *,
        rule: StrongFrom,
        template: LabelTemplate | None = None,
        examples: Iterable[LabelRow | tuple[str, str]] = (),
        is_exact: bool = False,
        least_mass: float = LEAST_MASS,
        prices: Prices | None = None,
    ) -> None:
        if not isinstance(rule, StrongFrom):
            raise ConfigError(f"rule is {rule!r}; it must be StrongFrom, which names two models")
        self._model = model
        self._rule = rule
        self._template = _check(template, is_exact, least_mass)
        self._examples = _examples(examples, self._template)
        self._is_exact = is_exact
        self._least_mass = least_mass
        self._prices = dict(prices or {})
        held = (rule, self._template, self._examples, is_exact, least_mass)
        self.identity = (
            f"label_classifier:{model.identity} {held!r} {sorted(self._prices.items())!r}"
        )

    def check(self, names: Sequence[str]) -> list[Need]:
        known = (self._rule.strong, self._rule.weak)
        if set(names) != set(known):
            raise ConfigError(
                f"among has {', '.join(names)}; the rule is for {' and '.join(known)}"
            )
        return [Need("model", self._model, capability_for(is_exact=self._is_exact))]

    async def __call__(self, question: str | Chat, names: Sequence[str]) -> Decision:
        found = await estimate_win(
            question,
            model=self._model,
            template=self._template,
            examples=self._examples,
            is_exact=self._is_exact,
            least_mass=self._least_mass,
        )
        rates = {self._rule.strong: found.win_rate, self._rule.weak: 1 - found.win_rate}
        return self._rule.decide(rates, self._prices)


def training_rows(
    rows: Iterable[LabelRow], template: LabelTemplate | None = None
) -> Iterator[Mapping[str, Any]]:
    """Yield what a classifier is to be trained on: the turns that it will be shown, and its label.

    `motet.routing.row_files.write_json_lines` writes them. Training with the same template as the
    later calls is what makes them alike.

    Raises:
        ConfigError: A row's label is not the template's.
    """
    known = LabelTemplate() if template is None else template
    for row in rows:
        _examples([row], known)
        turns = [{"role": m.role, "content": m.content} for m in known.chat(row.query)]
        yield {"prompt": turns, "label": row.label}


def _check(template: LabelTemplate | None, is_exact: bool, least_mass: float) -> LabelTemplate:
    flag("is_exact", is_exact)
    number("least_mass", least_mass, 0, 1)
    if template is not None and not isinstance(template, LabelTemplate):
        raise ConfigError(f"template is {template!r}; it must be a LabelTemplate")
    return LabelTemplate() if template is None else template


def _examples(
    examples: Iterable[LabelRow | tuple[str, str]], template: LabelTemplate
) -> list[tuple[str, str]]:
    shown = []
    for each in examples:
        pair = (each.query, each.label) if isinstance(each, LabelRow) else tuple(each)
        if len(pair) != 2 or not isinstance(pair[0], str) or pair[1] not in template.labels:
            raise ConfigError(
                f"examples holds {pair!r:.200}; each must be a query and one of the labels "
                f"{', '.join(template.labels)}"
            )
        shown.append((pair[0], str(pair[1])))
    return shown
