from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from motet.decoding import (
    adacad,
    cad,
    cfg,
    choice,
    dola,
    length,
    regex,
    stops_at,
    stops_before,
    trie,
    weighted,
)
from motet.engine import Constraint, Request
from motet.errors import ConfigError
from motet.serving.local.rule_set import KINDS, Masked, read_rules
from tests.serving.local.conftest import request


def _asked(*rules: Any, partner: Any = None, **settings: Any) -> Request:
    return replace(request("ab", decoding=rules, **settings), partner=partner)


class _Own:
    identity = "mine"

    def __call__(self, prompt_ids: Any, output_ids: Any, logits: Any) -> Any:
        return logits


class _Named:
    identity = "no function"


def test_rules_are_sorted_by_what_carries_them_out() -> None:
    own, steps, ends = _Own(), trie(["x"]), length(max_tokens=3)
    rules = (steps, stops_at("b"), cfg(2.0), weighted(choice(["y"])), own, dola(), ends)

    found = read_rules(_asked(*rules, stops_before("c"), partner=(), stop=("a",)))

    assert found.paired == cfg(2.0)
    assert found.dola == dola()
    assert found.own == (own,)
    assert found.masked == (Masked(steps), Masked(choice(["y"]), is_weighted=True), Masked(ends))
    assert found.stops == ("a", "b", "c")
    assert found.kept_stops == {"b"}
    assert found.how == (
        "trie: in the step; stop: in the step; cfg: in the step; weighted: in the step; "
        "mine: in the step; dola: in the step; length: in the step"
    )


def test_every_rule_that_there_is_has_its_kind_among_those_carried_out() -> None:
    rules = [cfg(), cad(), adacad(), dola(), trie(["a"]), length(min_tokens=1), stops_at("a")]

    assert {rule.kind for rule in (*rules, regex("a"), weighted(trie(["a"])))} == set(KINDS)


def test_a_stop_text_that_is_to_go_and_to_stay_goes() -> None:
    found = read_rules(_asked(stops_at("a"), stops_at("b"), stops_before("b"), stop=("a",)))

    assert found.kept_stops == frozenset()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (_asked(_Named()), "no function"),
        (_asked(cfg(), adacad(), partner=()), "one of them"),
        (_asked(dola(), dola("low")), "one of them"),
        (_asked(cfg()), "partner is None"),
        (_asked(partner="cd"), "partner"),
    ],
)
def test_rules_that_cannot_hold_are_refused(asked: Request, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_rules(asked)


def test_the_requests_own_constraint_is_no_rule() -> None:
    assert read_rules(replace(_asked(), constraint=Constraint("regex", "a"))).masked == ()
