"""What a request may use, and what several requests of one call have used."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import motet
from motet import Budget, Completion, Message, Model, Price, Usage, prompt
from motet.decoding import cfg
from motet.engine import Capability, Reply, Request
from motet.errors import BudgetExhaustedError, EngineUnavailableError
from motet.runtime.metering import cost_of, most_tokens
from motet.serving.decoding.candidates import plan, usage_of
from motet.testing import ScriptedEngine


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(exclude_categories=()), max_size=50))
def test_a_prompt_never_has_more_tokens_than_the_bound(text: str) -> None:
    """No token is shorter than a byte; roles cost something too."""
    size = len(text.encode("utf-8", "surrogatepass"))

    assert most_tokens(text) >= size
    assert most_tokens((Message.user(text), Message.system(text))) >= 2 * size + 2
    assert most_tokens((1, 2, 3)) >= 3


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (None, 0.0),
        (Price(prompt=0, completion=0), 0.0),
        (Price(prompt=1, completion=2), (100 * 1 + 10 * 2) / 1e6),
        (Price(prompt=1, completion=2, cached_prompt=0), (40 * 1 + 10 * 2) / 1e6),
        (Price(prompt=1, completion=2, cached_prompt=0.5), (40 + 30 + 20) / 1e6),
    ],
)
def test_cost_by_hand(price: Price | None, expected: float) -> None:
    """Prompt, cached and completion tokens, per million."""
    model = Model("local:x", price=price)

    assert cost_of(model, Usage(100, 10, 60, 1)) == pytest.approx(expected)


# ---- many requests for one -----------------------------------------------------------------------

RULES = {"decoding_rules": {"cfg": "scripted"}}


def errors_of(outcomes: Any) -> list[type[BaseException]]:
    return [type(outcome.error) for outcome in outcomes if not outcome.is_success]


def usage_of_scores(text: str, candidates: Any) -> Usage:
    return usage_of(
        plan(tuple(text.encode()), [tuple(c.encode()) for c in candidates], most_wanted=1)
    )


class ScoringByTokens(ScriptedEngine):
    """Scores as vLLM does: a request for each token of the candidates, each with its prefix."""

    used = Usage()

    async def most_usage(self, request: Request) -> Usage | None:
        [message] = request.prompt
        assert isinstance(message, Message)
        return usage_of_scores(message.content, request.candidates)

    async def complete(self, request: Request, on_delta: Any = None) -> Reply:
        reply = await super().complete(request, on_delta)
        usage = await self.most_usage(request)
        assert usage is not None
        self.used += usage
        return Reply(reply.completions, usage)


TEXTS = st.text("abc", min_size=1, max_size=12)
SCORED = st.lists(
    st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=4, unique=True)), min_size=1, max_size=8
)


@settings(deadline=None, max_examples=60)
@given(SCORED, st.integers(0, 2000))
@example([("a" * 12, ["a" * 12, "b" * 12])] * 8, 900)
def test_scores_side_by_side_never_use_more_than_the_budget(
    asked: list[tuple[str, list[str]]], limit: int
) -> None:
    """Whatever is refused is refused for the budget alone; with room for all, all is scored."""
    engine = ScoringByTokens(
        lambda r: tuple(-1.0 for _ in r.candidates),
        delay_s=0.0001,
        capabilities=frozenset({Capability.SCORE}),
    )
    refs = [ask.on(engine).scores(candidates)(text) for text, candidates in asked]

    result = motet.run(motet.settled(refs), store=None, budget=Budget(max_tokens=limit))

    failed = errors_of(result.value)
    assert engine.used.tokens == result.usage.tokens <= limit
    assert set(failed) <= {BudgetExhaustedError}
    if sum(usage_of_scores(*each).tokens for each in asked) <= limit:
        assert not failed


class PairedInRounds(ScriptedEngine):
    """Generates in as many rounds as it is told; each sends the prompt and the partner again."""

    def __init__(self, rounds: dict[str, int], **settings: Any) -> None:
        super().__init__(lambda _: "done", delay_s=0.0001, **RULES, **settings)
        self.rounds = rounds
        self.used = 0
        self.num_begun = 0
        self.is_wasteful = False
        """Whether each round uses all that it may."""

    async def count_tokens(self, prompt: Any) -> int:
        return sum(len(message.content) for message in prompt)

    async def complete(self, request: Request, on_delta: Any = None) -> Reply:
        [message] = request.prompt  # type: ignore[misc]
        size = len(message.content) + 1
        longest = request.sampling.max_tokens
        total = Usage()
        self.num_begun += 1
        for done in range(self.rounds[message.content]):
            most = Usage(size + 2 * done, 2 * (longest - done))
            used = most if self.is_wasteful else Usage(size + 2 * done, 2)
            if request.meter is not None:
                request.meter.take(most)
            try:
                await super().complete(request, on_delta)
                self.used += used.tokens
                total += used
            finally:
                if request.meter is not None:
                    request.meter.settle(most, used)
        return Reply((Completion("done"),), total)


ROUNDS = st.dictionaries(TEXTS, st.integers(1, 6), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(ROUNDS, st.integers(20, 600), st.integers(1, 4), st.booleans())
@example({"a": 6, "b": 6, "c": 6}, 100, 1, False)
def test_rounds_that_nobody_foresaw_stay_within_the_budget_and_are_all_counted(
    rounds: dict[str, int], limit: int, max_concurrency: int, is_wasteful: bool
) -> None:
    """A call that finds no room begins anew once there is some, or is refused; none waits for ever."""
    engine = PairedInRounds(rounds, max_concurrency=max_concurrency)
    engine.is_wasteful = is_wasteful
    bound = ask.on(engine, max_tokens=8, decoding=cfg(2.0))
    refs = [bound(text) for text in rounds]

    result = motet.run(
        motet.settled(refs), store=None, budget=Budget(max_tokens=limit, timeout_s=20)
    )

    assert engine.used == result.usage.tokens <= limit
    assert set(errors_of(result.value)) <= {BudgetExhaustedError}
    assert all(each.error.limit == "max_tokens" for each in result.value if each.error)


def test_with_room_for_its_rounds_no_call_begins_twice() -> None:
    engine = PairedInRounds({"a": 5, "bb": 3})
    bound = ask.on(engine, max_tokens=8, decoding=cfg(2.0))

    result = motet.run(
        motet.settled([bound("a"), bound("bb")]), store=None, budget=Budget(max_tokens=1000)
    )

    assert [each.value for each in result.value] == ["done", "done"]
    assert engine.num_begun == 2


def test_a_call_without_room_for_a_round_begins_anew_once_others_gave_back_what_they_held() -> None:
    """Eight calls hold all but one token; each uses 28 of its 34, and the first has to start again."""
    engine = PairedInRounds(dict.fromkeys("abcdefgh", 4))
    bound = ask.on(engine, max_tokens=8, decoding=cfg(2.0))

    result = motet.run(
        motet.settled([bound(text) for text in "abcdefgh"]),
        store=None,
        budget=Budget(max_tokens=8 * 34 + 1),
    )

    assert [each.value for each in result.value] == ["done"] * 8
    assert engine.num_begun == 9
    assert engine.used == result.usage.tokens == 8 * 28 + 18


def test_what_failed_attempts_used_is_counted_where_the_call_succeeds_and_where_it_fails() -> None:
    class Failing(PairedInRounds):
        async def complete(self, request: Request, on_delta: Any = None) -> Reply:
            reply = await super().complete(request, on_delta)
            if self.num_begun <= self.num_failures:
                raise EngineUnavailableError("gone")
            return reply

        num_failures = 1

    for num_failures, is_success in ((1, True), (9, False)):
        engine = Failing({"a": 2})
        engine.num_failures = num_failures
        ref = ask.on(engine, max_tokens=8, decoding=cfg(2.0))("a")
        result = motet.run(motet.settled([ref]), store=None, budget=Budget(max_tokens=10_000))
        assert result.value[0].is_success is is_success
        assert engine.num_begun > 1
        assert result.usage.tokens == engine.used


def test_the_cost_of_rounds_is_held_too() -> None:
    engine = PairedInRounds({"a": 6})
    engine.is_wasteful = True
    model = Model(engine, price=Price(prompt=1.0, completion=100.0))
    ref = ask.on(model, max_tokens=8, decoding=cfg(2.0))("a")

    result = motet.run(motet.settled([ref]), store=None, budget=Budget(max_cost=0.0035))

    assert errors_of(result.value) == [BudgetExhaustedError]
    assert result.value[0].error.limit == "max_cost"
    assert 0 < result.cost <= 0.0035
    assert result.cost == pytest.approx(cost_of(model, result.usage))
