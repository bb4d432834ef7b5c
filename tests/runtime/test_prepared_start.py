"""The steps of a start are written once, as long as nothing but descriptors differs."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve

from anchor_supervisor.errors import SupervisionBug
from anchor_supervisor.fleet.model import (
    Container,
    Grant,
    GrantKind,
    Health,
    Image,
    ImageKind,
    NotifyProbe,
    RootStrategy,
    Volume,
    VolumeKind,
)
from anchor_supervisor.kernel import spawn, steps
from anchor_supervisor.kernel.handover import Handover
from anchor_supervisor.kernel.namespaces import Sandbox
from anchor_supervisor.kernel.steps import Given
from anchor_supervisor.rootfs.plan import DEVICES, MountedVolume, View
from anchor_supervisor.rootfs.users import Credentials
from anchor_supervisor.runtime.prepared_start import Decided, PreparedStarts, Start, handed_over
from anchor_supervisor.runtime.recipe import Process

WEB = Container("web", Image(ImageKind.DIRECTORY, "/image"))


def start(**changes: Any) -> Start:
    """A start whose descriptors are at the usual places."""
    places = Handover()
    view = View(
        root=places.add(50),
        null=places.add(51),
        devices={name: places.add(52) for name in DEVICES},
        etc={"/etc/hosts": places.add(53)},
    )
    joined = handed_over(Sandbox(30, 31, 32, 33), places)
    return evolve(Start(joined, view, 20, places.add(57)), **changes)


def process(**changes: Any) -> Process:
    """What such a start executes."""
    stdio = (Given(12), Given(13), Given(14))
    plain = Process(("true",), ("/bin/true",), {"A": "1"}, 0, 0, (), "/", stdio)
    return evolve(plain, **changes)


OWN = (steps.SetHostname, steps.Execute)


def pairs(one: spawn.Prepared, other: spawn.Prepared) -> Iterator[tuple[steps.Step, steps.Step]]:
    return zip(one.steps, other.steps, strict=True)


def written_anew(one: Start, runs: Process, hostname: str) -> spawn.Prepared:
    """The steps of a start as they are where nothing was kept."""
    return PreparedStarts().take(WEB, one, runs, hostname)


def test_an_equal_start_has_the_same_steps() -> None:
    """It is another value, made anew, and still nothing is written again."""
    kept = PreparedStarts()
    first, again = (kept.take(WEB, start(), process(), "web") for _ in range(2))
    assert first == again == written_anew(start(), process(), "web")
    assert all(one is other for one, other in pairs(first, again) if not isinstance(one, OWN))
    assert isinstance(first.steps[-1], steps.Execute)
    assert first.encoded == tuple(step.encode() for step in first.steps)


def test_each_instance_has_its_own_name_and_environment() -> None:
    """Replicas share the rest, and nobody gets what was another's."""
    kept = PreparedStarts()
    other = process(environment={"HOSTNAME": "web-2", "B": "2"})
    first = kept.take(WEB, start(), process(), "web-1")
    second = kept.take(WEB, start(), other, "web-2")
    assert kept.take(WEB, start(), process(), "web-1") == first
    assert second == written_anew(start(), other, "web-2")
    changed = [new for old, new in pairs(first, second) if old != new]
    assert [type(step) for step in changed] == list(OWN)
    assert all(old is new for old, new in pairs(first, second) if not isinstance(old, OWN))


def test_no_environment_is_kept() -> None:
    """What it holds may be a secret: neither a process's, nor a container that was replaced."""
    kept = PreparedStarts()
    replaced = evolve(WEB, environment={"TOKEN": "hush"})
    secret = process(environment={"TOKEN": "hush"})
    assert b"TOKEN=hush" in kept.take(replaced, start(), secret, "web").encoded[-1][2]
    assert "hush" not in repr(list(kept._last.values()))
    gone = weakref.ref(replaced)
    del replaced
    assert gone() is None


def test_whatever_differs_makes_others() -> None:
    """The container, the view, the process and the rest: each is a part of what is compared."""
    kept = PreparedStarts()
    tmpfs = MountedVolume(Volume(VolumeKind.TMPFS, "/scratch"))
    one = start()
    others = [
        (WEB, start(view=evolve(one.view, volumes=(tmpfs,))), process()),
        (WEB, one, process(environment={"A": "2"})),
        (WEB, one, process(uid=7)),
        (WEB, one, process(terminal=True)),
        (WEB, start(sandbox=evolve(one.sandbox, user=None)), process()),
        (evolve(WEB, init=False), one, process()),
        (evolve(WEB, no_new_privileges=False), one, process()),
    ]
    made = [kept.take(*each, "web") for each in ((WEB, one, process()), *others)]
    made.append(kept.take(WEB, one, process(), "other"))
    assert len({repr(each.encoded) for each in made}) == 2 + len(others)
    anew = [PreparedStarts().take(*each, "web") for each in ((WEB, one, process()), *others)]
    assert made[:-1] == anew


def decided(container: Container) -> Decided:
    """What a start of this container was made of."""
    one = start()
    runs = process()
    who = Credentials(0, 0, (), "/root", "root")
    prepared = written_anew(one, runs, "web")
    places = Handover()
    return Decided(container, who, Given(0), runs, places, Given(1), prepared)


def test_a_start_is_made_of_the_same_for_the_same_container_and_user() -> None:
    """Another value of the container is another one: it may have been changed."""
    before = decided(WEB)
    assert before.suits(WEB, Credentials(0, 0, (), "/root", "root"))
    assert not before.suits(evolve(WEB), before.credentials)
    assert not before.suits(WEB, evolve(before.credentials, home="/"))


def test_what_may_be_mounted_otherwise_next_time_is_decided_anew() -> None:
    """A volume, a secret, a socket, or the image itself as the root."""
    assert decided(WEB).lasts
    probe = Health(NotifyProbe())
    for changes in (
        {"volumes": (Volume(VolumeKind.TMPFS, "/scratch"),)},
        {"grants": (Grant(GrantKind.SECRET, "token", "/run/token", b"hush"),)},
        {"health": probe},
        {"root": RootStrategy.BIND},
    ):
        assert not decided(evolve(WEB, **changes)).lasts


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
