"""What an image says of its containers, under what the file says; and nothing of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import ImageError
from anchor_supervisor.fleet.model import (
    Container,
    ExecProbe,
    Health,
    ImageKind,
    Kind,
    StopPolicy,
    TcpProbe,
    Volume,
    VolumeKind,
)
from anchor_supervisor.fleet.model import Image as Wanted
from anchor_supervisor.images.defaults import Defaults, completed, defaults_of
from anchor_supervisor.images.model import OCI_CONFIG, OCI_MANIFEST, Descriptor, Image

BLOB = Descriptor(OCI_MANIFEST, f"sha256:{'0' * 64}", 2)


def image(config: object) -> Image:
    """An image with this `config` member."""
    return Image(BLOB, Descriptor(OCI_CONFIG, BLOB.digest, 2), {"config": config}, ())


def container(**given: Any) -> Container:
    """A container that says only this."""
    return Container("web", Wanted(ImageKind.STORE, "x"), **given)


def said(config: Mapping[str, object]) -> Defaults:
    """What an image with this configuration says."""
    return defaults_of(image(config))


WHOLE = {
    "Entrypoint": ["/entry"],
    "Cmd": ["serve", "-x"],
    "Env": ["PATH=/opt/bin", "LANG=C", "EMPTY=", "nonsense", "=x"],
    "User": "www-data",
    "WorkingDir": "srv/./app/../web",
    "StopSignal": "SIGQUIT",
    "Healthcheck": {"Test": ["CMD", "check", "-v"], "Interval": 2 * 10**9, "Retries": 5},
    "Volumes": {"/data": {}, "/var/cache/": {}},
    "ExposedPorts": {"80/tcp": {}},
    "Labels": {"tier": "back", "by": "us"},
}


def test_an_image_says_all_a_container_needs() -> None:
    """Every member that shapes the process inside is taken."""
    one = completed(container(), said(WHOLE))
    assert one.entrypoint == ("/entry",)
    assert one.command == ("serve", "-x")
    assert one.environment == {"PATH": "/opt/bin", "LANG": "C", "EMPTY": ""}
    assert one.user == "www-data"
    assert one.working_dir == "/srv/web"
    assert one.stop == StopPolicy("QUIT")
    assert one.health == Health(ExecProbe(("check", "-v")), 2.0, 30.0, 5)
    assert one.volumes == tuple(
        Volume(VolumeKind.ANONYMOUS, target) for target in ("/data", "/var/cache")
    )
    assert one.labels == {"tier": "back", "by": "us"}
    assert said(WHOLE).exposed == ("80/tcp",)


def test_the_file_wins() -> None:
    """Key by key; an entrypoint of the file's puts the image's command aside."""
    mine = container(
        entrypoint=("mine",),
        environment={"LANG": "de"},
        user="0",
        working_dir="/",
        stop=StopPolicy("INT", declared=frozenset({"signal"})),
        health=Health(TcpProbe(1)),
        volumes=(Volume(VolumeKind.NAMED, "/data", "pages"),),
        labels={"tier": "front"},
    )
    one = completed(mine, said(WHOLE))
    assert (one.entrypoint, one.command) == (("mine",), None)
    assert one.environment == {"PATH": "/opt/bin", "LANG": "de", "EMPTY": ""}
    assert (one.user, one.working_dir, one.stop.signal) == ("0", "/", "INT")
    assert one.health == mine.health
    assert [(one.kind, one.target) for one in one.volumes] == [
        (VolumeKind.NAMED, "/data"),
        (VolumeKind.ANONYMOUS, "/var/cache"),
    ]
    assert one.labels == {"tier": "front", "by": "us"}


def test_a_command_of_the_file_keeps_the_images_entrypoint() -> None:
    """As `docker run IMAGE CMD` does."""
    one = completed(container(command=("other",)), said(WHOLE))
    assert (one.entrypoint, one.command) == (("/entry",), ("other",))


def test_a_health_check_that_is_switched_off_stays_off() -> None:
    """By the file, or by the image itself; and a job has none."""
    assert completed(container(kind=Kind.JOB), said(WHOLE)).health is None
    assert completed(container(image_health=False), said(WHOLE)).health is None
    assert said({"Healthcheck": {"Test": ["NONE"]}}).health is None
    assert said({"Healthcheck": {}}).health is None


def test_completing_is_done_once() -> None:
    """A completed container is told from one whose image has not been asked."""
    once = completed(container(), said(WHOLE))
    assert once.complete
    assert completed(once, said(WHOLE)) == once


@pytest.mark.parametrize(
    ("health", "command"),
    [
        ({"Test": ["CMD-SHELL", "a | b"]}, ("/bin/sh", "-c", "a | b")),
        ({"Test": ["CMD", "a"], "Interval": -5, "Retries": -1}, ("a",)),
        ({"Test": ["CMD", "a"], "Interval": 1, "Timeout": 999_999}, ("a",)),
    ],
)
def test_health_checks_of_every_form(health: Mapping[str, object], command: list[str]) -> None:
    """A shell's text goes to the image's shell; nonsense in the times means the default."""
    found = said({"Healthcheck": health}).health
    assert found is not None
    assert found.probe == ExecProbe(tuple(command))
    assert found.retries >= 1
    assert (found.interval, found.timeout) == (30.0, 30.0)


def test_the_images_own_shell_is_taken() -> None:
    """`SHELL` in its Dockerfile."""
    config = {"Shell": ["/bin/ash", "-ec"], "Healthcheck": {"Test": ["CMD-SHELL", "x"]}}
    found = said(config).health
    assert found is not None
    assert found.probe == ExecProbe(("/bin/ash", "-ec", "x"))


def test_nothing_said_is_nothing_changed() -> None:
    """Go writes nil for what is empty."""
    empty = dict.fromkeys(WHOLE)
    for one in (said({}), said(empty), defaults_of(image(None))):
        assert one == Defaults()
    assert said({"StopSignal": "9"}).stop_signal == "KILL"
    assert said({"StopSignal": "RTMIN+3"}).stop_signal == "RTMIN+3"
    assert said({"StopSignal": "37"}).stop_signal == "RTMIN+3"


@pytest.mark.parametrize(
    "config",
    [
        [],
        "x",
        {"Entrypoint": "sh"},
        {"Cmd": [1]},
        {"Env": {"A": "B"}},
        {"Env": ["A=\0"]},
        {"User": 0},
        {"WorkingDir": ["/"]},
        {"StopSignal": "77"},
        {"Healthcheck": {"Test": ["SHELL", "x"]}},
        {"Healthcheck": {"Test": ["CMD"]}},
        {"Healthcheck": {"Test": ["CMD", "x"], "Interval": "5s"}},
        {"Healthcheck": {"Test": ["CMD", "x"], "Interval": 10**400}},
        {"Healthcheck": {"Test": ["CMD", "x"], "Timeout": -(2**63) - 1}},
        {"Healthcheck": {"Test": ["CMD", "x"], "Retries": 10**400}},
        {"Healthcheck": {"Test": ["CMD", "x"], "StartPeriod": True}},
        {"Env": ["A=\ud800"]},
        {"Labels": {"\udfff": "b"}},
        {"WorkingDir": "/\ud83d"},
        {"Volumes": ["/data"]},
        {"Labels": {"a": 1}},
    ],
)
def test_a_wrong_type_is_an_error(config: object) -> None:
    """An image's author is nobody we trust."""
    with pytest.raises(ImageError, match="onfiguration"):
        defaults_of(image(config))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(WHOLE, JSON)))
def test_any_configuration_is_read_or_refused(config: Mapping[str, object]) -> None:
    """And whatever it says, no volume of it is anything but the container's own."""
    try:
        one = completed(container(), said(config))
    except ImageError:
        return
    assert all(volume.kind is VolumeKind.ANONYMOUS for volume in one.volumes)
    assert all(volume.source is None for volume in one.volumes)
    assert one.working_dir is None or one.working_dir.startswith("/")
    untouched = ("ports", "capabilities", "sysctls", "ulimits", "limits", "user_namespace")
    assert all(getattr(one, name) == getattr(container(), name) for name in untouched)
