"""A command inside a container: its output, its end, its time limit, and nothing left of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from anchor_supervisor.errors import KernelError
from anchor_supervisor.fleet.model import ExecProbe
from anchor_supervisor.kernel.spawn import SpawnError
from anchor_supervisor.runtime.inside import MAX_OUTPUT
from anchor_supervisor.runtime.run import HostRun
from anchor_supervisor.runtime.supervisor import ProbeAnswer
from real_fleet import WEB, Real, Workshop, open_descriptors, sh
from waiting import DEADLINE, SLOWNESS

pytestmark = pytest.mark.root


async def ask(real: Real, *argv: str) -> ProbeAnswer:
    """Run a command inside, within the deadline."""
    with trio.fail_after(DEADLINE):
        return await real.machine.probe(WEB, ExecProbe(argv))


def groups_beneath(run: HostRun) -> Sequence[str]:
    """The cgroups beneath the container's own."""
    return [entry.name for entry in os.scandir(run.holdings.cgroup.path) if entry.is_dir()]


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("echo fine", ProbeAnswer(ok=True, output="fine")),
        ("true", ProbeAnswer(ok=True, output="")),
        ("echo one; echo two >&2; exit 3", ProbeAnswer(ok=False, output="one\ntwo\nexit code 3")),
        ("kill -TERM $$", ProbeAnswer(ok=False, output="signal 15")),
        ("printf '\\377'; exit 1", ProbeAnswer(ok=False, output="\ufffd\nexit code 1")),
        ("cat; echo no input", ProbeAnswer(ok=True, output="no input")),
    ],
)
async def test_the_answer_is_the_commands(
    workshop: Workshop, script: str, answer: ProbeAnswer
) -> None:
    """What it printed on either stream, and how it ended."""
    async with workshop.running(workshop.fleet()) as real:
        await real.start()
        assert await ask(real, "sh", "-c", script) == answer


async def test_it_is_a_process_of_the_container(workshop: Workshop) -> None:
    """Same user, namespaces, directory, host name and environment; a cgroup beneath its own."""
    look = (
        "id -u; pwd; hostname; echo $WHO; cat /proc/self/cgroup | grep ^0:;"
        "for kind in ipc mnt net pid user uts; do readlink /proc/self/ns/$kind; done"
    )
    fleet = workshop.fleet(
        sh(f"{look}; echo .; exec sleep 1000"),
        *('user = "web"', 'working_dir = "/srv"', 'environment = { WHO = "me" }'),
    )
    async with workshop.running(fleet) as real:
        await real.start()
        said = (await real.until_said(".\n")).splitlines()[:-1]
        answer = (await ask(real, "sh", "-c", look)).output.splitlines()
    assert said[4] == "0::/"
    assert answer[4].startswith("0::/inside-")
    assert said[:4] + said[5:] == answer[:4] + answer[5:]


async def test_only_the_end_of_a_long_output_is_kept(workshop: Workshop) -> None:
    """Where the error is; however much was printed before, and it never blocks the command."""
    async with workshop.running(workshop.fleet()) as real:
        await real.start()
        answer = await ask(real, "sh", "-c", "yes | head -c 1000000; echo the end")
    assert answer.ok
    assert answer.output.endswith("the end")
    assert len(answer.output) <= MAX_OUTPUT


async def test_at_its_time_limit_it_is_killed_whole(workshop: Workshop) -> None:
    """Children in the background and in other sessions too; neither zombie nor cgroup is left."""
    script = "(trap '' TERM HUP; sleep 1111) & sleep 1111 & echo begun > /tmp/begun; sleep 1111"
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()
        await ask(real, "true")
        before = open_descriptors(), set(run.holdings.cgroup.processes())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, real, "sh", "-c", script)
            while not (await ask(real, "test", "-e", "/tmp/begun")).ok:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert groups_beneath(run) == []
        assert (open_descriptors(), set(run.holdings.cgroup.processes())) == before
        listing = (await ask(real, "ps", "-o", "stat,args")).output
        assert "1111" not in listing
        assert zombies() == []


def zombies() -> list[str]:
    """Children of this process that have ended and were not waited for."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_text()
                state, parent = stat.rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state == "Z" and int(parent) == os.getpid():
                found.append(name)
    return found


def children(pid: int) -> set[str]:
    """The children of a process, those among them that have ended and that nobody has reaped."""
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


@pytest.mark.parametrize("init", ["true", "false"])
@pytest.mark.parametrize("rest", ["exec sleep 1111", "exit 3"])
async def test_orphans_are_killed_and_reaped(workshop: Workshop, init: str, rest: str) -> None:
    """Also where process 1 reaps nobody: those who left their parent, and ignore every signal."""
    deaf = "trap '' TERM HUP INT QUIT; sleep 1111 & wait"
    script = f"(true &); ({deaf}) & (({deaf}) &); echo begun > /tmp/begun; {rest}"
    async with workshop.running(workshop.fleet(f"init = {init}")) as real:
        run = await real.start()
        before = children(run.pid)
        with trio.fail_after(DEADLINE):
            probe = ExecProbe(("sh", "-c", script))
            answer = await real.machine.probe(WEB, probe, 0.2 * SLOWNESS)
            while not (await ask(real, "test", "-e", "/tmp/begun")).ok:
                answer = await real.machine.probe(WEB, probe, 0.2 * SLOWNESS)
        assert children(run.pid) == before
        assert groups_beneath(run) == []
        assert "1111" not in (await ask(real, "ps", "-o", "args")).output
        assert zombies() == []
        assert not answer.ok
        assert answer.output.startswith("exit code 3" if rest == "exit 3" else "no end within")


async def test_a_reaper_that_the_container_stops_is_killed_as_well(workshop: Workshop) -> None:
    """It is as mortal as the rest: the time limit holds, and what it was to reap goes with it."""
    async with workshop.running(workshop.fleet()) as real:
        await real.start()
        probe = ExecProbe(("sh", "-c", "sleep 1111 & kill -STOP $PPID"))
        with trio.fail_after(DEADLINE):
            answer = await real.machine.probe(WEB, probe, 0.2 * SLOWNESS)
        assert not answer.ok
        assert "no end within" in answer.output
        assert "1111" not in (await ask(real, "ps", "-o", "args")).output
        assert zombies() == []


async def test_the_time_limit_keeps_what_was_printed(workshop: Workshop) -> None:
    """Who hangs has often said why before."""
    async with workshop.running(workshop.fleet()) as real:
        await real.start()
        probe = ExecProbe(("sh", "-c", "echo cannot connect; exec sleep 1111"))
        with trio.fail_after(DEADLINE):
            answer = await real.machine.probe(WEB, probe, 0.5 * SLOWNESS)
    assert not answer.ok
    assert answer.output.splitlines()[0] == "cannot connect"
    assert answer.output.endswith("s, so it was killed")


async def test_what_a_command_leaves_in_the_background_is_ended(workshop: Workshop) -> None:
    """The answer does not wait for it, though it holds the output open."""
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()
        answer = await ask(real, "sh", "-c", "sleep 1111 & echo fine")
        assert answer == ProbeAnswer(ok=True, output="fine")
        assert "1111" not in (await ask(real, "ps")).output
        assert groups_beneath(run) == []


async def test_a_command_that_is_not_there_is_an_error(workshop: Workshop) -> None:
    """Said in words, and nothing is left of the attempt."""
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()
        before = open_descriptors()
        with pytest.raises(SpawnError, match="No such file"):
            await ask(real, "pg_isready")
        assert open_descriptors() == before
        assert groups_beneath(run) == []


async def test_a_run_that_has_ended_is_not_entered(workshop: Workshop) -> None:
    """Neither it nor whatever has got its descriptor's number since."""
    async with workshop.running(workshop.fleet("replicas = 2")) as real:
        run = await real.start()
        real.machine.kill(WEB)
        await run.wait()
        mine = os.pidfd_open(os.getpid())
        with pytest.raises(KernelError, match=r"enter the container `web.1`: No such process"):
            await ask(real, "true")
        os.close(mine)


async def test_a_container_that_ends_during_a_probe_fails_the_probe(workshop: Workshop) -> None:
    """The end of the pid namespace is the end of the command, and the answer says so."""
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()
        answers = []

        async def probe() -> None:
            answers.append(await ask(real, "sh", "-c", "touch /tmp/begun; sleep 1111"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(probe)
            while not (await ask(real, "test", "-e", "/tmp/begun")).ok:
                await trio.lowlevel.checkpoint()
            real.machine.kill(WEB)
            await run.wait()
        assert answers == [ProbeAnswer(ok=False, output="signal 9")]
        assert groups_beneath(run) == []
