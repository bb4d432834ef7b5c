"""The steps of a start are written once, as long as nothing but descriptors differs."""

from __future__ import annotations

import os
from typing import Any

import pytest
from attrs import evolve

from anchor_supervisor.errors import SupervisionBug
from anchor_supervisor.fleet.model import Volume, VolumeKind
from anchor_supervisor.kernel import spawn, steps
from anchor_supervisor.kernel.namespaces import Sandbox
from anchor_supervisor.kernel.steps import Given, Handover
from anchor_supervisor.rootfs.plan import DEVICES, MountedVolume, View
from anchor_supervisor.runtime.prepared_start import PreparedStart, Start
from anchor_supervisor.runtime.recipe import Powers, Process


def start(**changes: Any) -> Start:
    """A start whose descriptors are at the usual places."""
    places = Handover()
    view = View(
        root=places.add(50),
        null=places.add(51),
        devices={name: places.add(52) for name in DEVICES},
        etc={"/etc/hosts": places.add(53)},
    )
    stdio = (places.add(54), places.add(55), places.add(56))
    process = Process(("true",), ("/bin/true",), {"A": "1"}, 0, 0, (), "/", stdio)
    powers = Powers(0, True, True, {})
    plain = Start(
        powers, "web", Sandbox(30, 31, 32, 33), view, process, 20, stay=True, status=places.add(57)
    )
    return evolve(plain, **changes)


def test_an_equal_start_has_the_same_steps() -> None:
    """It is another value, made anew, and still nothing is written again."""
    kept = PreparedStart()
    first = kept.take(start())
    assert kept.take(start()) is first
    assert isinstance(first.steps[-1], steps.Execute)
    assert first.encoded == tuple(step.encode() for step in first.steps)


def test_whatever_differs_makes_others() -> None:
    """The view, the process and the rest: each is a part of what is compared."""
    kept = PreparedStart()
    tmpfs = MountedVolume(Volume(VolumeKind.TMPFS, "/scratch"))
    one = start()
    others = [
        start(hostname="other"),
        start(view=evolve(one.view, volumes=(tmpfs,))),
        start(process=evolve(one.process, environment={"A": "2"})),
        start(powers=evolve(one.powers, bounding=1)),
        start(stay=False),
    ]
    made = [kept.take(other).encoded for other in (one, *others)]
    assert len({repr(each) for each in made}) == 1 + len(others)


@pytest.mark.root
def test_one_list_serves_many_starts() -> None:
    """Each child writes to the descriptor that its own spawn was given."""
    prepared = spawn.prepare(
        [
            steps.SetStdio(Given(0), Given(1), Given(1)),
            steps.Execute(("/bin/echo",), ("echo", "here"), ()),
        ]
    )
    null = os.open(os.devnull, os.O_RDONLY)
    for _ in range(3):
        reader, writer = os.pipe()
        child = spawn.spawn(prepared, given=(null, writer))
        os.close(writer)
        os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
        child.close()
        assert os.read(reader, 100) == b"here\n"
        os.close(reader)
    os.close(null)


@pytest.mark.parametrize("given", [(), (-1,), (0,)])
def test_a_place_without_a_descriptor_is_refused(given: tuple[int, ...]) -> None:
    """Nothing is cloned where a place is empty, or where no descriptor can be in it."""
    plan: list[steps.Step] = [
        steps.SetStdio(Given(0), Given(1), Given(1)),
        steps.Execute(("/bin/true",), ("true",), ()),
    ]
    with pytest.raises(SupervisionBug, match="descriptor"):
        spawn.spawn(plan, given=given)
