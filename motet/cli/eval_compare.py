"""`motet eval compare`: what changed between two reports."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from motet.cli.eval_folder import write_file
from motet.cli.eval_task import REPORT, Table, interval_cells, show_fitting
from motet.cli.failures import OK, CommandError
from motet.cli.terminal import as_json, note, one_line, write

if TYPE_CHECKING:
    from motet.evaluation.report import Comparison

_COLUMNS = [
    "CONTENDER", "ROWS", "BEFORE", "95%", "AFTER", "95%", "CHANGE", "95%", "BETTER", "WORSE",
    "TOKENS",
]  # fmt: skip


def compare_command(
    before: str, after: str, out: str | None, *, is_json: bool, is_quiet: bool
) -> int:
    """Compare two reports; print the table, and write the page."""
    from motet.evaluation.comparing import compare
    from motet.evaluation.html_comparison import comparison_html
    from motet.evaluation.report_files import read_report
    from motet.evaluation.verdicts import changes_of

    page = _page_file(out) if out is not None else None
    comparison = compare(*(read_report(_file(path)) for path in (before, after)))
    if page is not None:
        write_file(page, comparison_html(comparison, before=before, after=after))
    if is_json:
        write(as_json(asdict(comparison)))
    else:
        show_fitting(lambda digits: table_of(comparison, digits=digits))
    if is_quiet:
        return OK
    if not comparison.is_same_task:
        note("rows or metric are not the same in both reports: what changed may be the task")
    for sentence in changes_of(comparison):
        note(sentence)
    for names, where in (
        (comparison.only_before, "earlier"),
        (comparison.only_after, "later"),
    ):
        if names:
            note(f"only in the {where} report: {', '.join(names)}")
    if comparison.not_paired:
        note(f"no row has a value in both reports: {', '.join(comparison.not_paired)}")
    for each in comparison.differences:
        if each.worse:
            note(f"rows on which {each.name} got worse: {one_line(', '.join(each.worse))}")
    if page is not None:
        note(f"the page is {page}")
    return OK


def _page_file(out: str) -> Path:
    path = Path(out)
    if path.is_dir():
        raise CommandError(f"--out {out} is a folder", "name a file, such as comparison.html")
    if not path.parent.is_dir():
        raise CommandError(f"--out {out}: there is no folder {path.parent}")
    return path


def _file(path: str) -> Path:
    folder = Path(path)
    return folder / REPORT if folder.is_dir() else folder


def table_of(comparison: Comparison, *, digits: int = 1) -> Table:
    """Return the columns and rows of the terminal's table."""
    rows = [
        [
            each.name,
            f"{each.num_rows}",
            *interval_cells(each.before, digits=digits),
            *interval_cells(each.after, digits=digits),
            *interval_cells(each.change, "+", digits=digits),
            f"{each.num_better}",
            f"{each.num_worse}",
            f"{each.tokens[0]:.0f} to {each.tokens[1]:.0f}",
        ]
        for each in comparison.differences
    ]
    return _COLUMNS, rows
