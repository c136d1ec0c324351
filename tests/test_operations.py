"""Operations: decorators, binding of arguments, static and async programs."""

import asyncio
import functools
from typing import Any

import pytest

import motet
from motet import Ref, RunFailedError, program, step
from motet.errors import ProgramError, StepError, UnboundInputError
from motet.operations import operation_name
from motet.testing import ScriptedEngine


@motet.prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@step
def identity(value: Any) -> Any:
    return value


@step
def add(a: int, b: int = 10) -> int:
    return a + b


@step
def everything(a: Any, *rest: Any, b: Any = "b", **more: Any) -> Any:
    return [a, list(rest), b, more]


@step
async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


def value_of(ref: Ref[Any]) -> Any:
    return motet.run(ref, store=None).value


def failure_of(ref: Ref[Any]) -> BaseException | None:
    with pytest.raises(RunFailedError) as caught:
        motet.run(ref, store=None)
    return caught.value.__cause__


def id_of(ref: Ref[Any]) -> str:
    return motet.plan(ref).root_id


def test_a_step_is_a_function_as_a_node() -> None:
    """Defaults are filled in, sync and async alike."""
    assert value_of(add(later(1), b=identity(2))) == 3
    assert value_of(add(1)) == 11


@pytest.mark.parametrize(
    "call",
    [lambda: add(1, 2), lambda: add(1, b=2), lambda: add(b=2, a=1), lambda: add(a=1, b=2)],
)
def test_position_and_keyword_give_one_id(call: Any) -> None:
    """How an argument is passed is no input."""
    assert id_of(call()) == id_of(add(1, 2))


def test_a_default_and_its_value_give_one_id() -> None:
    """Defaults are inputs like others."""
    assert id_of(add(1)) == id_of(add(1, 10))
    assert id_of(add(1)) != id_of(add(1, 11))


def test_every_kind_of_parameter_takes_refs() -> None:
    """Positional, variadic, keyword-only and free keywords."""
    one = identity(1)

    value = value_of(everything(one, 2, identity(3), b=identity("x"), c=one, d=[one]))

    assert value == [1, [2, 3], "x", {"c": 1, "d": [1]}]


def test_a_variadic_parameter_is_checked_by_element() -> None:
    """`*parts: list[str]` takes refs of lists."""

    @step
    def texts() -> list[str]:
        return ["a"]

    @step
    def joined(*parts: list[str]) -> int:
        return len(parts)

    assert value_of(joined(texts(), texts())) == 2


@pytest.mark.parametrize("call", [lambda: add(), lambda: add(1, 2, 3), lambda: add(1, c=2)])
def test_wrong_arguments_are_refused_with_the_signature(call: Any) -> None:
    """A call that Python would refuse is refused when it is made, with its place."""
    with pytest.raises(
        UnboundInputError, match=r"add\(a: |add takes no 'c'; it takes a, b"
    ) as caught:
        call()

    assert "test_operations.py" in str(caught.value.place)


def test_decorators_may_be_given_a_name() -> None:
    """The name is the operation's identity."""

    @step(name="mine:first")
    def first() -> int:
        return 1

    @program(name="mine:second")
    def second() -> Any:
        return first()

    assert first.name == "mine:first"
    assert second.identity == "program:mine:second"
    assert value_of(second()) == 1


def test_operations_are_named_by_module_and_qualified_name() -> None:
    """`<locals>` is no part of a name, and wrappers keep their function's name."""

    def local() -> None: ...

    @functools.wraps(local)
    def wrapped() -> None: ...

    assert operation_name(local).endswith(
        "test_operations:test_operations_are_named_by_module_and_qualified_name.local"
    )
    assert operation_name(wrapped) == operation_name(local)
    assert add.__doc__ is None
    assert add.__wrapped__(1, 2) == 3


def test_a_step_that_raises_is_a_step_error() -> None:
    """The message names the step, the exception and the place; the cause is kept."""

    @step
    def broken() -> int:
        return int("x")

    failure = failure_of(broken())

    assert isinstance(failure, StepError)
    assert failure.error_type == "builtins.ValueError"
    assert isinstance(failure.__cause__, ValueError)
    assert "broken raised ValueError" in str(failure)
    assert "test_operations.py" in str(failure)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_step_that_returns_a_ref_is_refused(kind: str) -> None:
    """A step is no program."""

    @step
    def sync_step() -> Any:
        return identity(1)

    @step
    async def async_step() -> Any:
        return identity(1)

    failure = failure_of(sync_step() if kind == "sync" else async_step())

    assert isinstance(failure, UnboundInputError)
    assert "@program" in str(failure)


def test_a_sync_step_that_returns_a_coroutine_is_refused() -> None:
    """`def` around an async function is a mistake, and no warning is left behind."""

    async def inner() -> int:
        return 1

    @step
    def outer() -> Any:
        return inner()

    assert isinstance(failure_of(outer()), UnboundInputError)


STRUCTURES = {
    "ref": (lambda one: one, 1),
    "literal": (lambda one: "text", "text"),
    "none": (lambda one: None, None),
    "list": (lambda one: [one, 2], [1, 2]),
    "tuple": (lambda one: (one, (one,)), (1, (1,))),
    "dict": (lambda one: {"a": {"b": one}}, {"a": {"b": 1}}),
    "empty": (lambda one: [], []),
}


@pytest.mark.parametrize(("build", "expected"), STRUCTURES.values(), ids=STRUCTURES.keys())
@pytest.mark.parametrize("kind", ["static", "async"])
def test_a_program_returns_any_structure_of_refs(kind: str, build: Any, expected: Any) -> None:
    """Refs inside a result are replaced by their values, in `def` and in `async def`."""

    @program
    def static() -> Any:
        return build(identity(1))

    @program
    async def growing() -> Any:
        return build(identity(1))

    value = value_of(static() if kind == "static" else growing())

    assert value == expected
    assert type(value) is type(expected)


def test_programs_nest_in_each_other() -> None:
    """Static in async in static in async, with refs passed down."""

    @program
    def doubled(value: int) -> Any:
        return add(value, value)

    @program
    async def summed(values: list[int]) -> Any:
        doubles = [doubled(v) for v in values]
        return await doubles[0] + sum([await d for d in doubles[1:]])

    @program
    def outer(values: list[int]) -> Any:
        return {"sum": summed([doubled(v) for v in values]), "first": doubled(values[0])}

    assert value_of(outer([1, 2, 3])) == {"sum": 24, "first": 2}


def test_a_static_program_is_known_before_it_runs() -> None:
    """Its body runs once, when it is called, and never again."""
    bodies = []

    @program
    def twice(value: Any) -> Any:
        bodies.append(value)
        return identity(identity(value))

    ref = twice(1)

    assert bodies == [1]
    assert len(motet.plan(ref)) == 3
    assert [value_of(ref), value_of(ref)] == [1, 1]
    assert bodies == [1]


def test_recursion_without_end_is_a_program_error() -> None:
    """A static program that calls itself for ever is refused, with its place."""

    @program
    def endless(value: Any) -> Any:
        return endless(value)

    with pytest.raises(ProgramError, match="without end") as caught:
        endless(1)

    assert "test_operations.py" in str(caught.value.place)


def test_mutual_recursion_without_end_is_a_program_error() -> None:
    """Two programs that call each other for ever are refused too."""

    @program
    def first(value: Any) -> Any:
        return second(value)

    @program
    def second(value: Any) -> Any:
        return first(value)

    with pytest.raises(ProgramError, match="without end"):
        first(1)


def test_recursion_with_an_end_is_a_graph() -> None:
    """A static program may call itself on plain data."""

    @program
    def tree(depth: int) -> Any:
        return identity(depth) if depth == 0 else add(tree(depth - 1), tree(depth - 1))

    @program
    async def factorial(n: int) -> int:
        return 1 if n == 0 else n * await factorial(n - 1)

    assert value_of(tree(6)) == 0
    assert value_of(factorial(20)) == 2432902008176640000


def test_control_flow_on_a_ref_in_a_static_program_is_refused() -> None:
    """The message says that an `async def` may await."""

    @program
    def branching() -> Any:
        return 1 if identity(True) else 2

    with pytest.raises(UnboundInputError, match="async def"):
        branching()


def test_a_program_that_returns_a_coroutine_is_refused() -> None:
    """A `def` around an async function is a mistake."""

    async def inner() -> int:
        return 1

    @program
    def outer() -> Any:
        return inner()

    with pytest.raises(ProgramError, match="async def"):
        outer()


def test_an_error_in_an_async_program_is_a_step_error() -> None:
    """What a program's own code raises fails its call."""

    @program
    async def broken() -> int:
        raise KeyError("missing")

    failure = failure_of(identity(broken()))

    assert isinstance(failure, StepError)
    assert failure.error_type == "builtins.KeyError"


def test_operations_can_be_used_a_thousand_times() -> None:
    """No call leaves anything in its operation."""
    engine = ScriptedEngine(lambda r: r.prompt[-1].content)
    bound = ask.on(engine)
    before = dict(vars(add)), dict(vars(bound))

    @program
    def wide() -> Any:
        return [add(i, i) for i in range(1000)] + [bound(str(i)) for i in range(1000)]

    values = value_of(wide())
    again = value_of(wide())

    assert values == again == [2 * i for i in range(1000)] + [str(i) for i in range(1000)]
    after = dict(vars(add)), dict(vars(bound))
    for old, new in zip(before, after, strict=True):
        assert {k: v for k, v in new.items() if k in old} == old


def test_an_operation_may_be_passed_as_an_argument() -> None:
    """Programs of higher order take prompts, steps and models."""

    @program
    def applied(function: Any, value: Any, times: int) -> Any:
        for _ in range(times):
            value = function(value, 1)
        return value

    ref = applied(add, 0, 5)

    assert value_of(ref) == 5
    assert id_of(applied(add, 0, 5)) == id_of(ref) != id_of(applied(everything, 0, 5))
