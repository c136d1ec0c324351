"""AlpacaEval 2: win rates, raw and length-controlled (Dubois et al. 2024, arXiv:2404.04475)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from motet.errors import DataError
from motet.evaluation.published.figure import Published, rounded
from motet.evaluation.published.stated import Stated, places_of
from motet.judging.datasets import AlpacaEval, PublishedModel, read_alpaca_eval
from motet.judging.length_control import control_length
from motet.judging.length_rates import rate_from_weights
from motet.judging.win_rates import win_rates

SOURCE = "alpaca_eval_lc"
BASELINE: Final = "gpt4_1106_preview"

_EXACT: Final = 1e-6
_FREE: Final = 1e4
"""Inverse penalty of the refit that the data's README reports."""
_CROSS_VALIDATED: Final = 0.3
"""Three times the error that the data's README expects of a fit to its reconstructed gamed rows."""
_INCOMPLETE: Final = 2.725
"""The largest error of a refit in the data's README: of a model that lacks judgments."""
_LACKING: Final = ", judgments missing"
_SHIFTED: Final = "difficulties by row number, as the source looks them up"
_OTHER: Final = ", other weights"
_OTHER_WEIGHTS: Final = "the published weights are not of the published rate, as the README tells"


def figures(*folders: Path) -> list[Published]:
    """Win rates with errors and counts, and length-controlled rates by weights and by two refits.

    A refit has the gamed rows that the folder holds, which are reconstructed. One is hardly
    penalised, and may be off by what the data's README says of the same model. The other chooses
    its penalty by cross-validation, as the source does.

    Raises:
        DataError: The set is absent or cannot be read, or a model stands in two folders.
        ConfigError: scikit-learn is not installed.
    """
    found = []
    seen: set[str] = set()
    for place in places_of(SOURCE, folders):
        stated = Stated(SOURCE, [place])
        listed = stated.names("win_rates")
        read = read_alpaca_eval(place)
        if not read.models:
            raise DataError(f"{place} holds no models")
        for model in read.models:
            if model.name in seen:
                raise DataError(f"{model.name} of {SOURCE} stands in two folders")
            seen.add(model.name)
            found += _raw(model)
            found += _from_weights(model, read, stated)
            found += _refitted(model, read, stated)
        absent = [name for name in listed if name not in seen]
        found += [
            _figure("win rate", name, math.nan, math.nan, 0, note="absent") for name in absent
        ]
    return found


def _raw(model: PublishedModel) -> list[Published]:
    rates = win_rates(list(model.comparison.preference))
    said = model.published
    counts = (
        ("wins", "n_wins", rates.wins),
        ("draws", "n_draws", rates.draws),
        ("losses", "n_wins_base", rates.losses),
    )
    name = model.name
    found = [
        _figure("win rate", name, _said(said, "win_rate"), rates.win_rate, 1e-4),
        _figure(
            "win rate, error", name, _said(said, "standard_error"), rates.standard_error, 1e-4
        ),
        _figure(
            "discrete win rate", name, _said(said, "discrete_win_rate"),
            rates.discrete_win_rate, 1e-9,
        ),
    ]  # fmt: skip
    return found + [
        _figure("wins, draws, losses", f"{name}, {what}", _said(said, key), number, 0)
        for what, key, number in counts
    ]


def _from_weights(model: PublishedModel, read: AlpacaEval, stated: Stated) -> list[Published]:
    judged = [
        instruction
        for instruction, preference in zip(
            model.comparison.instructions, model.comparison.preference, strict=True
        )
        if not math.isnan(preference)
    ]
    kind, tolerance, note = "controlled, by weights", _EXACT, ""
    difficulties = list(read.difficulty.values())
    if len(judged) < len(difficulties):
        difficulties = [read.difficulty.get(row, math.nan) for row in range(len(judged))]
        kind, note = kind + _LACKING, _SHIFTED
    said = _said(model.published, "length_controlled_winrate")
    if not note and stated.find("lc_checks", model.name) is not None:
        gap = stated.number("lc_checks", model.name, "from_published_weights") - said
        if abs(gap) > 2 * _EXACT:
            kind, tolerance, note = kind + _OTHER, abs(gap) + _EXACT, _OTHER_WEIGHTS
    rate = rate_from_weights(model.weights, difficulties)
    name = model.name
    found = [_figure(kind, name, said, rate.rate, tolerance, note=note)]
    error = model.published.get("lc_standard_error")
    if error is not None and not note:
        found.append(_figure("controlled, error", name, error, rate.standard_error, _EXACT))
    return found


def _refitted(model: PublishedModel, read: AlpacaEval, stated: Stated) -> list[Published]:
    said = _said(model.published, "length_controlled_winrate")
    is_complete = not any(map(math.isnan, model.comparison.preference))
    lacking = "" if is_complete else _LACKING
    found = []
    if stated.find("lc_checks", model.name) is not None:
        keys = ("lc_checks", model.name, "refit_with_reconstructed_gamed_rows")
        fit = control_length(
            model.comparison, difficulty=read.difficulty, gamed=read.gamed, strength=_FREE
        )
        allowed = abs(stated.number(*keys) - said) + rounded(3)
        kind, note = "controlled, refit" + lacking, "allowed is the README's error of this model"
        found.append(_figure(kind, model.name, said, fit.rate.rate, allowed, note=note))
    fit = control_length(
        model.comparison,
        difficulty=read.difficulty,
        gamed=read.gamed,
        is_baseline=model.name == BASELINE,
    )
    allowed = _CROSS_VALIDATED if is_complete else _INCOMPLETE
    kind = "controlled, cross-validated" + lacking
    return [*found, _figure(kind, model.name, said, fit.rate.rate, allowed)]


def _said(published: object, key: str) -> float:
    value = published.get(key) if isinstance(published, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"{key} of the leaderboard of {SOURCE} is {value!r:.40}, no number")
    return float(value)


def _figure(
    kind: str, name: str, published: float, computed: float, tolerance: float, *, note: str = ""
) -> Published:
    return Published(
        source=SOURCE,
        kind=kind,
        name=name,
        published=published,
        computed=computed,
        tolerance=tolerance,
        stated_by="source",
        note=note,
    )
