"""A container is held still exactly as long as somebody holds it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from anchor_supervisor.control.protocol import Refused
from anchor_supervisor.fleet.model import ExecProbe
from anchor_supervisor.kernel.cgroup import Cgroup
from anchor_supervisor.runtime import hold
from anchor_supervisor.runtime.run import HostRun
from anchor_supervisor.supervision.states import State
from real_fleet import WEB, Workshop, sh
from waiting import DEADLINE

pytestmark = pytest.mark.root


def is_frozen(run: HostRun) -> bool:
    """What the kernel says."""
    return run.holdings.cgroup.frozen()


async def test_it_is_frozen_until_the_last_lets_go(workshop: Workshop) -> None:
    """Two holders at a time; after the second it goes on."""
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()
        async with real.machine.held(WEB):
            assert is_frozen(run)
            async with real.machine.held(WEB):
                assert is_frozen(run)
            assert is_frozen(run)
        assert not is_frozen(run)
        run.signal("KILL")
        await run.wait()


async def test_a_cancelled_holder_lets_go(workshop: Workshop) -> None:
    """However the one who asked goes away."""
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()
        with trio.CancelScope() as scope:
            async with real.machine.held(WEB):
                assert is_frozen(run)
                scope.cancel()
                await trio.sleep_forever()
        assert not is_frozen(run)
        run.signal("KILL")
        await run.wait()


async def test_the_next_run_does_not_begin_frozen(workshop: Workshop) -> None:
    """A held container can be killed; who holds it then holds nothing more."""
    async with workshop.running(workshop.fleet(sh("echo up; sleep 1000"))) as real:
        run = await real.start()
        async with real.machine.held(WEB):
            run.signal("KILL")
            with trio.fail_after(DEADLINE):
                await run.wait()
                await real.machine.ended(WEB)
                again = await real.start()
                assert not is_frozen(again)
                await real.until_said("up")
        assert not is_frozen(again)
        again.signal("KILL")
        await again.wait()


async def test_a_probe_waits_for_the_hold_to_end(workshop: Workshop) -> None:
    """A container that cannot answer is not thereby ill."""
    holds = hold.Holds()
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()
        order = []

        async def wait() -> None:
            await holds.over(WEB)
            order.append("over")

        async with trio.open_nursery() as nursery, holds.held(WEB, run.holdings.cgroup):
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            order.append("held")
        assert order == ["held", "over"]
        run.signal("KILL")
        await run.wait()


async def test_a_held_container_is_as_well_as_it_was(workshop: Workshop) -> None:
    """A long hold makes nobody ill, and nobody well."""
    well, ill = ExecProbe(("true",)), ExecProbe(("false",))
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()
        async with real.machine.held(WEB):
            with trio.move_on_after(0.05) as waiting:
                await real.machine.probe(WEB, well)
        assert waiting.cancelled_caught
        assert (await real.machine.probe(WEB, well)).ok
        async with real.machine.held(WEB):
            assert (await real.machine.probe(WEB, ill)).ok
        assert not (await real.machine.probe(WEB, ill)).ok
        run.signal("KILL")
        await run.wait()


async def test_what_does_not_stop_is_let_go(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In time, with words; nothing stays frozen."""
    monkeypatch.setattr(hold, "LONGEST", 0.05)
    monkeypatch.setattr(Cgroup, "frozen", lambda _: False)
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()
        with pytest.raises(Refused, match="cannot be paused"):
            async with real.machine.held(WEB):
                pass
        assert run.holdings.cgroup.read("cgroup.freeze") in ("0", "0\n")
        run.signal("KILL")
        await run.wait()


async def test_a_hold_has_its_own_number(workshop: Workshop) -> None:
    """The same for as long as nothing has moved, and another one after that."""
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()

        def number() -> int | None:
            return real.machine.root_context(WEB, State.RUNNING)["hold"]

        assert number() is None
        async with real.machine.held(WEB):
            first = number()
            async with real.machine.held(WEB):
                assert number() == first
        assert number() is None
        async with real.machine.held(WEB):
            assert number() not in {None, first}
        run.signal("KILL")
        await run.wait()
