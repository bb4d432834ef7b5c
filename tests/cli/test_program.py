"""How the programs begin and end."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from anchor_supervisor.cli.program import collect_garbage_from_now

FULL = Path("/dev/full")


def python(script: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own."""
    return subprocess.run(
        # -E: buffered, whatever PYTHONUNBUFFERED says.
        [sys.executable, "-E", "-c", script],
        check=False,
        text=True,
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=60,
    )


def test_an_end_without_ceremony_loses_no_output() -> None:
    """What is still in a buffer is written, and the exit code is the one that was given."""
    script = (
        "import sys; from anchor_supervisor.cli.program import leave;"
        "print('x' * 100_000); print('y', end='', file=sys.stderr); leave(3)"
    )
    done = python(script)
    assert (done.returncode, len(done.stdout), done.stderr) == (3, 100_001, "y")


def test_an_end_without_ceremony_survives_closed_streams() -> None:
    """Nor does it matter whether there is anything to flush."""
    script = (
        "import sys; from anchor_supervisor.cli.program import leave;"
        "sys.stdout.close(); sys.stderr.close(); leave(0)"
    )
    assert python(script).returncode == 0


def test_a_full_disk_at_the_very_end_is_no_traceback() -> None:
    """It was told before, by who wrote; the last attempt is silent."""
    script = "from anchor_supervisor.cli.program import leave; print('x'); leave(1)"
    with FULL.open("w") as full:
        done = python(script, stdout=full.fileno())
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("program", "name"), [("anchor", "anchor"), ("anchor_supervise", "anchor-supervise")]
)
def test_a_program_imports_without_collecting(program: str, name: str) -> None:
    """The collector rests while modules are loaded, and the program is the one that was called."""
    script = (
        "import gc, sys; from anchor_supervisor.cli import program; sys.argv[1:] = ['--version'];"
        "told = []; gc.callbacks.append(lambda *seen: told.append(seen))\n"
        "program.leave = sys.exit\n"
        f"try: program.{program}()\n"
        "finally: print(gc.isenabled(), len(told))"
    )
    version, told = python(script).stdout.splitlines()
    assert version.startswith(f"{name} ")
    assert told == "False 0"


def test_the_collector_begins_with_what_comes_then() -> None:
    """What was there before is never looked at again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        collect_garbage_from_now()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        if not enabled:
            gc.disable()
