"""One run: how it ended, told truly, with an init and without."""

from __future__ import annotations

import errno
import os
import select
import signal

import pytest
import trio

from anchor_supervisor.errors import KernelError
from anchor_supervisor.observability.log_store import read_runs
from anchor_supervisor.observability.places import log_dir
from anchor_supervisor.runtime.run import HostRun
from anchor_supervisor.supervision.states import ExitStatus
from real_fleet import WEB, Real, Workshop, open_descriptors, sh
from waiting import DEADLINE

pytestmark = pytest.mark.root

INIT = pytest.mark.parametrize("init", ["init = true", "init = false"])


async def end_of(run: HostRun) -> ExitStatus:
    """How a run ends, within the deadline."""
    with trio.fail_after(DEADLINE):
        return await run.wait()


@INIT
@pytest.mark.parametrize("code", [0, 1, 3, 127, 255])
async def test_an_exit_code_is_told(workshop: Workshop, init: str, code: int) -> None:
    """Whatever code the command exits with is the run's."""
    async with workshop.running(workshop.fleet(sh(f"exit {code}"), init)) as real:
        assert await real.complete() == ExitStatus(code=code)


@pytest.mark.parametrize(
    ("name", "init"),
    [("USR1", "init = true"), ("TERM", "init = true"), ("KILL", "init = false")],
)
async def test_a_signal_is_told(workshop: Workshop, name: str, init: str) -> None:
    """A command that a signal ends is told by the signal; init does not turn it into a code."""
    async with workshop.running(workshop.fleet(sh("echo up; exec sleep 1000"), init)) as real:
        run = await real.start()
        await real.until_said("up\n")
        run.signal(name)
        assert await end_of(run) == ExitStatus(signal=signal.Signals[f"SIG{name}"])


async def test_a_command_that_kills_itself_is_told_as_killed(workshop: Workshop) -> None:
    """Beneath an init even SIGKILL from inside is seen for what it was."""
    async with workshop.running(workshop.fleet(sh("kill -KILL $$"))) as real:
        assert await real.complete() == ExitStatus(signal=signal.SIGKILL)


async def test_init_passes_the_stop_signal_to_a_command_that_handles_it(workshop: Workshop) -> None:
    """A command that cleans up and exits by itself is told by its own exit code."""
    script = sh("trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.1; done")
    async with workshop.running(workshop.fleet(script)) as real:
        run = await real.start()
        await real.until_said("up\n")
        run.signal("TERM")
        assert await end_of(run) == ExitStatus(code=5)
        assert real.said() == "up\nbye\n"


async def test_a_killed_init_is_told_as_a_kill(workshop: Workshop) -> None:
    """Where init itself is killed, there is no exit code, and none is invented."""
    async with workshop.running(workshop.fleet(sh("echo up; exec sleep 1000"))) as real:
        run = await real.start()
        await real.until_said("up\n")
        real.machine.kill(WEB)
        assert await end_of(run) == ExitStatus(signal=signal.SIGKILL)


async def test_nothing_outlives_the_main_process(workshop: Workshop) -> None:
    """What the command left in the background is dead when the run's end is told."""
    script = sh("sleep 1000 & (trap '' TERM HUP; sleep 1000) & echo up")
    async with workshop.running(workshop.fleet(script)) as real:
        run = await real.start()
        assert await end_of(run) == ExitStatus(code=0)
        assert run.holdings.cgroup.processes() == ()


async def test_the_last_words_are_stored_before_the_end_is_told(workshop: Workshop) -> None:
    """All that was said before the exit is in the log and was heard when `wait` returns."""
    script = sh("head -c 60000 /dev/zero | tr '\\0' x; echo; echo last words")
    async with workshop.running(workshop.fleet(script.replace("tr ", "busybox tr "))) as real:
        await real.complete()
        assert real.said().endswith("x\nlast words\n")
        assert len(real.said()) == 60000 + 1 + len("last words\n")


async def test_each_run_is_a_chapter_of_the_log(workshop: Workshop) -> None:
    """The beginnings of runs are remembered, for `logs --previous`."""
    async with workshop.running(workshop.fleet('command = ["true"]')) as real:
        for _ in range(3):
            await real.complete()
        assert len(read_runs(log_dir("shop", WEB))) >= 2


async def test_an_ended_run_can_be_signalled_and_held_by_nobody(workshop: Workshop) -> None:
    """Its descriptor's number may be another's by now: nothing is done with it any more."""
    async with workshop.running(workshop.fleet('command = ["true"]')) as real:
        run = await real.start()
        await end_of(run)
        impostor = await another(real, run)
        run.signal("KILL")
        real.machine.kill(WEB)
        with pytest.raises(KernelError, match=r"enter the container `web.1`") as caught:
            run.hold()
        assert caught.value.errno == errno.ESRCH
        assert select.select([impostor], [], [], 0)[0] == []
        os.close(impostor)


async def another(real: Real, run: HostRun) -> int:
    """A pidfd of this process under the number that the run's had."""
    assert run.ended
    assert run.child.pidfd not in open_descriptors()
    mine = os.pidfd_open(os.getpid())
    if mine != run.child.pidfd:
        os.dup2(mine, run.child.pidfd, inheritable=False)
        os.close(mine)
    return run.child.pidfd


async def test_a_held_descriptor_outlives_the_run(workshop: Workshop) -> None:
    """Who holds the main process may use the descriptor after its end: nobody is there."""
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()
        held = run.hold()
        real.machine.kill(WEB)
        await end_of(run)
        with pytest.raises(ProcessLookupError):
            signal.pidfd_send_signal(held, 0)
        os.close(held)


async def test_a_run_can_be_ended_without_a_loop(workshop: Workshop) -> None:
    """`abandon` reaps a killed run, for the very end, and gives up on one that does not die."""
    async with workshop.running(workshop.fleet()) as real:
        run = await real.start()
        run.abandon(patience=0.01)
        given_up = not run.ended
        run.signal("KILL")
        run.abandon()
        assert given_up
        with pytest.raises(ProcessLookupError):
            os.kill(run.pid, 0)
