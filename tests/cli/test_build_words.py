"""How a build looks, on a terminal and elsewhere."""

from __future__ import annotations

import io
from typing import Final

import pytest

from anchor_supervisor.cli.build_words import LONGEST, Steps
from anchor_supervisor.images.progress import Silent


class Terminal(io.StringIO):
    """Says that it is a terminal; without colour, so that what is said can be read."""

    def isatty(self) -> bool:
        """It is."""
        return True


def shown(stream: io.StringIO) -> str:
    """What becomes of a build with every kind of news."""
    steps = Steps(Silent(), stream)
    steps.begin(1, 4, "FROM base")
    steps.end(0.012)
    steps.begin(2, 4, "COPY a \\\n  b")
    steps.end(None)
    steps.begin(3, 4, "RUN make")
    steps.output(b"half a ")
    steps.note("something")
    steps.output(b"line\n\x1b[2Jevil\rwords\nno newline")
    steps.end(1.5)
    steps.begin(4, 4, "RUN " + "x" * 500)
    steps.output(b"last")
    steps.close()
    return stream.getvalue()


EXPECTED: Final = """\
[1/4] FROM base  12ms
[2/4] COPY a \\   b  cached
[3/4] RUN make
note: something
[3/4] | half a line
[3/4] | evil^Mwords
[3/4] | no newline
[3/4] done  1.5s
"""


def test_elsewhere() -> None:
    """A line for each step, its end behind it; what a command says beneath, made harmless."""
    text = shown(io.StringIO())
    assert text.startswith(EXPECTED)
    assert text.endswith("…\n[4/4] | last\n")
    assert max(map(len, text.splitlines())) <= LONGEST + len("[4/4] ")


def test_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in the end: a step's line stands while it is under way, and is ended once."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown(Terminal()) == shown(io.StringIO())
