"""SIGHUP to the program itself: the file is read once more, and only what changed is touched."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from console import Console
from waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.native]


def text(rootfs: Path, *commands: str) -> str:
    """A fleet of as many containers, each with its own command."""
    return "\n".join(
        f'[containers.c{number}]\nimage = "{rootfs}"\ncommand = ["sh", "-c", "{command}"]\n'
        'networks = "none"\nstop = { grace = "0s" }'
        for number, command in enumerate(commands)
    )


def started(console: Console, fleet: Path) -> dict[str, tuple[int, str]]:
    """The process of each container, and since when it runs."""
    return {
        name: (row["pid"], row["started_at"])
        for name, row in console.rows(fleet).items()
        if row["state"] == "running"
    }


def test_a_signal_touches_one_of_twenty(console: Console, rootfs: Path) -> None:
    """The others keep pid and start; what the new one says comes under its name."""
    commands = ["sleep 1000"] * 20
    fleet = console.write("shop.toml", text(rootfs, *commands))
    program = console.start(fleet)
    program.wait_for("fleet is ready")
    before = started(console, fleet)
    commands[7] = "echo hello again; sleep 1000"
    fleet.write_text(text(rootfs, *commands, "echo new here; sleep 1000"))
    program.send(signal.SIGHUP)
    said = program.wait_for("hello again")
    assert "c7  | hello again" in said
    assert "c20 | new here" in program.wait_for("new here")
    after = eventually(
        lambda: started(console, fleet), lambda rows: len(rows) == 21, what="all of them run"
    )
    assert {name for name in before if before[name] != after[name]} == {"c7.1"}
    program.interrupt()
    assert program.ended() == 0


def test_a_wrong_file_is_told_and_changes_nothing(console: Console, rootfs: Path) -> None:
    """Every problem, with its line; and a right one is taken afterwards."""
    fleet = console.write("shop.toml", text(rootfs, "sleep 1000"))
    program = console.start(fleet)
    program.wait_for("fleet is ready")
    before = started(console, fleet)
    fleet.write_text(text(rootfs, "sleep 1000") + '\nrestart = "perhaps"\nnonsense = 1\n')
    program.send(signal.SIGHUP)
    said = program.wait_for("nonsense")
    assert "the change was refused" in said
    assert f"{fleet}:6: containers.c0.restart" in said
    assert f"{fleet}:7: containers.c0.nonsense" in said
    assert started(console, fleet) == before
    fleet.write_text(text(rootfs, "echo right; sleep 1000"))
    program.send(signal.SIGHUP)
    program.wait_for("right")
    program.interrupt()
    assert program.ended() == 0
