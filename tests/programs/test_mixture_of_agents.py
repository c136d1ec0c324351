"""Mixture-of-Agents: the oracles of its card, on engines whose answers are known."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motet
from motet import Completion, Message, Model, Ref, RunFailedError, prompt
from motet.errors import ConfigError, CutOffReplyError, EmptyReplyError
from motet.programs import best_of_n, mixture_of_agents, self_consistency
from motet.programs.mixture_of_agents import inject_references
from motet.testing import ScriptedEngine


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


def numbered(text: str) -> list[str]:
    """The references that stand in a system turn, in order."""
    return [line.partition(". ")[2] for line in text.splitlines() if re.match(r"\d+\. ", line)]


def echo_first(request: Any) -> str:
    """Answer with the first reference, or with the question."""
    system = [m.content for m in request.prompt if m.role == "system"]
    references = numbered(system[0]) if system else []
    return references[0] if references else f"answer to {request.prompt[-1].content}"


def named(name: str, text: str | None = None) -> ScriptedEngine:
    return ScriptedEngine(lambda r: name if text is None else text, name=name)


def value_of(ref: Ref[Any], **settings: Any) -> Any:
    return motet.run(ref, store=None, **settings).value


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def test_one_proposer_and_an_echo_are_a_single_call() -> None:
    """(a) n=1, one round, an aggregator that echoes the first reference."""
    engine = ScriptedEngine(echo_first)

    mixed = value_of(
        mixture_of_agents("q", proposers=[Model(engine)], aggregator=Model(engine), layers=2)
    )

    assert mixed == value_of(ask.on(engine)("q")) == "answer to q"


@pytest.mark.parametrize(
    "question",
    ["q", (Message.user("q"),), (Message.system("s"), Message.user("a"), Message.assistant("b"))],
)
def test_without_references_the_messages_are_the_input(question: Any) -> None:
    """(b) The list is identical, and so is the request of one layer."""
    engine = ScriptedEngine(lambda r: "a")

    value_of(mixture_of_agents(question, proposers=[], aggregator=Model(engine), layers=1))

    expected = (Message.user("q"),) if question == "q" else question
    assert inject_references(question, []) == expected
    assert engine.requests[0].prompt == expected


@settings(deadline=None, max_examples=60)
@given(st.lists(st.from_regex(r"[a-z]{1,5}", fullmatch=True), min_size=1, max_size=9))
def test_references_are_numbered_from_one(references: list[str]) -> None:
    """(c) As many as there are, in order, each on its line behind its number."""
    chat = inject_references("q", references)

    assert len(chat) == 2
    listed = re.findall(r"^(\d+)\. (.*)$", chat[0].content, re.MULTILINE)
    assert listed == [(str(i), r) for i, r in enumerate(references, start=1)]
    assert chat[0].content.endswith(f"\n{len(references)}. {references[-1]}")
    assert chat[1] == Message.user("q")


@settings(deadline=None, max_examples=60)
@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_references_are_quoted_unchanged(references: list[str]) -> None:
    """Templates, numbers and roles inside a reference are data."""
    content = inject_references("q", references)[0].content

    listed = "".join(f"\n{i}. {r}" for i, r in enumerate(references, start=1))
    assert content.endswith(listed)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("n", [1, 3, 5])
def test_the_number_of_calls_is_exact(n: int, layers: int) -> None:
    """(d) n calls a round and the aggregator's; planned and made."""
    engine = ScriptedEngine()
    model = Model(engine)
    ref = mixture_of_agents("q", proposers=[model] * n, aggregator=model, layers=layers)

    planned = motet.plan(ref).estimate.calls
    result = motet.run(ref, store=None)

    assert planned == result.usage.calls == len(engine.requests) == n * (layers - 1) + 1


def test_the_input_is_not_changed() -> None:
    """(e) Neither the chat nor the proposers' list."""
    model = Model(ScriptedEngine())
    chat = (Message.system("s"), Message.user("q"))
    proposers = [model, model]

    value_of(mixture_of_agents(chat, proposers=proposers, aggregator=model))

    assert chat == (Message.system("s"), Message.user("q"))
    assert proposers == [model, model]


@settings(deadline=None, max_examples=20)
@given(st.permutations(["a", "b", "c", "d"]))
def test_permuting_proposers_permutes_the_numbering_only(order: list[str]) -> None:
    """(f) The same references, numbered in the proposers' order."""
    last = ScriptedEngine(lambda r: "done")

    value_of(
        mixture_of_agents(
            "q", proposers=[Model(named(n)) for n in order], aggregator=Model(last), layers=2
        )
    )

    content = last.requests[0].prompt[0].content  # type: ignore[union-attr]
    assert numbered(content) == order


def test_there_is_exactly_one_system_turn() -> None:
    """(g) References are appended to the one that is there."""
    chat = (Message.system("Be kind."), Message.user("q"))

    injected = inject_references(chat, ["a", "b"])

    assert [m.role for m in injected] == ["system", "user"]
    assert injected[0].content.startswith("Be kind.\n\n")
    assert numbered(injected[0].content) == ["a", "b"]


def test_each_layer_sees_the_previous_layers_answers_only() -> None:
    """References are those of one round, not of all."""
    count = iter(range(100))
    engine = ScriptedEngine(lambda r: f"answer{next(count)}")
    last = ScriptedEngine(lambda r: "done")

    value_of(
        mixture_of_agents("q", proposers=[Model(engine)] * 2, aggregator=Model(last), layers=4)
    )

    seen = [
        numbered(r.prompt[0].content) if r.prompt[0].role == "system" else []  # type: ignore[union-attr]
        for r in [*engine.requests, *last.requests]
    ]
    assert [len(s) for s in seen] == [0, 0, 2, 2, 2, 2, 2]
    assert set(seen[2]) == set(seen[3]) == {"answer0", "answer1"}
    assert set(seen[4]) == set(seen[5]) == {"answer2", "answer3"}
    assert set(seen[6]) == {"answer4", "answer5"}


def test_a_failed_proposer_is_dropped_and_not_replaced() -> None:
    """An empty answer, and an engine's error, cost their reference only."""
    last = ScriptedEngine(lambda r: "done")
    broken = ScriptedEngine(
        lambda r: motet.errors.PromptTooLongError("x", prompt_tokens=1, max_tokens=1)
    )
    proposers = [Model(e) for e in (named("a"), named("empty", ""), broken, named("b"))]

    value_of(mixture_of_agents("q", proposers=proposers, aggregator=Model(last), layers=2))

    assert numbered(last.requests[0].prompt[0].content) == ["a", "b"]  # type: ignore[union-attr]


def test_where_all_proposers_fail_the_last_call_is_a_plain_one() -> None:
    """(5) of the card: no reference, no system turn."""
    last = ScriptedEngine(lambda r: "done")

    value = value_of(
        mixture_of_agents("q", proposers=[Model(named("e", ""))] * 2, aggregator=Model(last))
    )

    assert value == "done"
    assert last.requests[0].prompt == (Message.user("q"),)


def test_a_cut_off_proposal_counts_and_a_cut_off_answer_does_not() -> None:
    """Only the final answer must be whole."""
    cut = ScriptedEngine(lambda r: Completion("half a thought", "length"))
    last = ScriptedEngine(lambda r: "done")

    value = value_of(
        mixture_of_agents("q", proposers=[Model(cut)], aggregator=Model(last), layers=2)
    )
    with pytest.raises(RunFailedError) as caught:
        value_of(mixture_of_agents("q", proposers=[Model(last)], aggregator=Model(cut), layers=2))

    assert value == "done"
    assert numbered(last.requests[0].prompt[0].content) == ["half a thought"]  # type: ignore[union-attr]
    assert isinstance(caught.value.__cause__, CutOffReplyError)


def test_an_empty_final_answer_is_no_answer() -> None:
    """Nothing is invented."""
    with pytest.raises(RunFailedError) as caught:
        value_of(
            mixture_of_agents(
                "q", proposers=[Model(named("a"))], aggregator=Model(named("e", "")), layers=2
            )
        )

    assert isinstance(caught.value.__cause__, EmptyReplyError)


@pytest.mark.parametrize(
    ("given_temperature", "last", "expected"),
    [
        (0.7, None, (0.7, 0.7)),
        (1e-5, None, (0.0, 0.0)),
        (1e-4, 0.3, (0.0, 0.3)),
        (None, None, (None, None)),
        (None, 0.5, (None, 0.5)),
        (1.5, 0.0, (1.5, 0.0)),
    ],
)
def test_temperatures_go_where_they_belong(
    given_temperature: float | None, last: float | None, expected: tuple[Any, Any]
) -> None:
    """At most 1e-4 is greedy, None is the model's."""
    first, aggregator = named("a"), named("b")

    value_of(
        mixture_of_agents(
            "q",
            proposers=[Model(first)],
            aggregator=Model(aggregator),
            layers=2,
            temperature=given_temperature,
            aggregator_temperature=last,
            max_tokens=99,
        )
    )

    requests = [first.requests[0], aggregator.requests[0]]
    assert tuple(r.sampling.temperature for r in requests) == expected
    assert [r.sampling.max_tokens for r in requests] == [99, 99]


def test_proposers_may_differ_by_layer() -> None:
    """A list of models a layer, as many as there are layers of proposers."""
    a, b, c, last = (named(n) for n in "abcd")

    value = value_of(
        mixture_of_agents(
            "q",
            proposers=[[Model(a), Model(b)], [Model(c)]],
            aggregator=Model(last),
            layers=3,
        )
    )

    assert value == "d"
    assert [len(e.requests) for e in (a, b, c, last)] == [1, 1, 1, 1]
    assert numbered(c.requests[0].prompt[0].content) == ["a", "b"]  # type: ignore[union-attr]
    assert numbered(last.requests[0].prompt[0].content) == ["c"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("proposers", "layers", "word"),
    [
        ([Model(named("a"))], 0, "layers"),
        ([], 3, "proposers"),
        ([[Model(named("a"))]], 3, "layers"),
    ],
)
def test_a_bad_shape_is_refused_when_it_is_called(proposers: Any, layers: int, word: str) -> None:
    """Before any token."""
    with pytest.raises(ConfigError, match=word):
        mixture_of_agents("q", proposers=proposers, aggregator=Model(named("b")), layers=layers)


def test_equal_proposers_have_seeds_of_their_own() -> None:
    """Self-MoA: one model, asked n times, gives n answers."""
    engine = ScriptedEngine()
    model = Model(engine)

    value_of(mixture_of_agents("q", proposers=[model] * 4, aggregator=model, layers=2))

    assert len({r.sampling.seed for r in engine.requests}) == 5


def test_programs_nest_as_one_expression() -> None:
    """Best of 3 mixtures whose aggregator is a self-consistency: the count of calls is exact."""
    thinker, proposer, judge = (
        ScriptedEngine(lambda r: ("The answer is 42.",) * r.n),
        ScriptedEngine(lambda r: "a proposal"),
        ScriptedEngine(lambda r: "7"),
    )

    ref = best_of_n(
        "What is six times seven?",
        model=mixture_of_agents.as_model(
            proposers=[Model(proposer)] * 2,
            aggregator=self_consistency.as_model(model=Model(thinker), n=5),
            layers=3,
        ),
        n=3,
        judge=Model(judge),
    )
    result = motet.run(ref, store=None)

    assert result.value == "42"
    assert [len(e.requests) for e in (proposer, thinker, judge)] == [3 * 4, 3 * 1, 3]
    assert result.usage.calls == 12 + 3 + 3
    assert {r.n for r in thinker.requests} == {5}
    assert all(numbered(r.prompt[0].content) == ["a proposal"] * 2 for r in thinker.requests)  # type: ignore[union-attr]
