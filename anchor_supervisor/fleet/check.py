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
from anchor_supervisor.fleet.check_grants import grant_findings
from anchor_supervisor.fleet.check_names import name_findings
from anchor_supervisor.fleet.check_policies import policy_findings
from anchor_supervisor.fleet.check_ports import port_findings
from anchor_supervisor.fleet.check_privileges import privilege_findings
from anchor_supervisor.fleet.check_volumes import volume_findings
from anchor_supervisor.fleet.finding import Finding
from anchor_supervisor.fleet.model import Fleet


def problems(fleet: Fleet) -> list[Problem]:
    """Return everything wrong with the fleet, each with its place; empty where nothing is."""
    return [
        Problem(finding.message, *fleet.place(finding.key), finding.hint)
        for finding in findings(fleet)
    ]


def findings(fleet: Fleet) -> Iterator[Finding]:
    """Yield everything wrong with the fleet, room by room."""
    yield from name_findings(fleet)
    yield from dependency_findings(fleet)
    yield from address_findings(fleet)
    yield from port_findings(fleet)
    yield from volume_findings(fleet)
    for container in fleet.containers.values():
        yield from container_findings(container)
        yield from policy_findings(container)
        yield from grant_findings(container)
        yield from privilege_findings(container)
