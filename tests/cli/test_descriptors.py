"""Standard descriptors that whoever started us has closed."""

from __future__ import annotations

import shlex
import sys

import pytest

from anchor_program import Anchor

SCRIPT = """
import os, sys
from anchor_supervisor.cli.descriptors import open_standard_descriptors
open_standard_descriptors()
first = os.open("/", os.O_RDONLY)
print("to nobody, or to somebody", file=sys.stdout)
print(first, repr(sys.stdin.read()), os.readlink("/proc/self/fd/0"), file=open("told", "w"))
"""


@pytest.mark.parametrize("closed", ["0<&-", "0<&- 2>&-", "0<&- 1>&- 2>&-"])
def test_nothing_of_ours_takes_the_place_of_a_closed_descriptor(
    anchor: Anchor, closed: str
) -> None:
    """What we open first is never a container's input, nor the screen."""
    result = anchor.shell(f"{shlex.quote(sys.executable)} -c {shlex.quote(SCRIPT)} {closed}")
    assert result.returncode == 0
    assert (anchor.place / "told").read_text() == "3 '' /dev/null\n"


def test_a_program_without_any_of_them_still_answers(anchor: Anchor) -> None:
    """No traceback, and the exit code as ever."""
    result = anchor.shell("{anchor} --help 0<&- 1>&- 2>&-; echo $?")
    assert result.stdout == "0\n"
