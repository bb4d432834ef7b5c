"""Results made readable: a table in Markdown, and pictures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from measure import RESULTS

Record = dict[str, Any]
TABLE: Final = "results.md"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    parser.add_argument("out", type=Path, help="the directory that benchmarks have written to")
    parser.add_argument("--no-plots", action="store_true", help="the table alone")


def ask(options: argparse.Namespace) -> None:
    """Read the results, and write what a person reads beside them."""
    records = read(options.out)
    (options.out / TABLE).write_text("\n".join(markdown(records)) + "\n")
    if not options.no_plots:
        from plots import draw

        draw(records, options.out)


def read(out: Path) -> list[Record]:
    """Return every record that benchmarks have written, oldest first."""
    return [json.loads(line) for line in (out / RESULTS).read_text().splitlines()]


def markdown(records: Sequence[Record]) -> Iterator[str]:
    """Yield the tables, one for each question, with its machine above."""
    questions = dict.fromkeys(record["question"] for record in records)
    for question in questions:
        of_it = [record for record in records if record["question"] == question]
        yield f"## {question}"
        yield ""
        yield _machine([record["machine"] for record in of_it if "machine" in record][-1])
        yield ""
        yield "| what | n | p50 | p95 | p99 | max | | |"
        yield "|---|---|---|---|---|---|---|---|"
        yield from (_row(record) for record in of_it if "what" in record)
        yield ""


def _machine(machine: Record) -> str:
    return (
        f"Linux {machine['kernel']}, {machine['cpus']} x {machine['processor']}, "
        f"{machine['memory']}, {machine['file_system']}, Python {machine['python']}, "
        f"{machine['at'][:10]}."
    )


def _row(record: Record) -> str:
    facts = ", ".join(str(record[key]) for key in ("image", "isolation") if key in record)
    if "gap_ms" in record:
        facts += f", gap {record['gap_ms']:g} ms"
    if "p50" not in record:
        return f"| {record['what']} | | {record['value']:g} {record['unit']} | | | | | {facts} |"
    ratio = f"{record['ratio_to_floor']} x floor" if "ratio_to_floor" in record else ""
    figures = " | ".join(f"{record[rank]:.2f}" for rank in ("p50", "p95", "p99", "max"))
    return f"| {record['what']} | {record['n']} | {figures} | {ratio} | {facts.strip(', ')} |"
