"""Many containers that wait: started, looked at, and ended.

One after the other, and several commands at a time. While they wait, what the engine keeps beside
them is weighed: monitors, shims, daemons.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import trio

from anchor_supervisor.fleet.model import InstanceId, instances
from anchor_supervisor.runtime.machine import HostMachine
from fleets import down, fleet_file, running, supervisor_pid
from harness import alive, fleet_of, machine_of, run_loop
from measure import say
from memory_use import proportional_set_size
from peers.daemons import daemon_memory
from peers.party import Party
from peers.singles import FLEET, OURS, facts_of
from peers.starts import CommandError, Engine, Running, lanes

WIDTHS: Final = {1: "one after the other", 4: "4 at a time"}


def tell(party: Party) -> None:
    """Ask everybody who can keep containers."""
    if party.wanted("anchor"):
        _in_fleet(party)
        _as_commands(party)
    if "docker" in party.stores:
        for name, size in daemon_memory(party.place, private=party.options.with_dockerd).items():
            party.results.figure(f"{name}, idle", size, "KiB", peer="docker", measured="idle")
    for engine in party.engines:
        if engine.wait is not None:
            for width, words in WIDTHS.items():
                say(f"many: {party.options.count} of {engine.name}, {words}")
                try:
                    _crowd(party, engine, engine.wait, width)
                except CommandError as failed:
                    party.missing(f"{engine.name}: containers, {words}", failed)
                    break


def _crowd(party: Party, engine: Engine, wait: Callable[[str], Sequence[str]], width: int) -> None:
    count = party.options.count
    names = [party.name(engine, f"many{width}", number) for number in range(count)]
    asked = [(name, wait(name)) for name in names]
    crowd = Running(engine, party.place.run)
    with lanes(engine, party.place, width) as pool:
        try:
            begun = time.monotonic()
            for future in [pool.submit(crowd.start, name, argv) for name, argv in asked]:
                future.result()
            started = time.monotonic() - begun
            beside = crowd.beside() / count
            begun = time.monotonic()
            pool.submit(crowd.end).result()
            ended = time.monotonic() - begun
        except BaseException:
            with suppress(CommandError):
                pool.submit(crowd.end).result()
            raise
    _figures(party, engine.name, width, (started, ended), facts_of(engine))
    if width == 1:
        what = f"{engine.name}: memory beside each of {count} containers"
        party.results.figure(what, beside, "KiB", measured="beside", **facts_of(engine))


def _figures(
    party: Party, name: str, width: int, seconds: tuple[float, float], facts: Mapping[str, Any]
) -> None:
    """Tell what each of them took; several at a time also as a rate, for the picture."""
    count = party.options.count
    started, ended = seconds
    what = f"{name}: {count} containers"
    facts = {"size": count, "width": width, **facts}

    def tell(words: str, value: float, unit: str, measured: str) -> None:
        party.results.figure(f"{what} {words}", value, unit, measured=measured, **facts)

    tell(f"started, {WIDTHS[width]}", started * 1000 / count, "ms each", "started")
    if width == 1:
        tell("ended", ended * 1000 / count, "ms each", "ended")
    else:
        tell(f"started, {WIDTHS[width]}", count / started, "a second", "rate")


def _in_fleet(party: Party) -> None:
    """Where a supervisor runs already: no command is begun."""
    for width in WIDTHS:
        seconds = _fleet_seconds(party, width)
        _figures(party, str(FLEET["peer"]), width, seconds, FLEET)


def _fleet_seconds(party: Party, width: int) -> tuple[float, float]:
    fleet = fleet_of(party.image, party.options.count, command=("/first", "wait"))
    seconds: list[tuple[float, float]] = []

    async def act() -> None:
        async with alive(machine):
            seconds.append(await _started_and_ended(machine, width))

    with machine_of(fleet) as machine:
        run_loop(act)
    return seconds[0]


async def _started_and_ended(machine: HostMachine, width: int) -> tuple[float, float]:
    waiting = instances(machine.site.fleet)
    runs = {}

    async def start(lane: int) -> None:
        for one in waiting[lane::width]:
            runs[one] = await machine.start(one)

    async def end(one: InstanceId) -> None:
        machine.kill(one)
        await runs[one].wait()
        await machine.remove(one)

    begun = time.monotonic()
    async with trio.open_nursery() as nursery:
        for lane in range(width):
            nursery.start_soon(start, lane)
    started = time.monotonic()
    async with trio.open_nursery() as nursery:
        for one in runs:
            nursery.start_soon(end, one)
    return started - begun, time.monotonic() - started


def _as_commands(party: Party) -> None:
    """One command that brings all of them up, and one that brings them down."""
    count = party.options.count
    facts = {"peer": "anchor-supervise", "isolation": OURS, "network": True, "size": count}
    with running(fleet_file(party.place.directory, "crowd-1", 1)) as up:
        base = proportional_set_size(supervisor_pid(up.name))
    file = fleet_file(party.place.directory, "crowd", count)
    with running(file) as up:
        size = proportional_set_size(supervisor_pid(up.name))
        spent = down(file)
    for what, seconds in (
        (f"anchor-supervise: {count} containers started, one command", up.command),
        (f"anchor down: {count} containers ended, one command", spent),
    ):
        party.results.figure(what, seconds * 1000 / count, "ms each", **facts)
    party.results.figure("anchor-supervise: with one container", base, "KiB", **facts)
    if count > 1:
        what = "anchor-supervise: memory beside each further container"
        party.results.figure(what, (size - base) / (count - 1), "KiB", **facts)
