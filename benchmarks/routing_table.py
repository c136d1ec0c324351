"""Compare routers on public outcomes; write docs/routing-results.md and its plots.

    MOTET_DATA=DATA python benchmarks/routing_table.py

Prompts and answers are embedded by `local:minilm` the first time, which takes some ten minutes on
an idle core; their embeddings are kept in --cache. `--quick` takes 120 prompts of each table, and
writes to --docs only where that is given.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from routing_contenders import KNN, all_paths, part
from routing_data import Table, read_tables
from routing_embeddings import Embeddings, default_folder
from routing_page import PLOTS, Section, about, page, write_plots
from routing_streams import streams

from motet.routing.measuring import measure
from motet.routing.paths import ZERO

DOCS = Path(__file__).resolve().parent.parent / "docs"
EMBEDDER = "local:minilm"
SHARE, SEED = 0.5, 0
COMMAND = "MOTET_DATA=DATA python benchmarks/routing_table.py"


def measured(table: Table, embeddings: Embeddings, *, resamples: int, orders: int) -> Section:
    began = time.perf_counter()
    halves = part(table, embeddings, SHARE, SEED)
    paths, notes = all_paths(halves, embeddings)
    found = measure(
        paths, halves.test, zero=ZERO, prices=halves.prices, baseline=KNN, pair=halves.pair,
        num_resamples=resamples, seed=SEED,
    )  # fmt: skip
    section = Section(halves=halves, found=found, notes=notes, streamed=streams(halves, orders))
    print(f"{table.title}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return section


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("MOTET_DATA"))
    parser.add_argument("--cache", type=Path, default=default_folder())
    parser.add_argument("--docs", type=Path)
    parser.add_argument("--table", action="append", help="only this one; repeatable")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    if given.data is None:
        parser.error("MOTET_DATA names no data folder, and --data is not given")
    tables = read_tables(Path(given.data))
    unknown = set(given.table or ()) - {table.slug for table in tables}
    if unknown:
        parser.error(f"--table {unknown.pop()}; there are {', '.join(t.slug for t in tables)}")
    docs = given.docs or DOCS
    if given.quick:
        tables = [table.first(120) for table in tables]
        docs = given.docs or Path(tempfile.mkdtemp())
    embeddings = Embeddings(EMBEDDER, given.cache)
    resamples, orders = (50, 2) if given.quick else (given.resamples, 20)
    sections = [
        measured(table, embeddings, resamples=resamples, orders=orders)
        for table in tables
        if not given.table or table.slug in given.table
    ]
    for section in sections:
        write_plots(section, docs / PLOTS)
    text = page(sections, command=COMMAND, about=about(SHARE, SEED, resamples))
    (docs / "routing-results.md").write_text(text, encoding="utf-8")
    print(docs / "routing-results.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
