from __future__ import annotations

import json

import pytest

from motet import decoding
from motet.serving.decoding import wire
from motet.serving.decoding.wire import Choosing, Orders, read, rule_body, write

CFG = {"rule": "cfg", "gamma": 1.5}
TRIE = {"rule": "trie", "members": [[1, 2], [3]]}
CHOOSING = Choosing(temperature=0.7, top_p=0.9, top_k=5, min_p=0.1, seed=-3)


def test_what_is_written_for_a_pair_is_read_again() -> None:
    text = write(rules=[CFG, TRIE], pair=("p", "partner"), choosing=CHOOSING, sync=7, base=4)

    assert read(text) == Orders(
        rules=(TRIE,), paired=CFG, pair=("p", "partner"), choosing=CHOOSING, sync=7, base=4
    )


def test_what_is_written_for_a_weighted_rule_is_read_again() -> None:
    text = write(
        rules=[{"rule": "weighted", "of": TRIE}], choosing=Choosing(), sync=0, max_tokens=9
    )

    assert read(text) == Orders(weighted=TRIE, choosing=Choosing(), sync=0, max_tokens=9)


@pytest.mark.parametrize("probe", ["version", "runner"])
def test_a_probe_is_read_again(probe) -> None:
    assert read(write(probe=probe)) == Orders(probe=probe)


@pytest.mark.parametrize(
    "rule",
    [
        decoding.cfg(2.0, negative="rude"),
        decoding.cad(0.5, without="context"),
        decoding.adacad(floor=0.3),
        decoding.dola((2, 4)),
        decoding.dola("low", divergence="reference"),
        decoding.trie([[1, 2], [3]]),
        decoding.length(min_tokens=2, max_tokens=3),
        decoding.length(max_tokens=3),
        decoding.regex("a+"),
        decoding.json_schema({"type": "object"}),
        decoding.choice(["a", "b"]),
        decoding.grammar("start: /a/"),
        decoding.weighted(decoding.trie([[1]])),
        decoding.weighted(decoding.choice(["a"])),
    ],
    ids=lambda rule: rule.identity[:30],
)
def test_every_rule_that_a_processor_carries_out_travels(rule) -> None:
    body = rule_body(rule)
    is_paired = body["rule"] in wire.PAIRED

    orders = read(
        write(
            rules=[body],
            pair=("p", "main") if is_paired else None,
            choosing=Choosing(),
            sync=0,
        )
    )

    if body["rule"] == "weighted":
        assert orders.weighted == body["of"]
    elif is_paired:
        assert orders.paired == body
        assert not body.keys() & {"negative", "without"}
    else:
        assert list(orders.rules) == [body]


@pytest.mark.parametrize("rule", [decoding.trie(["text"]), decoding.stops_at("x")])
def test_a_rule_that_no_processor_carries_out_is_refused(rule) -> None:
    with pytest.raises(ValueError, match="members|stop"):
        rule_body(rule)


def changed(**changes):
    body = json.loads(write(rules=[CFG], pair=("p", "main"), choosing=CHOOSING, sync=7))
    body.update(changes)
    return json.dumps({k: v for k, v in body.items() if v != "GONE"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "JSON"),
        (5, "motet"),
        (None, "motet"),
        ("[" * 100_000, "JSON"),
        ("[]", "JSON object"),
        (changed(v=2), "v is 2"),
        (changed(v="GONE"), "v is None"),
        (changed(extra=1), "unknown setting 'extra', 1"),
        (changed(sync=-1), "sync is -1"),
        (changed(sync=True), "sync is True"),
        (changed(sync="GONE"), "sync is None"),
        (changed(choose="GONE"), "choose None"),
        (changed(base=-1), "base is -1"),
        (changed(base=1.5), "base is 1.5"),
        (changed(max=0), "max is 0"),
        (changed(max=4), "max is 4"),
        (changed(probe="x"), "probe is 'x'"),
        (changed(pair=["p"]), r"pair is \['p'\]"),
        (changed(pair=["p", "other"]), "pair is"),
        (changed(pair=["", "main"]), "pair is"),
        (changed(pair=["p", ["main"]]), "pair is"),
        (changed(pair="GONE"), "pair is None"),
        (changed(rules="GONE"), "paired rule None"),
        (changed(rules={}), "rules is {}"),
        (changed(rules=[5]), "rule is 5"),
        (changed(rules=[CFG, CFG]), "at most one paired"),
        (changed(rules=[CFG, {"rule": "weighted", "of": TRIE}]), "does not go with"),
        (
            changed(
                rules=[
                    CFG,
                    {"rule": "dola", "layers": "low", "relative_top": 0.1, "divergence": "jsd"},
                ]
            ),
            "dola",
        ),
        (changed(choose=[1, 1, 1, 1]), "choose is"),
        (changed(choose=[-1, 1, -1, 0, 0]), "temperature is -1"),
        (changed(choose=[1, 0, -1, 0, 0]), "top_p is 0"),
        (changed(choose=[1, 1.1, -1, 0, 0]), "top_p is 1.1"),
        (changed(choose=[1, 1, -2, 0, 0]), "top_k is -2"),
        (changed(choose=[1, 1, -1, 2, 0]), "min_p is 2"),
        (changed(choose=[1, 1, -1, 0, 0.5]), "seed is 0.5"),
    ],
)
def test_malformed_orders_are_refused_with_the_setting_and_its_value(text, says) -> None:
    with pytest.raises(ValueError, match=says):
        read(text)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"rule": "voodoo"}, "rule is 'voodoo'"),
        ({"rule": ["trie"]}, "rule is"),
        ({"gamma": 1}, "rule is None"),
        ({"rule": "cfg"}, "cfg lacks gamma"),
        ({"rule": "cfg", "gamma": -1}, "gamma is -1"),
        ({"rule": "cfg", "gamma": "1"}, "gamma is '1'"),
        ({"rule": "cfg", "gamma": float("nan")}, "gamma is nan"),
        ({"rule": "cfg", "gamma": 1, "beta": 2}, "cfg has no beta, which is 2"),
        ({"rule": "cad", "alpha": -0.5}, "alpha is -0.5"),
        ({"rule": "adacad", "floor": -0.5}, "floor is -0.5"),
        (
            {"rule": "dola", "layers": "mid", "relative_top": 0.1, "divergence": "jsd"},
            "layers is 'mid'",
        ),
        ({"rule": "dola", "layers": [1, 1], "relative_top": 0.1, "divergence": "jsd"}, "layers is"),
        (
            {"rule": "dola", "layers": [1], "relative_top": 2, "divergence": "jsd"},
            "relative_top is 2",
        ),
        (
            {"rule": "dola", "layers": [1], "relative_top": 0, "divergence": "kl"},
            "divergence is 'kl'",
        ),
        ({"rule": "trie", "members": []}, "members is"),
        ({"rule": "trie", "members": [[]]}, "members is"),
        ({"rule": "trie", "members": [["a"]]}, "members is"),
        ({"rule": "length"}, "lacks min_tokens and max_tokens"),
        ({"rule": "length", "min_tokens": 0}, "min_tokens is 0"),
        ({"rule": "length", "min_tokens": 3, "max_tokens": 2}, "min_tokens is 3"),
        ({"rule": "constraint", "kind": "poem", "value": "x"}, "kind is 'poem'"),
        ({"rule": "constraint", "kind": "regex", "value": ""}, "value is ''"),
        ({"rule": "constraint", "kind": "choice", "value": "ab"}, "value is 'ab'"),
        ({"rule": "constraint", "kind": "json_schema", "value": "{}"}, "value is"),
        ({"rule": "weighted", "of": CFG}, "of is"),
        ({"rule": "weighted", "of": {"rule": "trie", "members": []}}, "members is"),
    ],
)
def test_a_wrong_parameter_of_a_rule_is_named_with_its_value(rule, says) -> None:
    with pytest.raises(ValueError, match=says):
        read(write(rules=[rule]))
