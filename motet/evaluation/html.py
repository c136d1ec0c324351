"""Reports as pages: one file each, which loads nothing and runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from motet.evaluation.figures import NOT_JUDGED, WRONG, Figure
from motet.evaluation.money import money
from motet.evaluation.page import (
    cell,
    counted,
    interval_cell,
    page,
    strips,
)
from motet.evaluation.plots import COLOURS, SHARES, dots_svg, percents, scatter_svg, ticks_svg
from motet.evaluation.quoting import safe
from motet.evaluation.report import Line, Report, Standing
from motet.evaluation.verdicts import spent_nothing, verdicts_of
from motet.grading.rows import Row
from motet.svg import mark_svg, style

MOST_ROWS: Final = 300
"""Rows of the data set that the page shows."""
_MOST_PARTS = 80
_ANSWER = 60
"""Characters that are shown."""
_TEXT = 400
"""Characters of a question, a reply or an error that are shown."""


def report_html(report: Report, figures: Sequence[Figure] = (), rows: Sequence[Row] = ()) -> str:
    """Return the page of a report.

    Args:
        report: What is shown.
        figures: Give the answers of the rows; without them their values stand alone.
        rows: Give the rows' questions and right answers; without them their ids stand alone.
    """
    title = f"Evaluation on {safe(report.task)}"
    has_cost = any(each.cost for line in report.lines for each in _standings(line))
    return page(
        title,
        [
            f"<h1>{title}</h1>",
            *(f"<p>{sentence}</p>" for sentence in _summary(report)),
            *(
                f"<p><strong>{safe(sentence, 1000)}</strong></p>"
                for sentence in verdicts_of(report)
            ),
            "<div class='wide'>",
            _table(report.lines, match=report.match, has_cost=has_cost),
            "</div>",
            *_scatters(report.lines, has_cost=has_cost),
            *_gains(report.lines),
            *_parts(report.lines),
            *_others(report.lines),
            *_rows(report, figures, rows),
            *_method(report),
        ],
    )


def _standings(line: Line) -> list[Standing]:
    return [line.own] if line.matched is None else [line.own, line.matched]


def _summary(report: Report) -> list[str]:
    rows = counted(report.num_rows, "row")
    seeds = "" if report.num_seeds == 1 else f", {report.num_seeds} seeds each"
    by = "the rule of each row's kind" if report.metric == "auto" else safe(report.metric)
    first = (
        f"{counted(len(report.lines), 'contender')} on {rows} of {safe(report.task)}{seeds}, "
        f"scored by {by}."
    )
    if any(line.matched is not None for line in report.lines):
        most = "cost as much" if report.match == "cost" else "take as many tokens"
        first += (
            f" Beside each stands self-consistency of the same model, which may {most} on the row."
        )
    sentences = [first]
    if report.num_left_out:
        word = "was" if report.num_left_out == 1 else "were"
        sentences.append(
            f"{counted(report.num_left_out, 'row')} of the file {word} left out: no rows of the "
            "task."
        )
    usage = {name: each for name, each in report.usage.items() if isinstance(each, int)}
    took = [counted(usage["calls"], "call")] if "calls" in usage else []
    if "prompt_tokens" in usage:
        num = usage["prompt_tokens"] + usage.get("completion_tokens", 0)
        took.append(counted(num, "token"))
    if report.cost:
        took.append(f"cost {money(report.cost, 6)}")
    whole = f"In all, scoring included: {', '.join(took)}. " if took else ""
    sentences.append(
        f"<span class='dim'>{whole}Run {safe(report.run_id)}, {safe(report.made_at)}, motet "
        f"{safe(report.motet)}, task {safe(report.digest[:16])}.</span>"
    )
    return sentences


def _badge(number: int, *, is_hollow: bool = False) -> str:
    colour, kind = style(number, COLOURS)
    drawn = mark_svg(kind, 8, 8, colour, is_hollow=is_hollow)
    return f"<svg width='16' height='16' aria-hidden='true'>{drawn}</svg>"


def missing_reasons(lines: Sequence[Line]) -> list[str]:
    """Return why attempts have no value, over all lines, in one order."""
    found = {
        reason
        for line in lines
        for standing in _standings(line)
        for reason, count in standing.missing.items()
        if count
    }
    order = [*WRONG, NOT_JUDGED]
    return sorted(found, key=lambda each: (order.index(each) if each in order else 99, each))


def _table(lines: Sequence[Line], *, match: str, has_cost: bool) -> str:
    has_matched = any(line.matched is not None for line in lines)
    has_lead = len(lines) > 1
    reasons = missing_reasons(lines)
    heads = ["contender", "accuracy"]
    heads += ["self-consistency beside it", "gain"] if has_matched else []
    heads += ["lead over the first"] if has_lead else []
    heads += ["tokens", "calls", *(["cost"] if has_cost else []), "seconds"]
    heads += list(map(safe, reasons))
    rows = []
    for line in lines:
        own, matched = line.own, line.matched
        model = safe(line.model) if line.model is not None else ""
        cells = [cell(safe(line.name), model, "name"), interval_cell(own.judged)]
        if has_matched:
            cells.append(_matched_cell(matched))
            is_matched = not spent_nothing(line, match)
            cells.append(interval_cell(line.gain, "+", is_judged=is_matched))
        if has_lead:
            cells.append(interval_cell(line.lead, "+"))
        pairs: list[Callable[[Standing], str]] = [_tokens, _calls]
        pairs += [_cost] if has_cost else []
        pairs += [_seconds, *(partial(_missing, reason=reason) for reason in reasons)]
        for told in pairs:
            cells.append(cell(told(own), told(matched) if matched is not None else ""))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    note = (
        "Percent; below it the 95 percent interval. Tokens, calls, cost and seconds are means of an "
        "attempt"
        + ("; below them those of self-consistency." if has_matched else ".")
        + (" Other columns count attempts without a value." if reasons else "")
    )
    head = "".join(f"<th>{each}</th>" for each in heads)
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"<p class='dim'>{note}</p>"
    )


def _matched_cell(matched: Standing | None) -> str:
    if matched is None:
        return cell("-")
    samples = "" if matched.samples is None else f"<br>{matched.samples:.1f} samples"
    mean, _, ends = percents(matched.accuracy).partition(" ")
    return cell(mean, ends.strip("()") + samples)


def _tokens(standing: Standing) -> str:
    return f"{standing.tokens:,.0f}"


def _calls(standing: Standing) -> str:
    return f"{standing.calls:.1f}"


def _cost(standing: Standing) -> str:
    return money(standing.cost)


def _seconds(standing: Standing) -> str:
    return "-" if standing.wall_s is None else f"{standing.wall_s:.2f}"


def _missing(standing: Standing, reason: str) -> str:
    return f"{standing.missing.get(reason, 0):,}"


def _scatters(lines: Sequence[Line], *, has_cost: bool) -> list[str]:
    if not lines:
        return []
    has_matched = any(line.matched is not None for line in lines)
    legend = [
        f"<li>{_badge(number)}<span>{safe(line.name)}</span></li>"
        for number, line in enumerate(lines)
    ]
    if has_matched:
        legend.append(
            f"<li>{_badge(0, is_hollow=True)}<span>hollow: self-consistency of the same compute"
            "</span></li>"
        )
    plots = [scatter_svg(lines, label="tokens of an attempt", measure=lambda each: each.tokens)]
    if has_cost:
        plots.append(scatter_svg(lines, label="cost of an attempt", measure=lambda each: each.cost))
    shown = "".join(f"<figure>{plot}</figure>" for plot in plots)
    return [
        "<h2>Accuracy against compute</h2>",
        f"<ul class='legend'>{''.join(legend)}</ul>",
        f"<div class='plots'>{shown}</div>",
    ]


def _gains(lines: Sequence[Line]) -> list[str]:
    gains = [
        (line.name, line.gain, style(number, COLOURS)[0])
        for number, line in enumerate(lines)
        if line.gain is not None
    ]
    leads = [
        (line.name, line.lead, style(number, COLOURS)[0])
        for number, line in enumerate(lines)
        if line.lead is not None
    ]
    return [
        *strips("Gain over self-consistency of the same compute, points", gains),
        *strips(f"Lead over {lines[0].name}, points" if lines else "", leads),
    ]


def _parts(lines: Sequence[Line]) -> list[str]:
    """Return a strip for each part of the data set, where there are several."""
    sizes: dict[str, int] = {}
    for line in lines:
        for part, (_, size) in line.own.parts.items():
            sizes.setdefault(part, size)
    if len(sizes) < 2:
        return []
    parts = ["<h2>Accuracy by part, percent</h2>", "<div class='strips'>"]
    for part, size in list(sizes.items())[:_MOST_PARTS]:
        values, colours = [], []
        for number, line in enumerate(lines):
            if part in line.own.parts:
                value = line.own.parts[part][0]
                values.append((value, f"{line.name}: {100 * value:.1f}"))
                colours.append(style(number, COLOURS)[0])
        shown = " ".join(f"{100 * value:.0f}" for value, _ in values)
        parts.append(f"<div class='name'>{safe(part)} <span class='dim'>{size}</span></div>")
        parts.append(f"<div>{dots_svg(values, SHARES, colours)}</div>")
        parts.append(f"<div class='number dim'>{shown}</div>")
    parts += ["<div></div>", f"<div>{ticks_svg(SHARES)}</div>", "<div></div>", "</div>"]
    more = len(sizes) - _MOST_PARTS
    rest = f" {counted(more, 'part')} more: see report.json." if more > 0 else ""
    parts.append(
        "<p class='dim'>Beside each part its rows; a dot for each contender, in the order and the "
        f"colours of the plots above. Parts have no intervals here.{rest}</p>"
    )
    return parts


def _others(lines: Sequence[Line]) -> list[str]:
    """Return a table of the further metrics, where there are any."""
    names = list(dict.fromkeys(name for line in lines for name in line.own.others))
    if not names:
        return []
    head = "".join(f"<th>{safe(name)}</th>" for name in names)
    rows = []
    for line in lines:
        cells = "".join(interval_cell(line.own.others.get(name)) for name in names)
        rows.append(f"<tr>{cell(safe(line.name), '', 'name')}{cells}</tr>")
    return [
        "<h2>Further metrics</h2>",
        (
            f"<div class='wide'><table><thead><tr><th>contender</th>{head}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table></div>"
        ),
    ]


def _rows(report: Report, figures: Sequence[Figure], rows: Sequence[Row]) -> list[str]:
    """Return the values of the rows: first those on which contenders differ most."""
    lines = report.lines
    ids = list(dict.fromkeys(row for line in lines for row in line.values))
    if not ids:
        return []
    spread = {row: _spread(lines, row) for row in ids}
    ids.sort(key=lambda row: -spread[row])
    num_apart = sum(1 for row in ids if spread[row])
    firsts = _firsts(figures)
    asked = {row.id: row for row in rows}
    head = "".join(
        f"<th class='name'>{_badge(number)} {safe(line.name, 60)}</th>"
        for number, line in enumerate(lines)
    )
    body = []
    for row in ids[:MOST_ROWS]:
        cells = "".join(
            _value_cell(line.values.get(row), firsts.get((line.name, row))) for line in lines
        )
        name = cell(safe(row, 80), _question(asked.get(row)), "name")
        body.append(f"<tr>{name}{cells}</tr>")
    where = "figures.jsonl beside this page has all attempts with their texts"
    told = f"{counted(len(ids), 'row')}"
    if len(lines) > 1:
        told += f"; on {num_apart} contenders differ"
        told += ", and these come first" if num_apart else ""
    if len(ids) > MOST_ROWS:
        told += f"; the first {MOST_ROWS} are shown"
    below = (
        " Below a value: the answer that was read, or why there is none, of the first seed; and the "
        "reply's beginning."
        if firsts
        else ""
    )
    return [
        f"<h2>Rows</h2><p class='dim'>{told}; {where}.{below}</p>",
        "<details open><summary>Values by row</summary><div class='wide'>"
        if len(ids) <= 40
        else "<details><summary>Values by row</summary><div class='wide'>",
        f"<table><thead><tr><th>row</th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>",
        "</div></details>",
    ]


def _spread(lines: Sequence[Line], row: str) -> float:
    values = [line.values[row] for line in lines if row in line.values]
    return max(values) - min(values)


def _firsts(figures: Sequence[Figure]) -> Mapping[tuple[str, str], Figure]:
    """Return the first seed's figure of a contender itself, by contender and row."""
    found: dict[tuple[str, str], Figure] = {}
    for figure in figures:
        if not figure.is_matched:
            found.setdefault((figure.contender, figure.row), figure)
    return found


def _question(row: Row | None) -> str:
    """Return the beginning of a row's question, and its right answers."""
    if row is None:
        return ""
    right = ", ".join(row.golds)
    shown = f"<bdi>{safe(row.prompt, _TEXT)}</bdi>"
    return shown + (f"<br>right: <bdi>{safe(right, _TEXT)}</bdi>" if right else "")


def _value_cell(value: float | None, figure: Figure | None) -> str:
    below = ""
    if figure is not None:
        read = figure.missing if figure.missing is not None else figure.answer
        below = f"<bdi>{safe(read, _ANSWER)}</bdi>" if read else ""
        told = [("error", figure.error), ("reply", figure.text)]
        below += "".join(
            f"<details><summary>{name}</summary><bdi>{safe(text, _TEXT)}</bdi></details>"
            for name, text in told
            if text
        )
    if value is None:
        return cell("-", below)
    kind = "good" if value >= 1 else "bad" if value <= 0 else "part"
    return cell(f"{value:.2g}", below, kind)


def _method(report: Report) -> list[str]:
    amount = "cost" if report.match == "cost" else "tokens"
    notes = [
        (
            "An interval is of 95 percent and takes the rows as a sample of the questions that might "
            "have been asked. Values of 0 and 1 with one seed: Wilson's score interval. Else the "
            "percentile bootstrap over rows, of 2,000 resamples and expanded for few rows; seeds of a "
            "row are averaged first, since they are not independent."
        ),
        (
            "Gain and lead are paired: the difference is taken row by row, and rows are resampled. "
            "Where its interval holds 0, as with fewer than six rows, no winner is named. Each interval "
            "stands for itself; of twenty true zeros about one is missed."
        ),
        (
            "Self-consistency of the same compute: the contender's model gives as many samples as "
            f"bring their {amount} nearest to what the contender spent on the row, one at least and "
            "--max-samples at most; their prompt counts once. The answer with most votes counts. What scoring spends is "
            "counted for neither."
        ),
        (
            "An attempt without a value counts as 0 where the contender gave no answer: "
            "<em>empty</em>, <em>cut off</em>, <em>unreadable</em>, <em>failed</em>. It counts as "
            "nothing where it was <em>not judged</em>."
        ),
        (
            "Tokens are those of prompts and completions. Seconds are of attempts beside which others "
            "ran, so they say little about a single one."
        ),
    ]
    if any(each.metric_tokens for line in report.lines for each in _standings(line)):
        total = sum(
            each.metric_tokens * each.num_attempts
            for line in report.lines
            for each in _standings(line)
        )
        notes.append(f"Scoring took {counted(round(total), 'token')}.")
    shown = "".join(f"<li>{note}</li>" for note in notes)
    return [f"<h2>How it was computed</h2><ul class='dim'>{shown}</ul>"]
