"""Answers as tables in Markdown, with the machine above each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from arithmetic import RANKS
from measure import facts_in_words
from records import Answer, Record

_COUNTED: Final = "| what | n | p50 | p95 | p99 | max | | |\n|---|---|---|---|---|---|---|---|"
_PHASES: Final = "phase"


def machine_line(answer: Answer) -> str:
    """Say what an answer was taken on, and when."""
    one = answer.machine
    parts = [
        f"Linux {one.get('kernel')}",
        f"{one.get('cpus')} x {one.get('processor')}",
        f"{one.get('memory')}",
        f"{one.get('file_system')}",
        f"cgroup controllers: {one.get('controllers')}",
        f"Python {one.get('python')}",
        *([f"byte-code {one['bytecode']}"] if "bytecode" in one else []),
        f"load {one.get('load')}",
        f"{str(one.get('at'))[:10]}",
    ]
    form = " (short form)" if answer.form == "short" else ""
    broken = "" if answer.whole else f" **Not whole: {_cell(answer.ending)}.**"
    return f"{', '.join(parts)}{form}.{broken}"


def table(answer: Answer) -> Iterator[str]:
    """Yield the tables of one answer."""
    yield machine_line(answer)
    if answer.question != "startup":
        yield ""
        yield from rows(answer.records)
        return
    images = list(dict.fromkeys(one["image"] for one in answer.records if "image" in one))
    for image in images:
        of_it = [one for one in answer.records if one.get("image") == image]
        yield f"\n### Image of {_cell(image)}\n"
        yield from rows([one for one in of_it if _PHASES not in one])
        yield from _phases([one for one in of_it if _PHASES in one])
    others = [one for one in answer.records if "image" not in one]
    if others:
        yield "\n### Images compared\n"
        yield from rows(others)


def rows(records: Iterable[Record]) -> Iterator[str]:
    """Yield a row for each figure, whatever it is."""
    yield _COUNTED
    for record in records:
        yield _row(record)


def _row(record: Record) -> str:
    what = _cell(record["what"] + facts_in_words({**record, "image": ""}).replace("[, ", "["))
    what = what.removesuffix(" []")
    if "missing" in record:
        return f"| {what} | | not measured: {_cell(record['missing'])} | | | | | |"
    ratio = f"{record['ratio_to_floor']:.2f} x floor" if "ratio_to_floor" in record else ""
    facts = _facts(record)
    if "p50" not in record:
        value = f"{record['value']:,.2f}".removesuffix(".00")
        return f"| {what} | | {value} {_cell(record['unit'])} | | | | {ratio} | {facts} |"
    figures = " | ".join(f"{record[rank]:,.2f}" for rank in RANKS)
    return f"| {what} | {record['n']} | {figures} | {ratio} | {facts} |"


def _facts(record: Record) -> str:
    """Return what else belongs in the row: disk, memory by owner, another's isolation."""
    parts = []
    if "written_kib" in record:
        parts.append(f"{record['written_kib']:,} KiB written each")
    parts += [
        f"{words} {record[key]:,} KiB"
        for key, words in (
            ("slab_kib", "kernel objects"),
            ("processes_kib", "processes"),
            ("supervisor_kib", "supervisor"),
            ("files_kib", "page cache beside it"),
        )
        if key in record
    ]
    parts += [str(record[key]) for key in ("isolation", "version") if key in record]
    return _cell("; ".join(parts))


def _phases(records: Sequence[Record]) -> Iterator[str]:
    """Yield where the time of a start goes: a row for each kind of start, a column a phase."""
    names = list(dict.fromkeys(one[_PHASES] for one in records))
    kinds = list(dict.fromkeys((one["strategy"], one["network"]) for one in records))
    if not names:
        return
    yield f"\n| p50 of each phase in ms | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for strategy, network in kinds:
        by_name = {
            one[_PHASES]: one.get("p50", one.get("value", 0.0))
            for one in records
            if (one["strategy"], one["network"]) == (strategy, network)
        }
        cells = " | ".join(f"{by_name[name]:.2f}" if name in by_name else "" for name in names)
        yield f"| {strategy} {'with' if network else 'without'} network | {cells} |"


def _cell(text: object) -> str:
    """Whatever a peer or a person called something, it stays one cell."""
    return " ".join(str(text).split()).replace("|", "\\|")
