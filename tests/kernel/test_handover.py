"""What a start gives to its child: places, and one visit for all that is opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import libc
from anchor_supervisor.kernel.descriptors import Descriptors
from anchor_supervisor.kernel.handover import Handover
from anchor_supervisor.kernel.mount_steps import Given
from real_fleet import open_descriptors


def reading(path: Path) -> libc.Call:
    """Open a file to be read."""
    return "openat", libc.AT_FDCWD, bytes(path), os.O_RDONLY | os.O_CLOEXEC


def writing(path: Path, text: bytes, handover: Handover) -> list[libc.Call]:
    """Open a new file, and write to it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    return [
        ("openat", libc.AT_FDCWD, bytes(path), flags, 0o600),
        ("write", handover.upcoming, text, len(text)),
    ]


def test_each_is_at_the_place_that_was_said_before_it_was_open(tmp_path: Path) -> None:
    """Those that are somebody's already, and those that are opened, with what is done to them."""
    handover = Handover()
    places = [
        handover.add(1),
        handover.ask(writing(tmp_path / "a", b"one", handover), "write"),
        handover.add(2),
        handover.ask(writing(tmp_path / "b", b"two", handover), "write"),
    ]
    assert places == [Given(number) for number in range(4)]
    with Descriptors() as opened:
        given = handover.open(opened)
        assert (given[0], given[2]) == (1, 2)
        assert os.readlink(f"/proc/self/fd/{given[1]}") == str(tmp_path / "a")
        assert os.readlink(f"/proc/self/fd/{given[3]}") == str(tmp_path / "b")
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"one", b"two"]


def test_the_next_start_gets_others(tmp_path: Path) -> None:
    """At the same places; what is somebody else's may be another."""
    (tmp_path / "a").touch()
    handover = Handover()
    place = handover.add(1)
    handover.ask([reading(tmp_path / "a")], "open")
    with Descriptors() as opened:
        first = handover.open(opened)
        handover.replace(place, 2)
        second = handover.open(opened)
        assert (first[0], second[0]) == (1, 2)
        assert first[1] != second[1]


def test_a_copy_goes_on_by_itself(tmp_path: Path) -> None:
    """With what was given and asked for until then, and nothing that comes after."""
    (tmp_path / "a").touch()
    begun = Handover()
    begun.add(1)
    begun.ask([reading(tmp_path / "a")], "open")
    several = [begun.copy() for _ in range(2)]
    for number, one in enumerate(several):
        one.replace(Given(0), number)
        assert one.ask([reading(tmp_path / "a")], "open") == Given(2)
    with Descriptors() as opened:
        given = [one.open(opened) for one in (begun, *several)]
        assert [len(each) for each in given] == [2, 3, 3]
        assert [each[0] for each in given] == [1, 0, 1]
        assert len({number for each in given for number in each[1:]}) == 5


def test_many_are_given() -> None:
    """There is no most."""
    handover = Handover()
    assert [handover.add(number).place for number in range(200)] == list(range(200))
    with Descriptors() as opened:
        assert handover.open(opened) == tuple(range(200))


def test_what_cannot_be_opened_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    """Nor do those before it, once their owner closes them; those after it were never opened."""
    (tmp_path / "a").touch()
    before = open_descriptors()
    handover = Handover()
    handover.ask([reading(tmp_path / "a")], "open", "the first")
    handover.ask([reading(tmp_path / "missing")], "open", "the second")
    handover.ask([reading(tmp_path / "a")], "open", "the third")
    with Descriptors() as opened, pytest.raises(KernelError, match=r"open `the second`: No such"):
        handover.open(opened)
    assert open_descriptors() == before


def test_one_that_was_opened_in_vain_is_closed_too(tmp_path: Path) -> None:
    """What was to be done to it has failed."""
    (tmp_path / "a").touch()
    before = open_descriptors()
    handover = Handover()
    calls: list[libc.Call] = [reading(tmp_path / "a"), ("write", handover.upcoming, b"x", 1)]
    handover.ask(calls, "write")
    with Descriptors() as opened, pytest.raises(KernelError, match="Bad file descriptor"):
        handover.open(opened)
    assert open_descriptors() == before
