"""Entropy-adaptive decoding: a small and a large model take turns by how sure they are."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from motet.engine import Capability, Completion, TokenLogprob
from motet.errors import BudgetExhaustedError, ConfigError, EngineError
from motet.model import Model
from motet.operations import program
from motet.programs.capabilities import Need, refuse_unable
from motet.prompts import prompt
from motet.types import Chat, Message

Side = Literal["small", "large"]
LEAST_SHARE: Final = 1e-6
"""Keeps the logarithm finite where an alternative is ruled out."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch of an answer that one model wrote."""

    side: Side
    num_tokens: int


@dataclass(frozen=True, slots=True)
class AdaptiveAnswer:
    """A text that two models wrote in turns."""

    text: str
    turns: tuple[Turn, ...]
    """Who wrote the tokens, in order; none is empty."""
    switches: int
    is_finished: bool
    """False where it ended at its most tokens or with the budget."""

    def __str__(self) -> str:
        return self.text

    @property
    def small_tokens(self) -> int:
        return self._written_by("small")

    @property
    def large_tokens(self) -> int:
        return self._written_by("large")

    def _written_by(self, side: Side) -> int:
        return sum(turn.num_tokens for turn in self.turns if turn.side == side)


def entropy_bits(logprob: TokenLogprob) -> float:
    """Return the entropy of one position in bits, from the alternatives that were reported.

    No token that was left out is likelier than the least likely alternative, so this is a lower
    bound; it is exact where the alternatives are the whole vocabulary, or all tokens are alike.
    """
    known = dict(logprob.top)
    least = min(map(math.exp, known.values()), default=1.0)
    known.setdefault(logprob.token, logprob.logprob)
    probabilities = [math.exp(value) for value in known.values()]
    entropy = -sum(p * math.log2(p) for p in probabilities if p > 0)
    rest = 1.0 - sum(probabilities)
    if rest > 1e-9:
        entropy -= rest * math.log2(max(min(rest, least), LEAST_SHARE))
    return entropy


class Switch:
    """Says after each token which model goes on.

    Args:
        threshold: Mean entropy in bits above which the large model writes.
        window: Tokens in the rolling mean.
        min_stay: Fewest tokens between two switches.
    """

    def __init__(self, threshold: float, *, window: int = 5, min_stay: int = 1) -> None:
        self._threshold = threshold
        self._entropies: deque[float] = deque(maxlen=window)
        self._min_stay = min_stay
        self._stayed = 0
        self.side: Side = "large" if threshold < 0 else "small"

    @property
    def mean(self) -> float:
        """Mean of the last entropies, over as many as there are."""
        return sum(self._entropies) / len(self._entropies) if self._entropies else 0.0

    def step(self, entropy: float, *, may_switch: bool = True) -> bool:
        """Take the next token's entropy in; return whether the other model goes on."""
        self._entropies.append(entropy)
        self._stayed += 1
        due: Side = "large" if self.mean > self._threshold else "small"
        if due == self.side or self._stayed < self._min_stay or not may_switch:
            return False
        self.side = due
        self._stayed = 0
        return True


def _chat(question: str | Chat, written: str) -> Chat:
    chat = (Message.user(question),) if isinstance(question, str) else tuple(question)
    return (*chat, Message.assistant(written)) if written else chat


@prompt(chat=_chat)
def write_on(question: str | Chat, written: str) -> Completion:
    """The next piece of an answer of which `written` is there."""
    raise NotImplementedError


@program
async def entropy_adaptive(
    question: str | Chat,
    *,
    small: Model,
    large: Model,
    threshold: float = 2.0,
    window: int = 5,
    min_stay: int = 1,
    max_tokens: int = 512,
    chunk: int = 16,
    alternatives: int = 20,
    temperature: float = 0.0,
) -> AdaptiveAnswer:
    """Write an answer with two models, the large one where the rolling entropy is high.

    A model writes up to `chunk` tokens a request; what lies behind the token at which the other
    one takes over is thrown away. The token itself stays. As a model it answers with the text, so
    that it can be among the models of a `route` and a stage of a `cascade`; there an answer that is
    not finished counts as cut off. Where the budget ends, what is written is the value.

    Args:
        question: A text or a chat.
        small: Writes first. Both must have the same tokenizer.
        large: Writes while the mean entropy is above `threshold`.
        threshold: In bits; infinite leaves all to the small model, below 0 all to the large one.
        window: Tokens in the rolling mean.
        min_stay: Fewest tokens between two switches.
        max_tokens: Of the whole answer.
        chunk: Tokens of one request.
        alternatives: Log-probabilities asked for at each token, for the entropy.
        temperature: Of both models.

    Raises:
        ConfigError: A setting is wrong.
        CapabilityError: A model is known to lack log-probabilities, or not to continue a turn.
        BudgetExhaustedError: The budget did not hold the first piece.

    Source: Simonds 2025, arXiv:2502.06833. Departures: the entropy is a lower bound from the
    most likely tokens; models go on from the text, which is tokenised again; requests are chunks.
    """
    for name, value, least in (
        ("window", window, 1),
        ("min_stay", min_stay, 1),
        ("max_tokens", max_tokens, 1),
        ("chunk", chunk, 1),
        ("alternatives", alternatives, 1),
    ):
        if value < least:
            raise ConfigError(f"{name} is {value}; it must be at least {least}")
    if math.isnan(threshold):
        raise ConfigError(f"threshold is {threshold}; it must be a number of bits")
    sides: dict[Side, Model] = {"small": small, "large": large}
    await refuse_unable(
        Need(side, model, capability)
        for side, model in sides.items()
        for capability in (Capability.LOGPROBS, Capability.CONTINUE)
    )
    switch = Switch(threshold, window=window, min_stay=min_stay)
    written, is_finished, switches = "", False, 0
    turns: list[Turn] = []
    while (left := max_tokens - sum(turn.num_tokens for turn in turns)) > 0:
        side = switch.side
        asked = write_on.on(
            sides[side],
            max_tokens=min(chunk, left),
            logprobs=alternatives,
            temperature=temperature,
        )
        try:
            piece = await asked(question, written)
        except BudgetExhaustedError:
            if not written:
                raise
            break
        kept, has_switched = _kept(piece, switch)
        switches += has_switched
        if kept and turns and turns[-1].side == side:
            turns[-1] = Turn(side, turns[-1].num_tokens + kept)
        elif kept:
            turns.append(Turn(side, kept))
        is_whole = kept == len(piece.logprobs)
        written += piece.text if is_whole else _text(piece.logprobs[:kept])
        if is_whole and piece.finish_reason != "length":
            is_finished = piece.finish_reason == "stop"
            break
    return AdaptiveAnswer(written, tuple(turns), switches, is_finished)


def _kept(piece: Completion, switch: Switch) -> tuple[int, bool]:
    """Return how many of the piece's tokens stay, and whether the other model goes on."""
    if not piece.logprobs:
        if piece.finish_reason == "stop" and not piece.text:
            return 0, False
        raise EngineError("the engine gave no logprobs, from which the entropy is taken")
    for place, logprob in enumerate(piece.logprobs, start=1):
        # A token may end inside a character, which only the next one completes.
        is_cut_clean = piece.text.startswith(_text(piece.logprobs[:place]))
        if switch.step(entropy_bits(logprob), may_switch=is_cut_clean):
            return place, True
    return len(piece.logprobs), False


def _text(logprobs: Sequence[TokenLogprob]) -> str:
    return "".join(logprob.token for logprob in logprobs)
