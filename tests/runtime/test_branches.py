"""Branches: tasks that a program starts are named; others are left alone."""

import asyncio
from typing import Any

import pytest

import motet
from motet import program, step
from motet.refs import BRANCH
from motet.runtime.branches import named_branches


@step
def identity(value: Any) -> Any:
    return value


def test_the_loops_task_factory_comes_back() -> None:
    """After a run, and after the last of overlapping runs, the loop is as it was."""

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        made: list[Any] = []

        def factory(loop: Any, coro: Any, **kwargs: Any) -> Any:
            made.append(coro)
            return asyncio.Task(coro, loop=loop, **kwargs)

        loop.set_task_factory(factory)
        await asyncio.gather(*[motet.arun(identity(i), store=None) for i in range(5)])
        return [loop.get_task_factory() is factory, len(made) >= 5]

    assert asyncio.run(main()) == [True, True]


def test_it_comes_back_after_a_failure_too() -> None:
    """An error inside leaves nothing behind."""

    async def main() -> Any:
        with pytest.raises(ZeroDivisionError), named_branches():
            raise ZeroDivisionError
        return asyncio.get_running_loop().get_task_factory()

    assert asyncio.run(main()) is None


def test_tasks_of_a_program_are_branches_in_order_of_creation() -> None:
    """Path and nested path; the program itself goes on in its own."""
    paths: dict[str, str] = {}

    async def child(name: str, depth: int = 0) -> None:
        paths[name] = BRANCH.get().path
        if depth:
            await asyncio.gather(child(name + "a", depth - 1), child(name + "b", depth - 1))

    @program
    async def whole() -> None:
        first = asyncio.create_task(child("x", 1))
        second = asyncio.create_task(child("y", 1))
        await second
        await first
        paths["self"] = BRANCH.get().path

    motet.run(whole(), store=None)

    assert paths == {
        "x": ".1",
        "y": ".2",
        "xa": ".1.1",
        "xb": ".1.2",
        "ya": ".2.1",
        "yb": ".2.2",
        "self": "",
    }


def test_tasks_outside_of_programs_are_no_branches() -> None:
    """Code that shares the loop with a run is untouched."""

    async def other() -> Any:
        await asyncio.sleep(0.01)
        return BRANCH.get().live

    @step
    async def slow() -> int:
        await asyncio.sleep(0.02)
        return 1

    async def main() -> Any:
        run = asyncio.create_task(motet.arun(slow(), store=None))
        await asyncio.sleep(0.005)
        lives = await asyncio.gather(other(), other())
        await run
        return lives

    assert asyncio.run(main()) == [None, None]


def test_calls_made_in_tasks_belong_to_the_program() -> None:
    """A call of a task starts at once, and its parent is the program."""

    async def child(value: int) -> int:
        return int(await identity(value))

    @program
    async def whole() -> Any:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(child(i)) for i in range(4)]
        return [t.result() for t in tasks]

    result = motet.run(whole(), store=None)

    assert result.value == [0, 1, 2, 3]
    root = result.graph.root_id
    assert [n.parent_id for n in result.graph if n.kind == "step"] == [root] * 4
