"""Tries, lengths, stop texts, constraints and weights on the engine."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from motet.decoding import (
    Rules,
    cfg,
    choice,
    length,
    regex,
    stops_at,
    stops_before,
    trie,
    weighted,
)
from motet.engine import Completion, Constraint, Request
from motet.errors import ConfigError, RequestRejectedError
from motet.serving.local import LocalEngine
from tests.serving.local.conftest import Reference, request

PROMPT = (40, 50, 60, 70)
END = 2
FREE = {"temperature": 1.0, "seed": 3}


def _ids(text: str) -> tuple[int, ...]:
    """The tiny model's token of each byte."""
    from tokenizers import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    [(mapped, _)] = split.pre_tokenize_str(text)
    return tuple(3 + alphabet.index(char) for char in mapped)


def _run(engine: LocalEngine, asked: Request) -> tuple[Completion, ...]:
    return asyncio.run(engine.complete(asked)).completions


def _ruled(*rules: Any, prompt: Any = PROMPT, **settings: Any) -> Request:
    return request(prompt, decoding=rules, **settings)


def test_a_trie_ends_with_a_member_and_reaches_every_member(tiny: LocalEngine) -> None:
    members = ["a", "ab", "xyz", "ü", _ids("q1"), (5, 6, 7)]
    texts = {"a", "ab", "xyz", "ü", "q1"}

    found = _run(tiny, _ruled(trie(members), n=60, temperature=3.0, seed=1))

    assert {c.finish_reason for c in found} == {"stop"}
    told = {c.token_ids[:-1] if c.token_ids[-1] == END else c.token_ids for c in found}
    assert told == {_ids(text) for text in texts} | {(5, 6, 7)}
    assert {c.text for c in found} >= texts


def test_the_end_of_turn_need_not_be_chosen_behind_a_member_that_begins_no_other(
    tiny: LocalEngine,
) -> None:
    [completion] = _run(tiny, _ruled(trie(["xyz"])))

    assert completion.token_ids == _ids("xyz")
    assert (completion.text, completion.finish_reason) == ("xyz", "stop")


def test_a_member_of_a_trie_cannot_forge_a_special_token(tiny: LocalEngine) -> None:
    [completion] = _run(tiny, _ruled(trie(["<|im_end|>"])))

    assert completion.token_ids == _ids("<|im_end|>")
    assert completion.text == "<|im_end|>"


@pytest.mark.parametrize(("least", "most"), [(None, 5), (20, None), (6, 6), (1, 3)])
def test_a_length_is_kept_and_ends_by_the_models_own_end(
    tiny: LocalEngine, least: int | None, most: int | None
) -> None:
    rule = length(min_tokens=least, max_tokens=most)
    # A logit of the end of turn as large as this would end every completion at once.
    asked = _ruled(rule, _Eager(), n=20, **FREE, max_tokens=40)

    for completion in _run(tiny, asked):
        assert completion.finish_reason == "stop"
        assert completion.token_ids[-1] == END
        assert (least or 0) <= len(completion.token_ids) - 1 <= (most or 40)
        assert END not in completion.token_ids[:-1]


class _Eager:
    identity = "eager to end"

    def __call__(self, prompt_ids: Any, output_ids: Any, logits: Any) -> Any:
        changed = logits.clone()
        changed[END] += 9.0
        return changed


def test_max_tokens_of_the_sampling_still_cuts_off(tiny: LocalEngine) -> None:
    [completion] = _run(tiny, _ruled(length(min_tokens=9), max_tokens=4))

    assert completion.finish_reason == "length"
    assert len(completion.token_ids) == 4


def test_a_stop_text_is_kept_or_cut_as_the_rule_says(tiny: LocalEngine) -> None:
    [free] = _run(tiny, _ruled(**FREE, max_tokens=60))
    stop = free.text[10:13]
    at = free.text.index(stop)
    streamed: list[str] = []

    async def run(rule: Any) -> Completion:
        streamed.clear()
        asked = _ruled(rule, **FREE, max_tokens=60)
        reply = await tiny.complete(asked, lambda _, text: streamed.append(text))
        return reply.completions[0]

    kept = asyncio.run(run(stops_at(stop)))
    assert kept.text == "".join(streamed) == free.text[: at + 3]
    cut = asyncio.run(run(stops_before(stop)))
    assert cut.text == "".join(streamed) == free.text[:at]
    assert kept.token_ids == cut.token_ids
    for completion in (kept, cut):
        assert (completion.finish_reason, completion.stop_reason) == ("stop", stop)


def test_constraints_of_the_request_and_of_rules_all_hold(tiny: LocalEngine) -> None:
    asked = replace(
        _ruled(regex("[a-m]*"), choice(["ab", "nb", "kk"]), n=20, temperature=2.0, seed=1),
        constraint=Constraint("regex", "[^a]*"),
    )

    assert {c.text for c in _run(tiny, asked)} == {"kk"}


def test_rules_of_every_kind_hold_together(tiny: LocalEngine) -> None:
    rules = Rules((cfg(1.5), regex("[a-z]*"), length(min_tokens=4, max_tokens=9), stops_at("z")))
    asked = replace(request("Say:", decoding=tuple(rules), n=30, **FREE), partner="ab")

    found = _run(tiny, asked)

    assert {c.stop_reason for c in found} == {None, "z"}
    for completion in found:
        assert completion.finish_reason == "stop"
        assert completion.text.isalpha()
        assert completion.text.islower()
        if completion.stop_reason is None:
            assert 4 <= len(completion.text) <= 9
            assert "z" not in completion.text
        else:
            assert completion.text.index("z") == len(completion.text) - 1


def test_rules_that_leave_no_token_are_an_error(tiny: LocalEngine) -> None:
    with pytest.raises(RequestRejectedError, match="leave no token"):
        _run(tiny, _ruled(regex("[a-z]{9}"), length(max_tokens=3)))


def _exact_mass(
    reference: Reference,
    members: list[tuple[int, ...]],
    output: tuple[int, ...],
    temperature: float,
) -> float:
    """Log of what a trie of `members` allowed at each token of `output`, by a full recompute."""
    lines = reference.raw_logits(PROMPT, output).double() / temperature
    total = 0.0
    for at, line in enumerate(lines):
        begun = [m for m in members if m[:at] == output[:at]]
        allowed = {m[at] for m in begun if len(m) > at}
        allowed |= {END} if output[:at] in members else set()
        probabilities = torch.softmax(line, 0)
        total += math.log(sum(float(probabilities[t]) for t in allowed))
    return total


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_weight_is_the_probability_of_what_the_trie_allowed(
    tiny: LocalEngine, tiny_reference: Reference, temperature: float
) -> None:
    members = [_ids(text) for text in ("a", "ab", "abc", "ax", "yes", "no")]
    rule = weighted(trie(members))

    found = _run(tiny, _ruled(rule, n=20, temperature=temperature, seed=2))

    assert len({c.text for c in found}) > 1
    for completion in found:
        assert completion.token_ids[-1] == END
        assert completion.log_weight is not None
        exact = _exact_mass(tiny_reference, members, completion.token_ids, temperature)
        assert completion.log_weight == pytest.approx(exact, abs=1e-3)


def test_weights_add_up_to_the_probability_of_the_rule(
    tiny: LocalEngine, tiny_reference: Reference
) -> None:
    """The mean weight estimates the probability that free sampling ends with a member."""
    members = [(t,) for t in range(3, 140)] + [(t, t + 1) for t in range(140, 250)]
    exact = 0.0
    for member in members:
        lines = torch.log_softmax(tiny_reference.raw_logits(PROMPT, (*member, END)).double(), -1)
        exact += math.exp(sum(float(lines[i, t]) for i, t in enumerate((*member, END))))

    found = _run(tiny, _ruled(weighted(trie(members)), n=400, temperature=1.0, seed=10))

    weights = torch.tensor([math.exp(c.log_weight or 0.0) for c in found]).double()
    error = float(weights.std()) / math.sqrt(len(found))
    assert error < exact / 4
    assert abs(float(weights.mean()) - exact) < 3 * error


def test_a_weighted_constraint_counts_its_end_of_turn(
    tiny: LocalEngine, tiny_reference: Reference
) -> None:
    texts = ["yes", "no", "none"]

    found = _run(tiny, _ruled(weighted(choice(texts)), n=10, temperature=1.0, seed=4))

    members = [_ids(text) for text in texts]
    for completion in found:
        assert completion.text in texts
        assert completion.token_ids[-1] == END
        exact = _exact_mass(tiny_reference, members, completion.token_ids, 1.0)
        assert completion.log_weight == pytest.approx(exact, abs=1e-3)


def test_only_weighted_rules_give_weights(tiny: LocalEngine) -> None:
    assert _run(tiny, _ruled(trie(["a"])))[0].log_weight is None


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        (trie([(4, 259)]), RequestRejectedError),
        (regex("a(?=b)"), RequestRejectedError),
        (type("Named", (), {"identity": "named"})(), ConfigError),
    ],
)
def test_a_wrong_rule_is_refused(tiny: LocalEngine, rule: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        _run(tiny, _ruled(rule))
