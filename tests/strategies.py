"""What Hypothesis draws from: fleets that a checked file could hold, and the ends of runs."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from anchor_supervisor.fleet.model import (
    Condition,
    Container,
    Fleet,
    Health,
    Image,
    ImageKind,
    Kind,
    LogProbe,
    NotifyProbe,
    OnUnhealthy,
    Probe,
    RestartPolicy,
    RestartWhen,
    Startup,
    StopPolicy,
    TcpProbe,
)
from anchor_supervisor.fleet.schedule_model import Overlap, Schedule
from anchor_supervisor.supervision.states import ExitStatus

MOST_CONTAINERS = 12

exit_codes: st.SearchStrategy[frozenset[int]] = st.frozensets(st.sampled_from([0, 1, 137, 143]))

restart_policies: st.SearchStrategy[RestartPolicy] = st.builds(
    RestartPolicy,
    when=st.sampled_from(RestartWhen),
    delay=st.sampled_from([0.0, 0.1, 3.0]),
    factor=st.sampled_from([1.0, 2.0, 10.0]),
    max_delay=st.sampled_from([1.0, 60.0]),
    jitter=st.sampled_from([0.0, 0.1, 1.0]),
    max=st.none() | st.integers(0, 3),
    window=st.sampled_from([5.0, 600.0]),
    reset_after=st.sampled_from([0.0, 2.0, 10.0]),
    on_exit_codes=st.none() | st.none() | exit_codes,
    never_on_exit_codes=st.just(frozenset()) | exit_codes,
)

probes: st.SearchStrategy[Probe] = st.sampled_from([TcpProbe(80), LogProbe("up"), NotifyProbe()])

startup_policies: st.SearchStrategy[Startup] = st.builds(
    Startup,
    probe=st.sampled_from([TcpProbe(81), LogProbe("booted")]),
    interval=st.sampled_from([0.1, 1.0]),
    timeout=st.sampled_from([0.5, 5.0]),
    retries=st.integers(1, 3),
)

health_policies: st.SearchStrategy[Health] = st.builds(
    Health,
    probe=probes,
    interval=st.sampled_from([0.1, 2.0, 30.0]),
    timeout=st.sampled_from([0.5, 5.0]),
    retries=st.integers(1, 3),
    start_period=st.sampled_from([0.0, 4.0]),
    on_failure=st.sampled_from(OnUnhealthy),
)

stop_policies: st.SearchStrategy[StopPolicy] = st.builds(
    StopPolicy,
    signal=st.sampled_from(["TERM", "QUIT"]),
    grace=st.sampled_from([0.0, 0.5, 10.0]),
    command=st.sampled_from([None, ("pg_ctl", "stop")]),
)

schedules: st.SearchStrategy[Schedule] = st.one_of(
    st.builds(
        Schedule,
        every=st.sampled_from([5.0, 60.0, 86_400.0]),
        overlap=st.sampled_from(Overlap),
    ),
    st.builds(
        Schedule,
        cron=st.sampled_from(["* * * * *", "30 2 * * *"]),
        timezone=st.just(ZoneInfo("Europe/Berlin")),
        overlap=st.sampled_from(Overlap),
        catch_up=st.booleans(),
    ),
)

exit_statuses: st.SearchStrategy[ExitStatus] = st.one_of(
    st.just(ExitStatus(code=0)),
    st.builds(ExitStatus, code=st.sampled_from([0, 1, 137])),
    st.builds(ExitStatus, signal=st.sampled_from([9, 15, 40])),
    st.just(ExitStatus(signal=9, oom="oom (limit 64M, peak 64M)")),
    st.just(ExitStatus()),
)


@st.composite
def fleets(
    draw: st.DrawFn, *, most: int = MOST_CONTAINERS, kinds: tuple[Kind, ...] = tuple(Kind)
) -> Fleet:
    """Draw 2 to `most` containers with acyclic dependencies, in an order of their own."""
    made: list[Container] = []
    for number in range(draw(st.integers(2, most))):
        made.append(draw(containers(f"c{number}", made, kinds)))
    return Fleet("shop", {c.name: c for c in draw(st.permutations(made))}, {})


@st.composite
def containers(
    draw: st.DrawFn,
    name: str,
    others: Sequence[Container] = (),
    kinds: tuple[Kind, ...] = tuple(Kind),
) -> Container:
    """Draw a container that depends on some of the others."""
    needed = draw(st.lists(st.sampled_from(others), max_size=3, unique_by=id)) if others else []
    kind = draw(st.sampled_from(kinds))
    return Container(
        name,
        Image(ImageKind.HOST, "host"),
        kind=kind,
        essential=draw(st.integers(0, 9)) == 9,
        health=draw(st.none() | health_policies),
        restart=draw(restart_policies),
        stop=draw(stop_policies),
        replicas=draw(st.sampled_from([1, 1, 1, 2])),
        depends_on={other.name: draw(st.sampled_from(_conditions(other))) for other in needed},
        startup=draw(st.none() | startup_policies),
        max_runtime=draw(st.sampled_from([None, None, None, 0.5, 15.0, 3600.0])),
        schedule=draw(st.none() | schedules) if kind is Kind.JOB else None,
    )


def _conditions(other: Container) -> list[Condition]:
    """Return the conditions that the checker lets a file ask of this container."""
    conditions = [Condition.STARTED]
    if other.health is not None or other.startup is not None:
        conditions.append(Condition.HEALTHY)
    if other.kind is Kind.JOB:
        conditions.append(Condition.COMPLETED)
    return conditions
