"""Refs: what can be done with one before it has a value, and where one may stand."""

import asyncio
import copy
import dataclasses
import pickle
from collections import Counter, defaultdict, deque
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, ConfigDict, Field

import motet
from motet import Message, Ref, program, prompt, step
from motet.errors import ConfigError, EdgeTypeError, ProgramError, UnboundInputError
from motet.refs import parts_of, snapshot, substitute
from motet.testing import ScriptedEngine


@step
def identity(value: Any) -> Any:
    return value


@step
def one() -> int:
    return 1


@prompt(chat=lambda messages: messages)
def continue_chat(messages: Any) -> str:
    raise NotImplementedError


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass
class Holder:
    value: Any
    others: list[Any] = dataclasses.field(default_factory=list)


class Open(BaseModel):
    value: Any
    others: list[Any] = []


class Strict(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    value: int | Ref[int]


class Typed(BaseModel):
    value: int


class Numbers(BaseModel):
    items: list[int]


def value_of(ref: Ref[Any]) -> Any:
    return motet.run(ref, store=None).value


USES = {
    "bool": bool,
    "not": lambda ref: not ref,
    "if": lambda ref: 1 if ref else 2,
    "iter": iter,
    "list": list,
    "unpack": lambda ref: [*ref],
    "len": len,
    "contains": lambda ref: "x" in ref,
    "str": str,
    "f-string": lambda ref: f"{ref}",
    "format": lambda ref: "{:>10}".format(ref),  # noqa: UP032
    "percent": lambda ref: "%s" % ref,  # noqa: UP031
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_a_ref_used_as_its_value_is_refused_with_its_place(use: Any) -> None:
    """Testing, iterating, measuring, searching and formatting a ref fail, and name the call."""
    ref = one()

    with pytest.raises(UnboundInputError) as caught:
        use(ref)

    assert isinstance(caught.value, ProgramError)
    assert caught.value.place == ref.place
    assert "test_refs.py:" in str(caught.value)


ARITHMETIC = {
    "add": lambda ref: ref + 1,
    "less": lambda ref: ref < 1,
    "int": int,
    "float": float,
    "join": lambda ref: "".join([ref]),  # noqa: FLY002
    "call": lambda ref: ref(),
}


@pytest.mark.parametrize("use", ARITHMETIC.values(), ids=ARITHMETIC.keys())
def test_a_ref_cannot_be_computed_with(use: Any) -> None:
    """What Python itself refuses for unknown objects is refused for refs; where it can be said,
    with the place and the way out."""
    ref = one()

    with pytest.raises((TypeError, UnboundInputError)):
        use(ref)


def test_an_attribute_of_a_ref_is_refused_with_the_way_out() -> None:
    """`ref.upper()` says that there is no value yet, and `hasattr` is False."""
    ref = one()

    with pytest.raises(AttributeError, match=r"no value yet.*ref\[\.\.\.\]"):
        ref.upper()

    assert not hasattr(ref, "upper")


@pytest.mark.parametrize("other", ["yes", 1, None, True])
def test_comparing_a_ref_with_a_value_is_refused(other: Any) -> None:
    """`ref == value` cannot be known yet, so it is no silent False."""
    ref = one()

    with pytest.raises(UnboundInputError):
        assert (ref == other) is not None


def test_refs_are_hashable_and_equal_only_to_themselves() -> None:
    """Refs serve as keys of dicts by identity."""
    first, second = one(), one()

    keys = {first: "first", second: "second"}

    assert keys[first] == "first"
    assert keys[second] == "second"


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_ref_is_that_ref(clone: Any) -> None:
    """A copy would be another call, so there is none."""
    ref = one()

    assert clone(ref) is ref
    assert clone([ref])[0] is ref


def test_a_ref_cannot_be_pickled() -> None:
    """It is a place in a program, not a value."""
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(one())


def test_a_refs_repr_names_the_operation_and_the_place() -> None:
    """A ref can be looked at in a debugger."""
    ref = one()

    shown = repr(ref)

    assert "one" in shown
    assert "test_refs.py:" in shown


def test_awaiting_a_ref_outside_a_program_is_refused() -> None:
    """Only a running `async def` program can await."""

    async def main() -> int:
        return await one()

    with pytest.raises(UnboundInputError, match=r"motet\.run"):
        asyncio.run(main())


CONTAINERS = {
    "list": (lambda r: [r, 2], [1, 2]),
    "tuple": (lambda r: (r, 2), (1, 2)),
    "dict": (lambda r: {"a": r}, {"a": 1}),
    "set": (lambda r: {r, 2}, {1, 2}),
    "frozenset": (lambda r: frozenset({r}), frozenset({1})),
    "nested": (lambda r: {"a": [({"b": r},)]}, {"a": [({"b": 1},)]}),
    "dataclass": (lambda r: Holder(r, [r]), Holder(1, [1])),
    "pydantic any": (lambda r: Open(value=r, others=[r]), Open(value=1, others=[1])),
    "pydantic union": (lambda r: Strict(value=r), Strict(value=1)),
    "pydantic construct": (lambda r: Typed.model_construct(value=r), Typed(value=1)),
    "pydantic in list": (lambda r: [Open(value={"k": r})], [Open(value={"k": 1})]),
    "repeated": (lambda r: [r, r], [1, 1]),
    "message": (
        lambda r: (Message("user", r),),
        (Message("user", 1),),  # type: ignore[arg-type]
    ),
    "defaultdict": (lambda r: defaultdict(list, {"a": r}), {"a": 1}),
}


@pytest.mark.parametrize(("build", "expected"), CONTAINERS.values(), ids=CONTAINERS.keys())
def test_a_ref_may_stand_anywhere_in_an_argument(build: Any, expected: Any) -> None:
    """Every ref inside an argument is replaced by its value, the structure kept."""
    argument = build(one())

    value = value_of(identity(argument))

    assert value == expected
    assert type(value) in (type(argument), type(expected), dict)


HIDDEN = {
    "namedtuple": lambda r: Pair(r, 2),
    "deque": lambda r: deque([r]),
    "dict values": lambda r: {"a": r}.values(),
    "list subclass": lambda r: type("Special", (list,), {})([r]),
    "dict key": lambda r: {r: 1},
    "generator": lambda r: (x for x in [r]),
}


@pytest.mark.parametrize("build", HIDDEN.values(), ids=HIDDEN.keys())
def test_a_ref_in_an_unknown_container_is_replaced_or_refused(build: Any) -> None:
    """No step ever sees a Ref: what cannot be looked into is refused before anything runs."""
    argument = build(one())

    @step
    def holds_ref(value: Any) -> bool:
        parts = [*value, *value.values()] if isinstance(value, dict) else list(value)
        return any(isinstance(part, Ref) for part in parts)

    try:
        leaked = value_of(holds_ref(argument))
    except ProgramError:
        leaked = False

    assert leaked is False


def test_a_ref_stands_in_a_pydantic_field_with_an_alias() -> None:
    """Aliases are for input; a model already built keeps working."""

    class Aliased(BaseModel):
        value: Any = Field(alias="v")

    argument = Aliased(v=one())

    value = value_of(identity(argument))

    assert value.value == 1


def test_a_ref_stands_in_a_dataclass_with_a_computed_field() -> None:
    """A field that `__init__` does not take is no obstacle."""

    @dataclasses.dataclass
    class Computed:
        value: Any
        size: int = dataclasses.field(init=False, default=3)

    value = value_of(identity(Computed(one())))

    assert value == Computed(1)


def test_a_ref_in_a_message_is_filled_in_before_the_prompt_is_sent() -> None:
    """Chats may be built of refs."""
    engine = ScriptedEngine(lambda request: request.prompt[-1].content.upper())
    draft = identity("draft")

    ref = continue_chat.on(engine)([Message("user", draft)])  # type: ignore[arg-type]

    assert value_of(ref) == "DRAFT"


def test_later_changes_of_an_argument_are_not_seen() -> None:
    """Lists and dicts are copied, however deep, when the call is made."""
    inner = [1]
    items = [inner, {"a": inner}, (inner,)]
    ref = identity(items)

    inner.append(2)
    items.clear()

    assert value_of(ref) == [[1], {"a": [1]}, ([1],)]


@pytest.mark.parametrize("kind", [Typed, Holder])
def test_later_changes_of_a_models_fields_are_not_seen(kind: Any) -> None:
    """The snapshot holds for models and dataclasses too: the id was made of the old value."""
    argument = kind(value=1)
    ref = identity(argument)

    argument.value = 2

    assert value_of(ref).value == 1


@step
def push(items: Any) -> int:
    held: Any = items["k"] if isinstance(items, dict) else items
    held = getattr(held, "others", held)
    held = getattr(held, "items", held) if isinstance(held, Numbers) else held
    held.append(1)
    return len(held)


@step
def make_list() -> list[int]:
    return []


@step
def make_dict() -> dict[str, list[int]]:
    return {"k": []}


@step
def make_model() -> Open:
    return Open(value=0)


@step
def make_dataclass() -> Holder:
    return Holder(0)


MUTABLE = {
    "literal list": list,
    "literal dict": lambda: {"k": []},
    "literal model": lambda: Open(value=0),
    "literal dataclass": lambda: Holder(0),
    "ref of list": make_list,
    "ref of dict": make_dict,
    "ref of model": make_model,
    "ref of dataclass": make_dataclass,
}


@pytest.mark.parametrize("make", MUTABLE.values(), ids=MUTABLE.keys())
def test_a_step_that_changes_its_input_does_not_change_a_siblings(make: Any) -> None:
    """Every reader has a value of its own."""

    @program
    def twice() -> Any:
        given = make()
        return [push(given), push(given), push(given)]

    values = value_of(twice())

    assert values == [1, 1, 1]


@pytest.mark.parametrize(
    "make",
    [
        Counter,
        lambda: defaultdict(int),
        lambda: deque([0]),
    ],
)
def test_values_of_other_containers_are_isolated_too(make: Any) -> None:
    """Counters, defaultdicts and deques that a step returned are copied for every reader."""

    @step
    def source() -> Any:
        return make()

    @step
    def change(held: Any) -> int:
        held.append(1) if isinstance(held, deque) else held.update({"a": 1 + held["a"]})
        return len(held) if isinstance(held, deque) else int(held["a"])

    @program
    def twice() -> Any:
        given = source()
        return [change(given), change(given)]

    first, second = value_of(twice())

    assert first == second


def test_awaited_values_are_isolated() -> None:
    """A program that changes what it awaited does not change what another reads."""

    @program
    async def changes() -> Any:
        ref = make_list()
        mine = await ref
        mine.append(5)
        return [await ref, push(ref)]

    assert value_of(changes()) == [[], 1]


def test_scopes_nest_and_end() -> None:
    """A scope holds for the calls made inside, and knows the one around it."""
    with motet.scope(max_calls=2) as outer:
        with motet.scope(max_tokens=5) as inner:
            inside = one()
        between = one()
    outside = one()

    assert inside.scope is inner
    assert inner.outer is outer
    assert between.scope is outer
    assert outside.scope is None


@pytest.mark.parametrize("name", ["max_tokens", "max_calls", "max_cost", "timeout_s"])
@pytest.mark.parametrize("value", [-1, float("nan"), True, "5"])
def test_a_bad_scope_is_refused(name: str, value: Any) -> None:
    """A limit below 0, or one that is no number, is named."""
    with pytest.raises(ConfigError, match=name), motet.scope(**{name: value}):
        pass


def test_a_scopes_model_may_be_a_url() -> None:
    """Wherever a model may stand its URL may, with a typed error for an unknown scheme."""
    with motet.scope(model="nowhere:x"):
        ref = continue_chat("hello")

    with pytest.raises(ConfigError, match="nowhere"):
        motet.run(ref, store=None)


def test_item_access_makes_a_call_of_its_own() -> None:
    """Items, negative ones, slices, keys and fields can be picked before they are there."""

    @program
    def picks() -> Any:
        items = identity([1, 2, 3])
        holder = identity(Holder(7))
        index = one()
        table = identity({"a": {"b": 5}})
        return [items[0], items[-1], items[1:], items[index], table["a"]["b"], holder["value"]]

    assert value_of(picks()) == [1, 3, [2, 3], 2, 5, 7]


@pytest.mark.parametrize("key", [5, "missing"])
def test_a_missing_item_is_a_step_error(key: Any) -> None:
    """A key that is not there fails the call, naming the key."""
    ref = identity([1])[key]

    with pytest.raises(motet.RunFailedError, match="StepError") as caught:
        value_of(ref)

    assert repr(key) in str(caught.value)


def test_the_type_of_an_item_is_checked() -> None:
    """`list[int]` gives an int at an index, which does not fit a str."""

    @step
    def numbers() -> list[int]:
        return [1]

    @step
    def shout(text: str) -> str:
        return text.upper()

    with pytest.raises(EdgeTypeError):
        motet.run(shout(numbers()[0]), store=None)


@dataclasses.dataclass(frozen=True)
class Kept:
    text: str
    parts: Any = ()


def test_what_cannot_change_and_holds_no_ref_is_not_copied() -> None:
    """A frozen dataclass and a tuple of such go round as they are; a list in them does not."""
    same = Kept("a", (1, "b", Kept("c")))
    other = Kept("a", [1])

    assert substitute(same, lambda ref: None) is same
    assert snapshot(same, []) is same
    for copied in (substitute(other, lambda ref: None), snapshot(other, [])):
        assert copied == other
        assert copied.parts is not other.parts


def test_refs_in_frozen_dataclasses_are_found_and_replaced() -> None:
    made = one()
    found: list[Any] = []

    held = snapshot(Kept("a", (made, Kept("b", made))), found)

    assert found == [made, made]
    assert substitute(held, lambda ref: 7) == Kept("a", (7, Kept("b", 7)))


def test_an_object_that_poses_as_a_list_is_copied_like_one() -> None:
    """What a kind says of its objects does not hold where they pass for another's."""

    class Posing:
        __class__ = property(lambda self: list)  # type: ignore[assignment]

        def __iter__(self) -> Any:
            return iter([one_ref])

    one_ref = one()

    assert parts_of(Posing()) == {0: one_ref}
    with pytest.raises(TypeError):  # it is rebuilt from its parts, which it does not take
        snapshot(Posing(), [])
