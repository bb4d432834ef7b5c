"""A stop that would end in a kill is said beforehand, with the remedy."""

from __future__ import annotations

import signal

import pytest
import trio
from attrs import evolve

from anchor_supervisor.fleet.model import Container, ExecProbe, Image, ImageKind, StopPolicy
from anchor_supervisor.kernel.dispositions import Dispositions
from anchor_supervisor.runtime.stop_signal import look_at_stop, stop_warning
from real_fleet import WEB, Workshop, sh
from waiting import DEADLINE

PLAIN = Container("web", Image(ImageKind.HOST, "host"))
BARE = evolve(PLAIN, init=False)
WHOLE = "so a stop takes the whole grace of 10s and ends in a kill"

USE_INT = '`stop = { signal = "INT" }`'


def mask(*names: str) -> int:
    """The mask that has these signals."""
    return sum(1 << signal.Signals[f"SIG{name}"] - 1 for name in names)


NOTHING = Dispositions(0, 0, 0)
DEAF = Dispositions(0, mask("TERM"), 0)
INTERRUPTIBLE = Dispositions(0, 0, mask("INT", "HUP"))


@pytest.mark.parametrize(
    ("container", "found", "warning"),
    [
        (PLAIN, NOTHING, None),
        (PLAIN, DEAF, f"its command ignores TERM, {WHOLE}"),
        (
            PLAIN,
            Dispositions(0, mask("TERM"), mask("QUIT")),
            f'its command ignores TERM, {WHOLE}; `stop = {{ signal = "QUIT" }}` would help',
        ),
        (
            BARE,
            NOTHING,
            f"its process 1 does not handle TERM, {WHOLE}; `init = true` would help",
        ),
        (
            BARE,
            INTERRUPTIBLE,
            f"its process 1 does not handle TERM, {WHOLE}; {USE_INT} would help",
        ),
        (BARE, DEAF, f"its process 1 ignores TERM, {WHOLE}"),
        (BARE, Dispositions(0, 0, mask("TERM")), None),
        (BARE, Dispositions(mask("TERM"), 0, 0), None),
        (evolve(BARE, stop=StopPolicy("INT")), INTERRUPTIBLE, None),
        (evolve(BARE, stop=StopPolicy("KILL")), NOTHING, None),
        (evolve(BARE, stop=StopPolicy(grace=0.0)), NOTHING, None),
        (evolve(BARE, stop=StopPolicy(command=("bye",))), NOTHING, None),
        (
            evolve(PLAIN, stop=StopPolicy("WINCH", 90.0)),
            NOTHING,
            f"its command does not handle WINCH, {WHOLE.replace('10s', '1m30s')}",
        ),
    ],
)
def test_the_masks_in_words(container: Container, found: Dispositions, warning: str | None) -> None:
    """What would help is named only where it would."""
    assert stop_warning(container, found) == warning


@pytest.mark.root
@pytest.mark.parametrize("init", [True, False])
@pytest.mark.parametrize(
    ("trap", "words_with_init", "words_without"),
    [
        (":", None, "its process 1 does not handle TERM"),
        ("trap '' TERM", "its command ignores TERM", "its process 1 ignores TERM"),
        ("trap 'exit 0' TERM", None, None),
    ],
)
async def test_a_running_container_is_looked_at(
    workshop: Workshop, init: bool, trap: str, words_with_init: str | None, words_without: str
) -> None:
    """The command itself, whether it is process 1 or the child of our init; and it is true."""
    lines = (f"init = {str(init).lower()}", 'stop = { grace = "10s" }')
    fleet = workshop.fleet(sh(f"{trap}; echo up; while :; do sleep 0.05; done"), *lines)
    async with workshop.running(fleet) as real:
        assert real.machine.stop_warning(WEB) is None
        run = await real.start()
        await real.until_said("up\n")
        warning = real.machine.stop_warning(WEB)
        expected = words_with_init if init else words_without
        assert (warning is None) is (expected is None)
        assert (warning or "").startswith(expected or "")
        run.signal("TERM")
        with trio.move_on_after(0.5 if warning else DEADLINE) as patience:
            await run.wait()
        assert patience.cancelled_caught is (warning is not None)
        real.machine.kill(WEB)
        if warning:
            await run.wait()
        assert real.machine.stop_warning(WEB) is None
        assert look_at_stop(run.holdings.container, run.pid) is None


@pytest.mark.root
async def test_a_run_is_looked_at_once(workshop: Workshop) -> None:
    """As soon as it is ready, without waiting for the second that others get; once a run."""
    warned: list[str] = []
    heard = trio.Event()

    def note(_: object, words: str) -> None:
        warned.append(words)
        heard.set()

    async with workshop.running(workshop.fleet("init = false")) as real:
        real.machine.warned = note
        for number in (1, 2):
            run = await real.start()
            begun = trio.current_time()
            for _ in range(2):
                assert (await real.machine.probe(WEB, ExecProbe(("true",)))).ok
                with trio.fail_after(DEADLINE):
                    await heard.wait()
            assert trio.current_time() - begun < DEADLINE
            heard = trio.Event()
            real.machine.kill(WEB)
            await run.wait()
            await real.machine.ended(WEB)
            assert len(warned) == number


@pytest.mark.root
async def test_a_run_that_nobody_probes_is_looked_at_after_a_second(workshop: Workshop) -> None:
    """And one that has ended before is not."""
    heard = trio.Event()
    async with workshop.running(workshop.fleet("init = false")) as real:
        real.machine.warned = lambda *_: heard.set()
        run = await real.start()
        real.machine.kill(WEB)
        await run.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert not heard.is_set()
        run = await real.start()
        begun = trio.current_time()
        with trio.fail_after(DEADLINE):
            await heard.wait()
        assert trio.current_time() - begun >= 1.0
        real.machine.kill(WEB)
        await run.wait()
