"""What questions have written, read again: the last answer to each, and what cannot be read.

A file of results grows by whole lines, but whoever writes may be killed, or a disk be full. A line
that is damaged is told and left out; the others are as good as before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, final

from attrs import field, frozen

from anchor_supervisor.cli.main import WrongUse
from arithmetic import RANKS
from measure import COMPLETE, RESULTS

Record = dict[str, Any]

_HINT: Final = "`anchor bench startup --out DIR` writes one, `anchor bench all` of every question"


@final
@frozen
class Answer:
    """What one question was answered, once: on which machine, the figures, and how it ended."""

    question: str
    machine: Record
    form: str
    records: list[Record] = field(factory=list)
    lines: list[str] = field(factory=list)  # as they were written
    endings: list[str] = field(factory=list)

    @property
    def whole(self) -> bool:
        """Whether it was answered to the end."""
        return self.endings == [COMPLETE]

    @property
    def ending(self) -> str:
        """How it ended; one that was killed does not say."""
        return self.endings[-1] if self.endings else "it did not come to its end"


def read(out: Path) -> tuple[list[Answer], list[str]]:
    """Return the last answer to each question that has figures, and what is wrong with the file.

    Raises WrongUse where there is no answer at all.
    """
    file = out / RESULTS
    try:
        text = file.read_text(errors="replace")
    except OSError as error:
        message = f"`{file}` cannot be read: {error.strerror}"
        raise WrongUse(message, hint=_HINT) from None
    complaints: list[str] = []
    answers = latest(_answers(text.splitlines(), complaints))
    if not answers:
        first = f" ({complaints[0]})" if complaints else ""
        message = f"`{file}` holds no results{first}"
        raise WrongUse(message, hint=_HINT)
    return answers, complaints


def latest(answers: Iterable[Answer]) -> list[Answer]:
    """Keep the last one with figures of each question; in the order of their first ones."""
    found: dict[str, Answer] = {}
    for answer in answers:
        if answer.records:
            found[answer.question] = answer
    return list(found.values())


def _answers(lines: Sequence[str], complaints: list[str]) -> Iterator[Answer]:
    every: list[Answer] = []
    current: dict[str, Answer] = {}
    for number, line in enumerate(lines, 1):
        record, why = parse(line)
        if record is None:
            complaints.append(f"line {number}: {why}")
            continue
        question = record["question"]
        if "machine" in record:
            current[question] = Answer(question, record["machine"], str(record.get("form", "")))
            every.append(current[question])
        if question not in current:
            complaints.append(f"line {number}: nothing says on which machine it was taken")
            continue
        current[question].lines.append(line)
        if "ended" in record:
            current[question].endings.append(str(record["ended"]))
        elif "what" in record:
            current[question].records.append(record)
    yield from every


def parse(line: str) -> tuple[Record | None, str]:
    """Return the record of a line; None and why where it is none."""
    try:
        record = json.loads(line)
    except ValueError:
        return None, "it is not JSON"
    if not isinstance(record, dict) or not isinstance(record.get("question"), str):
        return None, "it names no question"
    if isinstance(record.get("machine"), dict) or isinstance(record.get("ended"), str):
        return record, ""
    if not isinstance(record.get("what"), str):
        return None, "it does not say what was measured"
    ranks = all(isinstance(record.get(rank), int | float) for rank in (*RANKS, "n"))
    figure = isinstance(record.get("value"), int | float) and isinstance(record.get("unit"), str)
    if not (ranks or figure or isinstance(record.get("missing"), str)):
        return None, "it has no figures"
    return record, ""


def matching(records: Iterable[Record], **facts: object) -> list[Record]:
    """Return the records that have all these facts, figures or not left out."""
    return [
        one
        for one in records
        if "missing" not in one and all(one.get(name) == fact for name, fact in facts.items())
    ]


def of_question(answers: Iterable[Answer], question: str) -> list[Record]:
    """Return the figures of a question; none where it was not asked."""
    return [one for answer in answers if answer.question == question for one in answer.records]
