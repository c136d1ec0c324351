"""Planning: the graph of a program, without running it."""

from typing import Any

import pytest

import motet
from motet import Model, Ref, program, prompt, step
from motet.errors import (
    CapabilityError,
    ConfigError,
    EdgeTypeError,
    UnboundInputError,
    UnboundModelError,
)
from motet.programs import mixture_of_agents
from motet.testing import ScriptedEngine


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@prompt(user="{% for r in references %}{{ loop.index }}. {{ r }}\n{% endfor %}")
def fuse(references: list[str]) -> str:
    raise NotImplementedError


@step
def identity(value: Any) -> Any:
    raise AssertionError("plan runs nothing")


@step
def count(value: int) -> int:
    return value


def test_plan_runs_and_sends_nothing() -> None:
    """No step, no request, not even to count tokens."""

    class Silent(ScriptedEngine):
        async def count_tokens(self, prompt: Any) -> int | None:
            raise AssertionError("plan asks no engine")

    engine = Silent()

    graph = motet.plan(identity([ask.on(engine)("q"), motet.map(ask.on(engine), ["a", "b"])]))

    assert graph.problems == ()
    assert graph.estimate.calls == 3
    assert engine.requests == []


def test_every_problem_is_listed_with_its_place() -> None:
    """Not only the first one."""
    weak = ScriptedEngine(capabilities=frozenset())
    ref = identity(
        [
            ask("q"),
            ask.on("nowhere:x")("q"),
            ask.on(weak, logprobs=1)("q"),
            count(ask.on(weak)("q")),
        ]
    )

    problems = motet.plan(ref).problems

    assert {type(p) for p in problems} == {
        UnboundModelError,
        ConfigError,
        CapabilityError,
        EdgeTypeError,
    }
    assert len(problems) == 4
    assert all("test_planning.py" in str(p) for p in problems if not isinstance(p, ConfigError))


def test_a_default_model_answers_the_unbound() -> None:
    """`plan(ref, model=...)` is what `run(ref, model=...)` would do; a URL will do."""
    ref = ask("q")

    assert motet.plan(ref, model=Model(ScriptedEngine(), "m")).nodes[0].model == "m"
    assert motet.plan(ref, model="local:smollm2").problems == ()


def test_unused_calls_of_a_static_program_are_reported_and_not_run() -> None:
    """Made and not returned: named with their place, nested programs included."""
    engine = ScriptedEngine()

    @program
    def inner() -> Any:
        ask.on(engine)("inner unused")
        return ask.on(engine)("inner used")

    @program
    def outer() -> Any:
        ask.on(engine)(ask.on(engine)("unused"))
        return [inner(), ask.on(engine)("used")]

    ref = outer()

    unused = motet.plan(ref).unused
    motet.run(ref, store=None)

    assert len(unused) == 3
    assert all(u.startswith("ask at ") and "test_planning.py:" in u for u in unused)
    assert sorted(r.prompt[-1].content for r in engine.requests) == ["inner used", "used"]  # type: ignore[union-attr]


def test_calls_of_a_program_that_uses_none_are_reported_too() -> None:
    """A program that returns a literal has made its calls for nothing."""

    @program
    def forgetful() -> Any:
        ask.on(ScriptedEngine())("unused")
        return "literal"

    assert len(motet.plan(forgetful()).unused) == 1


def test_plan_takes_a_ref() -> None:
    """A program that was not called is no ref."""
    with pytest.raises(UnboundInputError, match="Program"):
        motet.plan(mixture_of_agents)  # type: ignore[arg-type]


def test_the_plan_of_a_mixture_shows_its_shape() -> None:
    """3 layers of 3 proposers and the aggregator: 7 calls, three deep."""
    model = Model(ScriptedEngine())

    graph = motet.plan(mixture_of_agents("q", proposers=[model] * 3, aggregator=model, layers=3))

    assert graph.estimate.calls == 7
    assert len(graph.estimate.critical_path) == 3
    assert graph.unused == ()
    assert not graph.estimate.is_open


def test_the_length_of_a_plan_grows_with_the_prompts_texts() -> None:
    """Four characters a token, and four tokens a message."""
    engine = ScriptedEngine()

    sizes = [motet.plan(ask.on(engine)("x" * n)).nodes[0].prompt_tokens for n in (0, 40, 400)]

    assert sizes == [4, 14, 104]


def test_a_list_not_known_yet_is_estimated_by_what_its_makers_may_write() -> None:
    """Looping over n answers of 100 tokens adds about 100 n tokens, not several times that."""
    engine = ScriptedEngine()
    answers = ask.on(engine, max_tokens=100).samples(3)("q")

    fused = motet.plan(fuse.on(engine)(answers)).nodes[-1]

    assert 300 <= fused.prompt_tokens <= 350


def test_plan_of_a_deep_and_a_wide_graph_needs_no_recursion() -> None:
    """5,000 calls in a row, and 5,000 side by side."""
    deep: Ref[Any] = identity(0)
    for _ in range(5_000):
        deep = identity(deep)
    wide = identity([identity(i) for i in range(5_000)])

    graphs = [motet.plan(deep), motet.plan(wide)]

    assert [len(g) for g in graphs] == [5_001, 5_001]
    assert graphs[0].to_mermaid().count("-->") == 5_000
