"""FIRST: windows, and rankings by one token's log-probabilities."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motet
from motet import Capability, Model
from motet.engine import Request
from motet.errors import ConfigError, MotetError
from motet.programs import listwise_reranking
from motet.programs.listwise_reranking import windows
from motet.testing import ScriptedEngine

SCORING = frozenset({Capability.SCORE, Capability.CONTINUE})


def judge(request: Request) -> Any:
    """Score each passage of the window by the relevance that is planted in its text."""
    chat: Any = request.prompt
    found = re.findall(r"\[[A-Z]\] relevance (-?\d+)", chat[1].content)
    return [float(each) for each in found]


def ranked(relevances: list[int], **settings: Any) -> tuple[list[int], ScriptedEngine]:
    engine = ScriptedEngine(judge, capabilities=SCORING)
    passages = [f"relevance {each}" for each in relevances]
    ref = listwise_reranking("q", passages, model=Model(engine), **settings)
    return motet.run(ref, store=None).value, engine


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (15, [(0, 15)]),
        (20, [(0, 20)]),
        (25, [(5, 25), (0, 15)]),
        (10, [(0, 10)]),
        (1, []),
        (0, []),
    ],
)
def test_windows_are_those_of_the_card(count: int, expected: list[tuple[int, int]]) -> None:
    assert list(windows(count, 20, 10)) == expected


def test_a_hundred_passages_take_nine_windows() -> None:
    assert len(list(windows(100, 20, 10))) == 9


@given(st.integers(0, 120), st.integers(2, 26), st.data())
def test_windows_cover_every_passage_and_overlap(count: int, size: int, data: Any) -> None:
    stride = data.draw(st.integers(1, size - 1))
    found = list(windows(count, size, stride))
    if count > 1:
        assert {i for start, end in found for i in range(start, end)} == set(range(count))
        assert found[-1][0] == 0
    assert all(end - start <= size for start, end in found)
    assert all(later[1] > earlier[0] for earlier, later in zip(found, found[1:], strict=False))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-99, 99), min_size=2, max_size=60, unique=True))
def test_the_best_travel_up_whatever_the_first_order(relevances: list[int]) -> None:
    order, engine = ranked(relevances)

    assert sorted(order) == list(range(len(relevances)))
    best = sorted(range(len(relevances)), key=lambda i: -relevances[i])
    assert order[:10] == best[:10]
    assert len(engine.requests) == len(list(windows(len(relevances), 20, 10)))


def test_one_window_is_a_plain_sort_and_equal_scores_keep_their_order() -> None:
    assert ranked([1, 5, 5, 3])[0] == [1, 2, 3, 0]


def test_the_answer_is_continued_behind_its_bracket_and_the_letters_are_scored() -> None:
    _, engine = ranked([1, 2, 3])
    [request] = engine.requests
    chat: Any = request.prompt
    assert chat[-1] == motet.Message.assistant("[")
    assert request.candidates == ("A", "B", "C")


def test_long_passages_are_cut_to_words() -> None:
    engine = ScriptedEngine(lambda r: [0.0] * len(r.candidates), capabilities=SCORING)
    ref = listwise_reranking("q", ["w " * 50, "x"], model=Model(engine), max_words=7)
    motet.run(ref, store=None)
    chat: Any = engine.requests[0].prompt
    assert "[A] w w w w w w w\n" in chat[1].content


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"window": 27}, "window is 27"), ({"window": 1}, "window is 1"), ({"stride": 20}, "stride")],
)
def test_settings_out_of_range_are_refused(settings: dict[str, int], said: str) -> None:
    with pytest.raises(MotetError, match=said) as caught:
        ranked([1, 2, 3], **settings)
    assert isinstance(caught.value.__cause__ or caught.value, (ConfigError, MotetError))
