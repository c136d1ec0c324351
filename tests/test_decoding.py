"""Decoding rules as data: what they refuse, and how they join."""

from typing import Any

import pytest

from motet import Message, Sampling
from motet.decoding import (
    Rules,
    adacad,
    cad,
    cfg,
    choice,
    dola,
    grammar,
    json_schema,
    length,
    regex,
    stops_at,
    stops_before,
    trie,
    weighted,
)
from motet.engine import DecodingRule, LogitsRule
from motet.errors import ConfigError

RULES = [
    cfg(1.5, negative="Be rude."),
    cfg(2.0, without="context"),
    cad(0.5, without="context"),
    adacad(floor=0.3),
    dola("low", relative_top=0.2),
    dola([4, 6], divergence="reference"),
    trie(["ab", (3, 4)]),
    length(min_tokens=2, max_tokens=9),
    stops_at("!"),
    stops_before("?"),
    regex("[a-z]+"),
    choice(["x", "y"]),
    json_schema({"type": "object"}),
    grammar('start: "a"+'),
    weighted(trie(["a"])),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.identity)
def test_a_rule_is_data_with_an_identity_and_no_function(rule: Any) -> None:
    assert isinstance(rule, DecodingRule)
    assert not isinstance(rule, LogitsRule)


def test_identities_tell_all_of_them_apart() -> None:
    assert len({rule.identity for rule in RULES}) == len(RULES)


def test_rules_join_in_order() -> None:
    joined = cfg(1.5) & regex("a+") & trie(["a"])
    assert isinstance(joined, Rules)
    assert [r.kind for r in joined] == ["cfg", "constraint", "trie"]
    assert (stops_at("!") & joined).rules[0] == stops_at("!")


def test_sampling_takes_one_rule_or_several() -> None:
    assert Sampling(decoding=cfg(1.5)).decoding == (cfg(1.5),)  # type: ignore[arg-type]
    joined: Any = cfg(1.5) & regex("a+")
    assert Sampling(decoding=joined).decoding == (cfg(1.5), regex("a+"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: cfg(-1.0), "gamma is -1.0"),
        (lambda: cfg(float("nan")), "gamma is nan"),
        (lambda: cfg("2"), "gamma is '2'"),  # type: ignore[arg-type]
        (lambda: cfg(negative="a", without="b"), "not both"),
        (lambda: cfg(without="not a name"), "without is 'not a name'"),
        (lambda: cfg(negative=()), "negative is ()"),
        (lambda: cad(-0.1), "alpha is -0.1"),
        (lambda: adacad(floor=-1), "floor is -1"),
        (lambda: dola("middle"), "layers is 'middle'"),  # type: ignore[arg-type]
        (lambda: dola([]), "layers is []"),
        (lambda: dola([2, 2]), "each number may stand once"),
        (lambda: dola(relative_top=2), "relative_top is 2"),
        (lambda: dola(divergence="kl"), "divergence is 'kl'"),  # type: ignore[arg-type]
        (lambda: trie([]), "members is empty"),
        (lambda: trie("abc"), "members is 'abc'"),
        (lambda: trie([""]), "members holds ''"),
        (lambda: trie([(1, -2)]), "members holds"),
        (lambda: length(), "length() takes"),
        (lambda: length(min_tokens=0), "min_tokens is 0"),
        (lambda: length(min_tokens=5, max_tokens=4), "min_tokens is 5"),
        (lambda: stops_at(""), "text is ''"),
        (lambda: regex("("), "does not compile"),
        (lambda: choice([]), "options is"),
        (lambda: choice("abc"), "options is 'abc'"),
        (lambda: json_schema("x"), "schema is 'x'"),  # type: ignore[arg-type]
        (lambda: json_schema({"type": "no such type"}), "no JSON schema"),
        (lambda: grammar(""), "lark is ''"),
        (lambda: weighted(cfg()), "weighted() takes"),  # type: ignore[arg-type]
        (lambda: cfg() & 3, "3 is no decoding rule"),  # type: ignore[operator]
    ],
)
def test_a_wrong_parameter_is_named(make: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert said in str(caught.value)


def test_a_chat_may_be_the_other_prompt() -> None:
    chat = (Message.system("s"), Message.user("u"))
    assert cfg(negative=chat).negative == chat
    assert cfg(negative=chat).identity != cfg(negative="s").identity
