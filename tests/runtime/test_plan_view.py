"""What a change would do, as operators see it."""

from __future__ import annotations

import json

from attrs import evolve

from anchor_supervisor.fleet.model import Container, Fleet, Image, ImageKind, Limits
from anchor_supervisor.runtime.plan_view import plan_view, update_words
from anchor_supervisor.supervision.commands import UpdateResult
from anchor_supervisor.supervision.update import UpdateStatus

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
    limits = Limits(memory=64 << 20, declared=frozenset({"memory"}))
    changed = evolve(WEB, command=("serve", "--fast"), limits=limits)
    [change] = plan_view(fleet(WEB), fleet(changed))["containers"]
    assert (change["action"], change["effect"]) == ("change", "restart")
    assert change["keys"] == [
        {"key": "command", "before": "serve", "after": "serve --fast", "effect": "restart"},
        {"key": "limits.memory", "before": None, "after": "64M", "effect": "live"},
    ]


def test_keys_of_the_fleet_itself_have_their_own_place() -> None:
    """With their whole path."""
    plan = plan_view(fleet(WEB), evolve(fleet(WEB), parallel=8, volumes=frozenset({"data"})))
    assert plan["containers"] == []
    assert [(key["key"], key["after"], key["effect"]) for key in plan["keys"]] == [
        ("fleet.parallel", "8", "live"),
        ("volumes.data", "declared", "nothing"),
    ]


def test_values_of_the_environment_are_not_told() -> None:
    """They may be secrets."""
    old = evolve(WEB, environment={"TOKEN": "old secret"})
    new = evolve(WEB, environment={"TOKEN": "new secret"})
    assert "secret" not in json.dumps(plan_view(fleet(old), fleet(new)))


def test_of_an_update_that_was_rolled_back_nothing_is_counted() -> None:
    """All is as it was; what is paused is told by how far it came."""
    status = UpdateStatus(
        container="web",
        active=False,
        result=UpdateResult.ROLLED_BACK,
        reason="`web.4` is unhealthy",
        replaced=3,
        total=3,
    )
    assert update_words(status) == "rolled back: `web.4` is unhealthy"
    paused = evolve(status, result=UpdateResult.PAUSED, replaced=1)
    assert update_words(paused) == "1 of 3 replaced, paused: `web.4` is unhealthy"
