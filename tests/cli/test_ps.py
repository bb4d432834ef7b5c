"""How `ps` looks on terminals of all widths."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping

import pytest

from anchor_program import Anchor
from anchor_supervisor.cli.row_words import list_rows
from fake_fleet import FAR_AHEAD, row


def on_terminal(anchor: Anchor, width: int, *arguments: str) -> list[str]:
    """The lines that the program shows on a terminal so wide, without colours."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment: Mapping[str, str] = {**anchor.environment, "NO_COLOR": "1"}
    with subprocess.Popen(
        anchor.command(*arguments), cwd=anchor.place, env=environment, stdout=side
    ) as process:
        os.close(side)
        shown = b""
        try:
            while chunk := os.read(main, 65536):
                shown += chunk
        except OSError:  # EIO: nobody has the other side any more
            pass
        os.close(main)
    assert process.returncode == 0
    return shown.decode().replace("\r\n", "\n").splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 132, 200, 400])
def test_the_table_fits(anchor: Anchor, shop: object, width: int) -> None:
    """No line is longer than the terminal is wide, and columns begin where their headers do."""
    header, *lines = on_terminal(anchor, width, "ps")
    assert max(map(len, [header, *lines])) <= width
    assert [line.split()[0] for line in lines] == ["db", "web.1", "web.2", "migrate"]
    for column in ("STATE", "HEALTH", "RESTARTS"):
        place = header.index(column)
        assert all(line[place - 1] == " " != line[place] for line in lines), column


def test_the_reason_can_be_read_at_80_columns(anchor: Anchor, shop: object) -> None:
    """What matters least gives way to it; a wide terminal shows everything."""
    header, *lines = on_terminal(anchor, 80, "ps")
    assert header.split()[-1] == "REASON"
    assert "update: 1 of 2" in lines[2]
    assert "start in " in lines[2]
    assert {"LIMITS", "PORTS", "ADDRESS", "PID"}.isdisjoint(header.split())
    wide = on_terminal(anchor, 400, "ps")[0].split()
    assert {"LIMITS", "PORTS", "ADDRESS", "PID"} < set(wide)


@pytest.mark.parametrize(
    "words",
    [
        "its next run is skipped if this one goes on",
        "its next run is queued if this one goes on",
        "is replaced by its next run",
    ],
)
def test_an_overlap_is_told_in_short(words: str) -> None:
    """A column that is wide leaves no room for the reason; `why` has the whole of it."""
    table = list_rows([row("poll", kind="job", next=words, next_at=FAR_AHEAD)], with_fleet=False)
    assert " next run in " in table
    assert "goes on" not in table
