"""The page of results: tables, sentences and plots, all of them from the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from routing_contenders import CASCADE_ROUTING, ERRORS, FRUGAL, KNN, LOCAL, Halves
from routing_streams import DIMENSIONS, Streamed, price_of

from motet.routing.intervals import Interval, mean_interval
from motet.routing.measuring import Compared
from motet.routing.paths import ORACLE, ZERO
from motet.routing.plots import Curve, cost_quality_svg, deferral_svg, lines_svg
from motet.routing.registry import ROUTERS
from motet.routing.resamples import GAPS

CASCADES = (FRUGAL, CASCADE_ROUTING)
UNIT = "dollars for 1,000 prompts"
PLOTS = "routing-results"
"""Folder beside the page."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """All that was measured on one table."""

    halves: Halves
    found: Sequence[Compared]
    notes: dict[str, str]
    streamed: Sequence[Streamed]

    def of(self, name: str) -> Compared:
        return next(each for each in self.found if each.name == name)

    def best(self, names: Sequence[str]) -> Compared | None:
        """Return the one of the greatest AIQ."""
        known = [each for each in self.found if each.name in names]
        return max(known, key=lambda each: each.aiq.estimate, default=None)

    @property
    def learned(self) -> Compared | None:
        return self.best([name for name in ROUTERS if name != KNN])

    @property
    def cascade(self) -> Compared | None:
        return self.best(CASCADES)


ABOUT = """\
Which router is worth it, on tables whose scores are public? Every figure here, and every sentence
that names a router, is made by the command at the end of the page.

- **Split.** By prompt: {share:.0%} to learn from, the rest held out (seed {seed}). Prompts, and
  answers where they are stored, are embedded by `local:minilm`.
- **Costs.** A quarter of the characters of prompt and answer as tokens, at RouterArena's list
  prices. RouteLLM's MMLU stores no answers, so its prompts alone are paid for. Of ZeroEval's models
  there are those whose answers are stored and whose prices are listed.
- **AIQ** is the mean height of the non-decreasing convex hull of a router's settings, between the
  costs of the cheapest and the dearest model. **APGR** is the part of the gap between a weak and a
  strong model that is recovered, on average over shares of strong calls; **CPT** is the share of
  strong calls that recovers 50 or 80 % of it. A cascade pays for the weak model besides, which APGR
  and CPT do not count and AIQ does.
- **Score at the median cost** is the height of the hull at the median of the models' mean costs.
- **Gains** are paired by prompt, and taken of the settings as they are, with straight lines between
  them, level beyond the last, and no hull. A hull is chosen on the prompts that it is measured on, so that even a router that knows nothing has one
  above the zero router's: in AIQ that flatters every router a little.
- **Intervals** are of 95 %, by {resamples:,} resamples of the held-out prompts. A router is called
  better than another only where the interval of the paired gain is above 0. The best of a family is
  the one of the greatest AIQ on the held-out prompts, which flatters it. Nothing is corrected for
  the number of comparisons.
- **Cascades** go by a scorer of answers: a logistic regression for each model on the embeddings of
  prompt and answer and the answer's length. It is cross-fitted on the training half, where
  thresholds are fitted too. `cascade (FrugalGPT)` has chains of up to three models in the order of
  their prices. `cascade routing` chooses anew after each answer, by `linear` before it and by the
  scorer after it, up to three calls.
- **Noisy evaluators** stop by the true score, and err in {errors} of the verdicts. They bound what
  a cascade can reach and cannot be served. So does the **oracle**, which knows all scores. The
  **zero router** mixes single models at random.
- **Smoothie** has no labels: its weights come from the answers to the training prompts, over all of
  them or over the {local} nearest. Its weights say which model is better, not by how much, so where
  prices count its curve is a rough one.
- **Not here** are routers that ask a model of their own before they decide: capability texts, Cappy
  and a causal-LM classifier.
"""


def about(share: float, seed: int, resamples: int) -> str:
    """Return what holds for all tables."""
    errors = ", ".join(f"{error:.0%}" for error in ERRORS)
    return ABOUT.format(share=share, seed=seed, resamples=resamples, errors=errors, local=LOCAL)


def page(sections: Sequence[Section], *, command: str, about: str) -> str:
    parts = ["# Routers on real outcomes", "", about]
    for section in sections:
        parts += _section(section)
    parts += ["## The command", "", "```console", f"$ {command}", "```", ""]
    return "\n".join(parts)


def write_plots(section: Section, folder: Path) -> None:
    halves, slug = section.halves, section.halves.table.slug
    folder.mkdir(parents=True, exist_ok=True)
    shown = [KNN, *(each.name for each in (section.learned, section.cascade) if each is not None)]
    shown += [name for name in _names(section) if name.startswith("smoothie")]
    test = halves.test
    models = {
        name: (1e3 * float(cost), float(score))
        for name, cost, score in zip(
            test.models, test.costs.mean(axis=0), test.scores.mean(axis=0), strict=True
        )
    }
    title = f"{halves.table.title}: {len(test.prompts):,} held-out prompts"
    text = cost_quality_svg(
        [_thousands(section.of(name)) for name in [ZERO, *shown, ORACLE]],
        title=title, unit=UNIT, models=models, dashed=(ZERO, ORACLE),
    )  # fmt: skip
    (folder / f"{slug}-cost.svg").write_text(text, encoding="utf-8")
    deferring = [name for name in [KNN, *ROUTERS, *CASCADES, ORACLE] if name in _names(section)]
    text = deferral_svg(
        [section.of(name) for name in dict.fromkeys(deferring)],
        title=f"{halves.table.title}: {halves.weak} or {halves.strong}", dashed=(ORACLE,),
    )  # fmt: skip
    (folder / f"{slug}-deferral.svg").write_text(text, encoding="utf-8")
    text = lines_svg(
        [_regret(each) for each in section.streamed],
        title=f"{halves.table.title}: regret of bandits", across="prompts", up="regret, in scores",
        is_log=False,
    )  # fmt: skip
    (folder / f"{slug}-regret.svg").write_text(text, encoding="utf-8")


def _names(section: Section) -> list[str]:
    return [each.name for each in section.found]


def _thousands(each: Compared) -> Compared:
    return replace(each, costs=tuple(1e3 * cost for cost in each.costs))


def _regret(each: Streamed) -> Curve:
    steps = np.unique(np.linspace(0, each.regrets.shape[1] - 1, 60).astype(int))
    at = each.regrets[:, steps]
    return Curve(
        name=each.name,
        xs=tuple(float(step + 1) for step in steps),
        ys=tuple(map(float, at.mean(axis=0))),
        lows=tuple(map(float, np.quantile(at, 0.025, axis=0))),
        highs=tuple(map(float, np.quantile(at, 0.975, axis=0))),
    )


def _section(section: Section) -> list[str]:
    halves = section.halves
    slug, title = halves.table.slug, halves.table.title
    sizes = (
        f"{len(halves.train.prompts):,} prompts to learn from, {len(halves.test.prompts):,} held "
        f"out. APGR, CPT and the deferral curve are of `{halves.weak}` and `{halves.strong}`."
    )
    return [
        f"## {title}",
        "",
        sizes,
        "",
        *_named(section),
        "",
        f"![{title}: mean score against mean cost]({PLOTS}/{slug}-cost.svg)",
        "",
        *_table(section),
        "",
        *[f"- `{name}`: {note}." for name, note in section.notes.items()],
        "",
        f"![{title}: mean score against the share of strong calls]({PLOTS}/{slug}-deferral.svg)",
        "",
        *_models(halves),
        "",
        *_bandits(section),
        "",
        f"![{title}: regret of bandits]({PLOTS}/{slug}-regret.svg)",
        "",
    ]


def _named(section: Section) -> list[str]:
    """Name kNN, the best learned router and the best cascade, and what can be told apart."""
    knn, learned, cascade = section.of(KNN), section.learned, section.cascade
    lines = [f"**kNN**: {_figures(knn)}. "]
    if learned is not None:
        lines.append(f"**Best learned router besides it**, `{learned.name}`: {_figures(learned)}. ")
    if cascade is None:
        lines.append("**Cascades**: none, as no answers are stored. ")
    else:
        lines.append(f"**Best cascade**, `{cascade.name}`: {_figures(cascade)}. ")
    routers = [each for each in section.found if each.name in (*ROUTERS, *CASCADES)]
    routers += [each for each in section.found if each.name.startswith("smoothie")]
    above = [each.name for each in routers if each.gain.low > 0]
    below = [each.name for each in routers if each.gain.high < 0]
    told = {*above, *below}
    lines.append(_said("Better than the zero router: ", above))
    lines.append(_said("Worse than it: ", below))
    untold = [each.name for each in routers if each.name not in told]
    lines.append(_said("Not told apart from it: ", untold))
    others = [each for each in routers if each.over_baseline is not None]
    better = [each.name for each in others if each.over_baseline and each.over_baseline.low > 0]
    worse = [each.name for each in others if each.over_baseline and each.over_baseline.high < 0]
    same = [each.name for each in others if each.name not in {*better, *worse}]
    lines.append(_said("Better than kNN: ", better))
    lines.append(_said("Worse than kNN: ", worse))
    lines.append(_said("Not told apart from kNN: ", same))
    return ["".join(lines).strip()]


def _said(start: str, names: Sequence[str]) -> str:
    return f"{start}{', '.join(f'`{name}`' for name in names) if names else 'none'}. "


def _figures(each: Compared) -> str:
    apgr = "" if each.apgr is None else f", APGR {_interval(each.apgr, 3)}"
    return f"AIQ {_interval(each.aiq, 4)}{apgr}"


def _table(section: Section) -> list[str]:
    head = ("AIQ", "gain over zero router", "gain over kNN", "score at the median cost", "APGR")
    rows = [f"| router | {' | '.join(head)} | CPT 50 % | CPT 80 % |", f"|{'---|' * 8}"]
    for each in section.found:
        cpt = each.cpt or {}
        cells = [
            f"`{each.name}`" if each.name not in (ZERO, ORACLE) else each.name,
            _interval(each.aiq, 4),
            "-" if each.name == ZERO else _interval(each.gain, 4, sign="+"),
            "-" if each.over_baseline is None else _interval(each.over_baseline, 4, sign="+"),
            _interval(each.middle, 4),
            "-" if each.apgr is None else _interval(each.apgr, 3),
            *("-" if gap not in cpt else _interval(cpt[gap], 2) for gap in GAPS),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _models(halves: Halves) -> list[str]:
    test = halves.test
    rows = ["| model alone | mean score | " + UNIT + " |", "|---|---|---|"]
    for column in test.costs.mean(axis=0).argsort():
        score = mean_interval(test.scores[:, column], test.prompts, num_resamples=1000)
        cost = mean_interval(1e3 * test.costs[:, column], test.prompts, num_resamples=1000)
        rows.append(f"| {test.models[column]} | {_interval(score, 4)} | {_interval(cost, 3)} |")
    return rows


def _bandits(section: Section) -> list[str]:
    halves = section.halves
    price = price_of(halves)
    what = (
        "Bandits start with nothing and see each held-out prompt once. The reward is the score "
        f"less {price / 1e3:.3g} for each dollar in 1,000 prompts. Means and 95 % ranges over "
        f"{len(section.streamed[0].scores)} orders of the prompts; LinUCB sees {DIMENSIONS} "
        "principal components. Regret is against the model that is best in hindsight."
    )
    rows = [
        what,
        "",
        f"| bandit | mean score | {UNIT} | score beyond the zero router's at that cost | regret |",
        "|---|---|---|---|---|",
    ]
    for each in section.streamed:
        cells = [
            _range(np.array(each.scores), 4),
            _range(1e3 * np.array(each.costs), 3),
            _range(np.array(each.beyond), 4, sign="+"),
            _range(each.regrets[:, -1], 1),
        ]
        rows.append(f"| {each.name} | {' | '.join(cells)} |")
    return rows


def _range(values: Any, digits: int, sign: str = "") -> str:
    low, high = (float(np.quantile(values, level)) for level in (0.025, 0.975))
    return f"{values.mean():{sign}.{digits}f} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"


def _interval(found: Interval, digits: int, sign: str = "") -> str:
    low, high = (f"{each:{sign}.{digits}f}" for each in (found.low, found.high))
    return f"{found.estimate:{sign}.{digits}f} ({low} to {high})"
