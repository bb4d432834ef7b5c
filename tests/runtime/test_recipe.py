"""The list of steps: the orders that the kernel forces, for every container there can be."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet.model import (
    Capabilities,
    Container,
    Image,
    ImageKind,
    UserNamespace,
)
from anchor_supervisor.kernel.namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)
from anchor_supervisor.kernel.steps import (
    ChangeDirectory,
    CloneAgain,
    ControllingTerminal,
    EnterRoot,
    Execute,
    JoinNamespace,
    NewSession,
    NoNewPrivileges,
    SetBounding,
    SetCapabilities,
    SetHostname,
    SetIds,
    SetLimit,
    SetStdio,
    Step,
)
from anchor_supervisor.runtime.recipe import (
    NEW_NAMESPACES,
    Joined,
    Powers,
    Process,
    container_powers,
    container_steps,
    exceeds_own_limit,
    exec_steps,
    limit_number,
)

S = TypeVar("S", bound=Step)
ROOT = EnterRoot(5)
INIT, STATUS, PIDFD = 90, 91, 92

processes = st.builds(
    Process,
    argv=st.just(("serve", "--now")),
    candidates=st.just(("/usr/bin/serve", "/bin/serve")),
    environment=st.dictionaries(st.sampled_from(["A", "B"]), st.text(max_size=3)),
    uid=st.sampled_from([0, 33, 65534]),
    gid=st.sampled_from([0, 33]),
    groups=st.sampled_from([(), (4, 5)]),
    working_dir=st.sampled_from(["/", "/srv"]),
    stdio=st.just((0, 7, 8)),
    terminal=st.booleans(),
)
limits = st.fixed_dictionaries(
    {"nofile": st.sampled_from([(1024, 524288), (64, 64)])},
    optional={"core": st.just((0, 0)), "memlock": st.just((resource.RLIM_INFINITY,) * 2)},
)
powers = st.builds(
    Powers,
    bounding=st.sampled_from([0, 0b1011, (1 << 41) - 1]),
    no_new_privileges=st.booleans(),
    private_users=st.booleans(),
    limits=limits,
)
sandboxes = st.builds(
    Joined, user=st.sampled_from([None, 10]), net=st.sampled_from([None, 11]),
    ipc=st.just(12), uts=st.just(13),
)  # fmt: skip


def only(steps: Sequence[Step], kind: type[S]) -> S:
    """The one step of this kind."""
    [found] = [step for step in steps if isinstance(step, kind)]
    return found


def places(steps: Sequence[Step], kind: type[Step]) -> list[int]:
    """Where the steps of this kind are."""
    return [place for place, step in enumerate(steps) if isinstance(step, kind)]


def check_the_end(steps: Sequence[Step], power: Powers, process: Process) -> None:
    """What holds for a container's command and for an exec in it: how powers are shed."""
    execute = len(steps) - 1
    assert places(steps, Execute) == [execute]
    [bounding], [held] = places(steps, SetBounding), places(steps, SetCapabilities)
    become = places(steps, SetIds)[-1]
    assert bounding < become < held < execute, "capabilities(7): SETPCAP goes with the ids"
    expected = [execute - 1] if power.no_new_privileges else []
    assert places(steps, NoNewPrivileges) == expected
    assert only(steps, SetBounding).mask == power.bounding
    assert only(steps, SetCapabilities).mask == (power.bounding if process.uid == 0 else 0)
    last = [step for step in steps if isinstance(step, SetIds)][-1]
    assert (last.uid, last.gid, last.groups) == (process.uid, process.gid, process.groups)
    [directory], [stdio] = places(steps, ChangeDirectory), places(steps, SetStdio)
    assert directory < become
    assert places(steps, ControllingTerminal) == ([stdio + 1] if process.terminal else [])
    lowered = [p for p in places(steps, SetLimit) if p > places(steps, CloneAgain)[-1]]
    assert {steps[p] for p in lowered} == {
        SetLimit(name, limit_number(name), soft, hard)
        for name, (soft, hard) in power.limits.items()
    }
    assert all(directory < place < bounding for place in lowered), "soft limits only at the end"
    executed = only(steps, Execute)
    assert (executed.candidates, executed.argv) == (process.candidates, process.argv)
    assert executed.init == INIT, "an image's command never comes straight from an execve of ours"


def check_raised_limits(steps: Sequence[Step], power: Powers) -> None:
    """Hard limits above our own are raised first of all, and soft ones with them."""
    first_join = places(steps, JoinNamespace)[0]
    raised = [steps[place] for place in places(steps, SetLimit) if place < first_join]
    assert raised == [
        SetLimit(name, limit_number(name), hard, hard)
        for name, (_, hard) in power.limits.items()
        if exceeds_own_limit(name, hard)
    ]


@given(powers, sandboxes, processes, st.booleans())
def test_a_start_goes_in_the_one_order_that_works(
    power: Powers, sandbox: Joined, process: Process, stay: bool
) -> None:
    """Joined before cloned, the user namespace last, the root before the powers are shed."""
    steps = container_steps(
        power, "web", sandbox, [ROOT], process, init=INIT, stay=stay, status=STATUS
    )
    joins = [step for step in steps if isinstance(step, JoinNamespace)]
    expected = [(sandbox.net, CLONE_NEWNET)] if sandbox.net is not None else []
    expected += [(sandbox.ipc, CLONE_NEWIPC), (sandbox.uts, CLONE_NEWUTS)]
    expected += [(sandbox.user, CLONE_NEWUSER)] if sandbox.user is not None else []
    assert [(step.fd, step.flags) for step in joins] == expected
    [clone] = places(steps, CloneAgain)
    assert only(steps, CloneAgain).flags == NEW_NAMESPACES
    assert max(places(steps, JoinNamespace)) < clone, "namespaces belong to the creator's user ns"
    if sandbox.user is not None:
        assert steps[clone - 1] == SetIds(0, 0)
    order = [
        clone, *places(steps, NewSession), *places(steps, SetHostname), *places(steps, EnterRoot),
        *places(steps, ChangeDirectory),
    ]  # fmt: skip
    assert order == sorted(order)
    executed = only(steps, Execute)
    assert (executed.stay, executed.status) == (stay, STATUS if stay else None)
    check_raised_limits(steps, power)
    check_the_end(steps, power, process)


@given(powers, processes)
def test_an_exec_enters_everything_at_once(power: Powers, process: Process) -> None:
    """All namespaces by the main process's pidfd, then a clone that is in the pid namespace."""
    steps = exec_steps(power, PIDFD, process, INIT)
    join = only(steps, JoinNamespace)
    assert join.fd == PIDFD
    assert bool(join.flags & CLONE_NEWUSER) is power.private_users
    assert join.flags & CLONE_NEWPID
    assert places(steps, JoinNamespace) < places(steps, CloneAgain)
    assert only(steps, CloneAgain).flags == 0
    check_raised_limits(steps, power)
    check_the_end(steps, power, process)


@given(powers, sandboxes, processes)
def test_every_step_can_be_said_and_sent(power: Powers, sandbox: Joined, process: Process) -> None:
    """Each one has its words for `--plan`, and its form for C."""
    steps = container_steps(
        power, "web", sandbox, [ROOT], process, init=INIT, stay=True, status=STATUS
    )
    for step in steps:
        operation, _, _ = step.encode()
        assert operation > 0
        assert step.describe()


def a_container(**facts: object) -> Container:
    """A container with these facts."""
    return Container("web", Image(ImageKind.HOST, "host"), **facts)  # type: ignore[arg-type]


def test_the_powers_are_what_the_file_gives() -> None:
    """Capabilities added and dropped, a private user namespace, no new privileges by default."""
    usual = container_powers(a_container())
    assert usual.no_new_privileges
    assert usual.private_users
    net_raw, kill = 1 << 13, 1 << 5
    assert usual.bounding & kill
    given = container_powers(
        a_container(
            capabilities=Capabilities(add=("NET_RAW",), drop=("KILL",)),
            user_namespace=UserNamespace.HOST,
            no_new_privileges=False,
        )
    )
    assert given.bounding & net_raw
    assert not given.bounding & kill
    assert not given.private_users
    assert not given.no_new_privileges
    nothing = container_powers(a_container(capabilities=Capabilities(drop=("ALL",))))
    assert nothing.bounding == 0


def test_a_default_limit_never_asks_for_more_than_we_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default nofile is cut to our own hard limit; a declared one is as declared."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 512))
    assert container_powers(a_container()).limits == {"nofile": (512, 512)}
    declared = a_container(ulimits={"nofile": (1, 9999)})
    assert container_powers(declared).limits == {"nofile": (1, 9999)}
    assert exceeds_own_limit("nofile", 9999)
    assert exceeds_own_limit("nofile", resource.RLIM_INFINITY)
    assert not exceeds_own_limit("nofile", 512)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    assert container_powers(a_container()).limits == {"nofile": (1024, 524288)}
    assert not exceeds_own_limit("nofile", resource.RLIM_INFINITY)
