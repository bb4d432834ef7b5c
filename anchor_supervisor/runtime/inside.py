"""A command run inside a container, for health probes: watched, bounded, and killed whole."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import trio
from attrs import evolve

from anchor_supervisor.kernel import pidfd
from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.kernel.cgroup_watch import CgroupWatch
from anchor_supervisor.kernel.spawn import Child, spawn
from anchor_supervisor.rootfs.command import candidates
from anchor_supervisor.runtime.recipe import container_powers, exec_steps
from anchor_supervisor.runtime.run import HostRun
from anchor_supervisor.runtime.supervisor import ProbeAnswer

MAX_OUTPUT: Final = 4096  # bytes kept of what a probe prints: its end, where the error is
PATIENCE: Final = 10.0  # seconds for what was killed to end; more takes only what cannot die

_numbers = itertools.count()


async def run_inside(
    run: HostRun, argv: Sequence[str], init: int, *, limiter: trio.CapacityLimiter
) -> ProbeAnswer:
    """Run `argv` in the container as its own user; healthy when it exits 0.

    Cancelled, it kills whatever the command started: it runs in a cgroup of its own beneath the
    container's. Raises AnchorError where it cannot be started.
    """
    with ExitStack() as owned:
        main = run.hold()
        owned.callback(os.close, main)
        cgroup = run.holdings.cgroup.child(f"probe-{next(_numbers)}")
        cgroup.create()
        owned.callback(cgroup.remove)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        owned.callback(os.close, reader)
        try:
            child = await trio.to_thread.run_sync(
                _start, run, main, tuple(argv), init, cgroup, writer, limiter=limiter
            )
        finally:
            os.close(writer)
        owned.callback(child.close)
        ending = pidfd.Ending()
        try:
            output = await _output_of(child, reader)
        finally:
            with trio.move_on_after(PATIENCE, shield=True):
                ending = await _end(child, cgroup)
    words = output.decode(errors="replace").strip()
    if ending.code == 0:
        return ProbeAnswer(ok=True, output=words)
    how = f"exit code {ending.code}" if ending.code is not None else f"signal {ending.signal}"
    return ProbeAnswer(ok=False, output=f"{words}\n{how}".strip())


def _start(
    run: HostRun, main: int, argv: tuple[str, ...], init: int, cgroup: Cgroup, writer: int
) -> Child:
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        process = evolve(
            run.process,
            argv=argv,
            candidates=candidates(argv[0], run.process.environment["PATH"]),
            stdio=(null, writer, writer),
            terminal=False,
        )
        powers = container_powers(run.holdings.container)
        steps = exec_steps(powers, main, process, init)
        group = cgroup.open()
        try:
            return spawn(steps, cgroup=group, share_memory=False)
        finally:
            os.close(group)
    finally:
        os.close(null)


async def _output_of(child: Child, reader: int) -> bytes:
    """The end of what the command prints until it exits; what it leaves behind is not awaited."""
    os.set_blocking(reader, False)
    kept = bytearray()

    async def collect() -> None:
        while True:
            await trio.lowlevel.wait_readable(reader)
            if not _read(reader, kept):
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect)
        await trio.lowlevel.wait_readable(child.pidfd)
        nursery.cancel_scope.cancel()
    _read(reader, kept)
    return bytes(kept)


def _read(reader: int, kept: bytearray) -> bool:
    """Take what there is now; False at the end of the pipe, or where there is nothing."""
    try:
        data = os.read(reader, 65536)
    except BlockingIOError:
        return False
    kept += data
    del kept[:-MAX_OUTPUT]
    return bool(data)


async def _end(child: Child, cgroup: Cgroup) -> pidfd.Ending:
    """Kill what is left of the command, children too, and reap it."""
    cgroup.kill()
    await trio.lowlevel.wait_readable(child.pidfd)
    await _empty(cgroup)
    return pidfd.reap(child.pidfd) or pidfd.Ending()


async def _empty(cgroup: Cgroup) -> None:
    """Return once no living process is left in the group; children of the command are not ours."""
    if not cgroup.populated():
        return
    with CgroupWatch() as watch:
        watch.add(cgroup)
        while cgroup.populated():
            await trio.lowlevel.wait_readable(watch.fileno())
            watch.take_changed()
