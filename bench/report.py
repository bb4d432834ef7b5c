"""Results made readable: tables in Markdown, what was wanted beside what was measured, pictures."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from anchor_supervisor.cli.main import WrongUse
from anchor_supervisor.cli.problems import warn
from measure import RESULTS
from options import writable_directory
from overview import overview
from records import Answer, read
from summary import summary
from tables import machine_line, table

HERE: Final = Path(__file__).resolve().parent
TEMPLATE: Final = HERE / "template.md"
PROFILE: Final = HERE / "profile.md"
TABLE: Final = "results.md"

_PLACE: Final = re.compile(r"^\{\{(\w+)(?: ([\w-]+))?\}\}$", re.MULTILINE)
"""A line of the template that is to be filled: `{{table burst}}`."""

PICTURES: Final = {
    "copy-on-write": "Milliseconds to the first instruction, by image size and root strategy",
    "distribution": "How starts are distributed, with copy-on-write and the floor",
    "phases": "Where the time of a start goes",
    "burst": "Containers a second, by how many are started at once",
    "peers": "One container of one program, by whoever is installed",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    parser.add_argument(
        "out", metavar="DIR", type=Path, help="the directory that questions have written to"
    )
    parser.add_argument(
        "--into",
        metavar="FILE.md",
        type=Path,
        help="write the page here, pictures and results into a directory of its name beside it",
    )
    parser.add_argument("--no-plots", action="store_true", help="the tables alone")


def ask(options: argparse.Namespace) -> int:
    """Read the results, and write what a person reads."""
    for made in make_report(options.out, options.into, plots=not options.no_plots):
        print(made)
    return 0


def make_report(out: Path, into: Path | None = None, *, plots: bool = True) -> Iterator[Path]:
    """Make the page and the pictures; yield what was made. Raises WrongUse."""
    answers, complaints = read(out)
    for complaint in complaints:
        warn(f"`{out / RESULTS}`, {complaint}; left out")
    page = out / TABLE if into is None else into
    if page.is_dir():
        message = f"`--into` is `{page}`, which is a directory"
        raise WrongUse(message, hint="name the file, such as `docs/benchmarks.md`")
    folder = writable_directory("DIR", out) if into is None else into.with_suffix("")
    writable_directory("--into", folder)
    pictures = _draw(answers, folder, small=into is not None) if plots else []
    beside = "" if into is None else f"{folder.name}/"
    page.write_text(render(answers, {one.stem: f"{beside}{one.name}" for one in pictures}))
    yield page
    yield from pictures
    if into is not None:
        kept = folder / RESULTS
        lines = [line for answer in answers for line in answer.lines]
        kept.write_text("\n".join(lines) + "\n")
        yield kept


def _draw(answers: Sequence[Answer], folder: Path, *, small: bool) -> list[Path]:
    """Draw whatever there are figures for; without the library that draws, say so."""
    try:
        from plots import draw
    except ModuleNotFoundError as error:
        warn(f"no pictures: {error.name} is not installed (`pip install matplotlib`)")
        return []
    return draw(answers, folder, ("svg",) if small else ("png", "svg"))


def render(answers: Sequence[Answer], pictures: dict[str, str]) -> str:
    """Fill the template; what nothing was measured for is said to be so."""
    by_question = {answer.question: answer for answer in answers}

    def filled(name: str, of: str) -> Iterator[str]:
        match name:
            case "summary":
                yield from summary(answers)
            case "machine":
                yield machine_line(answers[0])
            case "picture":
                if of in pictures:
                    yield f"![{PICTURES[of]}]({pictures[of]})"
            case "table":
                if of in by_question:
                    yield from table(by_question[of])
                else:
                    yield "Not measured here."
            case "overview":
                if of in by_question:
                    yield from overview(by_question[of].records)
            case "profile":
                if PROFILE.exists():
                    yield PROFILE.read_text().strip()
            case _:
                message = f"`{TEMPLATE}` has `{name}`, which nothing can be put in for"
                raise LookupError(message)

    def replaced(found: re.Match[str]) -> str:
        return "\n".join(filled(found[1], found[2] or ""))

    text = _PLACE.sub(replaced, TEMPLATE.read_text())
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"
