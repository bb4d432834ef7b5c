"""When published ports lead to a run, and when they lead away."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import trio
import trio.testing
from attrs import evolve

from anchor_supervisor.errors import AnchorError, NetworkError
from anchor_supervisor.fleet.model import (
    Container,
    Health,
    Image,
    ImageKind,
    InstanceId,
    Port,
    Startup,
    TcpProbe,
)
from anchor_supervisor.network.fleet_network import Lead
from anchor_supervisor.runtime.leading import Leading, decisive_probe
from anchor_supervisor.runtime.supervisor import ProbeAnswer

WELL = ProbeAnswer(ok=True, output="well")
ME, OTHER = InstanceId("web"), InstanceId("web", 2)
PLAIN = Container("web", Image(ImageKind.HOST, "host"), ports=(Port("127.0.0.1", 8080, 80),))
CHECKED = evolve(PLAIN, health=Health(TcpProbe(80)))


class Table:
    """Notes who is led to; refuses while it is told to."""

    def __init__(self) -> None:
        self.led: list[InstanceId] = []
        self.by: dict[InstanceId, tuple[Port, ...]] = {}
        self.full = False
        self.refused: set[InstanceId] = set()
        self.waves: list[int] = []
        self.begun = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.leading = Leading(self)

    def lead(self, wishes: Sequence[Lead]) -> list[AnchorError | None]:
        """Note the wave, and lead to or away from each."""
        self.waves.append(len(wishes))
        self.begun.set()
        self.gate.wait()
        return [self._lead_one(instance, ports) for instance, ports in wishes]

    def _lead_one(self, instance: InstanceId, ports: tuple[Port, ...] | None) -> AnchorError | None:
        """Never twice by the same ports, and only away from one that is led to."""
        if ports is None:
            self.led.remove(instance)
            del self.by[instance]
            return None
        if self.full or instance in self.refused:
            return NetworkError(f"no room for {instance}")
        assert self.by.get(instance) != ports
        if instance not in self.by:
            self.led.append(instance)
        self.by[instance] = ports
        return None


def test_which_probe_decides() -> None:
    """The health check, else that of the startup; without any a run is ready from its start."""
    startup = evolve(PLAIN, startup=Startup(TcpProbe(81)))
    assert decisive_probe(PLAIN) is None
    assert decisive_probe(startup) == TcpProbe(81)
    assert decisive_probe(evolve(startup, health=Health(TcpProbe(80)))) == TcpProbe(80)


async def test_without_a_health_check_it_is_led_to_at_once() -> None:
    """From its start to its end."""
    table = Table()
    await table.leading.started(ME, PLAIN)
    assert table.led == [ME]
    await table.leading.ended(ME)
    assert table.led == []
    await table.leading.started(OTHER, evolve(PLAIN, ports=()))
    assert table.led == []


async def test_with_a_health_check_it_is_led_to_once_it_is_well() -> None:
    """In each run anew, and once in a run."""
    table = Table()
    for _ in range(2):
        await table.leading.started(ME, CHECKED)
        await table.leading.changed(ME, CHECKED)
        assert table.led == []
        assert await table.leading.heard(ME, CHECKED, TcpProbe(81), WELL) is WELL
        assert table.led == []
        for _ in range(2):
            assert await table.leading.heard(ME, CHECKED, TcpProbe(80), WELL) is WELL
        assert table.led == [ME]
        await table.leading.ended(ME)
        assert table.led == []


async def test_what_was_led_away_stays_so() -> None:
    """Until its run ends, however well it is."""
    table = Table()
    await table.leading.started(ME, PLAIN)
    await table.leading.started(OTHER, PLAIN)
    await table.leading.drain(ME)
    assert table.led == [OTHER]
    await table.leading.heard(ME, CHECKED, TcpProbe(80), WELL)
    await table.leading.changed(ME, PLAIN)
    assert table.led == [OTHER]
    await table.leading.ended(ME)
    await table.leading.started(ME, PLAIN)
    assert table.led == [OTHER, ME]


async def test_a_failure_may_be_tried_again() -> None:
    """The next good answer leads to it."""
    table = Table()
    table.full = True
    await table.leading.started(ME, CHECKED)
    answer = await table.leading.heard(ME, CHECKED, TcpProbe(80), WELL)
    assert (answer.ok, answer.output) == (False, "no room for web.1")
    table.full = False
    assert await table.leading.heard(ME, CHECKED, TcpProbe(80), WELL) is WELL
    assert table.led == [ME]


async def test_ports_that_come_later() -> None:
    """A change while it runs: at once where it is known to be well."""
    table = Table()
    await table.leading.started(ME, evolve(CHECKED, ports=()))
    await table.leading.heard(ME, evolve(CHECKED, ports=()), TcpProbe(80), WELL)
    assert table.led == []
    await table.leading.changed(ME, CHECKED)
    assert table.led == [ME]


async def test_ports_that_change_while_it_runs() -> None:
    """It is led to by the new ones; where that fails, by the old ones as before."""
    table = Table()
    other = evolve(PLAIN, ports=(Port("127.0.0.1", 8080, 81),))
    await table.leading.started(ME, PLAIN)
    await table.leading.changed(ME, PLAIN)
    table.full = True
    with pytest.raises(NetworkError):
        await table.leading.changed(ME, other)
    assert table.by == {ME: PLAIN.ports}
    await table.leading.changed(ME, PLAIN)
    table.full = False
    await table.leading.changed(ME, other)
    assert table.by == {ME: other.ports}
    await table.leading.ended(ME)
    assert table.led == []


async def test_those_that_come_meanwhile_are_led_to_in_one_transaction() -> None:
    """Thirty starts while one is led to make two waves; a refusal is that of one alone."""
    table = Table()
    table.gate.clear()
    table.refused = {InstanceId("web", 7)}
    failed: list[str] = []

    async def start(instance: InstanceId) -> None:
        try:
            await table.leading.started(instance, PLAIN)
        except NetworkError as error:
            failed.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start, ME)
        await trio.to_thread.run_sync(table.begun.wait)
        for number in range(2, 32):
            nursery.start_soon(start, InstanceId("web", number))
        await trio.testing.wait_all_tasks_blocked()
        table.gate.set()
    assert table.waves == [1, 30]
    assert failed == ["no room for web.7"]
    assert len(table.led) == 30
    table.refused = set()
    await table.leading.started(InstanceId("web", 7), PLAIN)
    assert len(table.led) == 31


async def test_one_that_waits_no_more_is_not_led_to() -> None:
    """Cancelled before its turn has come: nothing is done for it."""
    table = Table()
    table.gate.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(table.leading.started, ME, PLAIN)
        await trio.to_thread.run_sync(table.begun.wait)
        with trio.move_on_after(0) as scope:
            await table.leading.started(OTHER, PLAIN)
        table.gate.set()
    assert scope.cancelled_caught
    await table.leading.ended(ME)
    assert table.led == []
    assert table.waves == [1, 1]
