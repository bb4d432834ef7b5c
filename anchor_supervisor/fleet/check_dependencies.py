"""Dependencies: each names a container and a state it can reach, and none goes in a circle."""

from __future__ import annotations

import graphlib
from collections.abc import Iterator
from typing import Final

from anchor_supervisor.fleet.finding import Finding, path_of
from anchor_supervisor.fleet.model import Condition, Container, Fleet, ImageKind, Kind
from anchor_supervisor.fleet.wording import did_you_mean, show

MOST_CIRCLES: Final = 20  # told at once; each costs a walk over the whole fleet


def dependency_findings(fleet: Fleet) -> Iterator[Finding]:
    """Yield every dependency that could never be met."""
    for name, container in fleet.containers.items():
        for wanted, condition in container.depends_on.items():
            key = path_of("containers", name, "depends_on", wanted)
            if wanted in fleet.containers:
                yield from _condition(key, condition, fleet.containers[wanted])
            else:
                others = fleet.containers.keys() - {name}
                near = did_you_mean(wanted, sorted(others))
                yield Finding(key, f"there is no container {show(wanted)}", near)
    yield from _cycles(fleet)


def _condition(key: str, condition: Condition, wanted: Container) -> Iterator[Finding]:
    name = wanted.name
    # An image of the store may bring a health check; this is asked again once it is known.
    named = wanted.image.kind is ImageKind.STORE and not wanted.complete
    unknown = named and wanted.image_health
    probed = wanted.health is not None or wanted.startup is not None
    if condition is Condition.HEALTHY and not probed and not unknown:
        is_job = wanted.kind is Kind.JOB
        yield Finding(
            key,
            f"`{name}` has no health check, so it never becomes `healthy`",
            "`completed`: it is a job" if is_job else f"give `{name}` a `health`, or ask `started`",
            because=(path_of("containers", name, "health"), path_of("containers", name, "kind")),
        )
    if condition is Condition.COMPLETED and wanted.kind is Kind.SERVICE:
        yield Finding(
            key,
            f"`{name}` is a service, so it never becomes `completed`",
            f'`kind = "job"` for `{name}`, or ask `started` or `healthy`',
            because=(path_of("containers", name, "kind"),),
        )


def _cycles(fleet: Fleet) -> Iterator[Finding]:
    """Yield circles that have no container in common, until none is left."""
    graph = {
        name: {wanted for wanted in container.depends_on if wanted in fleet.containers}
        for name, container in fleet.containers.items()
    }
    for _ in range(MOST_CIRCLES):
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            # Each is wanted by the next (graphlib); a person reads it the other way round.
            circle: list[str] = list(reversed(error.args[1]))
        else:
            return
        place = {name: number for number, name in enumerate(graph)}
        first = min(range(len(circle) - 1), key=lambda number: place[circle[number]])
        shown = [*circle[first:-1], *circle[:first], circle[first]]
        yield Finding(
            path_of("containers", shown[0], "depends_on", shown[1]),
            "dependencies in a circle: " + " -> ".join(f"`{name}`" for name in shown),
            "each would wait for the next one for ever",
        )
        graph = {name: wanted - set(circle) for name, wanted in graph.items() if name not in circle}
