"""Profiles: which containers are there, and what is said where the choice makes no sense."""

from __future__ import annotations

import pytest

from anchor_supervisor.fleet.check import problems
from anchor_supervisor.fleet.model import Network
from fleet_files import Folder
from fleet_text import HEAD, messages

SHOP = """
[containers.web]
image = "host"
command = ["web"]

[containers.shell]
image = "host"
command = ["sh"]
profiles = ["debug", "tools"]
depends_on = ["web"]

[containers.probe]
image = "host"
command = ["probe"]
profiles = ["debug"]
depends_on = ["shell"]

[containers.load]
image = "host"
command = ["load"]
profiles = ["load_1.2-x"]
"""


@pytest.mark.parametrize(
    ("chosen", "there"),
    [
        ([], ["web"]),
        (["debug"], ["web", "shell", "probe"]),
        (["tools"], ["web", "shell"]),
        (["tools", "load_1.2-x"], ["web", "shell", "load"]),
        (["tools", "tools"], ["web", "shell"]),
        (["*"], ["web", "shell", "probe", "load"]),
        (["*", "tools"], ["web", "shell", "probe", "load"]),
    ],
)
def test_a_profile_brings_its_containers(
    folder: Folder, chosen: list[str], there: list[str]
) -> None:
    """Those without profiles are always there; the file's order is kept."""
    folder.write({"fleet.toml": SHOP})
    fleet = folder.load(profiles=chosen)
    assert list(fleet.containers) == there
    assert fleet.profiles == tuple(chosen)
    assert problems(fleet) == []


def test_an_unknown_profile_is_told_with_those_there_are(folder: Folder) -> None:
    """A name mistyped must not silently leave something out."""
    folder.write({"fleet.toml": SHOP})
    [first, second] = folder.problems(profiles=["debgu", "tools", "x", "x"])
    there = "there are `debug`, `load_1.2-x`, `tools`"
    assert (str(first), first.hint) == (
        "fleet.toml: there is no profile `debgu`",
        f"did you mean `debug`? {there}",
    )
    assert (str(second), second.hint) == ("fleet.toml: there is no profile `x`", there)
    folder.write({"fleet.toml": HEAD})
    [only] = folder.problems(profiles=["debug"])
    assert only.hint == "no container has `profiles`"
    assert list(folder.load(profiles=["*"]).containers) == ["web"]


def test_a_dependency_that_is_not_there(folder: Folder) -> None:
    """It says which profile brings it, at the line of the dependency."""
    folder.write({"fleet.toml": f'{SHOP}depends_on = ["probe", "shell", "web"]'})
    [first, second] = folder.problems(profiles=["load_1.2-x"])
    assert (first.line, first.key) == (22, "containers.load.depends_on.probe")
    assert first.message == "`probe` is only there with profile `debug`"
    assert first.hint == "choose it with `--profile debug`, or give `load` the same profile"
    assert second.message == "`shell` is only there with profile `debug` or `tools`"
    assert list(folder.load().containers) == ["web"]


def test_nothing_left_to_run(folder: Folder) -> None:
    """A fleet without containers is never what is meant."""
    folder.write({"fleet.toml": f'{HEAD}profiles = ["a", "b"]'})
    [problem] = folder.problems()
    assert str(problem) == ("fleet.toml: every container has a profile, and none of them is chosen")
    assert problem.hint == "choose with `--profile`: `a`, `b`"


def test_what_is_not_there_is_checked_all_the_same(folder: Folder) -> None:
    """What is wrong with it is told, whichever profiles are chosen."""
    folder.write(
        {
            "fleet.toml": f"""{HEAD}
[containers.x]
image = "host"
profiles = ["p"]
ports = ["80"]
networks = {{ fron = {{}}, front = {{ address = "10.9.0.1" }} }}
volumes = ["data:/x"]
depends_on = ["nobody"]
stop = {{ grace = "x" }}
[networks.front]
subnet = "10.9.0.0/24"
"""
        }
    )
    told = [
        "containers.x.command: nothing to run",
        "containers.x.ports[0]: `80` has no host port",
        "containers.x.networks.front.address: `10.9.0.1` is the gateway of `10.9.0.0/24`",
        "containers.x.networks.fron: there is no network `fron`",
        "containers.x.volumes[0]: there is no volume `data`",
        "containers.x.depends_on.nobody: there is no container `nobody`",
        "containers.x.stop.grace: `x` is not a duration",
    ]
    for chosen in ([], ["p"]):
        found = folder.told(profiles=chosen)
        assert len(found) == len(told)
        assert all(any(words in line for line in found) for words in told)


def test_variants_may_have_the_same_place_on_the_machine(folder: Folder) -> None:
    """A port, an address: only those that are there together can be in each other's way."""
    variant = """
[containers.{0}]
image = "host"
command = ["x"]
ports = ["8080:80"]
profiles = ["{0}"]
networks = {{ front = {{ address = "10.9.0.5" }} }}
"""
    front = '[networks.front]\nsubnet = "10.9.0.0/24"\n'
    folder.write({"fleet.toml": HEAD + variant.format("a") + variant.format("b") + front})
    assert list(folder.load(profiles=["a"]).containers) == ["web", "a"]
    assert list(folder.load(profiles=["b"]).containers) == ["web", "b"]
    found = folder.problems(profiles=["a", "b"])
    assert [(one.line, one.key, one.message) for one in found] == [
        (15, "containers.b.ports", "`127.0.0.1:8080/tcp` is already published by `a`"),
        (17, "containers.b.networks.front.address", "`10.9.0.5` is already the address of `a`"),
    ]


def test_the_default_network_is_implied_by_who_is_there(folder: Folder) -> None:
    """One that is left out needs none."""
    text = f'{HEAD}networks = "none"\n[containers.x]\nimage = "host"\ncommand = ["x"]\n'
    folder.write({"fleet.toml": f'{text}profiles = ["p"]\n'})
    assert folder.load().networks == {}
    assert folder.load(profiles=["p"]).networks == {"default": Network("default")}


def test_names_of_profiles() -> None:
    """A list of names, each once."""
    assert messages('profiles = ["", "*", "a b", "-a", 3, "a"]') == [
        "the value is empty",
        "`*` cannot name a profile",
        "`a b` cannot name a profile",
        "`-a` cannot name a profile",
        "`3` is a number, not a string",
    ]
    assert messages('profiles = ["a", "a"]') == ["a profile is listed twice"]
    assert messages('profiles = "a"') == ["`a` is a string, not a list"]
