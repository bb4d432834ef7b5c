"""The steps of a start are written once, as long as nothing but descriptors differs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve

from anchor_supervisor.errors import SupervisionBug
from anchor_supervisor.fleet.model import Volume, VolumeKind
from anchor_supervisor.kernel import spawn, steps
from anchor_supervisor.kernel.namespaces import Sandbox
from anchor_supervisor.kernel.steps import Given, Handover
from anchor_supervisor.rootfs.plan import DEVICES, MountedVolume, View
from anchor_supervisor.runtime.prepared_start import PreparedStarts, Start, handed_over
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
    joined = handed_over(Sandbox(30, 31, 32, 33), places)
    plain = Start(powers, joined, view, process, 20, stay=True, status=places.add(57))
    return evolve(plain, **changes)


OWN = (steps.SetHostname, steps.Execute)


def pairs(one: spawn.Prepared, other: spawn.Prepared) -> Iterator[tuple[steps.Step, steps.Step]]:
    return zip(one.steps, other.steps, strict=True)


def written_anew(one: Start, hostname: str) -> spawn.Prepared:
    """The steps of a start as they are where nothing was kept."""
    return PreparedStarts().take("web", one, hostname)


def test_an_equal_start_has_the_same_steps() -> None:
    """It is another value, made anew, and still nothing is written again."""
    kept = PreparedStarts()
    first, again = kept.take("web", start(), "web"), kept.take("web", start(), "web")
    assert first == again == written_anew(start(), "web")
    assert all(one is other for one, other in pairs(first, again) if not isinstance(one, OWN))
    assert isinstance(first.steps[-1], steps.Execute)
    assert first.encoded == tuple(step.encode() for step in first.steps)


def test_each_instance_has_its_own_name_and_environment() -> None:
    """Replicas share the rest, and nobody gets what was another's."""
    kept = PreparedStarts()
    one = start()
    other = start(process=evolve(one.process, environment={"HOSTNAME": "web-2", "B": "2"}))
    first, second = kept.take("web", one, "web-1"), kept.take("web", other, "web-2")
    assert kept.take("web", one, "web-1") == first
    assert second == written_anew(other, "web-2")
    changed = [new for old, new in pairs(first, second) if old != new]
    assert [type(step) for step in changed] == list(OWN)
    assert all(old is new for old, new in pairs(first, second) if not isinstance(old, OWN))


def test_no_environment_is_kept() -> None:
    """What it holds may be a secret."""
    kept = PreparedStarts()
    secret = start(process=evolve(start().process, environment={"TOKEN": "hush"}))
    assert b"TOKEN=hush" in kept.take("web", secret, "web").encoded[-1][2]
    assert "hush" not in repr(list(kept._last.values()))


def test_whatever_differs_makes_others() -> None:
    """The view, the process and the rest: each is a part of what is compared."""
    kept = PreparedStarts()
    tmpfs = MountedVolume(Volume(VolumeKind.TMPFS, "/scratch"))
    one = start()
    others = [
        start(view=evolve(one.view, volumes=(tmpfs,))),
        start(process=evolve(one.process, environment={"A": "2"})),
        start(process=evolve(one.process, uid=7)),
        start(powers=evolve(one.powers, bounding=1)),
        start(sandbox=evolve(one.sandbox, user=None)),
        start(stay=False),
    ]
    made = [kept.take("web", each, "web") for each in (one, *others)]
    made.append(kept.take("web", one, "other"))
    assert len({repr(each.encoded) for each in made}) == 2 + len(others)
    assert made[:-1] == [written_anew(each, "web") for each in (one, *others)]


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
