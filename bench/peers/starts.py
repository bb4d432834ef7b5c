"""Containers of other people's programs, begun as a person would and timed from outside.

What is timed is the whole command, from just before it is executed until it has ended, and how far
it had got when the container's first instruction read the clock. Output goes to files in memory: a
pipe that a container keeps open would never end.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Final, final

from attrs import define, field, frozen

from anchor_supervisor.errors import KernelError
from memory_use import proportional_set_size
from peers.corner import Corner, command_line, processes

PATIENCE: Final = 60.0
"""Seconds after which a command is given up."""

FIRST: Final = "/first"
_IDENTITY: Final = re.compile(r"^[0-9a-f]{64}$", re.MULTILINE)
_STAMP: Final = re.compile(r"^\s*(\d{6,})\s*$", re.MULTILINE)

Argv = Sequence[str]


class CommandError(Exception):
    """A command did not do what was asked of it; the words are its own last ones."""


@final
@frozen
class Sample:
    """Seconds from the command until its end, and until the container's first instruction."""

    whole: float
    first: float


@final
@frozen
class Engine:
    """A program that runs containers, in one of its manners: how it is asked, and what it does not.

    `peer` is the same for all its manners.

    `once` gives the command that runs `first` to its end in a container of this name; `wait` the
    one that starts `first wait`. That one ends when the container runs, and `end` gives the
    commands that remove several; or without `end` it lives as long as its container does.
    """

    name: str
    peer: str
    version: str
    isolation: str
    network: bool  # a network with an address, and not only a namespace
    once: Callable[[str], Argv]
    wait: Callable[[str], Argv] | None = None
    end: Callable[[Sequence[str]], Sequence[Argv]] | None = None
    signal: signal.Signals = signal.SIGTERM  # ends what lives as long as its container
    apart: bool = False  # wants a machine with cgroups of version 1 alone, or of 2 alone
    grouped: bool = False  # makes control groups where it was started


def stamp(text: str) -> int:
    """The first moment that `first` has told among other words. Raises CommandError."""
    found = _STAMP.search(text)
    if found is None:
        message = "its container did not say when it began"
        raise CommandError(message)
    return int(found[1])


def finish(process: subprocess.Popen[bytes], patience: float = PATIENCE) -> int:
    """Wait for a command, not by polling; return its exit code. Raises CommandError."""
    if process.poll() is not None:
        return process.returncode
    descriptor = os.pidfd_open(process.pid)
    ended: object = None
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        ended = poll.poll(patience * 1000)
    finally:
        os.close(descriptor)
        if not ended:  # in time, or before an interrupt
            process.kill()
        code = process.wait()
    if not ended:
        message = f"no end within {patience:g} s"
        raise CommandError(message)
    return code


def ask(argv: Argv, scratch: Path, *, shielded: bool = False) -> tuple[int, int, str]:
    """Run a command to its end: when it began and ended in nanoseconds, and what it said.

    `shielded`: no Ctrl-C of the terminal's reaches it. Raises CommandError.
    """
    with tempfile.TemporaryFile(dir=scratch) as out, tempfile.TemporaryFile(dir=scratch) as err:
        begun = time.monotonic_ns()
        code = finish(_begin(argv, out, err, shielded=shielded))
        ended = time.monotonic_ns()
        if code:
            raise CommandError(last_words(err, code))
        out.seek(0)
        return begun, ended, out.read().decode(errors="replace")


def _begin(
    argv: Argv, out: IO[bytes] | int, err: IO[bytes], *, shielded: bool = False
) -> subprocess.Popen[bytes]:
    group = 0 if shielded else None
    try:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, process_group=group
        )
    except OSError as error:
        message = f"{argv[0]}: {error.strerror}"
        raise CommandError(message) from None


def last_words(err: IO[bytes], code: int) -> str:
    """What a command complained of at last, in one line."""
    err.seek(0)
    lines = [line.strip() for line in err.read().decode(errors="replace").splitlines()]
    said = [line for line in lines if line and not line.startswith("Run '")]
    return said[-1][:300] if said else f"exit code {code}"


def once(argv: Argv, scratch: Path) -> Sample:
    """Run a container to its end, by one command. Raises CommandError."""
    begun, ended, said = ask(argv, scratch)
    return Sample((ended - begun) / 1e9, (stamp(said) - begun) / 1e9)


@final
@define
class Running:
    """Containers that wait: the commands that live as long, or what those that ended have said."""

    engine: Engine
    scratch: Path
    held: dict[str, subprocess.Popen[bytes]] = field(factory=dict, init=False)
    said: dict[str, str] = field(factory=dict, init=False)

    def start(self, name: str, argv: Argv) -> None:
        """Start one, and return when it runs. Raises CommandError."""
        if self.engine.end is not None:
            _, _, self.said[name] = ask(argv, self.scratch)
            return
        with tempfile.TemporaryFile(dir=self.scratch) as err:
            process = self.held[name] = _begin(argv, subprocess.PIPE, err)
            assert process.stdout is not None
            if not process.stdout.readline():
                raise CommandError(last_words(err, process.wait()))

    def end(self) -> None:
        """End all of them, and return when nothing of them is left. Raises CommandError."""
        for process in self.held.values():
            process.send_signal(self.engine.signal)
        for process in self.held.values():
            finish(process)
            assert process.stdout is not None
            process.stdout.close()
        if self.engine.end is not None and self.said:
            for argv in self.engine.end(list(self.said)):
                ask(argv, self.scratch)
        self.held.clear()
        self.said.clear()

    def beside(self) -> int:
        """KiB that the engine's processes beside these containers take up."""
        words = [*self.said, *_IDENTITY.findall("\n".join(self.said.values()))]
        roots = {process.pid for process in self.held.values()}
        found = set(_descendants(roots)) if roots else set()
        for pid in processes():
            line = command_line(pid)
            if any(word in line for word in words):
                found.add(pid)
        own = [pid for pid in found if not command_line(pid).startswith(FIRST)]
        return sum(map(size_of, own))


def size_of(pid: int) -> int:
    """KiB that a process takes up: none if it has just ended, or has nothing of its own."""
    try:
        return proportional_set_size(pid)
    except (OSError, ValueError):
        return 0


def _descendants(roots: set[int]) -> Iterator[int]:
    for pid in roots:
        yield pid
        for task in Path(f"/proc/{pid}/task").iterdir():
            yield from _descendants(set(map(int, (task / "children").read_text().split())))


@contextmanager
def lanes(engine: Engine, place: Corner, width: int = 1) -> Iterator[ThreadPoolExecutor]:
    """Threads to start this engine's containers from, `width` at a time.

    They stay until the end: a command may be told to die with the thread it was started by.
    """
    prepare = place.hide_unified if engine.apart else None
    pool = ThreadPoolExecutor(width, initializer=prepare)
    try:
        with place.inside_group() if engine.grouped else nullcontext():
            yield pool
    except KernelError as error:
        raise CommandError(error.message) from None
    finally:
        pool.shutdown(cancel_futures=True)


def each(engine: Engine, place: Corner, names: Sequence[str], gap: float = 0.0) -> list[Sample]:
    """Run containers of these names to their ends, one after the other. Raises CommandError."""
    samples = []
    with lanes(engine, place) as pool:
        for name in names:
            samples.append(pool.submit(once, engine.once(name), place.run).result())
            time.sleep(gap)
    return samples
