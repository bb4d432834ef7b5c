"""Users, capabilities, kernel settings and ulimits."""

from __future__ import annotations

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet.check_privileges import ULIMITS, privilege_findings
from anchor_supervisor.fleet.model import Container, Image, ImageKind, UserNamespace
from fleet_text import container, messages


def _user_findings(user: str, namespace: UserNamespace = UserNamespace.HOST) -> list[str]:
    image = Image(ImageKind.HOST, "host")
    one = Container("web", image, user=user, user_namespace=namespace)
    return [finding.message for finding in privilege_findings(one)]


@pytest.mark.parametrize(
    "user", ["0", "1000", "1000:1000", "postgres", "a.b:c-d", "_x", "host$", "4294967294", "root:0"]
)
def test_users_that_can_be_meant(user: str) -> None:
    """Names and numbers, with a group or without."""
    assert _user_findings(user) == []


@pytest.mark.parametrize(
    "user",
    [
        "",
        ":",
        "1000:",
        ":0",
        "1:2:3",
        "+0",
        "-1",
        "-0",
        "00",
        "0x0",
        "01000",
        "\uff10",
        "\u0660",
        "1e3",
        " 0",
        "0 ",
        "0\n",
        "root\n",
        "4294967295",
        "4294967296",
        "18446744073709551616",
        "1000abc",
        "a b",
        "a/b",
        "x" * 33,
    ],
)
def test_users_that_were_root_elsewhere_are_refused(user: str) -> None:
    """Overflowing, half empty, or a number only to int() (CVE-2024-40635, CVE-2026-30892)."""
    assert len(_user_findings(user)) == 1


@given(st.text(max_size=12))
def test_a_user_that_passes_is_a_plain_name_or_number(user: str) -> None:
    """No text that passes can be read as another id than it shows."""
    if _user_findings(user) == []:
        for part in user.split(":"):
            assert part.isascii()
            assert part
            if part[0].isdigit() or part[0] in "+-":
                assert str(int(part)) == part
                assert 0 <= int(part) < 2**32 - 1


def test_a_private_user_namespace_has_65536_ids() -> None:
    """A larger number means nobody there."""
    assert _user_findings("65535:65535", UserNamespace.AUTO) == []
    assert _user_findings("65536:70000", UserNamespace.AUTO) == [
        "user `65536` is not among the 65536 ids of the container",
        "group `70000` is not among the 65536 ids of the container",
    ]
    assert container('user = 70000\nuser_namespace = "host"').user == "70000"


def test_capabilities_have_known_names() -> None:
    """With the nearest name; in one list only."""
    assert messages('capabilities = { add = ["NET_RAWW"], drop = ["ALL", "chown"] }') == [
        "`NET_RAWW` is not a capability"
    ]
    assert messages('capabilities = { add = ["KILL"], drop = ["CAP_KILL"] }') == [
        "`KILL` is both added and dropped"
    ]


@pytest.mark.parametrize(
    "name",
    [
        "net.core.somaxconn",
        "net.ipv4.conf.all.rp_filter",
        "kernel.shm_rmid_forced",
        "kernel.msgmax",
        "kernel.sem",
        "fs.mqueue.msg_max",
    ],
)
def test_settings_of_the_containers_own(name: str) -> None:
    """Those of its network and ipc namespaces."""
    assert container(f'sysctls = {{ "{name}" = "1" }}').sysctls == {name: "1"}


@pytest.mark.parametrize(
    "name",
    [
        "kernel.core_pattern",
        "kernel.hostname",
        "vm.swappiness",
        "fs.file-max",
        "kernel.shm_rmid_forced+kernel.core_pattern",
        "kernel.shm_rmid_forced/../core_pattern",
        "net/core/somaxconn",
        "net.",
        "net..x",
        "net.ipv4/../../kernel.core_pattern",
        "kernel.shm_rmid_forced kernel.core_pattern",
        "",
        "NET.core",
    ],
)
def test_settings_of_the_machine_are_refused(name: str) -> None:
    """Whatever separators are tried (CVE-2022-0811)."""
    assert len(messages(f'sysctls = {{ "{name}" = "1" }}')) == 1


@pytest.mark.parametrize(
    "value", ["", "1\\n2", "1+kernel.core_pattern=x", "|/bin/x", " 1", "1=2", "$$x"]
)
def test_a_setting_has_a_plain_value(value: str) -> None:
    """One line without anything that could end it and begin another."""
    found = messages(f'sysctls = {{ "net.core.somaxconn" = "{value}" }}')
    assert len(found) == 1
    assert found[0].endswith("is not a value of a kernel setting")


def test_on_the_machines_network_no_setting_of_it_is_the_containers() -> None:
    """It would change the machine's own."""
    assert messages('networks = "host"\nsysctls = { "net.core.somaxconn" = 1 }') == [
        "`net.core.somaxconn` would change the machine's own network"
    ]


def test_ulimits_have_known_names_and_an_order() -> None:
    """The soft one is not above the hard one; -1 is above everything."""
    assert messages("ulimits = { nofiles = 1 }") == ["`nofiles` is not a ulimit"]
    assert messages("ulimits = { nofile = [2, 1] }") == ["soft limit `2` is above hard limit `1`"]
    assert messages("ulimits = { nofile = [-1, 1] }") == ["soft limit `-1` is above hard limit `1`"]
    assert container("ulimits = { nofile = [64, -1] }").ulimits == {"nofile": (64, -1)}
    assert messages("ulimits = { nofile = 63 }") == [
        "a start needs 64 open files itself, more than `63`"
    ]


def test_every_ulimit_is_one_that_python_knows() -> None:
    """The names are the standard library's, so that the runtime finds their numbers."""
    known = {name.removeprefix("RLIMIT_").lower() for name in dir(resource)}
    assert set(ULIMITS) <= known
