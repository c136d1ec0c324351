"""The tables that routers are compared on, with the answers that are stored beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from motet.routing.datasets import STRONG, WEAK, Price, read_prices, read_routellm, read_zeroeval
from motet.routing.outcome_files import json_lines
from motet.routing.outcomes import Outcomes

PRICED = {
    "Meta-Llama-3-8B-Instruct": "meta-llama/llama-3-8b-instruct",
    "Meta-Llama-3.1-70B-Instruct": "meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo",
    "Mixtral-8x7B-Instruct-v0.1": "mistralai/mixtral-8x7b-instruct",
    "claude-3-5-sonnet-20241022": "anthropic/claude-3.5-sonnet",
    "claude-3-haiku-20240307": "claude-3-haiku-20240307",
    "gpt-3.5-turbo-0125": "gpt-3.5-turbo",
    "gpt-4o-2024-08-06": "gpt-4o",
    "gpt-4o-mini-2024-07-18": "gpt-4o-mini",
}
"""ZeroEval's models whose answers are stored, and their names in RouterArena's price list."""
PAIR = {WEAK: "mistralai/mixtral-8x7b-instruct", STRONG: "gpt-4-1106-preview"}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Outcomes of which every score and cost is known."""

    slug: str
    title: str
    outcomes: Outcomes
    answers: Mapping[str, Mapping[str, str]] | None
    """Model -> prompt -> text; None where no answers are stored."""

    def first(self, count: int) -> Table:
        rows = range(min(count, len(self.outcomes.prompts)))
        return replace(self, outcomes=self.outcomes.take(list(rows)))


def read_tables(data: Path) -> list[Table]:
    prices = read_prices(data / "routerarena" / "model_cost.json")
    pair = {model: prices[name] for model, name in PAIR.items()}
    found = [_gsm8k(data / "routellm", pair)]
    outcomes = read_routellm(data / "routellm", "mmlu", prices=pair).complete()
    found.append(
        Table(slug="routellm-mmlu", title="RouteLLM MMLU", outcomes=outcomes, answers=None)
    )
    priced = {model: prices[name] for model, name in PRICED.items()}
    for part, title in (("gsm8k", "GSM8K"), ("crux", "CRUX"), ("math_l5", "MATH level 5")):
        found.append(_zeroeval(data / f"zeroeval_{part}", title, priced))
    return found


def _gsm8k(folder: Path, prices: Mapping[str, Price]) -> Table:
    records = [record for _, record in json_lines(folder / "gsm8k.jsonl.gz")]
    answers = {
        model: {record["prompt"]: record[f"{side}_response"] for record in records}
        for model, side in ((WEAK, "weak"), (STRONG, "strong"))
    }
    outcomes = read_routellm(folder, "gsm8k", prices=prices).complete()
    return Table(slug="routellm-gsm8k", title="RouteLLM GSM8K", outcomes=outcomes, answers=answers)


def _zeroeval(folder: Path, title: str, prices: Mapping[str, Price]) -> Table:
    questions = {
        record["id"]: record["question"] for _, record in json_lines(folder / "outcomes.jsonl.gz")
    }
    answers: dict[str, dict[str, str]] = {}
    for _, record in json_lines(folder / "texts.jsonl.gz"):
        for model, text in record["outputs"].items():
            if model in prices:
                answers.setdefault(model, {})[questions[record["id"]]] = text
    outcomes = read_zeroeval(folder, prices=prices).only(sorted(answers)).complete()
    slug = folder.name.replace("_", "-")
    return Table(slug=slug, title=f"ZeroEval {title}", outcomes=outcomes, answers=answers)
