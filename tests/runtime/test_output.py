"""What a container says: every byte arrives in its log, and silence costs nothing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
from attrs import Factory, define
from trio.testing import wait_all_tasks_blocked

from anchor_supervisor.errors import KernelError
from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.observability.log_reader import read_records
from anchor_supervisor.observability.log_store import LogWriter
from anchor_supervisor.observability.places import log_dir
from anchor_supervisor.runtime.carriers import Carriers
from anchor_supervisor.runtime.output import OutputPump
from real_fleet import WEB, Workshop, open_descriptors, sh, writer_ends
from waiting import DEADLINE


@define(eq=False)
class Pumped:
    """A pump over FIFOs of the test's own, and what came out of it."""

    directory: Path
    heard: list[tuple[str, bytes]] = Factory(list)
    pump: OutputPump = Factory(
        lambda self: OutputPump(
            WEB, self.directory, LogWriter(self.directory / "log"), self._listen
        ),
        takes_self=True,
    )

    def said(self, stream: str) -> bytes:
        """All that came on one stream."""
        return b"".join(data for name, data in self.heard if name == stream)

    def stored(self, stream: str) -> bytes:
        """What the log has of one stream: whole lines joined again from their pieces."""
        return b"".join(
            record.text + (b"" if record.partial else b"\n")
            for record in read_records(self.directory / "log")
            if record.stream == stream
        )

    @asynccontextmanager
    async def carrying(self) -> AsyncIterator[None]:
        """Carry output meanwhile."""
        async with trio.open_nursery() as nursery:
            carriers = Carriers(lambda *_: None)
            carriers.attach(nursery)
            carriers.carry(self.pump)
            yield
            await wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()

    def _listen(self, instance: InstanceId, stream: str, data: bytes) -> None:
        assert instance == WEB
        self.heard.append((stream, data))


@pytest.fixture
def pumped(tmp_path: Path) -> Iterator[Pumped]:
    """A pump with open FIFOs."""
    made = Pumped(tmp_path)
    made.pump.open()
    yield made
    made.pump.close()


async def test_bytes_arrive_in_the_log_and_at_the_listener(pumped: Pumped) -> None:
    """Each stream in its order, whatever the bytes are."""
    out, err = writer_ends(pumped.pump)
    async with pumped.carrying():
        os.write(out, b"one\ntw")
        os.write(err, b"\xff\x00 not text\n")
        await wait_all_tasks_blocked(0.01)
        os.write(out, b"o\n")
    os.close(out)
    os.close(err)
    assert pumped.said("stdout") == pumped.stored("stdout") == b"one\ntwo\n"
    assert pumped.said("stderr") == pumped.stored("stderr") == b"\xff\x00 not text\n"


async def test_a_burst_arrives_whole(pumped: Pumped) -> None:
    """A mebibyte as fast as the writer can: nothing is lost, nothing is out of order."""
    lines = b"".join(b"%07d\n" % number for number in range(131072))
    out, err = writer_ends(pumped.pump)
    async with pumped.carrying():
        await trio.to_thread.run_sync(write_all, out, lines)
    os.close(out)
    os.close(err)
    assert pumped.said("stdout") == lines
    assert pumped.stored("stdout") == lines


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything, blocking."""
    while data:
        data = data[os.write(descriptor, data) :]


async def test_a_writer_that_comes_and_goes_is_heard(pumped: Pumped) -> None:
    """Closing both ends and opening /dev/stdout anew is no end of the stream."""
    async with pumped.carrying():
        for number in range(5):
            ends = writer_ends(pumped.pump)
            os.write(ends[0], b"run %d\n" % number)
            for end in ends:
                os.close(end)
            again = os.open(pumped.directory / "stdout", os.O_WRONLY | os.O_APPEND)
            os.write(again, b"again %d\n" % number)
            os.close(again)
    expected = b"".join(b"run %d\nagain %d\n" % (n, n) for n in range(5))
    assert pumped.stored("stdout") == expected


async def test_silence_costs_nothing(pumped: Pumped, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no container runs (no writer at all), and while one says nothing, nothing is read."""
    reads = []
    read_once = OutputPump._read_once

    def counted(pump: OutputPump, stream: str, reader: int) -> bool:
        reads.append(stream)
        return read_once(pump, stream, reader)

    monkeypatch.setattr(OutputPump, "_read_once", counted)
    async with pumped.carrying():
        # Returns only once every task has slept for that long: a busy loop never does.
        with trio.fail_after(DEADLINE):
            await wait_all_tasks_blocked(0.05)
            ends = writer_ends(pumped.pump)
            await wait_all_tasks_blocked(0.05)
            for end in ends:
                os.close(end)
            await wait_all_tasks_blocked(0.05)
    assert reads == []


def test_a_drain_is_bounded_and_takes_what_is_there(pumped: Pumped) -> None:
    """After an exit: all that is in the pipes, and no more than they hold, whoever goes on."""
    out, err = writer_ends(pumped.pump)
    os.set_blocking(out, False)
    written = 0
    with suppress(BlockingIOError):
        while True:
            written += os.write(out, b"x" * 4096)
    pumped.pump.drain()
    assert len(pumped.said("stdout")) == written
    pumped.pump.drain()
    assert len(pumped.said("stdout")) == written
    os.close(out)
    os.close(err)


def test_the_end_of_a_run_is_told_to_the_listener(tmp_path: Path) -> None:
    """An empty chunk for each stream: whoever holds half a line knows that no more of it comes."""
    told: list[tuple[str, bytes]] = []
    made = Pumped(tmp_path)
    made.pump.listener = lambda _, stream, data: told.append((stream, data))
    made.pump.open()
    out, err = writer_ends(made.pump)
    os.write(out, b"half a line")
    made.pump.drain()
    assert told == [("stdout", b"half a line"), ("stdout", b""), ("stderr", b"")]
    os.close(out)
    os.close(err)
    made.pump.close()


def test_ends_are_given_both_or_none(pumped: Pumped) -> None:
    """Where the second FIFO is gone, the first one's end is not left open."""
    before = set(open_descriptors())
    (pumped.directory / "stderr").unlink()
    with pytest.raises(KernelError, match=r"open the pipes in .*: No such file"):
        writer_ends(pumped.pump)
    assert set(open_descriptors()) == before


def test_a_pump_that_was_closed_holds_nothing(tmp_path: Path) -> None:
    """Closing twice is allowed, and takes what was still in the pipes."""
    before = open_descriptors()
    made = Pumped(tmp_path)
    made.pump.open()
    ends = writer_ends(made.pump)
    os.write(ends[0], b"last words\n")
    for end in ends:
        os.close(end)
    made.pump.close()
    made.pump.close()
    assert made.stored("stdout") == b"last words\n"
    assert open_descriptors() == before


@pytest.mark.root
async def test_a_container_may_reopen_its_output(workshop: Workshop) -> None:
    """`> /dev/stdout` and `exec >/dev/stderr` work for its own user, as images expect."""
    script = sh(
        "echo plain; echo reopened > /dev/stdout; echo appended >> /dev/stdout;"
        "exec 3>/dev/stdout >&-; echo moved >&2; exec >/proc/self/fd/3; echo back"
    )
    async with workshop.running(workshop.fleet(script, 'user = "web"')) as real:
        assert (await real.complete()).success, real.said(stream="stderr")
        assert real.said() == "plain\nreopened\nappended\nback\n"
        assert real.said(stream="stderr") == "moved\n"
        stored = [record.text for record in read_records(log_dir("shop", WEB))]
    assert sorted(stored) == [b"appended", b"back", b"moved", b"plain", b"reopened"]


@pytest.mark.root
async def test_a_container_that_floods_loses_nothing(workshop: Workshop) -> None:
    """A mebibyte said in one go, then the exit: the log has it all when the end is told."""
    script = sh("yes 0123456789abcde | head -c 1048576; echo end")
    async with workshop.running(workshop.fleet(script)) as real:
        assert (await real.complete()).success
        assert real.said() == "0123456789abcde\n" * 65536 + "end\n"
