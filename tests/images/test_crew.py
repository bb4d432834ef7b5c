"""Work in threads that ends as one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import pytest

from anchor_supervisor.images.crew import Stage, Stoppable, carry_out
from anchor_supervisor.images.hang_up import Stopped
from registry_kit import Recorder


def never() -> None:
    """Nobody may be stopped."""
    raise AssertionError("stopped")


def alive(*names: str) -> list[str]:
    """Threads of these names that are still there."""
    return [thread.name for thread in threading.enumerate() if thread.name in names]


def test_every_item_takes_every_stage() -> None:
    """In the order of the stages, whatever the order of the items."""
    seen: dict[int, list[str]] = {number: [] for number in range(20)}
    stages = (
        Stage[int]("first", 3, lambda number: seen[number].append("first")),
        Stage[int]("second", 2, lambda number: seen[number].append("second")),
    )
    carry_out(range(20), stages, never)
    assert all(steps == ["first", "second"] for steps in seen.values())
    assert not alive("first", "second")


def test_nothing_to_do() -> None:
    """No items, no threads."""
    carry_out((), (Stage[int]("only", 3, lambda _: None),), never)


def test_a_later_stage_does_not_wait_for_the_earlier() -> None:
    """The first item is through both stages while the second is still in the first."""
    through = threading.Event()

    def first(number: int) -> None:
        assert number == 0 or through.wait(10)

    def second(number: int) -> None:
        if number == 0:
            through.set()

    carry_out((0, 1), (Stage[int]("a", 2, first), Stage[int]("b", 1, second)), never)


def test_the_first_failure_is_everybodys() -> None:
    """It is raised where the caller waits, after the others have been stopped."""
    stopped = threading.Event()

    def act(number: int) -> None:
        if number == 3:
            raise ValueError(number)
        if not stopped.wait(10):
            raise AssertionError("never stopped")
        raise Stopped

    with pytest.raises(ValueError, match="3"):
        carry_out(range(4), (Stage[int]("only", 4, act),), stopped.set)
    assert not alive("only")


def test_an_interruption_that_wakes_nobody_is_seen() -> None:
    """Python takes the signal in whatever thread; the one that waits hears of it all the same."""
    stopped, answers = threading.Event(), list[bool]()

    def act(_: int) -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        answers.append(stopped.wait(10))

    with pytest.raises(KeyboardInterrupt):
        carry_out((0,), (Stage[int]("only", 1, act),), stopped.set)
    assert answers == [True]
    assert not alive("only")


def test_a_stopped_progress_stops_its_callers() -> None:
    """Whoever reports learns that nobody waits any more."""
    stopped, recorder = threading.Event(), Recorder()
    progress = Stoppable(recorder, stopped)
    progress.begin("a", "doing")
    progress.advance("a", 1)
    progress.note("noted")
    progress.end("a", "done")
    assert recorder.lines == ["a doing None", "noted", "a: done"]
    stopped.set()
    reports: tuple[Callable[[], None], ...] = (
        lambda: progress.begin("a", "doing"),
        lambda: progress.advance("a", 1),
        lambda: progress.note("noted"),
        lambda: progress.end("a", "done"),
    )
    for report in reports:
        with pytest.raises(Stopped):
            report()
