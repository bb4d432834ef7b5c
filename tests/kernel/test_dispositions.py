"""What a process does about a signal: what the kernel says of it, and what follows."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.kernel.dispositions import (
    Dispositions,
    first_child,
    parse_dispositions,
    read_dispositions,
)

TERM, INT, CHLD, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGKILL


def mask(*numbers: int) -> int:
    """The mask that has these signals."""
    return sum(1 << number - 1 for number in numbers)


@pytest.mark.parametrize(
    ("found", "number", "as_first", "as_other"),
    [
        (Dispositions(0, 0, 0), TERM, False, True),
        (Dispositions(0, 0, mask(TERM)), TERM, True, True),
        (Dispositions(0, mask(TERM), 0), TERM, False, False),
        (Dispositions(mask(TERM), 0, 0), TERM, True, True),
        (Dispositions(0, 0, mask(INT)), TERM, False, True),
        (Dispositions(0, 0, 0), CHLD, False, False),
        (Dispositions(0, 0, mask(CHLD)), CHLD, True, True),
        (Dispositions(0, mask(KILL), 0), KILL, True, True),
        (Dispositions(0, 0, 0), signal.SIGRTMIN + 3, False, True),
        (Dispositions(0, 0, mask(64)), 64, True, True),
    ],
)
def test_the_first_process_is_spared_the_default_action(
    found: Dispositions, number: int, as_first: bool, as_other: bool
) -> None:
    """Anything else dies of a signal without a handler, where its default action is an end."""
    assert found.heeds(number, first=True) is as_first
    assert found.heeds(number, first=False) is as_other


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_what_the_kernel_writes_is_read(blocked: int, ignored: int, caught: int) -> None:
    """Sixteen hexadecimal digits each, among the other lines of the file."""
    text = (
        "Name:\tSigIgn: 0\nShdPnd:\t0000000000000000\n"
        f"SigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
        "CapInh:\t0000000000000000\n"
    )
    assert parse_dispositions(text) == Dispositions(blocked, ignored, caught)


def test_a_text_that_says_nothing_of_signals_says_nothing() -> None:
    """Rather than that nothing is handled."""
    assert parse_dispositions("") is None
    assert parse_dispositions("SigBlk:\t0000000000000000\nSigIgn:\t0\n") is None


def test_a_live_process_is_what_it_made_itself() -> None:
    """One that ignores, one that catches, one that blocks, as the kernel tells it."""
    script = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "signal.signal(signal.SIGTERM, print); signal.pthread_sigmask(0, {signal.SIGUSR1});"
        "print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = read_dispositions(child.pid)
        assert found is not None
        assert found.ignores(signal.SIGHUP)
        assert not found.ignores(signal.SIGTERM)
        assert found.catches(signal.SIGTERM)
        assert not found.catches(signal.SIGUSR2)
        assert found.heeds(signal.SIGUSR1, first=True)
        assert first_child(os.getpid()) is not None
        assert first_child(child.pid) is None
        child.communicate(b"\n")
    assert read_dispositions(child.pid) is None
    assert first_child(child.pid) is None


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ESRCH, errno.EACCES])
def test_what_cannot_be_read_says_nothing(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks has more to do than this."""

    def refuse(path: str) -> io.FileIO:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(io, "FileIO", refuse)
    assert read_dispositions(os.getpid()) is None
    assert first_child(os.getpid()) is None
