"""Standard input, output and error exist, before anything else is opened. Standard library only.

What they do not take is told apart from every other file's fault.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

from anchor_supervisor.hints import TYPE_CHECKING, final

if TYPE_CHECKING:
    from typing import Final, TypeVar

    _Result = TypeVar("_Result")
_STRICT: Final = "strict"


class OutputFailed(OSError):  # noqa: N818 - it is what happened
    """Standard output did not take what we wrote (a full disk, say)."""


@final
class Output(io.TextIOWrapper):
    """Standard output, whose faults are OutputFailed: a long answer does not wait for the flush."""

    def write(self, text: str) -> int:
        """Write. Raises OutputFailed; BrokenPipeError stays what it is."""
        return blame_output(lambda: io.TextIOWrapper.write(self, text))

    def flush(self) -> None:
        """Flush. Raises the same."""
        blame_output(lambda: io.TextIOWrapper.flush(self))


def blame_output(action: Callable[[], _Result]) -> _Result:
    """Do what writes to standard output alone. Raises OutputFailed for what fails in it."""
    try:
        return action()
    except (BrokenPipeError, OutputFailed):
        raise
    except OSError as error:
        raise OutputFailed(error.errno, error.strerror) from None


def tell_faults_of_output() -> None:
    """Have standard output say that it is to blame for its own faults. A test's stays as it is."""
    plain = sys.stdout
    if plain is not sys.__stdout__ or not isinstance(plain, io.TextIOWrapper):
        return
    if isinstance(plain, Output):
        return
    sys.stdout = Output(
        plain.buffer,
        encoding=plain.encoding,
        errors=plain.errors or _STRICT,
        line_buffering=plain.line_buffering,
        write_through=plain.write_through,
    )


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
