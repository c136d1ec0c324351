"""Labels of one token: their probabilities, and which labels can be told apart."""

from __future__ import annotations

import math

import pytest

from motet.engine import Completion, TokenLogprob
from motet.errors import ConfigError, EngineError
from motet.programs.judges.label_tokens import check_labels, label_masses, normalised


def reply(chosen: str, *top: tuple[str, float]) -> Completion:
    """A reply of one token, with the probabilities of its alternatives."""
    logprobs = tuple((token, math.log(p)) for token, p in top)
    at = dict(logprobs).get(chosen, math.log(0.01))
    return Completion(chosen, "length", logprobs=(TokenLogprob(chosen, at, top=logprobs),))


def test_tokens_that_say_the_same_label_add_up() -> None:
    """A space before it does not count; upper and lower case do."""
    said = reply("m", ("m", 0.4), (" m", 0.2), ("M", 0.1), ("x", 0.05))

    assert label_masses(said, ["m", "M", "n"]) == pytest.approx([0.6, 0.1, 0.0])


def test_the_chosen_token_counts_once() -> None:
    """Also where the engine leaves it out of the alternatives."""
    assert label_masses(reply("A", ("A", 0.5)), ["A", "B"]) == pytest.approx([0.5, 0])
    assert label_masses(reply("B", ("A", 0.5)), ["A", "B"]) == pytest.approx([0.5, 0.01])


def test_only_the_first_token_counts() -> None:
    """What comes later is no verdict."""
    tokens = (TokenLogprob("x", -1.0), TokenLogprob("A", -0.1))

    assert label_masses(Completion("xA", logprobs=tokens), ["A", "B"]) == [0, 0]


def test_an_engine_without_log_probabilities_is_told_from_silence() -> None:
    """An empty reply says nothing; a text without them is the engine's fault."""
    assert label_masses(Completion(""), ["A", "B"]) == [0, 0]
    with pytest.raises(EngineError, match="no logprobs"):
        label_masses(Completion("A"), ["A", "B"])


def test_shares_are_of_the_labels_alone() -> None:
    assert normalised([0.1, 0.3]) == pytest.approx([0.25, 0.75])
    assert normalised([0.0, 0.0]) is None


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([str(each) for each in range(11)], "'1' begins '10'"),
        (["A", "A"], "stands twice"),
        (["A"], "2 to 20"),
        (["A", ""], "2 to 20"),
        (["A", " B"], "without space"),
        ("AB", "2 to 20"),
        ([chr(65 + each) for each in range(21)], "2 to 20"),
    ],
)
def test_labels_that_one_token_cannot_tell_apart_are_refused(labels: list[str], said: str) -> None:
    """Such as 1 and 10."""
    with pytest.raises(ConfigError, match=said):
        check_labels(labels)
