"""Is this fleet one that can be meant? Everything that is wrong with its values, all at once.

Pure: looks at values alone. Whether an image exists or this kernel can do it is found out
elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from anchor_supervisor.errors import Problem
from anchor_supervisor.fleet.check_addresses import address_findings
from anchor_supervisor.fleet.check_container import container_findings
from anchor_supervisor.fleet.check_dependencies import dependency_findings
from anchor_supervisor.fleet.check_names import name_findings
from anchor_supervisor.fleet.check_policies import policy_findings
from anchor_supervisor.fleet.check_ports import port_findings
from anchor_supervisor.fleet.check_privileges import privilege_findings
from anchor_supervisor.fleet.finding import Finding
from anchor_supervisor.fleet.model import Fleet
from anchor_supervisor.fleet.profiles import profile_findings
from anchor_supervisor.values import evolve


def problems(fleet: Fleet) -> list[Problem]:
    """Return everything wrong with the fleet, each with its place; empty where nothing is."""
    return [
        Problem(finding.message, *fleet.place(finding.key), finding.hint)
        for finding in findings(fleet)
    ]


def findings(fleet: Fleet, whole: Fleet | None = None) -> Iterator[Finding]:
    """Yield everything wrong with the fleet, room by room.

    `whole` has all containers that the files declare, also those that are not there this time.
    Those are looked at as well, but each alone where it is about a place on this machine.
    """
    whole = fleet if whole is None else whole
    absent = [one for name, one in whole.containers.items() if name not in fleet.containers]
    for each in (fleet, *(evolve(whole, containers={one.name: one}) for one in absent)):
        yield from address_findings(each)
        yield from port_findings(each)
    yield from name_findings(whole)
    yield from dependency_findings(whole)
    yield from _mount_findings(whole)
    for container in whole.containers.values():
        yield from container_findings(container)
        yield from policy_findings(container)
        yield from privilege_findings(container)
    yield from profile_findings(whole.containers, fleet.profiles)


def _mount_findings(fleet: Fleet) -> Iterator[Finding]:
    """Yield what is wrong with what is mounted, which in many a fleet is nothing."""
    containers = fleet.containers.values()
    if any(container.volumes for container in containers):
        from anchor_supervisor.fleet.check_volumes import volume_findings

        yield from volume_findings(fleet)
    if any(container.grants for container in containers):
        from anchor_supervisor.fleet.check_grants import grant_findings

        for container in containers:
            yield from grant_findings(container)
