"""Candidates: what is asked of an engine to score them, and what is made of its answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, GarbledReplyError
from motet.serving.decoding.candidates import Ask, assemble, completions, plan

PROMPT = (9, 9)
_IDS = st.lists(st.integers(0, 3), max_size=5).map(tuple)


def _answer(ask: Ask) -> dict[int, float]:
    """A logprob that is another for every prefix and token."""
    return {token: -float(hash((ask.prefix_ids, token)) % 10_007) for token in ask.wanted}


def test_a_shared_beginning_is_asked_about_once() -> None:
    asks = plan(PROMPT, [(1, 2, 3), (1, 2, 4), (5,)])

    assert asks == [
        Ask(PROMPT, (1, 5)),
        Ask((*PROMPT, 1), (2,)),
        Ask((*PROMPT, 1, 2), (3, 4)),
    ]


def test_equal_candidates_and_those_that_begin_others_cost_nothing_more() -> None:
    assert plan(PROMPT, [(1, 2), (1,), (1, 2), ()]) == plan(PROMPT, [(1, 2)])


def test_no_tokens_need_no_asking() -> None:
    assert plan(PROMPT, [()]) == []
    assert assemble(PROMPT, [()], [], []) == [()]


def test_a_place_with_many_tokens_is_asked_in_parts() -> None:
    asks = plan(PROMPT, [(token,) for token in range(5)], most_wanted=2)

    assert [ask.wanted for ask in asks] == [(0, 1), (2, 3), (4,)]
    assert {ask.prefix_ids for ask in asks} == {PROMPT}


@given(st.lists(_IDS, max_size=8), st.sampled_from([None, 1, 2]))
def test_every_token_gets_the_logprob_of_its_own_place(
    candidates: list[tuple[int, ...]], most: int | None
) -> None:
    asks = plan(PROMPT, candidates, most_wanted=most)

    lines = assemble(PROMPT, candidates, asks, [_answer(ask) for ask in asks])

    for ids, line in zip(candidates, lines, strict=True):
        alone = [_answer(Ask(PROMPT + ids[:i], (token,)))[token] for i, token in enumerate(ids)]
        assert list(line) == alone


@given(st.lists(_IDS, max_size=8))
def test_prefixes_come_before_what_goes_on_from_them(candidates: list[tuple[int, ...]]) -> None:
    asked = [ask.prefix_ids for ask in plan(PROMPT, candidates)]

    assert len(set(asked)) == len(asked)
    assert all(prefix[:-1] in asked[:i] for i, prefix in enumerate(asked) if prefix != PROMPT)


def test_an_answer_that_lacks_a_token_is_garbled() -> None:
    asks = plan(PROMPT, [(1,), (2,)])

    with pytest.raises(GarbledReplyError, match="token 2"):
        assemble(PROMPT, [(1,), (2,)], asks, [{1: -1.0}])


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ConfigError, match="prompt_ids"):
        plan((), [(1,)])


def test_completions_name_each_token() -> None:
    [one, none] = completions(
        [(1, 2), ()], [(-0.5, -1.0), ()], texts=["ab", ""], names={1: "a", 2: "b"}
    )

    assert (one.text, one.token_ids, one.finish_reason) == ("ab", (1, 2), "stop")
    assert [(t.token, t.logprob, t.token_id) for t in one.logprobs] == [
        ("a", -0.5, 1),
        ("b", -1.0, 2),
    ]
    assert (none.text, none.logprobs) == ("", ())
