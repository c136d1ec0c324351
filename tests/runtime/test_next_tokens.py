"""Next tokens in a run: refused, journaled, cached, within budgets, in graph files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import motet
from motet import Budget, Capability, Message, Model, prompt, step
from motet.cli.terminal import as_json
from motet.decoding import cfg
from motet.engine import Reply, Request, Usage
from motet.errors import (
    BudgetExhaustedError,
    CapabilityError,
    ConfigError,
    EngineError,
    RunFailedError,
)
from motet.graph_files import load_graph
from motet.next_tokens import NextTokens, likeliest, whole
from motet.outputs import dump_value, load_value
from motet.prompts import dump_reply, load_reply
from motet.runtime.prompting import encode_request
from motet.testing import ScriptedEngine, toy_lm

ABLE = frozenset({Capability.NEXT_TOKENS})


@prompt(user="{{ question }}")
def continued(question: str, ids: list[int]) -> str:
    raise NotImplementedError


@prompt(user="{{ question }}", assistant="So")
def begun(question: str) -> str:
    raise NotImplementedError


@step
def likely(told: NextTokens) -> int:
    return told.ids[0]


def engine(script: Any = None) -> ScriptedEngine:
    def tell(request: Request) -> Any:
        return toy_lm.next_tokens(request.written)

    return ScriptedEngine(script or tell, capabilities=ABLE)


def asked(model: Any, k: int | None = 2, **settings: Any) -> Any:
    return continued.on(model).next_tokens(k, behind="ids", **settings)


def test_the_value_is_the_distribution_behind_the_written_ids() -> None:
    served = engine()

    told = motet.run(asked(served)("q", [0, 1]), store=None).value

    assert told.ids == (2, 0)
    assert told.logprobs == pytest.approx((math.log(0.5), math.log(0.4)))
    assert (told.texts, told.ends, told.text) == (("", "a"), (2,), "ab")
    [request] = served.requests
    assert request.prompt == (Message.user("q"),)
    assert (request.written, request.next_tokens) == ((0, 1), 2)
    assert request.sampling.seed is None


def test_a_step_takes_the_distribution_and_it_is_typed() -> None:
    assert motet.run(likely(asked(engine())("q", [])), store=None).value == toy_lm.A


def test_it_is_cached_by_what_decides_it(tmp_path: Path) -> None:
    store, served = str(tmp_path / "runs.db"), engine()

    for ref in (
        asked(served)("q", [0]),
        asked(served)("q", [0]),
        asked(served, k=1)("q", [0]),
        asked(served)("q", [1]),
        asked(served, texts=False)("q", [0]),
        asked(served, k=None)("q", [0]),
    ):
        motet.run(ref, store=store)

    keys = {encode_request("e", request) for request in served.requests}
    assert len(served.requests) == len(keys) == 5


def test_a_resumed_run_reads_what_it_had(tmp_path: Path) -> None:
    for k in (1, None):
        store, served = str(tmp_path / f"{k}.db"), engine()
        first = motet.run(asked(served, k)("q", [0]), store=store).value
        again = motet.run(asked(served, k)("q", [0]), store=store).value
        assert len(served.requests) == 1
        assert again == first


logprobs = st.lists(st.floats(-9999, 0, width=32), min_size=1, max_size=9)


@given(logprobs, st.text(max_size=3), st.booleans())
def test_a_reply_is_read_back_as_it_was(values: list[float], text: str, is_whole: bool) -> None:
    told = whole(values, (0,), text)
    if not is_whole:
        ids = tuple(range(len(values)))
        told = NextTokens(ids, tuple(values), ("\ud800",) * len(values), (0, 5), text)

    reply = Reply((), Usage(3, 1, 2, 1), "m", next_tokens=told)

    assert load_reply(dump_reply(reply)) == reply


KINDS = [
    whole([-1.5, -2.5, -math.inf], (1,), "a"),
    NextTokens((4, 2), (-1.5, -math.inf), ("a", "\ud800"), (2,), "b"),
    NextTokens(range(2), [-0.5, -1.0], (), (1,)),
]


@pytest.mark.parametrize("told", KINDS, ids=["whole", "some", "a list"])
def test_it_is_journaled_wherever_a_value_may_stand(told: NextTokens) -> None:
    for annotation, value in ((NextTokens, told), (list[NextTokens], [told])):
        again = load_value(annotation, dump_value(annotation, value))
        [found] = [again] if annotation is NextTokens else again
        assert list(found.ids) == list(told.ids)
        assert list(found.logprobs) == list(told.logprobs)
        assert (found.texts, found.ends, found.text) == (told.texts, told.ends, told.text)
    text = dump_reply(Reply((), Usage(), "m", next_tokens=told)).decode()
    assert "Infinity" not in text


def test_it_is_shown_as_numbers() -> None:
    for told in (KINDS[0], KINDS[2], NextTokens((4, 2), (-1.5, -math.inf), ("a", "b"))):
        shown = json.loads(as_json(told))
        assert shown["ids"] == list(told.ids)
        assert shown["logprobs"] == [None if e == -math.inf else e for e in told.logprobs]


def test_what_is_no_distribution_is_refused_by_its_value() -> None:
    for data in (b'{"ids": [1]}', b"[]", b'{"packed": "ab", "ends": [], "text": ""}'):
        with pytest.raises(ValueError, match="is no NextTokens"):
            load_value(NextTokens, data)


def test_a_whole_distribution_takes_a_few_bytes_a_token() -> None:
    reply = Reply((), Usage(), "m", next_tokens=whole([-1.5] * 50_000, (2,)))

    assert len(dump_reply(reply)) < 6 * 50_000


def test_the_likeliest_end_is_told_where_it_is_not_among_the_best() -> None:
    row = {0: -1.0, 1: -2.0, 2: -9.0, 3: -8.0, 4: -1.0}
    assert likeliest(row, 2, (2, 3)) == [0, 4, 3]
    assert likeliest(row, 4, (2, 3)) == [0, 4, 1, 3]
    assert likeliest(row, 2, ()) == [0, 4]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: continued.next_tokens(0), "k is 0"),
        (lambda: continued.next_tokens(True), "k is True"),
        (lambda: continued.next_tokens(2, behind="it"), "behind is 'it'"),
        (lambda: continued.next_tokens(2).samples(2), "does not go with next_tokens"),
        (lambda: continued.scores(["a"]).next_tokens(2), "does not go with scores"),
    ],
)
def test_wrong_settings_are_told_where_they_are_made(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


def test_bindings_that_ask_for_something_else_are_other_operations() -> None:
    bound = [
        continued,
        continued.next_tokens(1),
        continued.next_tokens(2),
        continued.next_tokens(None),
        continued.next_tokens(2, behind="ids"),
        continued.next_tokens(2, texts=False),
    ]
    assert len({each.identity for each in bound}) == len(bound)


@pytest.mark.parametrize("ids", ["ab", [1, -1], [True], [1.0], None])
def test_what_are_no_ids_is_told(ids: Any) -> None:
    served = engine()

    @prompt(user="{{ question }}")
    def loose(question: str, ids: Any) -> str:
        raise NotImplementedError

    with pytest.raises(RunFailedError, match="it must be ids of tokens"):
        motet.run(loose.on(served).next_tokens(2, behind="ids")("q", ids), store=None)
    assert not served.requests


def test_models_that_cannot_are_refused_before_anything_is_asked() -> None:
    unable = ScriptedEngine()
    rules = asked(engine()).on(decoding=cfg(1.5))
    with pytest.raises(CapabilityError, match="next_tokens"):
        motet.run(asked(unable)("q", []), store=None)
    with pytest.raises(CapabilityError, match="continue"):
        motet.run(begun.on(engine()).next_tokens(2)("q"), store=None)
    with pytest.raises(ConfigError, match="decoding rules"):
        motet.run(rules("q", []), store=None)

    @motet.program
    def answer(question: str) -> Any:
        return begun(question)

    with pytest.raises(CapabilityError, match="next tokens"):
        motet.run(asked(answer.as_model())("q", []), store=None)


def test_a_budget_of_tokens_counts_prompt_and_written(tmp_path: Path) -> None:
    served = engine()
    with pytest.raises(RunFailedError) as failed:
        motet.run(asked(served)("one two", [0, 1]), store=None, budget=Budget(max_tokens=4))
    assert isinstance(failed.value.__cause__, BudgetExhaustedError)
    assert not served.requests

    result = motet.run(asked(served)("one two", [0, 1]), store=None, budget=Budget(max_tokens=5))
    assert (result.usage.prompt_tokens, result.usage.completion_tokens) == (4, 1)


def test_a_graph_file_holds_it() -> None:
    for k in (3, None):
        ref = asked(Model("http://host/v1#m"), k, texts=False)("q", [1, 2])
        text = motet.plan(ref).to_json()
        again = load_graph(text, operations=[continued])
        assert again.operation.identity == ref.operation.identity
        assert motet.plan(again).to_json() == text


def test_an_engine_that_tells_nothing_is_an_error() -> None:
    class Silent(ScriptedEngine):
        async def complete(self, request: Request, on_delta: Any = None) -> Reply:
            return Reply((), Usage())

    with pytest.raises(RunFailedError, match="no next tokens") as failed:
        motet.run(asked(Silent(capabilities=ABLE))("q", []), store=None)
    assert isinstance(failed.value.__cause__, EngineError)


def test_texts_and_logprobs_have_one_for_each_token() -> None:
    with pytest.raises(ConfigError, match="2 tokens came with 1 logprobs and 0 texts"):
        NextTokens((1, 2), (0.0,))
    with pytest.raises(ConfigError, match="1 tokens came with 1 logprobs and 2 texts"):
        NextTokens((1,), (0.0,), ("a", "b"))


def test_the_best_of_a_distribution_are_shown_with_a_run() -> None:
    from types import SimpleNamespace

    from motet.cli.runs import call_value

    told = whole([-3.0, -1.0, -1.0, -2.0] + [-9.0] * 100, (2,))
    call: Any = SimpleNamespace(kind="prompt", value_digest="d")
    shown = call_value(call, {"d": dump_reply(Reply((), Usage(), "m", next_tokens=told))})

    assert list(shown.items())[:4] == [(1, -1.0), (2, -1.0), (3, -2.0), (0, -3.0)]
    assert len(shown) == 20
