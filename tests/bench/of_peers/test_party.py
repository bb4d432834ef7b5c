"""Who takes part, and who is named with the reason why not."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from measure import Results
from peers.corner import Corner
from peers.party import NAMES, Party
from peers.starts import Engine

Install = Callable[[str, str], Path]

STAMP = "echo 12345678901"


def party(place: Corner, *only: str) -> Party:
    """Everybody who is wanted, with a root that holds our program."""
    image = place.directory / "root"
    image.mkdir()
    (image / "first").write_text(f"#!/bin/sh\n{STAMP}\n")
    (image / "first").chmod(0o755)
    options = argparse.Namespace(only=only, with_dockerd=False, count=1)
    return Party(options, Results("peers"), place, image)


def missing(who: Party) -> dict[str, str]:
    """What is not there, by name."""
    return {one["what"]: one["missing"] for one in who.results.records if "missing" in one}


def test_everybody_can_be_named() -> None:
    """Those who run containers, those who ask them, and one who restarts processes."""
    assert {"anchor", "bwrap", "podman", "podman-compose", "docker compose"} < set(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_who_can_run_a_container_takes_part(install: Install, place: Corner) -> None:
    """One that is not asked for is not even looked for."""
    install("bwrap", STAMP)
    here = party(place, "process", "bwrap")
    here.gather()
    assert [one.name for one in here.engines] == ["no container", "bwrap"]
    assert missing(here) == {}


def test_who_is_not_installed_or_fails_is_named(install: Install, place: Corner) -> None:
    """With the reason; nobody else suffers."""
    install("unshare", 'test "$1" = --version && echo 2.38 && exit; echo no namespaces >&2; exit 1')
    here = party(place, "process", "bwrap", "unshare", "podman", "docker-compose")
    here.gather()
    assert [one.name for one in here.engines] == ["no container"]
    assert missing(here) == {
        "bwrap": "not installed",
        "unshare": "no namespaces",
        "podman": "not installed",
        "docker": "not installed",
    }


@pytest.mark.parametrize("name", ["podman, no network", "a b"])
def test_no_name_of_a_container_is_the_beginning_of_another(name: str, place: Corner) -> None:
    """Engines look for parts of names; and no space is allowed in one."""
    engine = Engine(name, "p", "1", "", False, lambda _: [])
    names = {party_name(place, engine, number) for number in (0, 1, 10, 100, 1000)}
    assert not [(one, two) for one in names for two in names if one != two and one in two]
    assert all(set(one) <= set("abcdefghijklmnopqrstuvwxyz-0123456789") for one in names)
    assert all(one.startswith(place.token) for one in names)


def party_name(place: Corner, engine: Engine, number: int) -> str:
    """The name of a container of this engine."""
    return Party(argparse.Namespace(), Results("peers"), place, Path("/")).name(
        engine, "many", number
    )
