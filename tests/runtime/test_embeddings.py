"""Embeddings in a run: refused, journaled, cached, resumed, within budgets, nested."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motet
from motet import Budget, Capability, Message, Model, Price, program, prompt, step
from motet.decoding import cfg
from motet.engine import Reply, Request, Sampling, Usage
from motet.errors import (
    BudgetExhaustedError,
    CapabilityError,
    ConfigError,
    EngineError,
    RunFailedError,
)
from motet.graph_files import load_graph
from motet.prompts import dump_reply, load_reply
from motet.runtime.prompting import encode_request
from motet.testing import ScriptedEngine
from motet.types import Embedding

EMBEDDING = frozenset({Capability.EMBED})


@prompt(user="{{ text }}")
def text_of(text: str) -> str:
    raise NotImplementedError


@prompt(system="{{ task }}", user="{{ text }}")
def told(task: str, text: str) -> str:
    raise NotImplementedError


@prompt(user="{{ question }}", assistant="{{ answer }}")
def answered(question: str, answer: str) -> str:
    raise NotImplementedError


@step
def cosine(one: Embedding, other: Embedding) -> float:
    return one.cosine(other)


def engine(script: Any = (0.5, -2.0), **settings: Any) -> ScriptedEngine:
    given = script if callable(script) or script is None else lambda _: script
    return ScriptedEngine(given, capabilities=EMBEDDING, **settings)


def test_the_value_is_the_vector_of_the_turn_itself() -> None:
    """A chat of one user's turn is its text, so no template stands around it."""
    model = engine()

    result = motet.run(text_of.on(model).embeddings()("a {{ 7 * 7 }} b"), store=None)

    assert result.value == Embedding((0.5, -2.0))
    [request] = model.requests
    assert request.is_embedded
    assert request.prompt == "a {{ 7 * 7 }} b"
    assert (result.usage.prompt_tokens, result.usage.completion_tokens) == (7, 0)


def test_other_chats_stay_chats() -> None:
    """With a system's turn, or an assistant's at the end, which is not gone on with."""
    model = engine()

    motet.run(told.on(model).embeddings()("t", "x"), store=None)
    motet.run(answered.on(model).embeddings()("q", "a"), store=None)

    assert [request.prompt for request in model.requests] == [
        (Message.system("t"), Message.user("x")),
        (Message.user("q"), Message.assistant("a")),
    ]


def test_a_prompt_is_answered_one_way() -> None:
    """Embeddings go with no other way to answer, in any order, nor with decoding rules."""
    for bind in (
        lambda: text_of.embeddings().samples(2),
        lambda: text_of.samples(2).embeddings(),
        lambda: text_of.embeddings().scores(["a"]),
        lambda: text_of.rewards().embeddings(),
    ):
        with pytest.raises(ConfigError, match=r"embeddings\(\)"):
            bind()
    with pytest.raises(ConfigError, match="decoding rules"):
        motet.run(text_of.on(engine(), decoding=cfg()).embeddings()("q"), store=None)


def test_an_engine_without_embeddings_is_refused_by_plan_and_by_run() -> None:
    """Nothing is sent; the missing capability is named. A program embeds nothing either."""
    other = ScriptedEngine("x")

    @program
    def echo(question: str) -> str:
        return question

    [problem] = motet.plan(text_of.on(other).embeddings()("q")).problems
    assert isinstance(problem, CapabilityError)
    assert "embed" in str(problem)
    with pytest.raises(CapabilityError, match="embed"):
        motet.run(text_of.on(other).embeddings()("q"), store=None)
    with pytest.raises(CapabilityError, match="embeddings"):
        motet.run(text_of.on(echo.as_model()).embeddings()("q"), store=None)
    assert other.requests == []


def test_an_engine_that_gives_no_vector_is_an_error() -> None:
    """A reply without one is no value."""

    class Mute(ScriptedEngine):
        async def complete(self, request: Request, on_delta: Any = None) -> Reply:
            return Reply((), Usage(1, calls=1), "m")

    with pytest.raises(RunFailedError, match="no embedding") as caught:
        motet.run(text_of.on(Mute(capabilities=EMBEDDING)).embeddings()("q"), store=None)

    assert type(caught.value.__cause__) is EngineError


def test_a_script_that_gives_no_numbers_is_refused() -> None:
    """A text is no vector."""
    for script in ("text", ("a", "b")):
        with pytest.raises(RunFailedError, match="vector"):
            motet.run(text_of.on(engine(script)).embeddings()("q"), store=None)


def test_without_a_script_equal_texts_have_equal_vectors() -> None:
    """Texts that share words are nearer than others."""
    bound = text_of.on(engine(None)).embeddings()
    a, same, near, far = (
        motet.run(bound(text), store=None).value
        for text in ("one two three four", "one two three four", "one two three five", "six seven")
    )

    assert a == same
    assert a.cosine(near) > a.cosine(far)


def test_the_plan_expects_no_completion() -> None:
    """Embeddings generate nothing."""
    [node] = motet.plan(text_of.on(engine()).embeddings()("q" * 400)).nodes

    assert node.completion_tokens == 0
    assert node.prompt_tokens >= 100


def test_embeddings_are_cached_across_runs_whatever_the_seed_and_the_temperature(
    tmp_path: Path,
) -> None:
    """The model was asked once: its vector depends on the prompt, and on extra fields."""
    model = engine()
    store = tmp_path / "runs.db"

    for seed, temperature in ((1, 0.5), (2, 1.0)):
        bound = text_of.on(model, temperature=temperature).embeddings()
        assert motet.run(bound("q"), store=store, seed=seed).value == Embedding((0.5, -2.0))
    assert len(model.requests) == 1
    motet.run(text_of.on(model, extra={"dimensions": 2}).embeddings()("q"), store=store)

    assert len(model.requests) == 2


def test_a_completion_of_the_same_prompt_is_another_cache_entry() -> None:
    """Whether a prompt is embedded is part of the key."""
    completed = Request(model="m", prompt="q", sampling=Sampling())

    assert encode_request("u", replace(completed, is_embedded=True)) != encode_request(
        "u", completed
    )


def test_a_run_resumes_without_asking_for_embeddings_again(tmp_path: Path) -> None:
    """They are journaled as every call, with what they cost; the vector comes back bit by bit."""
    asked = engine((0.1, 0.2, 0.7))
    is_broken = True

    @step
    def fragile(embedding: Embedding) -> list[float]:
        if is_broken:
            raise ValueError("not yet")
        return list(embedding.values)

    @program
    def embedded(text: str) -> list[float]:
        model = Model(asked, price=Price(prompt=1e6, completion=0))
        return fragile(text_of.on(model).embeddings()(text))  # type: ignore[return-value]

    kept: dict[str, Any] = {"store": tmp_path / "s.db", "cache": False}
    with pytest.raises(RunFailedError) as caught:
        motet.run(embedded("one two"), **kept)
    is_broken = False
    resumed = motet.run(embedded("one two"), **kept, resume=caught.value.run_id)

    assert tuple(resumed.value) == Embedding((0.1, 0.2, 0.7)).values
    assert len(asked.requests) == 1
    assert resumed.cost == pytest.approx(2.0)


def test_a_number_of_a_vector_takes_four_bytes_in_the_journal() -> None:
    """As base64 of float32, which makes 2,048 letters of 384 numbers, with little around it."""
    vector = Embedding(tuple(1 / (n + 3) for n in range(384)))

    written = dump_reply(Reply((), Usage(7, 0, 0, 1), "m", embedding=vector))

    assert vector.to_text().encode() in written
    assert len(vector.to_text()) == 2048
    assert len(written) < 2048 + 400


def test_replies_with_an_embedding_are_written_whole() -> None:
    """What is journaled is what came."""
    reply = Reply((), Usage(7, 0, 0, 1), "m", embedding=Embedding((0.1, -2.0)))

    assert load_reply(dump_reply(reply)) == reply
    assert json.loads(dump_reply(reply))["embedding"] == Embedding((0.1, -2.0)).to_text()


def test_a_program_may_return_an_embedding(tmp_path: Path) -> None:
    """It is journaled as a value too, and read back equal."""
    model = engine((0.1, 0.2))

    @program
    async def embedded(text: str) -> Embedding:
        return await text_of.on(model).embeddings()(text)

    store = tmp_path / "s.db"
    values = [motet.run(embedded("q"), store=store).value for _ in range(2)]

    assert values == [Embedding((0.1, 0.2))] * 2
    assert len(model.requests) == 1


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(0, 120))
def test_embeddings_side_by_side_stay_within_a_budget_of_prompt_tokens(
    sizes: list[int], limit: int
) -> None:
    """Only prompt tokens are reserved, so with room for the prompts all are embedded."""
    model = engine(delay_s=0.0001)
    refs = [
        text_of.on(model).embeddings()(f"{n} " + "w " * (size - 1)) for n, size in enumerate(sizes)
    ]

    result = motet.run(motet.settled(refs), store=None, budget=Budget(max_tokens=limit))

    failed = {type(o.error) for o in result.value if not o.is_success}
    assert result.usage.tokens <= limit
    assert failed <= {BudgetExhaustedError}
    if sum(sizes) <= limit:
        assert not failed
        assert result.usage.prompt_tokens == sum(sizes)


def test_embeddings_of_many_texts_are_in_flight_together() -> None:
    """The server batches what comes at once."""
    model = engine(delay_s=0.02)

    motet.run(motet.map(text_of.on(model).embeddings(), [str(n) for n in range(20)]), store=None)

    assert model.peak_in_flight == 20


def test_embeddings_nest_in_a_program_that_is_a_model() -> None:
    """The draft that is nearest to a text answers a prompt that knows nothing of it."""
    writer = ScriptedEngine({"draft": ("dogs bark", "a cat sat")})
    embedder = Model(engine(None))

    @program
    async def nearest(question: str) -> str:
        drafts = await text_of.on(writer).samples(2)(question)
        bound = text_of.on(embedder).embeddings()
        values = [await cosine(bound(draft), bound("the cat sat")) for draft in drafts]
        return drafts[values.index(max(values))]

    assert motet.run(text_of.on(nearest.as_model())("draft"), store=None).value == "a cat sat"


def test_a_graph_file_keeps_that_a_prompt_asks_for_an_embedding() -> None:
    """It comes back as such."""
    bound = text_of.on("local:smollm2").embeddings()
    again = load_graph(motet.plan(bound("q")).to_json(), operations=[text_of])

    assert again.operation.identity == bound.identity  # type: ignore[attr-defined]
    assert again.operation.identity != text_of.on("local:smollm2").identity  # type: ignore[attr-defined]
