"""What a change would do, as operators see it."""

from __future__ import annotations

import json

from attrs import evolve

from anchor_supervisor.fleet.model import Container, Fleet, Image, ImageKind, Limits
from anchor_supervisor.runtime.plan_view import plan_view

WEB = Container("web", Image(ImageKind.HOST, "host"), command=("serve",), replicas=2)


def fleet(*containers: Container) -> Fleet:
    """A fleet of these."""
    return Fleet("shop", {one.name: one for one in containers}, {})


def test_the_same_fleet_is_an_empty_plan() -> None:
    """Nothing would change."""
    empty = {"fleet": "shop", "running": True, "keys": [], "containers": []}
    assert plan_view(fleet(WEB), fleet(WEB)) == empty


def test_what_comes_and_what_goes() -> None:
    """A container of the new file alone is started, one of the old alone is stopped."""
    cache = evolve(WEB, name="cache", replicas=3)
    plan = plan_view(fleet(WEB), fleet(cache))
    told = [
        (one["container"], one["action"], one["replicas_before"], one["replicas"])
        for one in plan["containers"]
    ]
    assert told == [("cache", "start", 0, 3), ("web", "stop", 2, 0)]


def test_the_greatest_effect_is_the_containers() -> None:
    """Each key has its own; the container has the one that costs most."""
    changed = evolve(WEB, command=("serve", "--fast"), limits=Limits(memory=64 << 20))
    [change] = plan_view(fleet(WEB), fleet(changed))["containers"]
    assert (change["action"], change["effect"]) == ("change", "restart")
    effects = {key["key"].partition(".")[0]: key["effect"] for key in change["keys"]}
    assert effects == {"command": "restart", "limits": "live"}


def test_values_of_the_environment_are_not_told() -> None:
    """They may be secrets."""
    old = evolve(WEB, environment={"TOKEN": "old secret"})
    new = evolve(WEB, environment={"TOKEN": "new secret"})
    assert "secret" not in json.dumps(plan_view(fleet(old), fleet(new)))
