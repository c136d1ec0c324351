"""Models: URLs, identities, and what makes two models differ."""

from typing import Any

import pytest

import motet
from motet import Chat, Model, Price, Ref, Sampling, program, prompt
from motet.errors import ConfigError, UnboundInputError
from motet.model import sampling_identity
from motet.testing import ScriptedEngine


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@program
def answer(question: str, style: str = "plain") -> Ref[str]:
    return ask(question)


def test_a_url_is_parted_into_engine_and_name() -> None:
    """The name stands behind `#`."""
    model = Model("http://127.0.0.1:8000/v1#org/model-7b")

    assert model.url == "http://127.0.0.1:8000/v1"
    assert model.name == "org/model-7b"
    assert model.label == "org/model-7b"


def test_a_local_url_needs_no_name() -> None:
    """`local:smollm2` is labelled by its path."""
    model = Model("local:smollm2")

    assert (model.url, model.name, model.label) == ("local:smollm2", None, "smollm2")


def test_a_given_name_wins_over_the_urls() -> None:
    """The explicit setting counts."""
    assert Model("http://h/v1#a", "b").name == "b"


@pytest.mark.parametrize("url", ["", "smollm2", "/path", "http:", "://x", "#name"])
def test_what_is_no_url_is_refused(url: str) -> None:
    """A text without a scheme is no model."""
    with pytest.raises(ConfigError):
        Model(url)


@pytest.mark.parametrize("url", ["http://[bad", "http://[::1"])
def test_a_malformed_url_is_a_config_error(url: str) -> None:
    """A URL that Python cannot read is a wrong setting."""
    with pytest.raises(ConfigError):
        Model(url)


@pytest.mark.parametrize(
    "engine",
    [
        42,
        object(),
        b"local:x",
        ScriptedEngine,
    ],
)
def test_what_is_no_engine_is_refused(engine: Any) -> None:
    """A class or a number instead of an engine is found at once."""
    with pytest.raises(ConfigError):
        Model(engine)


def test_a_model_has_an_engine_or_a_program() -> None:
    """Neither is refused, and so are both."""
    with pytest.raises(ConfigError):
        Model()
    with pytest.raises(ConfigError):
        Model("local:x", program=answer)


def test_an_unknown_scheme_is_refused_before_a_run() -> None:
    """`plan` shows it and `run` refuses it, with the schemes that are known."""
    ref = ask.on("nowhere:x")("question")

    problems = motet.plan(ref).problems
    with pytest.raises(ConfigError, match="known schemes are .*local"):
        motet.run(ref, store=None)

    assert isinstance(problems[0], ConfigError)


DIFFERENT = [
    Model("http://h/v1"),
    Model("http://h/v1#a"),
    Model("http://h/v1#b"),
    Model("local:x"),
    Model("local:x", sampling=Sampling(temperature=0.5)),
    Model("local:x", sampling=Sampling(max_tokens=5)),
    Model("local:x", sampling=Sampling(stop=("a",))),
    Model("local:x", sampling=Sampling(extra={"a": 1})),
    answer.as_model(),
    answer.as_model(style="a"),
    answer.as_model(style="b"),
]


def test_models_that_answer_differently_have_other_identities() -> None:
    """The identity is a part of every call's id."""
    identities = {model.identity for model in DIFFERENT}

    assert len(identities) == len(DIFFERENT)


def test_a_named_model_is_the_same_wherever_it_is_served() -> None:
    """A run can go on when its server has moved; without a name, the URL is the model."""
    assert Model("http://h/v1#a").identity == Model("http://other/v1#a").identity
    assert Model("http://h/v1").identity != Model("http://other/v1").identity


def test_price_and_key_are_no_part_of_the_identity() -> None:
    """What a model costs, and who asks, changes no answer; the key is shown nowhere."""
    plain = Model("http://h/v1#a")
    paid = Model("http://h/v1#a", price=Price(prompt=1, completion=2), api_key="secret-key")

    assert plain.identity == paid.identity
    assert "secret" not in repr(paid) + paid.identity + paid.label + paid.url


def test_the_identity_of_settings_does_not_depend_on_their_order() -> None:
    """Equal settings are equal."""
    first = Sampling(temperature=0.5, stop=("a",), extra={"a": 1, "b": 2})
    second = Sampling(extra={"b": 2, "a": 1}, stop=["a"], temperature=0.5)  # type: ignore[arg-type]

    assert sampling_identity(first) == sampling_identity(second)
    assert sampling_identity(Sampling()) == ""


def test_an_override_back_to_the_default_is_part_of_the_identity() -> None:
    """`.on(model, max_tokens=1024)` differs from `.on(model, temperature=None)`."""
    model = Model("local:x", sampling=Sampling(max_tokens=5, temperature=0.5))

    longer = ask.on(model, max_tokens=1024)
    cooler = ask.on(model, temperature=None)

    assert longer.identity != cooler.identity


def test_models_can_be_counted_and_used_as_keys() -> None:
    """A frozen value is hashable: `{model: score}` is what a router writes."""
    assert len({Model("local:x"), Model("local:x"), Model("local:y")}) == 2


def test_as_model_refuses_unknown_and_missing_inputs() -> None:
    """A program as a model has exactly one question left, and knows its inputs."""

    @program
    def nothing() -> str:
        return "a"

    with pytest.raises(UnboundInputError, match="tone"):
        answer.as_model(tone="x")
    with pytest.raises(UnboundInputError, match="no input"):
        answer.as_model(question="q", style="s")
    with pytest.raises(UnboundInputError):
        nothing.as_model()


def test_a_program_as_a_model_takes_a_chat_or_a_text() -> None:
    """The first free parameter's annotation decides."""

    @prompt(system="be {{ style }}", user="{{ question }}")
    def styled(question: str, style: str) -> str:
        raise NotImplementedError

    @program
    def roles(chat: Chat) -> str:
        return ",".join(m.role for m in chat)

    @program
    def text(question: str) -> str:
        return f"<{question}>"

    both = [styled.on(p.as_model())("q", "brief") for p in (roles, text)]
    values = [motet.run(ref, store=None).value for ref in both]

    assert values == ["system,user", "<be brief\n\nq>"]
