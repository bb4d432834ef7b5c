"""What carries output: one task for everybody, everybody's turn, and nothing held at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.observability.log_store import LogWriter
from anchor_supervisor.runtime.carriers import AT_ONCE, Carriers
from anchor_supervisor.runtime.output import CHUNK, OutputPump
from real_fleet import open_descriptors, writer_ends

Heard = list[tuple[int, bytes]]


@contextmanager
def pumps(
    count: int, directory: Path, carriers: Carriers
) -> Iterator[list[tuple[OutputPump, int]]]:
    """Pumps of so many replicas, each with an end to write to its stdout."""
    made: list[tuple[OutputPump, int]] = []
    for number in range(1, count + 1):
        own = directory / str(number)
        own.mkdir()
        pump = OutputPump(InstanceId("web", number), own, LogWriter(own / "log"), carriers.heard)
        pump.open()
        out, err = writer_ends(pump)
        os.close(err)
        made.append((pump, out))
    yield made
    for pump, out in made:
        pump.close()
        os.close(out)


def hearing() -> tuple[Carriers, Heard]:
    """Carriers, and what they hear."""
    heard: Heard = []
    return Carriers(lambda one, _, data: heard.append((one.replica, data)) if data else None), heard


async def test_one_task_for_all(tmp_path: Path) -> None:
    """However many containers there are; carrying one twice is carrying it once."""
    carriers, heard = hearing()
    with pumps(20, tmp_path, carriers) as made:
        async with trio.open_nursery() as nursery:
            carriers.attach(nursery)
            for pump, out in made:
                carriers.carry(pump)
                carriers.carry(pump)
                os.write(out, b"%d\n" % pump.instance.replica)
            assert len(nursery.child_tasks) == 1
            await wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()
    assert sorted(heard) == [(number, b"%d\n" % number) for number in range(1, 21)]


class Turns(trio.abc.Instrument):
    """How much had been heard after each step of any task that heard something."""

    def __init__(self, heard: Heard) -> None:
        """Nothing yet."""
        self.heard = heard
        self.after: list[int] = []

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Trio may take two steps of one task before it takes another's next."""
        if len(self.heard) > (self.after[-1] if self.after else 0):
            self.after.append(len(self.heard))


async def test_everybody_has_a_turn(tmp_path: Path) -> None:
    """Those who say more than a chunk keep nobody waiting, in the log or elsewhere in the loop."""
    carriers, heard = hearing()
    with pumps(3 * AT_ONCE, tmp_path, carriers) as made:
        async with trio.open_nursery() as nursery:
            for _, out in made:
                os.set_blocking(out, False)
                assert os.write(out, b"x" * CHUNK) == CHUNK
            carriers.attach(nursery)
            for pump, _ in made:
                carriers.carry(pump)
            turns = Turns(heard)
            trio.lowlevel.add_instrument(turns)
            while len(heard) < len(made):
                await trio.lowlevel.checkpoint()
            trio.lowlevel.remove_instrument(turns)
            assert turns.after == [AT_ONCE, 2 * AT_ONCE, 3 * AT_ONCE]
            assert sorted(replica for replica, _ in heard) == [*range(1, 3 * AT_ONCE + 1)]
            nursery.cancel_scope.cancel()


async def test_the_end_of_one_is_no_end_of_the_others(tmp_path: Path) -> None:
    """What it has said is taken in; another pump of that name begins afresh."""
    carriers, heard = hearing()
    with pumps(2, tmp_path, carriers) as made:
        (first, out), (second, other) = made
        async with trio.open_nursery() as nursery:
            carriers.attach(nursery)
            carriers.carry(first)
            carriers.carry(second)
            os.write(out, b"last words\n")
            carriers.end(first.instance)
            carriers.end(first.instance)
            assert heard == [(1, b"last words\n")]
            first.directory.joinpath("stdout").unlink()
            first.directory.joinpath("stderr").unlink()
            first.open()
            carriers.carry(first)
            os.write(other, b"on\n")
            await wait_all_tasks_blocked(0.01)
            assert heard[1:] == [(2, b"on\n")]
            nursery.cancel_scope.cancel()


async def test_without_a_loop_nothing_is_carried(tmp_path: Path) -> None:
    """Before there is a task and after; and nothing is held open then."""
    before = open_descriptors()
    carriers, heard = hearing()
    with pumps(1, tmp_path, carriers) as [(pump, out)]:
        carriers.carry(pump)
        async with trio.open_nursery() as nursery:
            carriers.attach(nursery)
            nursery.cancel_scope.cancel()
        carriers.carry(pump)
        os.write(out, b"x\n")
        carriers.end(pump.instance)
        assert heard == []
    assert heard == [(1, b"x\n")]
    assert open_descriptors() == before
