"""`anchor-supervise --check` and `--plan`: look at everything, start nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from attrs import asdict

from anchor_supervisor.cli.problems import warn
from anchor_supervisor.fleet.model import Fleet, instances
from anchor_supervisor.runtime import preflight
from anchor_supervisor.runtime.explain import FleetPlan, explain


def check(fleet: Fleet, *, as_json: bool) -> int:
    """Say whether the fleet would start here. Raises what `anchor-supervise` would raise."""
    findings = preflight.look(fleet)
    findings.refuse()
    preflight.require_programs_on_disk(fleet)
    count = len(instances(fleet))
    absent = {
        container.image.reference: "built" if container.build else "pulled"
        for container in preflight.absent_images(fleet).values()
    }
    if as_json:
        document = {
            "fleet": fleet.name,
            "containers": count,
            "warnings": list(findings.warnings),
            "absent_images": absent,
        }
        print(json.dumps(document))
        return 0
    for warning in findings.warnings:
        warn(warning)
    for name in absent:
        print(f"image `{name}` is not here yet, and would be {absent[name]}", file=sys.stderr)
    print(f"fleet `{fleet.name}` is right: {count} containers, and this machine can run them")
    return 0


def plan(fleet: Fleet, *, as_json: bool) -> int:
    """Print every step that a start would take."""
    planned = explain(fleet)
    print(json.dumps(asdict(planned), indent=2) if as_json else "\n".join(_lines(planned)))
    return 0


def _lines(planned: FleetPlan) -> Iterator[str]:
    yield f"fleet {planned.fleet}"
    for line in planned.shared:
        yield f"  {line}"
    for instance in planned.instances:
        yield ""
        yield f"container {instance.name}"
        for condition in instance.waits_for:
            yield f"  wait until {condition}"
        yield "  once:"
        for line in instance.prepared:
            yield f"    {line}"
        yield "  at every start:"
        for number, step in enumerate(instance.steps, 1):
            yield f"    {number:2}. {step}"
