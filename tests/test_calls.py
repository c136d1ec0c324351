"""Calls: ids, the order of naming, and the types of edges."""

import asyncio
import gc
import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motet
from motet import Ref, program, prompt, step
from motet.calls import Calls, LargeGraph
from motet.errors import EdgeTypeError
from motet.testing import ScriptedEngine


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@prompt(user="{{ items | join(',') }}")
def fuse(items: list[str]) -> str:
    raise NotImplementedError


@step
def identity(value: Any) -> Any:
    return value


@step
def number() -> int:
    return 1


@step
def text() -> str:
    return "a"


@step
def maybe_text() -> str | None:
    return None


@step
def choice() -> Literal["a", "b"]:
    return "a"


@step
def flag() -> bool:
    return True


@step
def texts() -> list[str]:
    return ["a"]


@step
def anything() -> Any:
    return 1


@step
def takes_text(value: str) -> str:
    return value


@step
def takes_number(value: int) -> int:
    return value


@step
def takes_float(value: float) -> float:
    return value


@step
def takes_maybe(value: int | None) -> int | None:
    return value


@step
def takes_texts(value: list[str]) -> int:
    return len(value)


@step
def takes_numbers(value: list[int] | None = None) -> int:
    return len(value or ())


@step
def takes_anything(value: Any) -> Any:
    return value


@program
def static_text() -> str:
    return text()  # type: ignore[return-value]


@program
def static_ref() -> Ref[str]:
    return text()


@program
async def async_text() -> str:
    return await text()


def ids(ref: Ref[Any]) -> list[str]:
    calls = Calls()
    calls.add(ref)
    return sorted(c.id for c in calls.by_ref.listed)


def value_of(ref: Ref[Any], **settings: Any) -> Any:
    return motet.run(ref, store=None, **settings).value


# ---- ids -----------------------------------------------------------------------------------------


def test_equal_programs_have_equal_ids() -> None:
    """An id is a path and a digest, not an object."""

    def build() -> Any:
        a, b = identity([1, {"k": (2, 3)}]), identity("x")
        return takes_anything({"a": a, "b": [b, a]})

    assert ids(build()) == ids(build())


DIFFERENT = {
    "argument": lambda: takes_anything(identity(2)),
    "operation": lambda: takes_anything(takes_number(1)),
    "depth": lambda: takes_anything(identity(identity(1))),
    "program": lambda: program(lambda: takes_anything(identity(1)))(),
    "structure": lambda: takes_anything([identity(1)]),
}


@pytest.mark.parametrize("build", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_other_programs_have_other_ids(build: Any) -> None:
    """The root's id covers everything below it."""
    first = motet.plan(takes_anything(identity(1))).root_id

    assert motet.plan(build()).root_id != first


def test_equal_calls_have_ids_and_seeds_of_their_own() -> None:
    """The same question asked thrice gives three samples, not one."""
    engine = ScriptedEngine()

    @program
    def thrice() -> Any:
        return [ask.on(engine)("q") for _ in range(3)]

    values = value_of(thrice())
    again = value_of(thrice())

    assert len(set(values)) == 3
    assert values == again
    assert len({r.request_id for r in engine.requests}) == 3
    assert len({r.sampling.seed for r in engine.requests}) == 3


@pytest.mark.parametrize("n", [2, 5])
def test_equal_calls_in_a_running_program_have_ids_of_their_own(n: int) -> None:
    """And the second run of the program has the same ones."""
    engine = ScriptedEngine()

    @program
    async def repeated() -> Any:
        return [await ask.on(engine)("q") for _ in range(n)]

    values = value_of(repeated())
    again = value_of(repeated())

    assert len(set(values)) == n
    assert values == again


def test_one_ref_used_twice_is_one_call() -> None:
    """Sharing a ref shares the work."""
    engine = ScriptedEngine()

    @program
    def shared() -> Any:
        draft = ask.on(engine)("q")
        return [draft, identity(draft), {"again": draft}]

    value = value_of(shared())

    assert value == [value[0], value[0], {"again": value[0]}]
    assert len(engine.requests) == 1


BRANCHES = 4


def permuted_run(kind: str, order: tuple[int, ...]) -> tuple[Any, Any]:
    """Run branches of an async program whose engine answers them in `order`."""
    rank = {str(branch): place for place, branch in enumerate(order)}
    engine = ScriptedEngine(
        delay_s=lambda request: 0.002 * rank[request.prompt[-1].content.partition(" ")[0]]  # type: ignore[union-attr]
    )

    async def branch(i: int) -> list[str]:
        first = await ask.on(engine)(f"{i} first")
        second, same = ask.on(engine)(f"{i} same"), ask.on(engine)(f"{i} same")
        if i % 2:
            await asyncio.sleep(0)
        deep = await asyncio.gather(nested(i, 0), nested(i, 1))
        return [first, await second, await same, *deep]

    async def nested(i: int, k: int) -> str:
        return await ask.on(engine)(f"{i} nested")

    @program
    async def whole() -> Any:
        if kind == "gather":
            return await asyncio.gather(*[branch(i) for i in range(BRANCHES)])
        if kind == "tasks":
            tasks = [asyncio.create_task(branch(i)) for i in range(BRANCHES)]
            return [await task for task in reversed(tasks)][::-1]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(branch(i)) for i in range(BRANCHES)]
        return [task.result() for task in tasks]

    value = value_of(whole())
    asked = sorted((r.prompt[-1].content, r.request_id, r.sampling.seed) for r in engine.requests)  # type: ignore[union-attr]
    return value, asked


@pytest.mark.parametrize("kind", ["gather", "tasks", "group"])
def test_ids_do_not_depend_on_which_branch_runs_first(kind: str) -> None:
    """However the engine's delays are permuted: the same ids, seeds and values by branch."""
    orders = list(itertools.permutations(range(BRANCHES)))
    random.Random(0).shuffle(orders)

    runs = [permuted_run(kind, order) for order in orders[:8]]

    assert all(run == runs[0] for run in runs)
    assert len({seed for _, _, seed in runs[0][1]}) == len(runs[0][1]) == BRANCHES * 5


def test_two_tasks_of_equal_calls_are_told_apart_by_their_creation() -> None:
    """The slower task keeps its id."""

    def run_with(delays: list[float]) -> list[str]:
        engine = ScriptedEngine()

        async def branch(delay: float) -> str:
            await asyncio.sleep(delay)
            return await ask.on(engine)("same")

        @program
        async def whole() -> Any:
            return await asyncio.gather(*[branch(d) for d in delays])

        value: list[str] = value_of(whole())
        return value

    assert run_with([0.02, 0.0]) == run_with([0.0, 0.02]) == run_with([0.0, 0.0])


def test_refs_awaited_through_asyncio_keep_their_ids() -> None:
    """`gather`, `wait_for` and `timeout` over refs are branches that make no call."""
    engine = ScriptedEngine()

    @program
    async def whole() -> Any:
        refs = [ask.on(engine)("same") for _ in range(3)]
        both = await asyncio.gather(*refs[:2])
        async with asyncio.timeout(5):
            last = await asyncio.wait_for(_read(refs[2]), 5)
        return [*both, last, await ask.on(engine)("same")]

    async def _read(ref: Ref[str]) -> str:
        return await ref

    values = value_of(whole())

    assert values == value_of(whole())
    assert len(set(values)) == 4


def test_inputs_are_named_before_their_users() -> None:
    """The order of naming is a topological order."""
    calls = Calls()
    a = identity(1)
    root = takes_anything([identity(a), a, identity([a, identity(a)])])

    new = calls.add(root)

    place = {call.ref: i for i, call in enumerate(new)}
    assert all(place[r] < place[c.ref] for c in new for r in c.ref.inputs)
    assert new[-1].ref is root
    assert calls.add(root) == []


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_graph_has_an_id_a_call(data: st.DataObject) -> None:
    """Random DAGs with many equal calls: every ref has one id, and building again gives it."""
    size = data.draw(st.integers(1, 12))
    shape = [
        data.draw(st.lists(st.integers(0, max(0, i - 1)), max_size=3)) if i else []
        for i in range(size)
    ]
    labels = data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))

    def build() -> Ref[Any]:
        refs: list[Ref[Any]] = []
        for inputs, label in zip(shape, labels, strict=True):
            refs.append(identity([label, *[refs[i] for i in inputs]]))
        return takes_anything(refs)

    calls, again = Calls(), Calls()
    calls.add(build())
    again.add(build())

    assert len(calls.by_ref) == size + 1
    ids_of = [[c.id for c in each.by_ref.listed] for each in (calls, again)]
    assert ids_of[0] == ids_of[1]
    assert len(set(ids_of[0])) == size + 1


# ---- edges ---------------------------------------------------------------------------------------

RIGHT = {
    "same": lambda: takes_text(text()),
    "any gives": lambda: takes_number(anything()),
    "any takes": lambda: takes_anything(texts()),
    "int for float": lambda: takes_float(number()),
    "bool for int": lambda: takes_number(flag()),
    "literal for text": lambda: takes_text(choice()),
    "maybe for sure": lambda: takes_text(maybe_text()),
    "sure for maybe": lambda: takes_maybe(number()),
    "list": lambda: takes_texts(texts()),
    "list of refs": lambda: takes_texts([text(), choice(), "literal"]),
    "tuple of refs": lambda: takes_texts((text(),)),
    "optional list": lambda: takes_numbers([number(), flag()]),
    "program -> str": lambda: takes_text(static_text()),
    "program -> Ref[str]": lambda: takes_text(static_ref()),
    "async program": lambda: takes_text(async_text()),
    "samples": lambda: takes_texts(ask.samples(2)("q")),
    "map": lambda: takes_texts(motet.map(ask, ["a"])),
    "race": lambda: takes_text(motet.race(text(), choice())),
    "successful": lambda: takes_texts(motet.successful([text(), text()])),
    "item": lambda: takes_text(texts()[0]),
}
WRONG = {
    "number for text": lambda: takes_text(number()),
    "text for number": lambda: takes_number(text()),
    "text for list": lambda: takes_texts(text()),
    "list for text": lambda: takes_text(texts()),
    "maybe text for number": lambda: takes_number(maybe_text()),
    "literal for number": lambda: takes_number(choice()),
    "element": lambda: takes_texts([text(), number()]),
    "element of optional": lambda: takes_numbers([text()]),
    "program -> str": lambda: takes_number(static_text()),
    "program -> Ref[str]": lambda: takes_number(static_ref()),
    "async program": lambda: takes_number(async_text()),
    "prompt": lambda: takes_number(ask("q")),
    "into a prompt": lambda: ask(texts()),
    "samples": lambda: takes_text(ask.samples(2)("q")),
    "map": lambda: takes_text(motet.map(ask, ["a"])),
    "race": lambda: takes_number(motet.race(text(), text())),
    "successful": lambda: takes_numbers(motet.successful([text()])),
    "settled": lambda: takes_text(motet.successful([text(), text()])),
    "item": lambda: takes_number(texts()[0]),
    "far below": lambda: takes_anything([identity(takes_number(text()))]),
}


@pytest.mark.parametrize("build", RIGHT.values(), ids=RIGHT.keys())
def test_a_fitting_edge_is_accepted(build: Any) -> None:
    """Only what is surely wrong is refused."""
    problems = motet.plan(build(), model=motet.Model(ScriptedEngine())).problems

    assert problems == ()


@pytest.mark.parametrize("build", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_edge_is_refused_before_anything_runs(build: Any) -> None:
    """The message names parameter, both types, and both places; plan shows the same."""
    engine = ScriptedEngine()
    ref = build()

    problems = motet.plan(ref, model=motet.Model(engine)).problems
    with pytest.raises(EdgeTypeError) as caught:
        motet.run(ref, store=None, model=motet.Model(engine))

    assert [str(p) for p in problems] == [str(caught.value)]
    assert str(caught.value).count("test_calls.py:") == 2
    assert engine.requests == []


def test_a_wrong_edge_in_a_running_program_fails_where_it_is_made() -> None:
    """A growing graph is checked call by call, before the call is sent."""
    engine = ScriptedEngine()

    @program
    async def whole() -> Any:
        ask.on(engine)(texts())
        return 1

    with pytest.raises(motet.RunFailedError) as caught:
        motet.run(whole(), store=None)

    assert isinstance(caught.value.__cause__, EdgeTypeError)
    assert engine.requests == []


# ---- large graphs --------------------------------------------------------------------------------


def test_a_large_graph_is_set_aside_while_it_runs_and_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LargeGraph, "_MIN_CALLS", 3)
    aside: list[int] = []

    @step
    def look(number: int) -> int:
        aside.append(gc.get_freeze_count())
        return number

    assert value_of(takes_anything([look(1), look(2)])) == [1, 2]
    assert all(count > 0 for count in aside)
    assert gc.get_freeze_count() == 0


def test_what_the_application_has_set_aside_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LargeGraph, "_MIN_CALLS", 1)
    gc.freeze()
    try:
        assert value_of(takes_anything([text()])) == ["a"]
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


# ---- refs that several runs share -----------------------------------------------------------------


def shared() -> Ref[Any]:
    inputs = [identity(i) for i in range(20)]
    return takes_anything([takes_anything([a, b]) for a, b in itertools.pairwise(inputs)])


def test_a_ref_runs_again_after_a_run_and_has_the_same_ids() -> None:
    root = shared()
    first, second = Calls(), Calls()
    first.add(root)
    second.add(root)

    assert [c.id for c in first.by_ref.listed] == [c.id for c in second.by_ref.listed]
    for calls in (first, second):
        assert [calls.by_ref[c.ref] for c in calls.by_ref.listed] == calls.by_ref.listed
    assert value_of(root) == value_of(root)


def test_runs_of_several_threads_may_share_refs() -> None:
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            root = shared()
            values = list(pool.map(value_of, [root] * 4))
            assert values == [values[0]] * 4


def test_a_run_may_grow_by_refs_that_another_run_has_named() -> None:
    root = shared()
    expected = value_of(root)

    @program
    async def grown() -> Any:
        return await takes_anything([root, identity(3)])

    assert value_of(grown()) == [expected, 3]


# ---- what a call waits for -----------------------------------------------------------------------


def test_a_call_waits_for_its_inputs_and_a_static_program_for_what_its_body_returned() -> None:
    @program
    def pair(value: Any) -> list[Any]:
        return [identity(1), identity(value)]

    given_, other = identity("a"), identity("b")
    whole = pair(given_)
    root = identity({"both": [whole, other]})
    calls = Calls()
    calls.add(root)

    by_ref = calls.by_ref
    assert calls.below(by_ref[root]) == (by_ref[whole], by_ref[other])
    assert [c.ref.arguments[0] for c in calls.below(by_ref[whole])] == [1, given_]
    assert calls.below(by_ref[other]) == ()


def test_a_ref_whose_edge_is_refused_is_refused_again_when_a_program_awaits_it_again() -> None:
    wrong = takes_number(text())  # type: ignore[arg-type]

    @program
    async def careless() -> list[str]:
        refused: list[str] = []
        for _ in range(2):
            try:
                await wrong
            except EdgeTypeError as exc:
                refused.append(str(exc))
        return refused

    first, second = motet.run(careless(), store=None).value
    assert first == second
    assert "takes_number takes" in first
