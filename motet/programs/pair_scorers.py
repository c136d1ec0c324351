"""Scorers of an instruction and a response that were trained by regression: here, or as a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from motet.engine import Capability
from motet.errors import ConfigError
from motet.model import Model
from motet.operations import step
from motet.programs.choices import digest_of
from motet.programs.quoting import question_text
from motet.programs.scorers import embedded_text, rewarded_answer
from motet.refs import Ref
from motet.routing.pair_scorer import TrainedPairScorer
from motet.types import Chat, Embedding, Rewards

if TYPE_CHECKING:
    from motet.programs.scorers import Scorer


class PairRegression:
    """What a scorer that was trained on embeddings gives the text as a response to the question.

    It costs two embeddings a text, one where the store has the question's already.

    Args:
        trained: Of `motet.routing.pair_scorer`.
        model: The embedder of its training; `local:minilm`, say.
    """

    __motet_opaque__: ClassVar[bool] = True
    capability: ClassVar = Capability.EMBED

    def __init__(self, trained: TrainedPairScorer, *, model: Model) -> None:
        if not isinstance(trained, TrainedPairScorer):
            raise ConfigError(f"trained is {trained!r:.80}; it must be a TrainedPairScorer")
        self.trained = trained
        self.model = model
        self.identity = f"pair_regression:{digest_of(trained)}:{model.identity}"

    def __call__(self, question: str | Chat, text: str) -> Ref[float]:
        embedded = embedded_text.on(self.model).embeddings()
        return pair_score(embedded(question_text(question)), embedded(text), self)


@dataclass(frozen=True, slots=True)
class ServedRegression:
    """What a served regression model gives the text as a response to the question, cut to 0 and 1.

    The model sees a user's turn, the question as one text, and an assistant's turn, the response.
    The server joins them by a chat template, as the model was trained on: for Cappy the two texts
    with `</s></s>` between them.

    Source: Tan et al. 2023, arXiv:2311.06720 (Cappy), at inference. Departure: texts that are too
    long are the server's matter.
    """

    capability: ClassVar = Capability.REWARD

    model: Model
    """Its engine needs `Capability.REWARD`: a vLLM server of a sequence-classification model with
    one number, started with `--runner pooling`."""
    label: int | None = None
    """Class whose probability is the score, of a model with several; None for a regression."""

    def __call__(self, question: str | Chat, text: str) -> Ref[float]:
        asked = question_text(question)
        return cut_to_unit(rewarded_answer.on(self.model).rewards(self.label)(asked, text))


@step
def pair_score(question: Embedding, text: Embedding, regression: PairRegression) -> float:
    """The trained scorer's number for a pair of embeddings."""
    import numpy as np

    rows = [np.asarray([each.values], dtype=np.float64) for each in (question, text)]
    return float(regression.trained.score(*rows)[0])


@step
def cut_to_unit(rewards: Rewards) -> float:
    """The reward of the whole text; a regression passes 0 and 1 a little."""
    return min(max(rewards.last, 0.0), 1.0)


if TYPE_CHECKING:
    _served: type[Scorer] = ServedRegression
