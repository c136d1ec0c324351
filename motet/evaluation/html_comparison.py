"""The comparison of two reports as a page of one file."""

from __future__ import annotations

from collections.abc import Sequence

from motet.evaluation.page import cell, interval_cell, page, strips
from motet.evaluation.plots import COLOURS
from motet.evaluation.quoting import safe
from motet.evaluation.report import Comparison, Difference
from motet.evaluation.verdicts import changes_of


def comparison_html(comparison: Comparison, *, before: str, after: str) -> str:
    """Return the page of a comparison; `before` and `after` say where the reports are."""
    title = f"Change on {safe(comparison.task)}"
    body = [
        f"<h1>{title}</h1>",
        f"<p>From {safe(before)} to {safe(after)}, on the rows that both have.</p>",
    ]
    if not comparison.is_same_task:
        body.append(
            "<p><strong>Rows or metric are not the same in both reports</strong>: what changed may "
            "be the task.</p>"
        )
    body += [f"<p><strong>{safe(each, 1000)}</strong></p>" for each in changes_of(comparison)]
    body += ["<div class='wide'>", _comparison_table(comparison.differences), "</div>"]
    body += strips(
        "Change in accuracy, points",
        [(each.name, each.change, COLOURS[0]) for each in comparison.differences],
    )
    for each in comparison.differences:
        if each.worse:
            shown = ", ".join(f"<bdi>{safe(row)}</bdi>" for row in each.worse)
            more = each.num_worse - len(each.worse)
            tail = f", and {more} more" if more > 0 else ""
            body.append(
                f"<details><summary>Rows on which {safe(each.name)} got worse: "
                f"{each.num_worse}</summary><p>{shown}{tail}</p></details>"
            )
    for names, where in (
        (comparison.only_before, "earlier"),
        (comparison.only_after, "later"),
    ):
        if names:
            shown = ", ".join(map(safe, names))
            body.append(f"<p>Only in the {where} report: {shown}.</p>")
    if comparison.not_paired:
        shown = ", ".join(map(safe, comparison.not_paired))
        body.append(f"<p>Without a row that has a value in both reports: {shown}.</p>")
    body.append(
        "<p class='dim'>Intervals are of 95 percent, paired by row, as in the reports. A row got "
        "better or worse where its mean over seeds did.</p>"
    )
    return page(title, body)


def _comparison_table(differences: Sequence[Difference]) -> str:
    heads = ["contender", "rows", "before", "after", "change", "better", "worse", "tokens"]
    has_cost = any(any(each.cost) for each in differences)
    heads += ["cost"] if has_cost else []
    rows = []
    for each in differences:
        cells = [
            cell(safe(each.name), "", "name"),
            cell(f"{each.num_rows:,}"),
            interval_cell(each.before),
            interval_cell(each.after),
            interval_cell(each.change, "+"),
            cell(f"{each.num_better:,}"),
            cell(f"{each.num_worse:,}"),
            cell(f"{each.tokens[0]:,.0f} to {each.tokens[1]:,.0f}"),
        ]
        if has_cost:
            cells.append(cell(f"{each.cost[0]:.4g} to {each.cost[1]:.4g}"))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f"<th>{each}</th>" for each in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
