# ruff: noqa: E402 - the modules are imported where vLLM is installed
from __future__ import annotations

import math
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")
pytest.importorskip("vllm")

from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality

from motet.serving.decoding import wire
from motet.serving.decoding.guidance import guided
from motet.serving.decoding.weights import read_end
from motet.serving.decoding.wire import Choosing
from motet.serving.vllm.processor import MotetProcessor

pytestmark = pytest.mark.vllm

SYNC, EOS, V = 0, 2, 300
CFG = {"rule": "cfg", "gamma": 2.0}
TRIE = {"rule": "trie", "members": [[5, 6], [5], [7]]}
GREEDY = Choosing(temperature=0.0)


class Config:
    def __init__(self) -> None:
        self.scheduler_config = SimpleNamespace(max_num_seqs=8)
        self.model_config = SimpleNamespace(
            try_get_generation_config=lambda: {"eos_token_id": EOS},
            hf_text_config=SimpleNamespace(eos_token_id=EOS),
            get_vocab_size=lambda: V,
        )


def sampling(text: str | None, **settings: Any) -> SamplingParams:
    extra = None if text is None else {wire.FIELD: text}
    return SamplingParams(extra_args=extra, **{"max_tokens": 50, **settings})


def pair(role: Any, name: str = "p", base: int = 0, rules: Any = (), choosing: Any = GREEDY):
    text = wire.write(
        rules=[CFG, *rules], pair=(name, role), choosing=choosing, sync=SYNC, base=base
    )
    return sampling(text, stop_token_ids=[SYNC])


def weighted(longest: int | None = None, rule: Any = TRIE, seed: int = 0):
    text = wire.write(
        rules=[{"rule": "weighted", "of": rule}],
        choosing=Choosing(seed=seed),
        sync=SYNC,
        max_tokens=longest,
    )
    return sampling(text, ignore_eos=True, stop_token_ids=[SYNC])


def masked(*rules: Any, base: int = 0):
    return sampling(wire.write(rules=rules, base=base))


class V1:
    """The V1 runner's side: rows that come, go and move."""

    name = "V1"

    def __init__(self) -> None:
        self.config = Config()
        self.processor = MotetProcessor(self.config, torch.device("cpu"), False)
        self.outputs: dict[int, list[int]] = {}

    def enter(self, index: int, params: Any, prompt: Any = (9, 9), outputs: Any = ()) -> None:
        self.outputs[index] = list(outputs)
        self.update(added=[(index, params, list(prompt), self.outputs[index])])

    def update(self, added: Any = (), removed: Any = (), moved: Any = ()) -> None:
        self.processor.update_state(BatchUpdate(8, list(removed), list(added), list(moved)))

    def step(self, logits: Any, keep: Any = None) -> list[int]:
        """Choose greedily; rows in `keep`, or all, get their token."""
        changed = self.processor.apply(logits)
        chosen = [int(t) for t in changed.argmax(-1)]
        for index, outputs in self.outputs.items():
            if keep is None or index in keep:
                outputs.append(chosen[index])
        return chosen


class V2:
    """The V2 runner's side: slots; row i of a step is slot i."""

    name = "V2"

    def __init__(self) -> None:
        self.config = Config()
        self.tokens = torch.zeros(8, 64, dtype=torch.int32)
        self.states = SimpleNamespace(
            max_num_reqs=8,
            all_token_ids=SimpleNamespace(gpu=self.tokens),
            prompt_len=SimpleNamespace(np=np.zeros(8, dtype=np.int32)),
            prefill_len=SimpleNamespace(np=np.zeros(8, dtype=np.int32)),
        )
        self.processor = MotetProcessor(self.config, self.states)
        self.lengths: dict[int, int] = {}

    def enter(self, index: int, params: Any, prompt: Any = (9, 9), outputs: Any = ()) -> None:
        known = [*prompt, *outputs]
        self.tokens[index, : len(known)] = torch.tensor(known)
        self.states.prompt_len.np[index] = len(prompt)
        self.states.prefill_len.np[index] = len(known)
        self.lengths[index] = len(known)
        self.processor.add_request(index, params)

    def context(self, slots: list[int], lengths: list[int], rows: list[int] | None = None) -> Any:
        return SimpleNamespace(
            idx_mapping_np=np.array(slots),
            seq_lens_upper_bound_np=np.array(lengths),
            expanded_idx_mapping=torch.tensor(slots if rows is None else rows),
        )

    def step(self, logits: Any, keep: Any = None, lengths: Any = None) -> list[int]:
        slots = sorted(self.lengths)
        seen = [(lengths or {}).get(slot, self.lengths[slot]) for slot in slots]
        changed = self.processor.apply(logits[: len(slots)], self.context(slots, seen))
        chosen = [int(t) for t in changed.argmax(-1)]
        for row, slot in enumerate(slots):
            if keep is None or slot in keep:
                self.tokens[slot, self.lengths[slot]] = chosen[row]
                self.lengths[slot] += 1
        return chosen


@pytest.fixture(params=[V1, V2], ids=["V1", "V2"])
def runner(request: pytest.FixtureRequest) -> Any:
    return request.param()


def noise(rows: int, seed: int = 0) -> Any:
    return torch.randn(rows, V, generator=torch.Generator().manual_seed(seed))


def mix(logits: Any, main: int, partner: int) -> int:
    mixed = guided(logits[main], logits[partner], 2.0)
    mixed[SYNC] = -math.inf
    return int(mixed.argmax())


def test_a_pair_in_step_chooses_one_token_of_the_mixture_for_both(runner) -> None:
    runner.enter(0, pair("partner"))
    runner.enter(1, sampling(None))
    runner.enter(2, pair("main"))

    for seed in range(20):
        logits = noise(3, seed)
        plain = int(logits[1].argmax())
        chosen = runner.step(logits.clone())
        assert chosen == [mix(logits, 2, 0), plain, mix(logits, 2, 0)]


def test_the_stop_token_of_a_pair_may_be_the_very_token_that_is_due(runner) -> None:
    """Both rows end by it then; the client goes on with another stop token."""
    runner.enter(0, pair("main"))
    runner.enter(1, pair("partner"))
    logits = noise(2)
    logits[:, SYNC] = 100.0

    assert runner.step(logits) == [SYNC, SYNC]


def test_a_row_without_its_partner_ends_at_once(runner) -> None:
    runner.enter(0, pair("main"))
    runner.enter(1, pair("partner", name="another"))

    assert runner.step(noise(2)) == [SYNC, SYNC]


def test_rows_of_different_lengths_end(runner) -> None:
    runner.enter(0, pair("main"))
    runner.enter(1, pair("partner"), outputs=[4])

    assert runner.step(noise(2)) == [SYNC, SYNC]


def test_rows_of_different_bases_end(runner) -> None:
    runner.enter(0, pair("main", base=1))
    runner.enter(1, pair("partner"))

    assert runner.step(noise(2)) == [SYNC, SYNC]


def test_a_token_mixed_from_a_half_read_prompt_is_common_to_none() -> None:
    runner = V1()
    runner.enter(0, pair("main"))
    runner.enter(1, pair("partner"))

    first = runner.step(noise(2), keep={0})
    second = runner.step(noise(2, 1))

    assert first[0] != SYNC
    assert second == [SYNC, SYNC]


def test_a_partner_whose_prompt_is_half_read_is_not_mixed() -> None:
    runner = V2()
    runner.enter(0, pair("main"))
    runner.enter(1, pair("partner"), prompt=[9] * 6)
    logits = noise(2)

    chosen = runner.step(logits.clone(), keep=(), lengths={1: 3})

    assert chosen == [SYNC, int(logits[1].argmax())]


def test_two_pairs_of_one_step_are_mixed_apart(runner) -> None:
    runner.enter(0, pair("main", "a"))
    runner.enter(1, pair("main", "b"))
    runner.enter(2, pair("partner", "b"))
    runner.enter(3, pair("partner", "a"))
    logits = noise(4)

    chosen = runner.step(logits.clone())

    assert chosen == [mix(logits, 0, 3), mix(logits, 1, 2)] + [mix(logits, 1, 2), mix(logits, 0, 3)]


def test_a_third_row_of_a_pair_ends_and_the_pair_goes_on(runner) -> None:
    runner.enter(0, pair("main"))
    runner.enter(1, pair("partner"))
    runner.enter(2, pair("main"))
    logits = noise(3)

    chosen = runner.step(logits.clone())

    assert chosen == [mix(logits, 0, 1), mix(logits, 0, 1), SYNC]


def test_a_pair_keeps_the_further_rules_on_its_mixture(runner) -> None:
    runner.enter(0, pair("main", rules=[TRIE]))
    runner.enter(1, pair("partner", rules=[TRIE]))

    found = [runner.step(noise(2, seed))[0] for seed in range(3)]

    assert tuple(found[: found.index(EOS) + 1]) in {(5, 6, EOS), (5, EOS), (7, EOS)}


def test_what_a_grammar_has_forbidden_is_not_chosen_by_a_pair(runner) -> None:
    runner.enter(0, pair("main"))
    runner.enter(1, pair("partner"))
    logits = noise(2)
    logits[:, [t for t in range(V) if t != 8]] = -math.inf

    assert runner.step(logits) == [8, 8]


def test_seeded_choices_of_a_pair_depend_on_the_place_and_nothing_else(runner) -> None:
    hot = Choosing(temperature=5.0, seed=4)
    runner.enter(0, pair("main", choosing=hot))
    runner.enter(1, pair("partner", choosing=hot))
    logits = noise(2)
    found = [runner.step(logits.clone())[0] for _ in range(8)]

    later = type(runner)()
    later.enter(1, pair("main", base=3, choosing=hot), prompt=[9, *found[:3]])
    later.enter(0, pair("partner", base=3, choosing=hot), prompt=[9, *found[:3]])

    assert [later.step(logits.flip(0).clone())[0] for _ in range(5)] == found[3:]
    assert len(set(found)) > 1


def test_rows_under_a_trie_keep_to_it_and_others_stay_as_they_are(runner) -> None:
    runner.enter(0, masked(TRIE))
    runner.enter(1, sampling(None))
    logits = noise(2)
    changed = logits.clone()

    runner.step(changed)

    assert [t for t in range(V) if changed[0, t] > -math.inf] == [5, 7]
    assert changed[0, [5, 7]].tolist() == logits[0, [5, 7]].tolist()
    assert changed[1].tolist() == logits[1].tolist()


def test_rules_go_on_from_the_tokens_of_earlier_requests(runner) -> None:
    runner.enter(0, masked(TRIE, base=1), prompt=[9, 9, 5])

    logits = noise(1)
    runner.step(logits)

    assert [t for t in range(V) if logits[0, t] > -math.inf] == [EOS, 6]


def test_a_request_that_comes_back_with_its_tokens_goes_on_from_them(runner) -> None:
    runner.enter(0, masked(TRIE), outputs=[5, 6])

    assert runner.step(noise(1)) == [EOS]


def test_length_bounds_hold_beside_a_trie(runner) -> None:
    runner.enter(0, masked(TRIE, {"rule": "length", "min_tokens": 2}))

    logits = torch.zeros(1, V)
    logits[0, EOS], logits[0, 5] = 5.0, 1.0

    assert [runner.step(logits.clone())[0] for _ in range(3)] == [5, 6, EOS]


def test_rules_that_leave_no_token_end_the_completion(runner) -> None:
    runner.enter(0, masked(TRIE))
    logits = noise(1)
    logits[0, [5, 7]] = -math.inf

    assert runner.step(logits) == [EOS]


def test_a_weighted_completion_ends_with_its_weight(runner) -> None:
    runner.enter(0, weighted())
    found: list[int] = []

    while len(found) < 12 and SYNC not in found:
        found.append(runner.step(noise(1, len(found)))[0])

    end = read_end(found, SYNC)
    assert end is not None
    assert end.ending == "stop"
    wanted = 0.0
    for n in range(len(end.token_ids) + 1):
        row = noise(1, n)[0]
        row[SYNC] = -math.inf
        allowed = {(): [5, 7], (5,): [6, EOS], (7,): [EOS], (5, 6): [EOS]}[end.token_ids[:n]]
        wanted += math.log(float(torch.softmax(row, -1)[allowed].sum()))
    assert end.log_weight == pytest.approx(wanted, rel=1e-5)


def test_a_weighted_completion_is_cut_at_its_length(runner) -> None:
    runner.enter(0, weighted(longest=3, rule={"rule": "trie", "members": [[5] * 9]}))

    found = [runner.step(noise(1, n))[0] for n in range(9)]

    end = read_end(found, SYNC)
    assert end is not None
    assert (end.token_ids, end.ending) == ((5, 5, 5), "length")


def test_a_step_that_is_thrown_away_adds_no_weight() -> None:
    runner = V1()
    runner.enter(0, weighted(rule={"rule": "trie", "members": [[5]]}))
    for seed in (7, 8):
        runner.step(noise(1, seed), keep=())

    found = [runner.step(noise(1, n))[0] for n in range(7)]

    fresh = V1()
    fresh.enter(0, weighted(rule={"rule": "trie", "members": [[5]]}))
    assert found == [fresh.step(noise(1, n))[0] for n in range(7)]
    assert read_end(found, SYNC) is not None


def test_a_weighted_request_that_left_the_batch_for_a_while_keeps_its_weight() -> None:
    stayed, left = V1(), V1()
    params = weighted(rule={"rule": "trie", "members": [[5, 6, 7]]})
    stayed.enter(0, weighted(rule={"rule": "trie", "members": [[5, 6, 7]]}))
    left.enter(0, params)
    for n in range(2):
        stayed.step(noise(1, n))
        left.step(noise(1, n))

    outputs = left.outputs.pop(0)
    left.update(removed=[0])
    left.enter(0, params, outputs=outputs)

    ends = [[r.step(noise(1, n))[0] for n in range(2, 8)] for r in (stayed, left)]
    assert ends[0] == ends[1]


def test_a_weight_that_was_lost_is_said_to_be_lost(runner) -> None:
    runner.enter(0, weighted(), outputs=[5])

    found = [runner.step(noise(1, n))[0] for n in range(6)]

    end = read_end(found, SYNC)
    assert end is not None and end.ending == "lost"


def test_the_probe_tells_the_runner(runner) -> None:
    runner.enter(0, sampling(wire.write(probe="runner")))

    assert runner.step(noise(1)) == [int(runner.name[1])]


def test_a_failure_ends_the_request_and_not_the_engine(runner, monkeypatch) -> None:
    from motet.serving.vllm import rows_step

    def broken(*_: Any) -> Any:
        raise RuntimeError("broken on purpose")

    for name in ("choose", "log_weight"):
        monkeypatch.setattr(rows_step, name, broken)
    runner.enter(0, pair("main"))
    runner.enter(1, pair("partner"))
    runner.enter(2, weighted())
    logits = noise(3)

    found = [runner.step(logits.clone()) for _ in range(6)]

    assert [row[:2] for row in found] == [[SYNC, SYNC]] * 6
    end = read_end([row[2] for row in found], SYNC)
    assert end is not None and end.ending == "lost"


def test_a_contrast_that_fails_ends_its_own_request_only(runner, monkeypatch) -> None:
    layer_tap = pytest.importorskip("motet.serving.vllm.layer_tap")

    def contrasted(logits: Any, rows: Any, parameters: Any) -> Any:
        for row, each in zip(rows, parameters, strict=True):
            logits[row] = logits[row].neg()
            if each["layers"] == [99]:
                raise ValueError("there is no layer 99")
        return logits

    monkeypatch.setattr(layer_tap, "contrasted", contrasted)
    dola = {"rule": "dola", "relative_top": 0.1, "divergence": "jsd"}
    runner.enter(0, masked({**dola, "layers": [3]}))
    runner.enter(1, masked({**dola, "layers": [99]}))
    runner.enter(2, masked(TRIE))

    assert runner.step(noise(3))[:2] == [int(noise(3)[0].argmin()), EOS]
    assert runner.step(noise(3))[2] in (6, EOS)


def test_a_contrast_that_leaves_nothing_of_the_trie_gives_way_to_it(runner, monkeypatch) -> None:
    layer_tap = pytest.importorskip("motet.serving.vllm.layer_tap")

    def contrasted(logits: Any, rows: Any, parameters: Any) -> Any:
        logits[rows] = -math.inf
        logits[rows, 8] = 0.0
        return logits

    monkeypatch.setattr(layer_tap, "contrasted", contrasted)
    dola = {"rule": "dola", "layers": "low", "relative_top": 0.1, "divergence": "jsd"}
    runner.enter(0, masked(dola, TRIE))

    assert runner.step(noise(1))[0] in (5, 7)


def test_a_text_that_cannot_be_read_ends_the_request(runner) -> None:
    runner.enter(0, sampling("no JSON"))

    assert runner.step(noise(1)) == [EOS]


def test_without_rules_the_logits_are_handed_back_untouched(runner) -> None:
    runner.enter(0, sampling(None))
    logits = noise(1)
    before = logits.clone()

    runner.step(logits)

    assert logits.tolist() == before.tolist()


def test_a_slot_that_is_filled_again_forgets_its_rules() -> None:
    runner = V2()
    runner.enter(0, masked(TRIE))
    runner.step(noise(1))
    runner.enter(0, sampling(None))
    logits = noise(1)
    before = logits.clone()

    runner.step(logits)

    assert logits.tolist() == before.tolist()
    assert not runner.processor.add_request(1, sampling(None))
    assert runner.processor.add_request(1, masked(TRIE))


def test_rows_are_followed_when_they_move_and_swap() -> None:
    runner = V1()
    runner.enter(0, masked(TRIE))
    runner.enter(1, sampling(None))
    runner.update(moved=[(0, 1, MoveDirectionality.SWAP)])
    runner.outputs = {0: runner.outputs[1], 1: runner.outputs[0]}

    assert runner.step(noise(2, 1))[1] in (5, 7)

    runner.update(removed=[0], moved=[(1, 0, MoveDirectionality.UNIDIRECTIONAL)])
    runner.outputs = {0: runner.outputs[1]}
    logits = noise(1, 2)
    runner.processor.apply(logits)
    assert [t for t in range(V) if logits[0, t] > -math.inf] in ([EOS, 6], [EOS])


def test_a_row_that_has_left_changes_nothing() -> None:
    runner = V1()
    runner.enter(0, masked(TRIE))
    runner.update(removed=[0])
    logits = noise(1)

    assert runner.processor.apply(logits.clone()).tolist() == logits.tolist()


def test_the_own_choice_stands_in_for_a_token_that_v1_does_not_tell_yet() -> None:
    runner = V1()
    runner.enter(0, pair("main", rules=[TRIE]))
    runner.enter(1, pair("partner", rules=[TRIE]))
    found = runner.step(noise(2))
    for outputs in runner.outputs.values():
        outputs[-1] = -1

    assert runner.step(noise(2, 1))[0] in {5: (6, EOS), 7: (EOS,)}[found[0]]


def test_guessed_tokens_of_speculative_decoding_are_refused() -> None:
    runner = V2()
    runner.enter(0, pair("main"))
    runner.enter(1, sampling(None))
    logits = noise(3)

    changed = runner.processor.apply(logits.clone(), runner.context([0, 1], [3, 2], [0, 0, 1]))

    assert changed.argmax(-1).tolist()[:2] == [SYNC, SYNC]
    assert changed[2].tolist() == logits[2].tolist()


def test_a_processor_that_is_loaded_twice_works_once() -> None:
    runner = V1()
    twin = MotetProcessor(runner.config, torch.device("cpu"), False)
    update = BatchUpdate(8, [], [(0, masked(TRIE), [9], [])], [])
    twin.update_state(update)
    logits = noise(1)

    assert twin.apply(logits.clone()).tolist() == logits.tolist()

    gone = weakref.ref(runner.processor)
    del runner
    import gc

    gc.collect()
    assert gone() is None


def test_a_processor_made_after_the_first_is_gone_works() -> None:
    config = Config()
    first = MotetProcessor(config, torch.device("cpu"), False)
    del first
    second = MotetProcessor(config, torch.device("cpu"), False)
    second.update_state(BatchUpdate(8, [], [(0, masked(TRIE), [9], [])], []))

    changed = second.apply(noise(1))

    assert [t for t in range(V) if changed[0, t] > -math.inf] == [5, 7]


def constrained(kind: str, value: Any) -> Any:
    return {"rule": "constraint", "kind": kind, "value": value}


NO_CONSTRAINTS = [
    ("regex", "a(", "unclosed group"),
    ("regex", "[^\\x00-\\U0010FFFF]", "no text can match it"),
    ("json_schema", {"type": "nonsense"}, "Invalid type: nonsense"),
    ("json_schema", {"type": "integer", "minimum": 5, "maximum": 3}, "Unsatisfiable"),
    ("grammar", 'start: "a" (', "Expected token"),
]
CONSTRAINTS = [
    ("regex", "[a-z]+"),
    ("json_schema", {"type": "object", "properties": {"é": {"type": "integer"}}}),
    ("choice", ["a(", "é"]),
    ("grammar", 'start: "a" | "é"'),
    ("grammar", 'start: "a" <|im_end|>'),
]


@pytest.mark.parametrize(("kind", "value", "says"), NO_CONSTRAINTS)
@pytest.mark.parametrize("joined", ["paired", "weighted", "alone"])
def test_a_constraint_that_nothing_can_match_is_refused_with_its_reason(
    joined: str, kind: str, value: Any, says: str
) -> None:
    rule = constrained(kind, value)
    params = {
        "paired": lambda: pair("main", rules=[rule]),
        "weighted": lambda: weighted(rule=rule),
        "alone": lambda: masked(rule),
    }[joined]()
    for _ in range(2):
        with pytest.raises(ValueError, match=f"rule constraint {kind} (?s:.*){says}"):
            MotetProcessor.validate_params(params)


@pytest.mark.parametrize(("kind", "value"), CONSTRAINTS)
def test_a_constraint_that_some_text_matches_is_let_in(kind: str, value: Any) -> None:
    MotetProcessor.validate_params(pair("main", rules=[constrained(kind, value)]))
    MotetProcessor.validate_params(weighted(rule=constrained(kind, value)))


def test_a_constraint_is_compiled_once_however_many_requests_bring_it(monkeypatch) -> None:
    from motet.serving.decoding import constraints

    asked: list[Any] = []
    compile_it = constraints._byte_compiler().compile
    counted = SimpleNamespace(compile=lambda c: (asked.append(c), compile_it(c)))
    monkeypatch.setattr(constraints, "_byte_compiler", lambda: counted)
    rule = constrained("regex", "only once [a-z]{3}")

    for name in ("p", "q", "r"):
        MotetProcessor.validate_params(pair("main", name=name, rules=[rule]))

    assert len(asked) == 1


def test_tries_without_a_common_first_token_are_refused() -> None:
    """TRIE begins with 5 or 7."""
    apart, shared = ({"rule": "trie", "members": m} for m in ([[8, 5], [6]], [[7, 5], [6]]))
    weighed = {"rule": "weighted", "of": TRIE}
    choosing = {"choosing": GREEDY, "sync": SYNC}
    for make in (
        lambda other: pair("main", rules=[TRIE, other]),
        lambda other: masked(TRIE, other),
        lambda other: changed(
            sampling(wire.write(rules=[weighed, other], **choosing), ignore_eos=True),
            stop_token_ids=[SYNC],
        ),
    ):
        MotetProcessor.validate_params(make(shared))
        with pytest.raises(ValueError, match="2 tries; no token begins members of all"):
            MotetProcessor.validate_params(make(apart))


@pytest.mark.parametrize(
    ("params", "says"),
    [
        (lambda: sampling(wire.write(probe="version")), "motet-processor version=1"),
        (lambda: sampling("{"), "must be JSON"),
        (lambda: sampling(5), "motet"),  # type: ignore[arg-type]
        (lambda: sampling(wire.write(rules=[{"rule": "cfg", "gamma": -1}])), "gamma is -1"),
        (lambda: changed(pair("main"), stop_token_ids=[4]), "sync is 0"),
        (lambda: changed(pair("main"), n=2), "n is 2"),
        (lambda: changed(pair("main"), repetition_penalty=1.2), "repetition_penalty is 1.2"),
        (lambda: changed(pair("main"), presence_penalty=0.5), "presence_penalty is 0.5"),
        (lambda: changed(weighted(), ignore_eos=False), "ignore_eos is False"),
        (lambda: changed(weighted(), stop=["x"]), "stop is"),
        (lambda: changed(weighted(), stop_token_ids=[0, 5]), "stop_token_ids is"),
        (lambda: changed(pair("main"), structured_outputs=grammar()), "structured_outputs"),
    ],
)
def test_wrong_requests_are_refused_before_they_are_let_in(params, says) -> None:
    with pytest.raises(ValueError, match=says):
        MotetProcessor.validate_params(params())


def changed(params: SamplingParams, **settings: Any) -> SamplingParams:
    for name, value in settings.items():
        setattr(params, name, value)
    return params


def grammar() -> Any:
    from vllm.sampling_params import StructuredOutputsParams

    return StructuredOutputsParams(regex="a")


@pytest.mark.parametrize(
    "params", [lambda: sampling(None), lambda: pair("main"), weighted, lambda: masked(TRIE)]
)
def test_sound_requests_are_let_in(params) -> None:
    MotetProcessor.validate_params(params())
