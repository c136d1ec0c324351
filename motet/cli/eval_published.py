"""`motet eval published`: published figures, computed anew from stored outputs."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motet.cli.eval_folder import write_file
from motet.cli.failures import FAILED, OK, CommandError
from motet.cli.terminal import as_json, counted, note, show_table, write

if TYPE_CHECKING:
    from motet.evaluation.published.registry import Recomputed

_VARIABLE = "MOTET_DATA"


def eval_published(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Data sets, by their folders; all of them, else."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="FOLDER",
            help="Holds a folder for each data set; repeatable, for parts of the same sets. "
            "$MOTET_DATA, else.",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Print each figure.")] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="Print the figures that are not the same, no others.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Gets the figures; .json or .md."),
    ] = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")] = False,
) -> int:
    """Compute published figures anew from stored outputs; asks no model.

    Each stands beside the one that was stated, with the difference and what is allowed: half of
    the last digit written, or the error that the source states. Where a folder holds a part of
    a set, the figures stated of that part are compared. Exit code 1 where a figure is not the same
    or a set is absent.
    """
    from motet.evaluation.published.registry import recompute
    from motet.evaluation.published.table import (
        FIGURE_COLUMNS,
        SUMMARY_COLUMNS,
        figure_rows,
        page,
        summary_rows,
    )

    if every and failed:
        raise CommandError("--all and --failed print different figures", "leave one out")
    _check_out(out)
    found = []
    for each in recompute(_folders(data), names or ()):
        found.append(each)
        if not quiet:
            _tell(each)
    if out is not None:
        write_file(out, page(found) if out.suffix == ".md" else _indented(found))
    if is_json:
        write(as_json(_summary(found, only_misses=failed)))
    elif every or failed:
        figures = [f for each in found for f in (each.misses if failed else each.figures)]
        show_table(FIGURE_COLUMNS, figure_rows(figures))
    else:
        show_table(SUMMARY_COLUMNS, summary_rows(found))
    if not quiet:
        _conclude(found)
    return OK if all(each.is_reproduced for each in found) else FAILED


def _folders(given: list[Path] | None) -> list[Path]:
    if given:
        return given
    variable = os.environ.get(_VARIABLE)
    if not variable:
        raise CommandError("no folder of data sets is given", "name it by --data FOLDER")
    return [Path(variable)]


def _check_out(out: Path | None) -> None:
    if out is None:
        return
    if out.suffix not in (".json", ".md"):
        raise CommandError(f"--out is {out}; it must end in .json or .md")
    if not out.absolute().parent.is_dir() or out.is_dir():
        raise CommandError(f"--out {out} cannot be written: there is no such folder, or it is one")


def _tell(each: Recomputed) -> None:
    if each.missing is not None:
        note(f"{each.source}: missing: {each.missing}")
        return
    num_same = len(each.figures) - len(each.misses)
    note(
        f"{each.source}: {num_same:,} of {counted(len(each.figures), 'figure')} the same, "
        f"{each.seconds:.1f} s"
    )


def _conclude(found: list[Recomputed]) -> None:
    figures = [figure for each in found for figure in each.figures]
    num_same = sum(figure.is_reproduced for figure in figures)
    num_parts = sum(figure.whole is not None for figure in figures)
    note(f"{num_same:,} of {counted(len(figures), 'figure')} the same; no model was asked")
    if num_parts:
        note(
            f"{num_parts:,} of them are of the part of the rows that is stored; --all shows what "
            "is stated of all rows beside them"
        )
    missing = [each.source for each in found if each.missing is not None]
    if missing:
        note(f"missing: {', '.join(missing)}")


def _summary(found: list[Recomputed], *, only_misses: bool = False) -> dict[str, Any]:
    return {
        "sources": [
            {
                "source": each.source,
                "is_reproduced": each.is_reproduced,
                "missing": each.missing,
                "seconds": each.seconds,
                "figures": [
                    {**asdict(figure), "error": figure.error, "is_reproduced": figure.is_reproduced}
                    for figure in (each.misses if only_misses else each.figures)
                ],
            }
            for each in found
        ]
    }


def _indented(found: list[Recomputed]) -> str:
    return json.dumps(json.loads(as_json(_summary(found))), indent=2) + "\n"
