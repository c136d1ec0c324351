"""Decoding rules in a run: refusals before a token is spent, the other prompt, what was broken."""

from collections.abc import Mapping
from typing import Any, Literal

import pytest

import motet
import motet.engine
from motet import Completion, Message, Model, prompt
from motet.decoding import (
    adacad,
    cad,
    cfg,
    choice,
    choosing_problem,
    dola,
    json_schema,
    length,
    regex,
    trie,
    weighted,
)
from motet.engine import Constraint, Request
from motet.errors import (
    CapabilityError,
    ConfigError,
    ConstraintBrokenError,
    EngineUnavailableError,
    RunFailedError,
    UnboundInputError,
)
from motet.runtime.ruling import matches
from motet.testing import ScriptedEngine

ALL = dict.fromkeys(
    ("cfg", "cad", "adacad", "dola", "trie", "length", "stop", "constraint", "weighted"), "scripted"
)


@prompt(system="Be kind.", user="{{ context }} {{ question }}")
def ask(question: str, context: str = "ctx") -> str:
    raise NotImplementedError


@prompt(user="{{ question }}")
def choose(question: str) -> Literal["a", "b"]:
    raise NotImplementedError


def ruled(script: Any = "text", **settings: Any) -> ScriptedEngine:
    say = (lambda _: script) if isinstance(script, str) else script
    return ScriptedEngine(say, **{"decoding_rules": ALL, **settings})


def partner(rule: Any) -> Any:
    engine = ruled()
    motet.run(ask.on(engine, decoding=rule)("q", "facts"), store=None)
    return engine.requests[0].partner


def test_a_negative_text_replaces_the_system_turn() -> None:
    assert partner(cfg(negative="Be rude.")) == (
        Message.system("Be rude."),
        Message.user("facts q"),
    )


def test_a_negative_chat_is_the_other_prompt() -> None:
    chat = (Message.user("whatever"),)
    assert partner(cfg(negative=chat)) == chat


def test_without_leaves_a_parameter_empty() -> None:
    assert partner(cad(without="context")) == (Message.system("Be kind."), Message.user(" q"))


def test_nothing_said_leaves_the_last_token_alone() -> None:
    assert partner(cfg(2.0)) == ()


def test_rules_that_are_not_paired_have_no_other_prompt() -> None:
    assert partner(dola()) is None


def test_the_other_prompt_is_part_of_the_cache_key(tmp_path: Any) -> None:
    engine = ruled()
    store = str(tmp_path / "a.db")
    for text in ("one", "two", "one"):
        motet.run(
            ask.on(engine, temperature=0.0, decoding=cad(without="context"))("q", text), store=store
        )
    assert len(engine.requests) == 2


@pytest.mark.parametrize(
    ("rule", "error", "said"),
    [
        (cfg() & cad(), ConfigError, "cfg and cad"),
        (cfg() & dola(), ConfigError, "cfg and dola"),
        (regex("a") & choice(["a"]), ConfigError, "only one constraint"),
        (weighted(trie(["a"])) & cfg(), ConfigError, "weighted rule holds alone"),
        (cad(without="contxt"), UnboundInputError, "'contxt'"),
    ],
)
def test_rules_that_cannot_hold_are_refused_before_a_token_is_spent(
    rule: Any, error: type[Exception], said: str
) -> None:
    engine = ruled()
    ref = ask.on(engine, decoding=rule)("q")
    with pytest.raises(error, match=said):
        motet.run(ref, store=None)
    assert said in str(motet.plan(ref).problems[0])
    assert engine.requests == []


def test_a_typed_answer_and_a_constraint_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="the answer's type"):
        motet.run(choose.on(ruled(), decoding=regex("a"))("q"), store=None)


def test_an_engine_without_the_rule_is_refused_by_plan() -> None:
    engine = ruled(decoding_rules={"stop": "x"})
    [problem] = motet.plan(ask.on(engine, decoding=cfg())("q")).problems
    assert isinstance(problem, CapabilityError)
    assert "decoding rule cfg" in str(problem)
    assert "it carries out: stop" in str(problem)


class Learning(ScriptedEngine):
    """Knows what it can do only once it was asked."""

    is_down = False
    num_asked = 0

    async def prepare(self) -> None:
        self.num_asked += 1
        if self.is_down:
            raise EngineUnavailableError("down")
        self._decoding_rules: Mapping[str, str] = ALL


def test_an_engine_is_asked_what_it_can_do_where_a_prompt_needs_more() -> None:
    engine = Learning(lambda _: "text")
    assert motet.run(ask.on(engine)("q"), store=None).value == "text"
    assert engine.num_asked == 0
    assert motet.run(ask.on(engine, decoding=cfg())("q"), store=None).value == "text"
    assert engine.num_asked > 0


def test_an_engine_that_is_away_is_no_lack_of_the_program() -> None:
    engine = Learning(lambda _: "text")
    engine.is_down = True
    with pytest.raises(RunFailedError) as caught:
        motet.run(ask.on(engine, decoding=cfg())("q"), store=None)
    assert isinstance(caught.value.__cause__, EngineUnavailableError)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (regex("[0-9]+"), "12a"),
        (choice(["x", "y"]), "z"),
        (json_schema({"type": "object", "required": ["a"]}), '{"b": 1}'),
        (json_schema({"type": "object"}), '{"b": '),
        (trie(["alpha", "beta"]), "gamma"),
        (weighted(trie(["alpha"])), "beta"),
    ],
)
def test_a_reply_that_breaks_its_constraint_is_an_error_and_no_value(rule: Any, text: str) -> None:
    with pytest.raises(RunFailedError) as caught:
        motet.run(ask.on(ruled(text), decoding=rule)("q"), store=None)
    assert isinstance(caught.value.__cause__, ConstraintBrokenError)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (regex("[0-9]+"), "12"),
        (choice(["x", "y"]), "y"),
        (json_schema({"type": "object", "required": ["a"]}), '{"a": 1}'),
        (trie(["alpha", "beta"]), "beta"),
        (length(max_tokens=9), "anything"),
    ],
)
def test_a_reply_that_keeps_its_constraint_is_the_value(rule: Any, text: str) -> None:
    assert motet.run(ask.on(ruled(text), decoding=rule)("q"), store=None).value == text


def test_a_resumed_run_finds_the_broken_constraint_again(tmp_path: Any) -> None:
    engine = ruled("12a")
    store = str(tmp_path / "a.db")
    ref = ask.on(engine, decoding=regex("[0-9]+"))("q")
    with pytest.raises(RunFailedError) as first:
        motet.run(ref, store=store)
    with pytest.raises(RunFailedError) as second:
        motet.run(ref, store=store, resume=first.value.run_id)
    assert isinstance(second.value.__cause__, ConstraintBrokenError)
    assert len(engine.requests) == 1


def test_of_several_samples_the_broken_ones_are_lost() -> None:
    def script(request: Request) -> Any:
        return ("12", "x", "34")

    ref = ask.on(ruled(script), decoding=regex("[0-9]+")).samples(3)("q")
    assert motet.run(ref, store=None).value == ["12", "34"]


def test_how_the_rules_ran_is_in_the_journal(tmp_path: Any) -> None:
    from motet.prompts import dump_reply, load_reply

    reply = motet.engine.Reply((Completion("a"),), motet.Usage(1, 1), "m", "cfg: processor, V1")
    assert load_reply(dump_reply(reply)) == reply


@pytest.mark.parametrize(("text", "is_kept"), [("ab", True), ("abb", True), ("b", False)])
def test_a_grammar_is_checked_where_it_can_be(text: str, is_kept: bool) -> None:
    pytest.importorskip("llguidance")
    assert matches(text, Constraint("grammar", 'start: "a" "b"+')) is is_kept


def test_a_models_own_rules_hold_too() -> None:
    model = Model(ruled("no"), sampling=motet.Sampling(decoding=(adacad(floor=0.3),)))
    assert motet.run(ask.on(model)("q"), store=None).value == "no"
    engine: Any = model.engine
    assert engine.requests[0].partner == ()


def test_a_program_that_answers_as_a_model_is_asked_for_no_scores_and_no_rules() -> None:
    @motet.program
    def answering(question: str) -> Any:
        return ask.on(ruled())(question)

    model = answering.as_model()
    for bound in (ask.on(model).scores(["a", "b"]), ask.on(model, decoding=cfg())):
        with pytest.raises(CapabilityError, match="program that answers as a model"):
            motet.run(bound("q"), store=None)


@pytest.mark.parametrize("setting", [{"top_p": 0.9}, {"top_k": 4}, {"min_p": 0.1}])
def test_weights_take_no_filter(setting: dict[str, Any]) -> None:
    [name] = setting
    with pytest.raises(ConfigError, match=f"{name} is"):
        motet.run(ask.on(ruled(), decoding=weighted(trie(["a"])), **setting)("q"), store=None)


class Choosing(ScriptedEngine):
    """Refuses what vLLM does."""

    def rule_problem(self, sampling: motet.Sampling) -> str | None:
        return choosing_problem(sampling)


PENALTIES = [("presence_penalty", 0.5), ("frequency_penalty", -0.1), ("repetition_penalty", 1.1)]


@pytest.mark.parametrize("rule", [cfg(), weighted(trie(["text"]))])
@pytest.mark.parametrize(("name", "value"), PENALTIES)
def test_a_penalty_beside_a_rule_that_chooses_is_refused_by_plan(
    rule: Any, name: str, value: float
) -> None:
    engine = Choosing(lambda _: "text", decoding_rules=ALL)
    ref = ask.on(engine, decoding=rule, **{name: value})("q")

    [problem] = motet.plan(ref).problems
    assert isinstance(problem, ConfigError)
    assert f"{name} is {value}" in str(problem)
    with pytest.raises(ConfigError, match=f"{name} is"):
        motet.run(ref, store=None)
    assert engine.requests == []


@pytest.mark.parametrize(
    ("engine", "rule", "setting"),
    [
        (Choosing, cfg(), {"presence_penalty": 0.0, "repetition_penalty": 1.0}),
        (Choosing, length(max_tokens=4), {"presence_penalty": 0.5}),
        (ScriptedEngine, cfg(), {"presence_penalty": 0.5}),
    ],
)
def test_neutral_penalties_other_rules_and_other_engines_are_not_refused(
    engine: Any, rule: Any, setting: Any
) -> None:
    made = engine(lambda _: "text", decoding_rules=ALL)
    assert motet.plan(ask.on(made, decoding=rule, **setting)("q")).problems == ()


def test_engines_over_vllm_are_among_those_that_refuse() -> None:
    from motet.serving import openai

    engine = openai.connect("http://127.0.0.1:1/v1")
    asked = motet.Sampling(presence_penalty=0.5, decoding=(cfg(),))

    assert isinstance(engine, motet.engine.SelectiveEngine)
    assert "presence_penalty is 0.5" in (engine.rule_problem(asked) or "")


def test_plan_does_not_refuse_what_an_engine_that_was_not_asked_may_do() -> None:
    engine = Learning(lambda _: "text")
    assert motet.plan(ask.on(engine, decoding=cfg())("q")).problems == ()
    unasked = motet.plan(ask.on("vllm:smollm2", decoding=cfg())("q"))
    assert not [each for each in unasked.problems if isinstance(each, CapabilityError)]


def test_a_pairing_counts_as_checked_only_once_it_was() -> None:
    engine = Learning(lambda _: "text", decoding_rules={})
    engine.is_down = True

    @motet.program
    async def many() -> list[str]:
        bound = ask.on(engine, decoding=cfg())
        found = [bound(str(i)) for i in range(3)]
        return [str(o.error) for o in await motet.settled(found)]

    errors = motet.run(many(), store=None).value
    assert all("down" in each for each in errors)
    assert engine.requests == []


def test_a_text_too_deep_to_read_breaks_its_schema() -> None:
    assert not matches("[" * 100_000, Constraint("json_schema", {"type": "array"}))
