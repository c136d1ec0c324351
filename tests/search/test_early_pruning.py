"""Early pruning: checkpoints in tokens, what is dropped, and what it saves."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from motet.errors import ConfigError
from motet.search.best_of_n import BestOfN
from motet.search.early_pruning import EarlyPruning
from motet.search.partials import Partial, Step
from motet.search.spending import Limits
from motet.search.tools import FAILED, Ask, Lost, Problem
from tests.search.script import Script, solve, walk


class Writers:
    """Streams of planted texts, a letter a token, which go on where they were cut."""

    def __init__(self, texts: Sequence[str], scores: dict[str, float]) -> None:
        self.texts, self.scores = texts, scores
        self.drawn = 0
        self.asks: list[list[Ask]] = []
        self.scored: list[list[str]] = []

    def propose(self, asks: Sequence[Ask]) -> list[list[Step] | Lost]:
        self.asks.append(list(asks))
        return [self.steps(ask) for ask in asks]

    def steps(self, ask: Ask) -> list[Step] | Lost:
        done = ask.partial.text
        if done:
            [text] = [text for text in self.texts if text.startswith(done)]
            return [self.cut(text, len(done), ask.max_tokens)] if "!" not in text else FAILED
        return [self.cut(text, 0, ask.max_tokens) for text in self.texts[: ask.n]]

    def cut(self, text: str, start: int, most: int | None) -> Step:
        piece = text[start:] if most is None else text[start : start + most]
        return Step(piece, is_last=start + len(piece) == len(text), num_tokens=len(piece))

    def score(self, partials: Sequence[Partial]) -> list[float | Lost]:
        self.scored.append([each.text for each in partials])
        return [self.scores.get(each.text[0], FAILED) for each in partials]

    @property
    def problem(self) -> Problem:
        return Problem(propose=self.propose, score=self.score, step_tokens=20)


TEXTS = ["a" * 10, "b" * 10, "c" * 10, "d" * 10]
SCORES = {"a": 0.1, "b": 0.8, "c": 0.4, "d": 0.9, "e": 0.95}


def test_the_lowest_are_dropped_at_each_checkpoint() -> None:
    """Of 4 streams 2 go on after 2 tokens and 1 after 5; it is written to its end."""
    script = Writers(TEXTS, SCORES)

    result = solve(EarlyPruning(n=4, checkpoints=(2, 5)), script.problem)

    assert script.scored == [["aa", "bb", "cc", "dd"], ["bbbbb", "ddddd"], ["dddddddddd"]]
    assert result.best is not None and result.best.text == "d" * 10
    assert result.notes["num_dropped"] == 3
    assert result.spend.tokens == 4 * 2 + 2 * 3 + 5


def test_streams_are_gone_on_with_by_tokens() -> None:
    """Each ask bounds the tokens up to the next checkpoint; the last one is unbounded."""
    script = Writers(TEXTS, SCORES)

    solve(EarlyPruning(n=4, checkpoints=(2, 5)), script.problem)

    bounds = [
        [(ask.n, ask.max_tokens, ask.partial.num_tokens) for ask in asks] for asks in script.asks
    ]
    assert bounds == [[(4, 2, 0)], [(1, 3, 2), (1, 3, 2)], [(1, None, 5)]]
    assert all(ask.is_whole for asks in script.asks for ask in asks)


def test_dropping_none_is_best_of_n() -> None:
    """With rate 0 the answers, their scores and the choice are best-of-N's."""
    ours, theirs = Writers(TEXTS, SCORES), Writers(TEXTS, SCORES)

    pruned = solve(EarlyPruning(n=4, checkpoints=(3, 7), drop_rate=0), ours.problem)
    drawn = solve(BestOfN(n=4), theirs.problem)

    assert pruned.best is not None and drawn.best is not None
    assert pruned.best.text == drawn.best.text
    assert [(c.text, c.score) for c in pruned.candidates] == [
        (c.text, c.score) for c in drawn.candidates
    ]
    assert pruned.spend.tokens == drawn.spend.tokens


def test_without_checkpoints_it_is_best_of_n() -> None:
    """No checkpoint, no pruning: one batch of whole answers."""
    script = Writers(TEXTS, SCORES)

    result = solve(EarlyPruning(n=4, checkpoints=()), script.problem)

    assert (result.num_steps, result.spend.proposals) == (1, 4)
    assert result.best is not None and result.best.text == "d" * 10


@given(st.integers(1, 40), st.sampled_from([0.0, 0.1, 0.25, 0.29, 0.3, 0.5, 0.9, 1.0]))
@example(100, 0.29)
def test_as_many_are_dropped_as_the_rate_says(n: int, rate: float) -> None:
    """Rounded down in exact arithmetic, and one is always kept."""
    names = [chr(0x4E00 + i) for i in range(n)]
    script = Writers([name * 4 for name in names], {name: i / n for i, name in enumerate(names)})

    result = solve(EarlyPruning(n=n, checkpoints=(2,), drop_rate=rate), script.problem)

    assert result.notes["num_dropped"] == min(round(rate * 100) * n // 100, n - 1)
    assert result.best is not None and result.best.text == names[-1] * 4


def test_an_answer_that_ended_is_kept() -> None:
    """A short answer of low score is no stream; it competes at the end."""
    script = Writers(["a", *TEXTS[1:]], SCORES)

    result = solve(EarlyPruning(n=4, checkpoints=(2,), drop_rate=0.99), script.problem)

    assert [c.text for c in result.candidates if c.partial.is_finished] == ["d" * 10, "a"]
    assert result.notes["num_dropped"] == 2


def test_an_unscored_stream_is_dropped_first() -> None:
    """Where the scorer fails, others go before; a score of 0 is above none."""
    script = Writers(["x" * 10, "z" * 10], {"z": 0.0})

    result = solve(EarlyPruning(n=2, checkpoints=(2,)), script.problem)

    assert result.best is not None and result.best.text == "z" * 10


def test_a_stream_that_fails_leaves_what_it_has() -> None:
    """Its beginning stays among the candidates, unfinished; the search ends."""
    script = Writers(["a!aaaaaa"], SCORES)

    result = solve(EarlyPruning(n=1, checkpoints=(2,)), script.problem)

    assert result.best is not None
    assert (result.best.text, result.best.partial.is_finished) == ("a!", False)
    assert [candidate.text for candidate in result.candidates] == ["a!"]


def test_a_longer_stream_waits_for_the_checkpoint() -> None:
    """A proposer that overshoots is not asked before a checkpoint lies ahead of it."""

    class Overshooting(Writers):
        def cut(self, text: str, start: int, most: int | None) -> Step:
            return super().cut(text, start, None if most is None else most + 3 * (text[0] == "a"))

    script = Overshooting(["a" * 10, "b" * 10], SCORES)
    solve(EarlyPruning(n=2, checkpoints=(2, 4), drop_rate=0), script.problem)

    asked = [[ask.partial.text for ask in asks] for asks in script.asks]
    assert asked == [[""], ["bb"], ["aaaaa", "bbbb"]]


def test_a_limit_keeps_the_best_so_far() -> None:
    """Tokens for the first round only: the best beginning is the answer."""
    result = solve(
        EarlyPruning(n=4, checkpoints=(2, 5)),
        Writers(TEXTS, SCORES).problem,
        limits=Limits(max_tokens=9),
    )

    assert result.why == "limit" and result.spend.tokens <= 9
    assert result.best is not None and result.best.text == "dd"


def test_a_step_is_the_same_from_the_state_read_back() -> None:
    """State and steps pass through a checkpoint."""
    assert len(walk(EarlyPruning(n=4, checkpoints=(2, 5)), Writers(TEXTS, SCORES))) == 4


def test_nothing_to_write_ends_it() -> None:
    """Where the first batch fails the search is over."""
    result = solve(EarlyPruning(n=2), Script([None], {}).problem)

    assert result.best is None and result.why == "done"


def test_settings_are_checked() -> None:
    """Each names its value."""
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"n": 0}, "n is 0"),
        ({"drop_rate": 1.5}, r"drop_rate is 1\.5"),
        ({"checkpoints": (0, 4)}, "checkpoints is 0"),
        ({"checkpoints": (8, 4)}, "ascend"),
    ]
    for settings, message in wrong:
        with pytest.raises(ConfigError, match=message):
            EarlyPruning(**settings)
