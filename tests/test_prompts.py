"""Prompts: declaration, binding, rendering, and what comes of each reply."""

import gc
import json
import weakref
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

import motet
from motet import Capability, Completion, Message, Model, Ref, RunFailedError, Sampling, prompt
from motet.engine import Reply, Usage
from motet.errors import (
    CapabilityError,
    ConfigError,
    CutOffReplyError,
    EmptyReplyError,
    EngineUnavailableError,
    ParseError,
    RefusalError,
    TemplateError,
    UnboundInputError,
    UnboundModelError,
)
from motet.prompts import dump_reply, load_reply
from motet.testing import ScriptedEngine

HOSTILE = [
    "{{ 7 * 7 }}{% raw %}",
    "<|im_start|>system",
    '{"role": "system"}',
    "\x00\x1b[31m",
    "\ud800",
    "a\r\nb\n",
    "x" * 1_000_000,
]


class City(BaseModel):
    name: str


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@prompt(
    system="{% if tone %}Be {{ tone }}.{% endif %}", user="{{ question }}", assistant="{{ lead }}"
)
def full(question: str, tone: str = "", lead: str = "So") -> str:
    raise NotImplementedError


@prompt(user="{{ n }}")
def number(n: int) -> int:
    raise NotImplementedError


@prompt(user="x")
def choice() -> Literal["yes", "no"]:
    raise NotImplementedError


@prompt(user="x")
def truth() -> bool:
    raise NotImplementedError


@prompt(user="x")
def weight() -> float:
    raise NotImplementedError


@prompt(user="x")
def numbers() -> list[int]:
    raise NotImplementedError


@prompt(user="x")
def city() -> City:
    raise NotImplementedError


@prompt(user="x")
def maybe() -> int | None:
    raise NotImplementedError


@prompt(user="x")
def whole() -> Completion:
    raise NotImplementedError


@prompt(user="x", keep_cut_off=True)
def lenient() -> str:
    raise NotImplementedError


def value_of(ref: Ref[Any], **settings: Any) -> Any:
    return motet.run(ref, store=None, **settings).value


def failure_of(ref: Ref[Any]) -> BaseException | None:
    with pytest.raises(RunFailedError) as caught:
        motet.run(ref, store=None)
    return caught.value.__cause__


# ---- declaration ---------------------------------------------------------------------------------


def test_a_prompt_needs_a_users_turn_or_a_chat() -> None:
    """Neither and both are refused where the prompt is declared."""
    for turns in ({}, {"user": "x", "chat": lambda: "x"}, {"system": "x"}):
        with pytest.raises(TemplateError) as caught:

            @prompt(**turns)
            def wrong() -> str:
                raise NotImplementedError

        assert "test_prompts.py" in str(caught.value.place)


def test_a_chat_makes_every_message() -> None:
    """Templates beside chat= are refused."""
    with pytest.raises(TemplateError, match="every message"):

        @prompt(chat=lambda: "x", system="y")  # type: ignore[call-overload]
        def wrong() -> str:
            raise NotImplementedError


def test_an_unknown_template_variable_is_refused_at_declaration() -> None:
    """The message names the variable and the known ones."""
    with pytest.raises(TemplateError, match="'questoin'.*question"):

        @prompt(user="{{ questoin }}")
        def wrong(question: str) -> str:
            raise NotImplementedError


@pytest.mark.parametrize("call", [lambda: ask(), lambda: ask("a", "b"), lambda: ask(q="a")])
def test_wrong_arguments_are_refused_where_the_call_is_made(call: Any) -> None:
    """A prompt's signature is checked like a function's."""
    with pytest.raises(UnboundInputError, match="ask") as caught:
        call()

    assert "test_prompts.py" in str(caught.value.place)


# ---- binding -------------------------------------------------------------------------------------


def test_binding_changes_nothing_of_the_prompt_it_came_of() -> None:
    """Operations are immutable: a thousand bindings leave the first as it was."""
    engine = ScriptedEngine()
    bound = ask.on(engine, temperature=0.5)
    before = (ask.identity, bound.identity)

    variants = [bound.on(temperature=i / 1000).samples(i + 1) for i in range(1000)]

    assert (ask.identity, bound.identity) == before
    assert ask.binding.model is None
    assert len({v.identity for v in variants}) == 1000


def test_bindings_add_up_and_the_last_counts() -> None:
    """`.on` keeps the model where it is not given, and `.samples` keeps the settings."""
    first, second = Model(ScriptedEngine()), Model(ScriptedEngine(name="other"))

    bound = ask.on(first, temperature=0.1, top_p=0.5).samples(3).on(temperature=0.2)
    moved = bound.on(second)

    assert bound.binding.model is first
    assert dict(bound.binding.sampling) == {"temperature": 0.2, "top_p": 0.5}
    assert bound.binding.samples == 3
    assert moved.binding.model is second
    assert dict(moved.binding.sampling) == dict(bound.binding.sampling)


@pytest.mark.parametrize(
    "bad", [{"temperature": -1}, {"temprature": 1}, {"max_tokens": 0}, {"top_p": 2}, {"stop": [""]}]
)
def test_a_bad_setting_is_refused_when_it_is_bound(bad: dict[str, Any]) -> None:
    """No token is spent on a wrong setting."""
    with pytest.raises(ConfigError, match=next(iter(bad))):
        ask.on(**bad)


@pytest.mark.parametrize("n", [0, -1, True, 1.5, "2", None])
def test_a_bad_number_of_samples_is_refused(n: Any) -> None:
    """At least one, and a whole number."""
    with pytest.raises(ConfigError, match="samples"):
        ask.samples(n)


def test_settings_go_to_the_engine_as_they_are() -> None:
    """The prompt's settings lie over the model's, and the rest is the default."""
    engine = ScriptedEngine()
    model = Model(engine, "name", sampling=Sampling(temperature=0.3, max_tokens=77))

    value_of(ask.on(model, top_p=0.9, stop=("END",), seed=5)("q"))

    request = engine.requests[0]
    assert request.model == "name"
    assert request.sampling == Sampling(
        temperature=0.3, max_tokens=77, top_p=0.9, stop=("END",), seed=5
    )
    assert (request.n, request.constraint) == (1, None)


def test_a_greedy_call_has_no_seed_and_a_sampled_one_has() -> None:
    """Seeds of sampled calls differ; they derive from run seed and id."""
    engine = ScriptedEngine()

    for seed in (0, 0, 1):
        value_of(ask.on(engine, temperature=0)("q"), seed=seed)
        value_of(ask.on(engine)("q"), seed=seed)

    seeds = [r.sampling.seed for r in engine.requests]
    assert seeds[0::2] == [None, None, None]
    assert seeds[1] == seeds[3] != seeds[5]
    assert all(s is not None and 0 <= s < 2**31 for s in seeds[1::2])


def test_the_model_is_the_prompts_the_scopes_or_the_runs() -> None:
    """The nearest binding counts."""
    own, inner, outer, default = (ScriptedEngine({"q": name}) for name in "abcd")
    with motet.scope(model=Model(outer)):
        in_outer = ask("q")
        bound = ask.on(own)("q")
        with motet.scope(model=Model(inner)):
            in_inner = ask("q")
    unscoped = ask("q")

    values = [value_of(r, model=Model(default)) for r in (bound, in_inner, in_outer, unscoped)]

    assert values == ["a", "b", "c", "d"]


def test_a_prompt_without_a_model_is_refused_before_any_call() -> None:
    """The whole graph is checked: the bound half is not asked either."""
    engine = ScriptedEngine()
    ref = ask(ask.on(engine)("first"))

    with pytest.raises(UnboundModelError, match="ask has no model") as caught:
        motet.run(ref, store=None)

    assert engine.requests == []
    assert "test_prompts.py" in str(caught.value.place)


@pytest.mark.parametrize(
    ("build", "missing"),
    [
        (lambda e: ask.on(e, logprobs=0)("q"), "logprobs"),
        (lambda e: full.on(e)("q"), "continue"),
        (lambda e: ask.on(e, decoding=(Rule(),))("q"), "logits_processors"),
    ],
)
def test_a_capability_that_an_engine_lacks_is_refused_by_name(build: Any, missing: str) -> None:
    """`plan` reports it, `run` refuses it, and nothing is asked."""
    engine = ScriptedEngine(capabilities=frozenset())
    ref = build(engine)

    problems = motet.plan(ref).problems
    with pytest.raises(CapabilityError, match=missing):
        motet.run(ref, store=None)

    assert [type(p) for p in problems] == [CapabilityError]
    assert engine.requests == []


class Rule:
    identity = "rule"

    def __call__(self, prompt_ids: Any, output_ids: Any, logits: Any) -> Any:
        return logits


def test_a_constraint_is_sent_only_to_engines_that_hold_it() -> None:
    """Without grammars the reply is validated all the same."""
    able = ScriptedEngine({"x": "yes"})
    unable = ScriptedEngine({"x": "yes"}, capabilities=frozenset({Capability.SEED}))

    values = [value_of(choice.on(e)()) for e in (able, unable)]

    assert values == ["yes", "yes"]
    constraint = able.requests[0].constraint
    assert constraint is not None
    assert constraint.value == ("yes", "no")
    assert unable.requests[0].constraint is None


# ---- rendering -----------------------------------------------------------------------------------


def test_turns_stand_in_order_and_an_empty_system_turn_is_left_out() -> None:
    """system, user, assistant; only the system's turn may vanish."""
    engine = ScriptedEngine(lambda r: "a")

    value_of(full.on(engine)("q"))
    value_of(full.on(engine)("q", tone="brief", lead="Well"))

    assert [r.prompt for r in engine.requests] == [
        (Message.user("q"), Message.assistant("So")),
        (Message.system("Be brief."), Message.user("q"), Message.assistant("Well")),
    ]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda t: ascii(t[:12]))
def test_hostile_texts_pass_through_a_chain_unchanged(text: str) -> None:
    """What one model wrote reaches the next as it was, from argument to value."""
    engine = ScriptedEngine(lambda r: Completion(r.prompt[-1].content))

    value = value_of(ask.on(engine)(ask.on(engine)(text)))

    assert value == text
    assert [r.prompt for r in engine.requests] == [(Message.user(text),)] * 2


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(exclude_categories=())).filter(lambda t: t.strip()))
def test_any_text_passes_unchanged(text: str) -> None:
    """The law behind the examples."""
    engine = ScriptedEngine(lambda r: Completion(r.prompt[-1].content))

    assert value_of(ask.on(engine)(text)) == text


def test_the_schema_of_the_answer_may_stand_in_a_template() -> None:
    """`output_schema` is reserved for it."""

    @prompt(user="Schema: {{ output_schema }}")
    def shown() -> City:
        raise NotImplementedError

    engine = ScriptedEngine(lambda r: '{"name": "Ulm"}')

    value = value_of(shown.on(engine)())

    assert value == City(name="Ulm")
    text = engine.requests[0].prompt[-1].content  # type: ignore[union-attr]
    assert json.loads(text.removeprefix("Schema: ")) == City.model_json_schema()


def test_a_chat_function_gives_messages_or_one_text() -> None:
    """It has the prompt's own parameters; a failure is a template's."""

    @prompt(chat=lambda topic: f"about {topic}")
    def texted(topic: str) -> str:
        raise NotImplementedError

    @prompt(chat=lambda topic: str(1 / 0))
    def broken(topic: str) -> str:
        raise NotImplementedError

    engine = ScriptedEngine()

    value_of(texted.on(engine)("motets"))
    failure = failure_of(broken.on(engine)("motets"))

    assert engine.requests[0].prompt == (Message.user("about motets"),)
    assert isinstance(failure, TemplateError)
    assert "ZeroDivisionError" in str(failure)


# ---- replies -------------------------------------------------------------------------------------

REPLIES = [
    (ask, ("q",), "text", "text"),
    (number, (1,), "42", 42),
    (weight, (), "0.5", 0.5),
    (truth, (), "true", True),
    (choice, (), "no", "no"),
    (numbers, (), "[1,2]", [1, 2]),
    (city, (), '{"name": "Ulm"}', City(name="Ulm")),
    (maybe, (), "null", None),
    (whole, (), "", Completion("")),
    (lenient, (), Completion("half", "length"), "half"),
]


@pytest.mark.parametrize(("operation", "args", "reply", "expected"), REPLIES)
def test_a_reply_becomes_the_declared_value(
    operation: Any, args: Any, reply: Any, expected: Any
) -> None:
    """Each output type, from the engine to the run's value."""
    engine = ScriptedEngine(lambda r: reply)

    assert value_of(operation.on(engine)(*args)) == expected


OUTCOMES = [
    (ask, ("q",), "", EmptyReplyError),
    (ask, ("q",), Completion("half", "length"), CutOffReplyError),
    (ask, ("q",), Completion("half", "abort"), CutOffReplyError),
    (ask, ("q",), Completion("no", "refusal"), RefusalError),
    (lenient, (), "", EmptyReplyError),
    (number, (1,), "many", ParseError),
    (weight, (), "nan", ParseError),
    (truth, (), "maybe", ParseError),
    (choice, (), "perhaps", ParseError),
    (numbers, (), "[1", ParseError),
    (city, (), "{}", ParseError),
    (maybe, (), "none", ParseError),
]


@pytest.mark.parametrize(("operation", "args", "reply", "kind"), OUTCOMES)
def test_a_reply_that_is_no_value_is_a_typed_outcome(
    operation: Any, args: Any, reply: Any, kind: Any
) -> None:
    """Nothing is invented, the completion is kept, and the call is paid for."""
    engine = ScriptedEngine(lambda r: reply)

    with pytest.raises(RunFailedError) as caught:
        motet.run(operation.on(engine)(*args), store=None)

    error: Any = caught.value.__cause__
    assert type(error) is kind
    assert error.completion is not None
    assert caught.value.partial.usage.calls == 1


def test_only_the_failed_samples_are_dropped() -> None:
    """`.samples(n)` gives those that have the type, in order, for one request."""
    engine = ScriptedEngine(
        lambda r: ("1", "x", Completion("2", "length"), "", "3", Completion("", "refusal"))
    )

    result = motet.run(number.on(engine).samples(6)(1), store=None)

    assert result.value == [1, 3]
    assert result.usage.calls == 1
    assert engine.requests[0].n == 6


def test_where_all_samples_fail_the_first_failure_counts() -> None:
    """No empty list stands for failure."""
    engine = ScriptedEngine(lambda r: ("x", "", "y"))

    failure = failure_of(number.on(engine).samples(3)(1))

    assert isinstance(failure, ParseError)
    assert "'x'" in str(failure)


def test_one_sample_is_a_list_too() -> None:
    """`.samples(1)` does not change its type with n."""
    engine = ScriptedEngine(lambda r: "5")

    assert value_of(number.on(engine).samples(1)(1)) == [5]


def test_samples_of_completions_are_all_kept() -> None:
    """`-> Completion` judges no sample."""
    engine = ScriptedEngine(lambda r: ("", Completion("x", "refusal")))

    assert value_of(whole.on(engine).samples(2)()) == [Completion(""), Completion("x", "refusal")]


def test_an_engine_that_gives_fewer_completions_is_an_error() -> None:
    """A wrong number of completions is the engine's failure, not fewer samples."""

    class Short(ScriptedEngine):
        async def complete(self, request: Any, on_delta: Any = None) -> Reply:
            return Reply((Completion("x"),), Usage(1, 1, 0, 1))

    failure = failure_of(ask.on(Short()).samples(2)("q"))

    assert "1 completions for n=2" in str(failure)


def test_a_reply_with_a_wrong_count_is_still_paid_for() -> None:
    """What the engine charged stands in the run's usage, whatever became of the reply."""

    class Short(ScriptedEngine):
        async def complete(self, request: Any, on_delta: Any = None) -> Reply:
            return Reply((Completion("x"),), Usage(1, 1, 0, 1))

    with pytest.raises(RunFailedError) as caught:
        motet.run(ask.on(Short()).samples(2)("q"), store=None)

    assert caught.value.partial.usage == Usage(1, 1, 0, 1)


def test_a_foreign_error_of_an_engine_does_not_leak() -> None:
    """Whatever an engine raises, the run fails with its typed error."""
    engine = ScriptedEngine(lambda r: ValueError("broken engine"))

    failure = failure_of(ask.on(engine)("q"))

    assert isinstance(failure, motet.MotetError)
    assert "broken engine" in str(failure)


def test_an_error_of_the_engine_fails_the_call_with_it() -> None:
    """An EngineError that is not retryable passes as it is."""
    error = motet.errors.ModelNotFoundError("no such model")
    engine = ScriptedEngine(lambda r: error)

    assert failure_of(ask.on(engine)("q")) is error
    assert len(engine.requests) == 1
    assert EngineUnavailableError.retryable


# ---- the journal's form --------------------------------------------------------------------------

COMPLETIONS = st.builds(
    Completion,
    st.text(st.characters(exclude_categories=()), max_size=10),
    st.sampled_from(["stop", "length", "refusal"]),
    stop_reason=st.none() | st.just("END"),
    token_ids=st.sampled_from([(), (1, 2)]),
    reasoning=st.none() | st.just("hm"),
)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(COMPLETIONS, max_size=3),
    st.builds(Usage, *[st.integers(0, 10**6)] * 4),
    st.text(max_size=5),
)
def test_replies_come_back_as_they_are(
    completions: list[Completion], usage: Usage, model: str
) -> None:
    """What a resume reads is what the engine said."""
    reply = Reply(tuple(completions), usage, model)

    data = dump_reply(reply)

    assert load_reply(data) == reply
    assert data.isascii()


def test_identities_tell_prompts_apart() -> None:
    """Templates, models, settings and samples are parts of the identity."""
    engine = ScriptedEngine()

    @prompt(user="{{ question }}!", name="same")
    def louder(question: str) -> str:
        raise NotImplementedError

    @prompt(user="{{ question }}?", name="same")
    def unsure(question: str) -> str:
        raise NotImplementedError

    variants: list[Any] = [
        ask,
        ask.on(engine),
        ask.on(engine, temperature=0),
        ask.on(engine, temperature=0.5),
        ask.samples(1),
        ask.samples(2),
        ask.on(ScriptedEngine(name="b")),
        louder,
        unsure,
    ]

    assert len({v.identity for v in variants}) == len(variants)
    assert ask.on(engine, temperature=0.5).identity == ask.on(engine, temperature=0.5).identity


# ---- bound again ---------------------------------------------------------------------------------


def test_binding_alike_again_gives_the_same_prompt_and_anything_else_another() -> None:
    model = Model("http://127.0.0.1:9/v1#a")
    bound = ask.on(model, temperature=1.0, stop="x")

    assert ask.on(model, temperature=1.0, stop="x") is bound
    assert ask.on("http://127.0.0.1:9/v1#a") is ask.on("http://127.0.0.1:9/v1#a")
    assert bound.samples(3) is bound.samples(3)
    others = [
        ask.on(model, temperature=1, stop="x"),  # another text in the journal's ids
        ask.on(model, temperature=0.5, stop="x"),
        ask.on(Model("http://127.0.0.1:9/v1#a", api_key="k"), temperature=1.0, stop="x"),
        ask.on(temperature=1.0, stop="x"),
        bound.on(max_tokens=1),
        bound.samples(2),
    ]
    for other in others:
        assert other is not bound
        assert bound.binding.sampling == {"temperature": 1.0, "stop": "x"}
    assert bound.binding.samples is None
    assert bound.samples(3).binding.samples == 3


def test_a_setting_that_can_be_changed_later_is_bound_as_it_is_each_time() -> None:
    stops = ["a"]
    first = ask.on(stop=stops)
    stops.append("b")
    second = ask.on(stop=stops)

    assert first is not second
    assert second.binding.resolved(Model("http://127.0.0.1:9/v1#a")).stop == ("a", "b")


def test_a_wrong_setting_is_refused_each_time_and_equal_numbers_are_told_apart() -> None:
    ask.samples(1)
    for _ in range(2):
        with pytest.raises(ConfigError):
            ask.samples(True)
        with pytest.raises(ConfigError):
            ask.on(temperature=-1)


def test_a_bound_prompt_keeps_no_engine_alive_and_only_so_many_bindings() -> None:
    engine = ScriptedEngine("yes")
    gone = weakref.ref(engine)
    ask.on(engine, temperature=0.25).samples(2)
    ask.on(Model(engine), temperature=0.25)
    del engine
    gc.collect()
    assert gone() is None

    for seed in range(2000):
        ask.on(seed=seed)
    assert len(ask._known) <= 256
