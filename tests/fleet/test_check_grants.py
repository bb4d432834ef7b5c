"""Where secrets and configs are in a container, and whose."""

from __future__ import annotations

import pytest

from fleet_text import container, messages

MOTD = '[configs.motd]\ncontent = "x"\n[configs.site]\ncontent = "y"\n'


def at(target: str) -> str:
    """A container that takes a config to this place."""
    return f'configs = [{{ source = "motd", target = "{target}" }}]'


@pytest.mark.parametrize(
    "target", ["/proc", "/proc/1/x", "//proc/x", "/sys/x", "/dev", "/dev/x", "/dev/shm", "/./sys"]
)
def test_no_file_stands_in_for_the_kernels(target: str) -> None:
    """However the path is written."""
    [found] = messages(at(target), MOTD)
    assert found.endswith("of `motd` is the kernel's, not a place for files")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (at("/a/../b"), "target `/a/../b` of `motd` has `..` in it"),
        (at("/"), "target `/` of `motd` is the root itself"),
        ('configs = ["motd", "motd"]', "target `/motd` of `motd` is taken by `motd`"),
        (
            'configs = ["site", { source = "motd", target = "/site" }]',
            "target `/site` of `motd` is taken by `site`",
        ),
        (
            f'volumes = ["tmpfs:/run", "./x:/etc/motd"]\n{at("/etc/motd/")}',
            "target `/etc/motd` of `motd` is taken by `volumes[1]`",
        ),
        (
            'configs = ["motd", { source = "site", target = "/motd/site" }]',
            "target `/motd/site` of `site` is inside `/motd`, which is a file",
        ),
        (
            'configs = ["motd"]\nvolumes = ["./x:/motd/x"]',
            "target `/motd/x` is inside `/motd`, which is a file",
        ),
        (
            'configs = [{ source = "motd", owner = "70000:1" }]',
            "owner of `motd`: user `70000` is not among the 65536 ids of the container",
        ),
    ],
)
def test_places_that_cannot_be_had(lines: str, message: str) -> None:
    """One problem each."""
    assert messages(lines, MOTD) == [message]


def test_places_in_volumes_are_fine() -> None:
    """And so is any id where all are the machine's."""
    lines = f'volumes = ["tmpfs:/run", "/etc"]\n{at("/run/x/motd")}'
    assert container(lines, MOTD).grants[0].target == "/run/x/motd"
    lines = 'configs = [{ source = "motd", owner = "70000" }]\nuser_namespace = "host"'
    assert container(lines, MOTD).grants[0].owner == "70000"
