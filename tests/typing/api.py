"""What a type checker sees of the API. Read by mypy only."""

from typing import Any, assert_type

from pydantic import BaseModel

import motet
from motet import Completion, Graph, Model, Outcome, Ref, Result, program, prompt, step
from motet.operations import Program, Step
from motet.prompts import Prompt
from motet.types import Embedding, Rewards, Scores


class City(BaseModel):
    name: str


@prompt(user="{{ question }}")
def ask(question: str) -> str:
    raise NotImplementedError


@prompt(system="x", user="{{ name }}", assistant="{", keep_cut_off=True)
def city(name: str) -> City:
    raise NotImplementedError


@prompt(chat=lambda question: question)
def complete(question: str) -> Completion:
    raise NotImplementedError


@step
def length(text: str) -> int:
    return len(text)


@step
async def later(text: str) -> float:
    return 1.0


@program
def static(question: str) -> Ref[str]:
    return ask(question)


@program
def literal() -> int:
    return 1


@program
async def growing(question: str) -> list[int]:
    answer = await ask(question)
    assert_type(answer, str)
    assert_type(await length(answer), int)
    assert_type(await ask.samples(3)(question), list[str])
    return [await length(answer)]


assert_type(ask, Prompt[str])
assert_type(ask.on(Model("local:x"), temperature=0.5), Prompt[str])
assert_type(ask.on("local:x").samples(3), Prompt[list[str]])
assert_type(ask.scores(["a"])("q"), Ref[Scores])
assert_type(ask.rewards()("q"), Ref[Rewards])
assert_type(ask.embeddings()("q"), Ref[Embedding])
assert_type(ask("q"), Ref[str])
assert_type(ask.samples(3)("q"), Ref[list[str]])
assert_type(city("Ulm"), Ref[City])
assert_type(complete("q"), Ref[Completion])
assert_type(length, Step[int])
assert_type(later, Step[float])
assert_type(length("a"), Ref[int])
assert_type(later("a"), Ref[float])
assert_type(static, Program[str])
assert_type(literal, Program[int])
assert_type(growing, Program[list[int]])
assert_type(static("q"), Ref[str])
assert_type(growing("q"), Ref[list[int]])
assert_type(static.as_model(), Model)
assert_type(static("q")[0], Ref[Any])
assert_type(motet.run(static("q")), Result[str])
assert_type(motet.run(growing("q")).value, list[int])
assert_type(motet.race(ask("a"), ask("b")), Ref[str])
assert_type(motet.settled([length("a")]), Ref[list[Outcome[int]]])
assert_type(motet.successful([length("a")], at_least=1), Ref[list[int]])
assert_type(motet.map(ask, ["a"]), Ref[list[Any]])
assert_type(motet.plan(ask("q")), Graph)


async def main() -> None:
    result = await motet.arun(city("Ulm"))
    assert_type(result, Result[City])
    assert_type(result.value.name, str)
    async for event in motet.stream(ask("q")):
        assert_type(event.run_id, str)
