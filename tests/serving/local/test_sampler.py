from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.engine import Sampling
from motet.errors import RequestRejectedError
from motet.serving.local.sampler import RowSampler, choose, make_generator


def _row(seed: int = 0, prompt: tuple[int, ...] = (), **settings: Any) -> RowSampler:
    settings = {"temperature": 1.0, **settings}
    own = settings.pop("own", ())
    return RowSampler(prompt, [], Sampling(**settings), make_generator(seed, 0), own=own)


def _frequencies(logits: list[float], count: int = 20_000, **settings: Any) -> list[float]:
    rows = [_row(seed, **settings) for seed in range(count)]
    chosen = choose(torch.tensor([logits] * count), rows)
    return [sum(c.token == token for c in chosen) / count for token in range(len(logits))]


LOGITS = [2.0, 1.0, 0.0, -1.0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_with_the_probabilities_of_the_tempered_logits(temperature: float) -> None:
    expected = torch.softmax(torch.tensor(LOGITS) / temperature, 0).tolist()

    # Four standard deviations of a frequency over 20,000 draws are 0.015 at most.
    assert _frequencies(LOGITS, temperature=temperature) == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"top_k": 2}, [0, 1]),
        ({"top_k": -1}, [0, 1, 2, 3]),
        # The probabilities are 0.644, 0.237, 0.087 and 0.032.
        ({"top_p": 0.6}, [0]),
        ({"top_p": 0.65}, [0, 1]),
        ({"top_p": 0.9}, [0, 1, 2]),
        ({"min_p": 0.3}, [0, 1]),
        ({"min_p": 0.1}, [0, 1, 2]),
        # Of the two best, the first has 0.731.
        ({"top_k": 2, "top_p": 0.7}, [0]),
        ({"top_k": 3, "min_p": 0.3}, [0, 1]),
    ],
)
def test_filters_keep_the_right_tokens_in_proportion(
    settings: dict[str, Any], kept: list[int]
) -> None:
    masked = torch.full((4,), float("-inf"))
    masked[kept] = torch.tensor(LOGITS)[kept]

    found = _frequencies(LOGITS, count=4000, **settings)

    assert found == pytest.approx(torch.softmax(masked, 0).tolist(), abs=0.035)
    assert all(found[token] == 0 for token in range(4) if token not in kept)


def test_top_p_over_many_equal_tokens_keeps_the_fewest_that_reach_it() -> None:
    rows = [_row(seed, top_p=0.5) for seed in range(2000)]

    chosen = choose(torch.zeros(2000, 1000), rows)

    assert len({c.token for c in chosen}) <= 501


def test_temperature_0_takes_the_likeliest() -> None:
    logits = torch.randn(8, 50, generator=torch.Generator().manual_seed(1))
    best = logits.argmax(-1).tolist()

    chosen = choose(logits, [_row(i, temperature=0.0 if i % 2 else 1e-9) for i in range(8)])

    assert [c.token for c in chosen] == best


def test_penalties_change_the_logits_as_their_authors_say() -> None:
    repeated = _row(prompt=(0,), temperature=0.0, repetition_penalty=4.0)
    present = _row(temperature=0.0, presence_penalty=1.5)
    frequent = _row(temperature=0.0, frequency_penalty=0.6)
    for row in (present, frequent):
        row.output_ids += [0, 0]
        row.counts[0] = 2

    # 2 / 4 is below 1; 2 - 1.5 too; and 2 - 2 * 0.6.
    chosen = choose(torch.tensor([LOGITS] * 3), [repeated, present, frequent])

    assert [c.token for c in chosen] == [1, 1, 1]


def test_a_repetition_penalty_makes_negative_logits_smaller() -> None:
    row = _row(prompt=(1,), temperature=0.0, repetition_penalty=2.0)

    [choice] = choose(torch.tensor([[-1.5, -1.0]]), [row])

    assert choice.token == 0


def test_logprobs_are_the_models_own() -> None:
    row = _row(temperature=0.0, logprobs=2, presence_penalty=2.0)
    row.counts[0] = 1
    expected = torch.log_softmax(torch.tensor(LOGITS), 0).tolist()

    [choice] = choose(torch.tensor([LOGITS]), [row])

    assert choice.token == 1
    assert choice.logprob == pytest.approx(expected[1])
    assert [token for token, _ in choice.top] == [0, 1]
    assert [logprob for _, logprob in choice.top] == pytest.approx(expected[:2])


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=6, unique=True))
def test_a_rows_choices_do_not_depend_on_the_others(seeds: list[int]) -> None:
    logits = torch.randn(len(seeds), 30, generator=torch.Generator().manual_seed(2))

    together = choose(logits.clone(), [_row(seed) for seed in seeds])
    alone = [
        choose(line.unsqueeze(0), [_row(seed)])[0]
        for line, seed in zip(logits.clone(), seeds, strict=True)
    ]

    assert together == alone


class _Rule:
    identity = "only 2"

    def __call__(self, prompt_ids: Any, output_ids: Any, logits: Any) -> Any:
        return torch.where(torch.arange(len(logits)) == 2, logits, float("-inf"))


class _Broken:
    identity = "broken"

    def __init__(self, result: Any) -> None:
        self.result = result

    def __call__(self, prompt_ids: Any, output_ids: Any, logits: Any) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def test_a_decoding_rule_decides() -> None:
    [choice] = choose(torch.tensor([LOGITS]), [_row(own=(_Rule(),))])

    assert choice.token == 2


@pytest.mark.parametrize(
    "result",
    [KeyError("x"), torch.zeros(2), None, torch.full((4,), float("-inf"))],
    ids=["raises", "shape", "None", "no token"],
)
def test_a_broken_rule_fails_its_own_row_only(result: Any) -> None:
    rows = [_row(temperature=0.0, own=(_Broken(result),)), _row(temperature=0.0)]

    broken, sound = choose(torch.tensor([LOGITS] * 2), rows)

    assert isinstance(broken.error, RequestRejectedError)
    assert sound.error is None
    assert sound.token == 0
