"""A command run inside a container, for probes and stops: watched, bounded, and killed whole.

It runs beneath a small init of ours that is no process 1 but the reaper of everything the command
leaves behind (see `Execute.to_the_last`). A killed process whose parent has gone is otherwise a
zombie for ever where the container's own process 1 does not reap, as most programs do not.
"""

from __future__ import annotations

import errno
import itertools
import os
import struct
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, final

import trio

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import pidfd
from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.kernel.cgroup_watch import CgroupWatch
from anchor_supervisor.kernel.spawn import Child, SpawnError, spawn
from anchor_supervisor.kernel.steps import Step
from anchor_supervisor.rootfs.command import candidates
from anchor_supervisor.runtime.recipe import container_powers, reaped_exec_steps
from anchor_supervisor.runtime.run import HostRun
from anchor_supervisor.runtime.supervisor import ProbeAnswer
from anchor_supervisor.supervision.words import duration
from anchor_supervisor.values import define, evolve, field

MAX_OUTPUT: Final = 4096  # bytes kept of what a command prints: its end, where the error is
PATIENCE: Final = 10.0  # seconds for what was killed to end; more takes only what cannot die
REAPING: Final = 1.0  # seconds for our init to reap what was killed; somebody may have stopped it
STATUS: Final = struct.Struct("i")  # a wait status, or a negative errno

_numbers = itertools.count()


async def run_inside(
    run: HostRun, argv: Sequence[str], init: int, *, within: float, limiter: trio.CapacityLimiter
) -> ProbeAnswer:
    """Run `argv` in the container as its own user; healthy when it exits 0 `within` seconds.

    Whatever the command started is killed when it ends, when its time is over, and when this is
    cancelled: it runs in a cgroup of its own beneath the container's. Raises AnchorError where it
    cannot be started.
    """
    with ExitStack() as owned:
        command = _Command(run, owned)
        try:
            with trio.move_on_after(within) as limit:
                await trio.to_thread.run_sync(command.start, tuple(argv), init, limiter=limiter)
                await command.watch()
        finally:
            with trio.move_on_after(PATIENCE, shield=True):
                await command.end(limiter)
    words = command.output.decode(errors="replace").strip()
    ending = command.ending
    if limit.cancelled_caught:
        how = f"no end within {duration(within)}, so it was killed"
    elif ending.code == 0:
        return ProbeAnswer(ok=True, output=words)
    else:
        how = f"exit code {ending.code}" if ending.code is not None else f"signal {ending.signal}"
    return ProbeAnswer(ok=False, output=f"{words}\n{how}".strip())


@final
@define(eq=False)
class _Command:
    """One command inside. What it holds is given back by `_owned`, once `end` has returned."""

    _run: HostRun
    _owned: ExitStack
    output: bytearray = field(factory=bytearray, init=False)
    ending: pidfd.Ending = field(factory=pidfd.Ending, init=False)
    _main: int = field(init=False)
    _cgroup: Cgroup = field(init=False)
    _printed: int = field(init=False)
    _status: int = field(init=False)
    _steps: tuple[Step, ...] = field(init=False)
    _child: Child | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Take what can be taken without a wait. Raises KernelError where the run has ended."""
        self._main = self._run.hold()
        self._owned.callback(os.close, self._main)
        self._cgroup = self._run.holdings.cgroup.child(f"inside-{next(_numbers)}")
        self._cgroup.create()
        self._owned.callback(self._cgroup.remove)

    def start(self, argv: tuple[str, ...], init: int) -> None:
        """Execute it. Blocking, for a worker thread."""
        with ExitStack() as opened:
            self._printed, printer = self._pipe(opened)
            self._status, teller = self._pipe(opened)
            null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            opened.callback(os.close, null)
            process = evolve(
                self._run.process,
                argv=argv,
                candidates=candidates(argv[0], self._run.process.environment["PATH"]),
                stdio=(null, printer, printer),
                terminal=False,
            )
            powers = container_powers(self._run.holdings.container)
            self._steps = reaped_exec_steps(powers, self._main, process, init, teller)
            group = self._cgroup.open()
            opened.callback(os.close, group)
            self._child = spawn(self._steps, cgroup=group, share_memory=False)
            self._owned.callback(self._child.close)

    def _pipe(self, opened: ExitStack) -> tuple[int, int]:
        """A pipe whose read end is ours and never blocks, and whose write end is for the child."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        self._owned.callback(os.close, reader)
        opened.callback(os.close, writer)
        os.set_blocking(reader, False)
        return reader, writer

    async def watch(self) -> None:
        """Keep the end of what it prints until it ends; what it leaves behind is not awaited."""

        async def collect() -> None:
            while True:
                await trio.lowlevel.wait_readable(self._printed)
                if not self._read():
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect)
            await trio.lowlevel.wait_readable(self._status)
            nursery.cancel_scope.cancel()

    def _read(self) -> bool:
        """Take what there is now; False at the end of the pipe, or where there is nothing."""
        try:
            data = os.read(self._printed, 65536)
        except BlockingIOError:
            return False
        self.output += data
        del self.output[:-MAX_OUTPUT]
        return bool(data)

    async def end(self, limiter: trio.CapacityLimiter) -> None:
        """Kill what is left of the command, children too, and see all of it reaped.

        Raises SpawnError where init could not execute it.
        """
        if self._child is None:
            return
        self._read()
        told = self._told()
        if set(self._cgroup.processes()) - {self._child.pid}:
            await trio.to_thread.run_sync(self._kill_all_but_init, limiter=limiter)
        with trio.move_on_after(REAPING) as reaping:
            await trio.lowlevel.wait_readable(self._child.pidfd)
        if reaping.cancelled_caught:
            pidfd.send_signal(self._child.pidfd, 9)
            await trio.lowlevel.wait_readable(self._child.pidfd)
        await _empty(self._cgroup)
        reaped = pidfd.reap(self._child.pidfd)
        if told is not None and told < 0:
            raise SpawnError(-told, self._steps[-1], len(self._steps) - 1)
        known = reaped or pidfd.Ending()
        self.ending = known if told is None else pidfd.ending_of_status(told)

    def _told(self) -> int | None:
        """What init told; None where the command still ran, or where init was killed."""
        try:
            status = os.read(self._status, STATUS.size)
        except BlockingIOError:
            return None
        return int(*STATUS.unpack(status)) if status else None

    def _kill_all_but_init(self) -> None:
        """Our init is moved out of the way first: it is to reap those whom the kill ends.

        Its pid is nobody else's until we have reaped it. The move takes 12 ms (an RCU grace
        period), which only who leaves something behind has to wait for.
        """
        assert self._child is not None
        try:
            self._run.holdings.cgroup.write("cgroup.procs", str(self._child.pid))
        except KernelError as error:
            # It has ended, killed by somebody inside, or the group has with everything in it.
            if error.errno not in {errno.ESRCH, errno.ENOENT, errno.ENODEV}:
                raise
        self._cgroup.kill()


async def _empty(cgroup: Cgroup) -> None:
    """Return once no living process is left in the group; children of the command are not ours."""
    if not cgroup.populated():
        return
    with CgroupWatch() as watch:
        watch.add(cgroup)
        while cgroup.populated():
            await trio.lowlevel.wait_readable(watch.fileno())
            watch.take_changed()
