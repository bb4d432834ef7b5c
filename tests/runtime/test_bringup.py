"""One start: what the process it leaves is like, and that a failed one leaves nothing."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from attrs import evolve

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import pidfd
from anchor_supervisor.kernel.spawn import SpawnError
from anchor_supervisor.runtime import bringup
from anchor_supervisor.runtime.id_ranges import FIRST
from anchor_supervisor.supervision.states import ExitStatus
from real_fleet import WEB, Real, Workshop, open_descriptors, sh

pytestmark = pytest.mark.root

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
LOOK = sh(f"cd /proc/self/ns; for kind in {' '.join(KINDS)}; do readlink $kind; done")
SLEEP_IN_SHELL = sh("echo up; exec sleep 1000")


def our_namespaces() -> list[str]:
    """The namespaces of this process, in the order of KINDS."""
    return [os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS]


async def test_a_start_gives_every_namespace(workshop: Workshop) -> None:
    """Nothing of the machine's own namespaces is left to a container by default."""
    async with workshop.running(workshop.fleet(LOOK)) as real:
        assert await real.complete() == ExitStatus(code=0)
        theirs = real.said().split()
    assert len(theirs) == len(KINDS)
    assert not set(theirs) & set(our_namespaces())


async def test_what_is_asked_to_be_the_hosts_is_the_hosts(workshop: Workshop) -> None:
    """`user_namespace = "host"` and `networks = "host"` share exactly these two."""
    fleet = workshop.fleet(LOOK, 'user_namespace = "host"', 'networks = "host"')
    async with workshop.running(fleet) as real:
        assert await real.complete() == ExitStatus(code=0)
        theirs = dict(zip(KINDS, real.said().split(), strict=True))
    ours = dict(zip(KINDS, our_namespaces(), strict=True))
    assert {kind for kind in KINDS if theirs[kind] == ours[kind]} == {"net", "user"}


async def test_the_process_is_who_the_file_says(workshop: Workshop) -> None:
    """User, group, host name, directory, variables; no new privileges, no capability, pid 2."""
    fleet = workshop.fleet(
        sh(
            "id -u; id -g; hostname; readlink /proc/self/cwd; echo $WHO;"
            "grep -E 'NoNewPrivs|CapEff' /proc/self/status; cat /proc/self/uid_map"
        ),
        'user = "web"',
        'hostname = "front"',
        'working_dir = "/srv"',
        'environment = { WHO = "me" }',
    )
    async with workshop.running(fleet) as real:
        assert await real.complete() == ExitStatus(code=0)
        said = real.said().splitlines()
    assert said[:5] == ["1000", "1000", "front", "/srv", "me"]
    facts = dict(line.split(":\t") for line in said[5:] if ":\t" in line)
    assert facts["NoNewPrivs"] == "1"
    assert int(facts["CapEff"], 16) == 0
    inside, outside, count = map(int, said[-1].split())
    assert (inside, count) == (0, 65536)
    assert outside >= FIRST


async def test_the_process_is_born_in_its_cgroup(workshop: Workshop) -> None:
    """Seen from outside, the main process sits in the instance's own group."""
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()
        seen = pidfd.identify(run.pid)
        assert seen is not None
        assert str(run.holdings.cgroup.path).endswith(seen.cgroup)
        assert seen.cgroup.endswith("/web.1")
        assert run.pid in run.holdings.cgroup.processes()


async def test_a_cgroup_that_somebody_killed_is_made_anew(workshop: Workshop) -> None:
    """After `cgroup.kill` from outside no child could be born there: the next start has another."""
    async with workshop.running(workshop.fleet(SLEEP_IN_SHELL)) as real:
        for number in (1, 2, 3):
            run = await real.start()
            await real.until_said("up\n" * number)
            run.holdings.cgroup.kill()
            assert await run.wait() == ExitStatus(signal=9)
        assert real.said() == "up\n" * 3


async def test_a_failed_renewal_keeps_a_descriptor_that_is_ours(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the new cgroup cannot be made, the next attempt finds everything as it was."""
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()
        run.holdings.cgroup.kill()
        await run.wait()
        before = set(open_descriptors())
        with monkeypatch.context() as patched:
            patched.setattr("anchor_supervisor.runtime.holdings.make_cgroup", failing("limit"))
            with pytest.raises(KernelError, match="limit: No space left on device"):
                await real.start()
        assert set(open_descriptors()) == before
        assert (await real.start()).pid in run.holdings.cgroup.processes()


async def test_a_cgroup_that_somebody_removed_is_made_anew(workshop: Workshop) -> None:
    """A service manager may remove an empty group between two runs."""
    async with workshop.running(workshop.fleet('command = ["true"]')) as real:
        run = await real.start()
        await run.wait()
        run.holdings.cgroup.remove()
        assert await real.complete() == ExitStatus(code=0)


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ('command = ["/nowhere"]', 127, "No such file"),
        ('command = ["/etc/not-executable"]', 126, "Permission denied"),
        ('working_dir = "/etc/passwd"', 125, "Not a directory"),
    ],
)
async def test_a_start_that_fails_says_where_and_leaves_nothing(
    workshop: Workshop, line: str, code: int, words: str
) -> None:
    """The step that failed is named; no process, no descriptor, and a next start finds all free."""
    async with workshop.running(workshop.fleet(line), check_programs=False) as real:
        with pytest.raises(SpawnError, match=words) as caught:
            await real.start()
        before = open_descriptors()
        for _ in range(3):
            with pytest.raises(SpawnError, match=words):
                await real.start()
        assert caught.value.shell_code == code
        assert real.machine.failures[WEB].args
        assert real.machine.permanent(caught.value) == (code != 125)
        assert open_descriptors() == before
        assert not real.site.cgroup.populated()


STEPS = (
    "_root",
    "_credentials",
    "_stdio",
    "open_view",
    "container_process",
    "ask_status",
    "_line_watch",
    "_spawn",
)


async def fails_and_leaves_nothing(real: Real, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A start whose step fails leaks no descriptor, and the next one succeeds."""
    before = open_descriptors()
    with monkeypatch.context() as patched:
        patched.setattr(bringup, step, failing(step))
        with pytest.raises(KernelError, match=f"{step}: No space left on device"):
            await real.start()
    assert open_descriptors() == before
    assert await real.complete() == ExitStatus(code=0)


@pytest.mark.parametrize("step", STEPS)
async def test_whatever_step_of_a_start_fails_nothing_is_left(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """No step of the recipe leaks what those before it opened, and the next start succeeds."""
    async with workshop.running(workshop.fleet('command = ["true"]')) as real:
        assert await real.complete() == ExitStatus(code=0)
        await fails_and_leaves_nothing(real, monkeypatch, step)


@pytest.mark.parametrize("step", ["_root", "_credentials", "_line_watch", "_spawn"])
async def test_whatever_step_of_another_start_fails_nothing_is_left(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Nor where a start is made of what an earlier one was made of."""
    async with workshop.running(workshop.fleet('command = ["true"]')) as real:
        for _ in range(2):
            assert await real.complete() == ExitStatus(code=0)
        await fails_and_leaves_nothing(real, monkeypatch, step)


async def test_every_start_looks_who_its_user_is(workshop: Workshop) -> None:
    """What a run has written to /etc/passwd counts for the next, however many there were before."""
    script = "echo $HOME; echo root:x:0:0::$HOME/x:/bin/sh > /etc/passwd"
    async with workshop.running(workshop.fleet(sh(script))) as real:
        for _ in range(4):
            assert await real.complete() == ExitStatus(code=0)
        homes = real.said().split()
    assert homes[1:] == [f"{before}/x" for before in homes[:-1]]


async def test_a_start_after_a_change_is_made_of_what_was_changed(workshop: Workshop) -> None:
    """However many there were before."""
    async with workshop.running(workshop.fleet(sh("echo $WHO"))) as real:
        for _ in range(3):
            assert await real.complete() == ExitStatus(code=0)
        changed = evolve(real.site.fleet.containers["web"], environment={"WHO": "me"})
        real.machine.reshape(WEB, changed, fresh=False)
        assert await real.complete() == ExitStatus(code=0)
        assert real.said() == "\n" * 3 + "me\n"


def failing(step: str) -> Callable[..., object]:
    """A step that finds the machine full."""

    def full(*_: object, **__: object) -> object:
        raise KernelError(28, step)

    return full


async def test_twenty_runs_need_no_more_than_one(workshop: Workshop) -> None:
    """Starts and ends do not add up: neither descriptors nor files nor groups."""
    async with workshop.running(workshop.fleet('command = ["true"]')) as real:
        await real.complete()
        before = open_descriptors(), sorted(workshop.run_dir.rglob("*"))
        for _ in range(20):
            assert await real.complete() == ExitStatus(code=0)
        assert (open_descriptors(), sorted(workshop.run_dir.rglob("*"))) == before
