"""Scorers of pairs at work: in a run, in a cascade, in a search, from a server."""

from __future__ import annotations

from typing import Any

import pytest

import motet
from motet import Capability, Model
from motet.errors import ConfigError, DataError, RunFailedError
from motet.programs import cascade, solve
from motet.programs.confidences import Scored
from motet.programs.pair_scorers import PairRegression, ServedRegression
from motet.programs.pick import pick_candidate
from motet.programs.scorers import Scorer
from motet.routing.pair_scorer import PairScorer, TrainedPairScorer
from motet.search.best_of_n import BestOfN
from motet.testing import ScriptedEngine

np = pytest.importorskip("numpy")

AXES = {"sum": 0, "four": 0, "poem": 1, "rose": 1, "bird": 2, "wing": 2}


def vector(text: str) -> tuple[float, ...]:
    """Words of one theme point the same way; a word by itself a little aside."""
    found = np.full(4, 0.01)
    for word, axis in AXES.items():
        if word in text:
            found[axis] += 1
    found[3] += len(text) / 1000
    return tuple(map(float, found))


def embedder() -> Model:
    engine = ScriptedEngine(
        lambda r: vector(str(r.prompt)), capabilities=frozenset({Capability.EMBED})
    )
    return Model(engine, "e")


def trained() -> TrainedPairScorer:
    """Right where question and response are of one theme."""
    texts = list(AXES)
    pairs = [(one, other, float(AXES[one] == AXES[other])) for one in texts for other in texts]
    columns = list(zip(*pairs, strict=True))
    one, other = (np.array([vector(text) for text in side]) for side in columns[:2])
    return PairScorer(hidden=()).fit(one, other, columns[2])


def scorer() -> PairRegression:
    return PairRegression(trained(), model=embedder())


def value_of(ref: Any) -> Any:
    return motet.run(ref, store=None).value


def test_a_response_of_the_questions_theme_scores_higher() -> None:
    by: Scorer = scorer()

    assert value_of(by("a sum", "four")) > 0.7
    assert value_of(by("a sum", "a rose")) < 0.3
    assert value_of(by("a poem", "a rose")) > 0.7


def test_a_search_keeps_the_sample_that_it_scores_best() -> None:
    model = Model(ScriptedEngine(lambda r: tuple(["a rose", "four", "a wing"][: r.n])), "m")

    found = value_of(solve("a sum", algorithm=BestOfN(n=3), model=model, scorer=scorer()))

    assert found.text == "four"


def test_a_cascade_goes_on_where_the_first_answer_does_not_fit() -> None:
    def answers(text: str) -> Model:
        return Model(ScriptedEngine(lambda _: text), text)

    wrong, right = answers("a rose"), answers("four")

    found = value_of(
        cascade("a sum", stages=[wrong, right], thresholds=[0.5], confidence=Scored(scorer()))
    )
    kept = value_of(
        cascade("a poem", stages=[wrong, right], thresholds=[0.5], confidence=Scored(scorer()))
    )

    assert found.text == "four"
    assert (kept.text, kept.is_accepted) == ("a rose", True)


def test_a_classification_scores_every_label() -> None:
    found = value_of(pick_candidate("a poem", ["four", "rose", "wing"], scorer=scorer()))

    assert found.text == "rose"


def test_an_embedder_of_another_size_is_told() -> None:
    other = Model(
        ScriptedEngine(lambda _: (1.0, 0.0), capabilities=frozenset({Capability.EMBED})), "e"
    )

    with pytest.raises(RunFailedError) as failed:
        value_of(PairRegression(trained(), model=other)("a sum", "four"))

    assert isinstance(failed.value.__cause__, DataError)


def test_another_scorer_is_another_call() -> None:
    """So that a journal never answers for a scorer that was trained again."""
    model = embedder()
    first = PairRegression(trained(), model=model)
    one, other = np.eye(4), np.roll(np.eye(4), 1, axis=0)
    again = PairScorer(hidden=()).fit(one, other, [0, 1, 0, 1])

    assert PairRegression(trained(), model=model).identity == first.identity
    assert PairRegression(again, model=model).identity != first.identity


def test_what_is_no_scorer_is_refused() -> None:
    with pytest.raises(ConfigError, match="trained is"):
        PairRegression("scorer", model=embedder())  # type: ignore[arg-type]


def regression(number: Any) -> tuple[Model, ScriptedEngine]:
    engine = ScriptedEngine(lambda _: (number,), capabilities=frozenset({Capability.REWARD}))
    return Model(engine, "r"), engine


@pytest.mark.parametrize(("number", "score"), [(0.25, 0.25), (1.07, 1.0), (-0.02, 0.0)])
def test_a_served_regression_is_cut_to_0_and_1(number: float, score: float) -> None:
    """And not put through the logistic function, which makes 0.56 of 0.25."""
    model, _ = regression(number)

    assert value_of(ServedRegression(model)("q", "a")) == score


def test_a_served_regression_sees_two_turns_whatever_the_question() -> None:
    """Its chat template joins two texts, so that a longer chat must be one of them."""
    model, engine = regression(0.5)
    chat = (motet.Message.user("one"), motet.Message.assistant("two"), motet.Message.user("three"))

    value_of(ServedRegression(model)(chat, "answer"))

    turns = engine.requests[0].prompt
    assert [turn.role for turn in turns] == ["user", "assistant"]  # type: ignore[union-attr]
    assert turns[1].content == "answer"  # type: ignore[union-attr]
    assert all(word in turns[0].content for word in ("one", "two", "three"))  # type: ignore[union-attr]


def test_a_served_classifier_gives_the_probability_of_its_class() -> None:
    engine = ScriptedEngine(lambda _: ((0.0, 0.0),), capabilities=frozenset({Capability.REWARD}))

    assert value_of(ServedRegression(Model(engine), label=1)("q", "a")) == pytest.approx(0.5)


@pytest.mark.model
def test_a_scorer_trained_on_minilm_prefers_the_right_response() -> None:
    """Mechanics only: real embeddings, a ridge over a handful of pairs, scores from 0 to 1."""
    from motet.programs.scorers import embedded_text
    from motet.routing.response_pairs import Example, response_pairs

    minilm = Model("local:minilm")
    rows = [
        Example(instruction="What is 2 + 2?", truth="It is 4."),
        Example(instruction="Name a colour.", truth="Red is a colour."),
        Example(instruction="Where is Paris?", truth="Paris is in France."),
        Example(instruction="What do cows eat?", truth="Cows eat grass."),
    ]
    pairs = response_pairs(rows, num_mismatched=2).pairs
    texts = [text for pair in pairs for text in (pair.instruction, pair.response)]
    calls = motet.map(embedded_text.on(minilm).embeddings(), texts)
    vectors = np.array([each.values for each in motet.run(calls, store=None).value])
    fitted = PairScorer(hidden=()).fit(vectors[0::2], vectors[1::2], [pair.score for pair in pairs])

    by = PairRegression(fitted, model=minilm)
    found = value_of(pick_candidate("What do cows eat?", ["Red.", "Cows eat grass."], scorer=by))

    assert found.text == "Cows eat grass."
    assert all(0 <= each.score <= 1 for each in found.candidates)
