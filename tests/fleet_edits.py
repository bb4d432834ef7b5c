"""Fleets that change: what Hypothesis draws where a file is edited again and again.

Containers are called `c0`, `c1`, ... and depend on smaller numbers alone: no edit makes a circle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from attrs import evolve
from hypothesis import strategies as st

from anchor_supervisor.fleet.model import (
    Condition,
    Container,
    Fleet,
    Grant,
    GrantKind,
    Health,
    Image,
    ImageKind,
    Kind,
    Limits,
    OnUnhealthy,
    OnUpdateFailure,
    Port,
    Pull,
    Reaction,
    ReactionKind,
    RestartPolicy,
    RestartWhen,
    StopPolicy,
    TcpProbe,
    UpdateOrder,
    UpdatePolicy,
)

MOST_CONTAINERS: Final = 30
MOST_EDITS: Final = 4

reactions: st.SearchStrategy[Reaction] = st.sampled_from(
    [
        Reaction(),
        Reaction(ReactionKind.RESTART),
        Reaction(ReactionKind.SIGNAL, "HUP"),
        Reaction(ReactionKind.SIGNAL, "USR1"),
    ]
)

updates: st.SearchStrategy[UpdatePolicy] = st.builds(
    UpdatePolicy,
    order=st.sampled_from(UpdateOrder),
    parallelism=st.integers(1, 3),
    monitor=st.sampled_from([0.0, 0.0, 3.0]),
    drain=st.sampled_from([0.0, 1.0]),
    on_failure=st.sampled_from(OnUpdateFailure),
)

restarts: st.SearchStrategy[RestartPolicy] = st.builds(
    RestartPolicy,
    when=st.sampled_from(RestartWhen),
    delay=st.sampled_from([0.0, 0.1, 3.0]),
    jitter=st.just(0.0),
    max=st.sampled_from([None, None, 0, 2]),
    reset_after=st.sampled_from([2.0, 10.0]),
)

healths: st.SearchStrategy[Health] = st.builds(
    Health,
    probe=st.sampled_from([TcpProbe(80), TcpProbe(81)]),
    interval=st.sampled_from([1.0, 30.0]),
    timeout=st.just(0.5),
    retries=st.integers(1, 2),
    on_failure=st.sampled_from(OnUnhealthy),
)

stops: st.SearchStrategy[StopPolicy] = st.builds(
    StopPolicy,
    signal=st.sampled_from(["TERM", "QUIT"]),
    grace=st.sampled_from([0.0, 0.5, 10.0]),
    command=st.sampled_from([None, None, ("pg_ctl", "stop")]),
)

COMMANDS: Final = [("serve",), ("serve", "-v"), ("listen",)]
IMAGES: Final = [Image(ImageKind.HOST, "host"), Image(ImageKind.DIRECTORY, "/srv")]
commands = st.sampled_from(COMMANDS)
images = st.sampled_from(IMAGES)
limits = st.builds(Limits, pids=st.sampled_from([64, 4096]))
contents = st.sampled_from([b"one", b"two", b"three"]).map(
    lambda content: (Grant(GrantKind.SECRET, "key", "/run/secrets/key", content),)
)
ports = st.sampled_from([(), (Port("127.0.0.1", 8080, 80),)])
replicas = st.integers(1, 4)


@st.composite
def containers(draw: st.DrawFn, number: int, *, plain: bool) -> Container:
    """Draw one container without dependencies; `plain`: none of the rarer policies."""
    return Container(
        f"c{number}",
        draw(images),
        kind=draw(st.sampled_from([Kind.SERVICE, Kind.SERVICE, Kind.SERVICE, Kind.JOB])),
        command=draw(commands),
        essential=not plain and draw(st.integers(0, 19)) == 19,
        health=draw(st.none() | healths),
        restart=draw(restarts),
        stop=draw(stops),
        ports=draw(ports),
        replicas=draw(st.sampled_from([1, 1, 2, 3])),
        update=draw(updates),
        on_change=draw(reactions),
        grants=draw(contents),
    )


@st.composite
def edges(draw: st.DrawFn, container: Container, others: list[Container]) -> Container:
    """Draw what a container depends on, among those of smaller numbers."""
    beneath = [other for other in others if _number(other) < _number(container)]
    needed = draw(st.lists(st.sampled_from(beneath), max_size=2, unique_by=id)) if beneath else []
    return evolve(
        container,
        depends_on={other.name: draw(st.sampled_from(Condition)) for other in needed},
        on_restart={other.name: draw(reactions) for other in needed},
    )


@st.composite
def fleets(draw: st.DrawFn, *, most: int = MOST_CONTAINERS, plain: bool = False) -> Fleet:
    """Draw a fleet of 2 to `most` containers."""
    made: list[Container] = []
    for number in range(draw(st.integers(2, most))):
        made.append(draw(edges(draw(containers(number, plain=plain)), made)))
    parallel = None if plain else draw(st.sampled_from([None, None, 1, 3]))
    return _checked(made, parallel)


T = TypeVar("T")
Edit = Callable[[Container], Container]

NEW_RUN: Final[list[st.SearchStrategy[Edit]]] = [
    st.booleans().map(lambda up: lambda one: evolve(one, command=_next(COMMANDS, one.command, up))),
    st.just(lambda one: evolve(one, image=_next(IMAGES, one.image, True))),
]

EDITS: Final[list[st.SearchStrategy[Edit]]] = [
    st.sampled_from(Pull).map(lambda new: lambda one: evolve(one, pull=new)),
    limits.map(lambda new: lambda one: evolve(one, limits=new)),
    restarts.map(lambda new: lambda one: evolve(one, restart=new)),
    stops.map(lambda new: lambda one: evolve(one, stop=new)),
    (st.none() | healths).map(lambda new: lambda one: evolve(one, health=new)),
    updates.map(lambda new: lambda one: evolve(one, update=new)),
    ports.map(lambda new: lambda one: evolve(one, ports=new)),
    contents.map(lambda new: lambda one: evolve(one, grants=new)),
    reactions.map(lambda new: lambda one: evolve(one, on_change=new)),
    replicas.map(lambda new: lambda one: evolve(one, replicas=new)),
    replicas.map(lambda new: lambda one: evolve(one, replicas=new)),
    *NEW_RUN * 3,
]


@st.composite
def edited(draw: st.DrawFn, fleet: Fleet, *, plain: bool = False) -> Fleet:
    """Draw another fleet that a few edits of the file make of this one."""
    made = list(fleet.containers.values())
    parallel = fleet.parallel
    for _ in range(draw(st.integers(1, MOST_EDITS))):
        position = draw(st.integers(0, len(made) - 1))
        match draw(st.sampled_from(["field"] * 8 + ["add", "remove", "edges", "parallel"])):
            case "field":
                made[position] = draw(st.one_of(EDITS))(made[position])
            case "add":
                number = 1 + max(map(_number, made))
                made.append(draw(edges(draw(containers(number, plain=plain)), made)))
            case "remove" if len(made) > 1:
                del made[position]
            case "edges":
                made[position] = draw(edges(made[position], made))
            case "parallel" if not plain:
                parallel = draw(st.sampled_from([None, 1, 3]))
            case _:
                pass
    return _checked(made, parallel)


def _checked(made: list[Container], parallel: int | None) -> Fleet:
    """Make a fleet that a checked file could hold: no edge leads nowhere, or asks for too much."""
    by_name = {container.name: container for container in made}
    for name, container in by_name.items():
        needs = {
            need: condition if _may(by_name[need], condition) else Condition.STARTED
            for need, condition in container.depends_on.items()
            if need in by_name
        }
        told = {need: told for need, told in container.on_restart.items() if need in needs}
        by_name[name] = evolve(container, depends_on=needs, on_restart=told)
    return Fleet("shop", by_name, {}, parallel=parallel)


def _may(other: Container, condition: Condition) -> bool:
    allowed: dict[Condition, Callable[[], bool]] = {
        Condition.STARTED: lambda: True,
        Condition.HEALTHY: lambda: other.health is not None,
        Condition.COMPLETED: lambda: other.kind is Kind.JOB,
    }
    return allowed[condition]()


def _number(container: Container) -> int:
    return int(container.name.removeprefix("c"))


def _next(choices: list[T], present: T | None, up: bool) -> T:
    """Return another of the choices than the present one."""
    place = choices.index(present) if present in choices else 0
    return choices[(place + (1 if up else -1)) % len(choices)]
