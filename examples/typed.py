"""Typed outputs: a pydantic model and a Literal, constrained while the local engine decodes.

The constraint guarantees the shape, not the truth: the model is small.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

import motet
from motet import Model, Ref, Sampling, program, prompt, step

smol = Model("local:smollm2", sampling=Sampling(temperature=0.0, max_tokens=48))


class City(BaseModel):
    name: Annotated[str, Field(max_length=20)]
    continent: Literal["Africa", "America", "Asia", "Europe", "Oceania"]


@prompt(user="The capital of {{ country }}, as JSON with the keys name and continent.")
def capital(country: str) -> City:
    """A city; a reply of another shape would be a `ParseError`."""
    raise NotImplementedError


@prompt(user="Is {{ city.name }} a large city? Answer yes or no.\nAnswer:")
def is_large(city: City) -> Literal["yes", "no"]:
    """A template reads the fields of a typed value."""
    raise NotImplementedError


@step
def line(city: City, answer: Literal["yes", "no"]) -> str:
    return f"{city.name} ({city.continent}): large? {answer}"


@program
def cities(countries: list[str]) -> list[Ref[str]]:
    asked = [capital(country) for country in countries]
    return [line(city, is_large(city)) for city in asked]


if __name__ == "__main__":
    result = motet.run(cities(["France", "Japan"]), model=smol)
    print(*result.value, sep="\n")
