"""When published ports lead to a run, and when they lead away."""

from __future__ import annotations

import pytest
from attrs import evolve

from anchor_supervisor.errors import NetworkError
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
        self.leading = Leading(self)

    def publish(self, instance: InstanceId, ports: tuple[Port, ...]) -> None:
        """Lead to it; never twice by the same ports."""
        if self.full:
            message = "no room"
            raise NetworkError(message)
        assert self.by.get(instance) != ports
        if instance not in self.by:
            self.led.append(instance)
        self.by[instance] = ports

    def unpublish(self, instance: InstanceId) -> None:
        """Lead away from it; only from one that is led to."""
        self.led.remove(instance)
        del self.by[instance]


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
    assert (answer.ok, answer.output) == (False, "no room")
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
