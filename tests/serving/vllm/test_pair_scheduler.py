"""The pair schedulers: laws on vLLM's own scheduler over a simulated worker, then a real engine."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from motet.errors import ConfigError
from motet.serving.decoding import wire
from motet.serving.vllm.pair_book import PairBook, read_pair
from tests.serving.decoding.reference import PairedReference
from tests.serving.vllm.pair_runs import ENVIRONMENT, chosen_pairs, num_tokens
from tests.serving.vllm.simulated import BLOCK, TOKEN, Engine, Setup, engines, write_model

vllm = pytest.mark.vllm
BOTH = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
POLICIES = pytest.mark.parametrize("policy", ["fcfs", "priority"])


def a_request(name: str, text: Any) -> Any:
    params = SimpleNamespace(extra_args={wire.FIELD: text})
    return SimpleNamespace(request_id=name, sampling_params=params)


# ---- which requests are pairs --------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        '{"pair"',
        '["pair"]',
        '{"pair": "x"}',
        '{"pair": ["x"]}',
        '{"pair": ["x", "third"]}',
        '{"rules": [{"rule": "constraint", "value": "\\"pair\\""}]}',
    ],
)
def test_whatever_is_no_pair_is_an_ordinary_request(text: Any) -> None:
    assert read_pair(a_request("r", text)) is None
    assert read_pair(SimpleNamespace(request_id="r", sampling_params=None)) is None


def test_a_pair_is_read_as_it_was_written() -> None:
    text = wire.write(pair=("a", "partner"), sync=1)

    assert read_pair(a_request("r", text)) == ("a", "partner")


def test_a_name_that_comes_again_is_a_new_pair() -> None:
    book = PairBook(5.0)
    first = a_request("r1", wire.write(pair=("a", "main"), sync=1))
    again = a_request("r2", wire.write(pair=("a", "main"), sync=1))

    assert book.add(first, 0.0) is not book.add(again, 0.0)
    book.remove(first)
    assert book.of(again) is not None
    book.remove(again)
    assert not book
    assert list(book) == []
    assert book._newest == {}


def test_a_member_whose_other_one_does_not_come_is_let_go_in_time() -> None:
    book = PairBook(5.0)
    pair = book.add(a_request("r", wire.write(pair=("a", "main"), sync=1)), 10.0)

    assert pair is not None
    assert book.loosen_overdue(15.0) == 0
    assert book.loosen_overdue(15.1) == 1
    assert pair.is_loose


# ---- laws of scheduling --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("vllm")
    return next(engines(write_model(tmp_path_factory.mktemp("model"))))


def prompt(rng: random.Random, length: int) -> list[int]:
    return [rng.randrange(2, 60) for _ in range(length)]


def send_pair(
    engine: Engine, name: str, lengths: tuple[int, int], max_tokens: int, priority: int = 0
) -> None:
    rng = random.Random(name)
    for role, length in zip(("main", "partner"), lengths, strict=True):
        ids = prompt(rng, length)
        engine.add(f"{name}.{role}", ids, max_tokens, (name, role), priority)


def run_at_random(make: Any, seed: int, *, is_stock: bool = False) -> Engine:
    """Run pairs and ordinary requests of random lengths, arrivals and settings to their ends."""
    rng = random.Random(seed)
    setup = Setup(
        policy=rng.choice(["fcfs", "priority"]),
        max_num_seqs=rng.choice([2, 3, 4, 8, 16]),
        max_num_batched_tokens=rng.choice([16, 32, 64, 256, 2048]),
        num_blocks=rng.choice([30, 40, 80, 4096]),
        is_async=rng.random() < 0.4,
        prefix_caching=rng.random() < 0.6,
        is_stock=is_stock,
    )
    shared = prompt(rng, 120)

    def some_prompt() -> list[int]:
        length = rng.choice([1, 1, 2, 3, BLOCK, BLOCK + 1, BLOCK + 2, 33, 50, 100])
        return shared[:length] if rng.random() < 0.5 else prompt(rng, length)

    coming: list[tuple[float, tuple[Any, ...]]] = []
    for i in range(rng.randrange(1, 13)):
        num, priority, at_s = rng.randrange(1, 60), rng.randrange(3), 3 * rng.random()
        arrivals = [at_s, at_s + rng.choice([0, 0, 0.02, 0.5])]
        rng.shuffle(arrivals)
        for role, when in zip(("main", "partner"), arrivals, strict=True):
            each = (f"p{i}.{role}", some_prompt(), num, (f"p{i}", role), priority)
            coming.append((when, each))
    for i in range(rng.randrange(12)):
        each = (f"o{i}", some_prompt(), rng.randrange(1, 60), None, rng.randrange(3))
        coming.append((3 * rng.random(), each))
    coming.sort(key=lambda item: item[0])
    engine = make(setup)
    while coming:
        while coming and coming[0][0] <= engine.now_s:
            engine.add(*coming.pop(0)[1])
        engine.step()
    engine.run()
    return engine


@vllm
@pytest.mark.parametrize("first", range(0, 200, 25))
def test_every_pair_ends_in_step_whatever_comes(make: Any, first: int) -> None:
    """Chunked prompts, scarce blocks, both policies, prompts of one token, late partners."""
    for seed in range(first, first + 25):
        engine = run_at_random(make, seed)

        assert engine.num_synced() == 0, seed
        assert set(engine.ended.values()) == {"length"}, seed


@vllm
def test_the_simulation_sees_pairs_fall_out_of_step_under_vllms_scheduler(make: Any) -> None:
    assert sum(run_at_random(make, seed, is_stock=True).num_synced() for seed in range(20)) > 20


@vllm
@BOTH
def test_nothing_of_a_pair_is_kept_when_its_members_have_ended(make: Any, is_async: bool) -> None:
    engine = make(Setup(is_async=is_async))
    for i in range(5):
        send_pair(engine, f"p{i}", (20 + i, 1 + i), 5)
    engine.step()
    engine.abort("p3.main")
    engine.abort("p4.partner")
    engine.run()

    assert not engine.scheduler.pairs
    assert list(engine.scheduler.pairs) == []
    assert engine.scheduler.pairs._newest == {}
    assert not engine.scheduler._may_sample


@vllm
@BOTH
@POLICIES
def test_no_deadlock_where_all_mains_come_first_and_fill_the_slots(
    make: Any, policy: str, is_async: bool
) -> None:
    engine = make(Setup(policy=policy, max_num_seqs=4, is_async=is_async))
    for i in range(12):
        engine.add(f"m{i}", [2 + i] * 20, 8, (f"p{i}", "main"))
        engine.step()
    for i in range(12):
        engine.add(f"p{i}", [3 + i] * 9, 8, (f"p{i}", "partner"))
        engine.step()
    engine.run()

    assert engine.num_synced() == 0
    assert all(tokens == [TOKEN] * 8 for tokens in engine.outputs.values())


@vllm
@POLICIES
def test_a_member_without_its_other_one_leaves_its_slot_to_ordinary_requests(
    make: Any, policy: str
) -> None:
    engine = make(Setup(policy=policy, max_num_seqs=2))
    for i in range(4):
        engine.add(f"m{i}", [2] * 20, 8, (f"p{i}", "main"))
    for i in range(4):
        engine.add(f"o{i}", [3] * 20, 8)
    for _ in range(60):
        engine.step()

    assert [engine.ended.get(f"o{i}") for i in range(4)] == ["length"] * 4
    assert not any(f"m{i}" in engine.ended for i in range(4))


@vllm
@POLICIES
def test_ordinary_requests_pass_within_bounds_while_pairs_keep_coming(
    make: Any, policy: str
) -> None:
    """Between two ends of a pair there is a turn for an ordinary request that came before it."""
    engine = make(Setup(policy=policy, max_num_seqs=4))
    for i in range(6):
        send_pair(engine, f"a{i}", (20, 5), 10)
    engine.add("ordinary", [3] * 20, 10)
    for i in range(40):
        send_pair(engine, f"b{i}", (20, 5), 10)
        engine.step()
    while "ordinary" not in engine.ended:
        engine.step()

    assert sum(name.startswith("b") for name in engine.ended) <= 4
    engine.run()
    assert engine.num_synced() == 0


@vllm
@POLICIES
def test_a_pair_is_admitted_while_ordinary_requests_keep_coming(make: Any, policy: str) -> None:
    """One slot after the other becomes free; the pair gets two of them together."""
    engine = make(Setup(policy=policy, max_num_seqs=3))
    for i in range(3):
        engine.add(f"a{i}", [3] * 10, 5 + 3 * i)
    send_pair(engine, "pair", (20, 5), 10)
    for i in range(60):
        engine.add(f"b{i}", [3] * 10, 5 + i % 7)
        engine.step()

    assert engine.ended.get("pair.main") == engine.ended.get("pair.partner") == "length"
    assert engine.outputs["pair.main"] == [TOKEN] * 10


@vllm
@POLICIES
def test_the_slot_of_a_partner_is_kept_while_its_main_is_still_read(make: Any, policy: str) -> None:
    engine = make(Setup(policy=policy, max_num_seqs=2, max_num_batched_tokens=16))
    send_pair(engine, "p", (100, 1), 5, priority=1)
    engine.step()
    engine.add("o", [3] * 10, 50)
    while "p.main" not in engine.ended:
        engine.step()

    assert engine.ended["p.main"] == "length"
    assert engine.outputs["o"] == []


@vllm
@BOTH
def test_an_orphan_ends_after_the_timeout_and_not_before(make: Any, is_async: bool) -> None:
    engine = make(Setup(timeout_s=0.5, is_async=is_async))
    engine.add("m", [2] * 20, 8, ("p", "main"))
    while engine.now_s < 0.49:
        engine.step()
    assert "m" not in engine.ended
    for _ in range(10):
        engine.step()

    assert engine.ended["m"] == "sync"
    assert engine.scheduler.pair_counts.loosened == 1


@vllm
@BOTH
def test_a_member_ends_within_two_steps_of_its_other_ones_abort(make: Any, is_async: bool) -> None:
    engine = make(Setup(is_async=is_async))
    send_pair(engine, "p", (40, 7), 100)
    for _ in range(20):
        engine.step()
    engine.abort("p.partner")
    num = len(engine.outputs["p.main"])
    for _ in range(4):
        engine.step()

    assert engine.ended["p.main"] == "sync"
    assert len(engine.outputs["p.main"]) <= num + 2


@vllm
@BOTH
@POLICIES
def test_both_members_are_preempted_together(make: Any, policy: str, is_async: bool) -> None:
    setup = Setup(policy=policy, num_blocks=20, max_num_seqs=8, is_async=is_async)
    engine = make(setup)
    for i in range(4):
        send_pair(engine, f"p{i}", (30, 20), 60)
    engine.run()

    assert engine.scheduler.pair_counts.preempted > 0
    assert engine.num_synced() == 0


@vllm
def test_two_prompts_too_large_to_stay_together_end_instead_of_hanging(make: Any) -> None:
    engine = make(Setup(num_blocks=12, max_num_seqs=4))
    send_pair(engine, "p", (120, 110), 20)
    engine.add("o", [3] * 20, 5)
    engine.run(max_steps=300)

    assert engine.ended["o"] == "length"
    assert engine.ended["p.main"] == engine.ended["p.partner"] == "sync"


@vllm
def test_without_chunked_prefill_only_pairs_are_held_one_token_short(make: Any) -> None:
    setup = Setup(chunked=False, max_num_batched_tokens=128, prefix_caching=False)
    engine = make(setup)
    seen: list[tuple[str, int]] = []
    schedule = engine.scheduler.schedule

    def watched(*args: Any, **kwargs: Any) -> Any:
        output = schedule(*args, **kwargs)
        seen.extend(output.num_scheduled_tokens.items())
        return output

    engine.scheduler.schedule = watched
    for i in range(3):
        engine.add(f"o{i}", [3] * 60, 4)
        send_pair(engine, f"p{i}", (50, 1), 4)
    engine.run()

    firsts = {name: num for name, num in reversed(seen)}
    assert [firsts[f"o{i}"] for i in range(3)] == [60] * 3
    assert [firsts[f"p{i}.main"] for i in range(3)] == [49] * 3
    assert engine.num_synced() == 0


@vllm
@BOTH
def test_without_pairs_every_step_is_the_one_that_vllm_makes(make: Any, is_async: bool) -> None:
    steps: list[list[dict[str, int]]] = []
    for is_stock in (False, True):
        engine = make(Setup(is_stock=is_stock, is_async=is_async, num_blocks=30, max_num_seqs=6))
        rng = random.Random(5)
        made: list[dict[str, int]] = []
        schedule = engine.scheduler.schedule

        def watched(made: Any = made, schedule: Any = schedule) -> Any:
            output = schedule()
            made.append(dict(output.num_scheduled_tokens))
            return output

        engine.scheduler.schedule = watched
        for i in range(30):
            engine.add(f"o{i}", prompt(rng, rng.randrange(1, 90)), rng.randrange(1, 40))
            engine.step()
        engine.run()
        steps.append(made)

    assert steps[0] == steps[1]


@vllm
def test_the_scheduler_that_does_not_go_with_the_mode_is_refused(make: Any) -> None:
    from motet.serving.vllm.pair_scheduler import AsyncPairScheduler, PairScheduler

    for wrong, is_async, right in (
        (PairScheduler, True, "AsyncPairScheduler"),
        (AsyncPairScheduler, False, "PairScheduler"),
    ):
        config = SimpleNamespace(scheduler_config=SimpleNamespace(async_scheduling=is_async))
        with pytest.raises(
            ConfigError, match=f"async_scheduling is {is_async}.* must then be {right}"
        ):
            wrong(config)


@vllm
@pytest.mark.parametrize("timeout_s", [0, -1.0, True, "5"])
def test_a_wrong_timeout_is_refused_with_its_value(make: Any, timeout_s: Any) -> None:
    with pytest.raises(ConfigError, match="motet_pair_timeout_s is"):
        make(Setup(timeout_s=timeout_s))


# ---- a real engine -------------------------------------------------------------------------------


def run_engine(folder: Path, condition: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tests.serving.vllm.pair_runs", str(folder), condition],
        env={**os.environ, **ENVIRONMENT},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    reports = [line for line in done.stdout.splitlines() if line.startswith("REPORT ")]
    assert len(reports) == 1, done.stdout + done.stderr
    return json.loads(reports[0].removeprefix("REPORT "))


def greedy(reference: PairedReference, condition: str, guesses: list[list[int]]) -> list[list[int]]:
    """The eight pairs by transformers."""
    pairs = chosen_pairs(reference.tokenizer)
    return [
        reference.greedy(*pair, "cfg", 1.5, num_tokens(condition), banned=[0], guess=guess)
        for pair, guess in zip(pairs, guesses, strict=True)
    ]


@vllm
@pytest.mark.timeout(600)
@pytest.mark.parametrize("condition", ["default", "chunked", "few_blocks"])
def test_pairs_are_exact_in_one_round(
    smollm2: Path, paired_reference: PairedReference, condition: str
) -> None:
    found = run_engine(smollm2, condition)

    token_ids = found["pairs"]["token_ids"]
    assert token_ids == greedy(paired_reference, condition, token_ids)
    assert (found["pairs"]["rounds"], found["pairs"]["wasted"]) == (1, 0)
    assert [len(tokens) for tokens in found["pairs"]["others"]] == [16] * 4
    assert (found["preempted"] > 0) == (condition == "few_blocks")


@vllm
@pytest.mark.timeout(600)
def test_pairs_are_exact_under_the_priority_policy(
    smollm2: Path, paired_reference: PairedReference
) -> None:
    found = run_engine(smollm2, "priority")["by_priority"]

    assert found["token_ids"] == greedy(paired_reference, "priority", found["token_ids"])
    assert found["partners"] == found["token_ids"]
    assert found["others"] == [12] * 8


@vllm
@pytest.mark.timeout(600)
def test_four_slots_serve_crowds_late_partners_orphans_and_aborts(smollm2: Path) -> None:
    found = run_engine(smollm2, "four_slots")

    assert found["mains_first"] == {"in_step": [True] * 12, "others": [4] * 12, "synced": 0}
    assert found["late"]["main"] == found["late"]["partner"]
    assert 0 not in found["late"]["main"]
    assert found["orphan"]["main"] == [0]
    assert 1.0 <= found["orphan"]["seconds"] < 5.0
    assert found["aborted"]["main"][-1] == 0
    assert len(found["aborted"]["main"]) <= 22
    assert found["late_again"] == found["late"]
