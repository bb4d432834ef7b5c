"""Standard input, output and error exist, before anything else is opened. Standard library only."""

from __future__ import annotations

import os
import sys


def open_standard_descriptors() -> None:
    """Open /dev/null for each of the first three descriptors that whoever started us has closed.

    Else the next file that we open takes its number, and `run` and `exec` would give that file,
    a lock or a pidfd of the machine's, to the container as its standard input or output.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one (open(2))
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - for our life
