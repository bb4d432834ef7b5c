"""Kernel settings: only a container's own, and one write for each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import FleetError
from anchor_supervisor.kernel.steps import Slot, WriteBeneath
from anchor_supervisor.rootfs.sysctls import sysctl_steps

PROC = Slot(0)


def test_pings_work_without_a_capability_where_the_network_is_the_containers_own() -> None:
    """Group 0 may ping by default; on the machine's network nothing is changed."""
    assert sysctl_steps(PROC, {}, own_network=True) == (
        WriteBeneath(PROC, "sys/net/ipv4/ping_group_range", "0 0"),
    )
    assert sysctl_steps(PROC, {}, own_network=False) == ()


def test_what_is_asked_for_replaces_the_default() -> None:
    """A setting is written once, with the user's value."""
    steps = sysctl_steps(PROC, {"net.ipv4.ping_group_range": "0 100"}, own_network=True)
    assert [step.value for step in steps] == ["0 100"]


@pytest.mark.parametrize(
    "name",
    [
        "kernel.core_pattern",
        "kernel.panic",
        "vm.swappiness",
        "fs.file-max",
        "kernel.shm_rmid_forced=1+kernel.core_pattern",
        "kernel/shmmax",
        "net",
        "net.",
        "net..ipv4",
        "net.ipv4/../../kernel.panic",
        "",
        "net.core.somaxconn\n",
    ],
)
def test_what_is_not_a_containers_own_setting_is_refused(name: str) -> None:
    """Neither the machine's settings nor an odd spelling gets to /proc/sys (CVE-2022-0811)."""
    with pytest.raises(FleetError) as refused:
        sysctl_steps(PROC, {name: "1"}, own_network=True)
    assert refused.value.problems[0].key == f"sysctls.{name}"


@pytest.mark.parametrize("value", ["", "1\n2", "1\0", "é", "x" * 1025])
def test_a_value_is_one_plain_line(value: str) -> None:
    """A second line would be a second setting to some files."""
    with pytest.raises(FleetError, match="one line of plain text"):
        sysctl_steps(PROC, {"net.core.somaxconn": value}, own_network=True)


def test_network_settings_of_the_machine_are_not_a_containers() -> None:
    """A container on the machine's network must not change it."""
    with pytest.raises(FleetError, match="the machine's own network"):
        sysctl_steps(PROC, {"net.core.somaxconn": "1"}, own_network=False)


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Two bad settings are two problems of one error."""
    with pytest.raises(FleetError) as refused:
        sysctl_steps(PROC, {"vm.swappiness": "1", "kernel.panic": "1"}, own_network=True)
    assert len(refused.value.problems) == 2


@given(st.text(max_size=40), st.text(max_size=20))
def test_no_name_ever_leaves_the_tree_of_settings(name: str, value: str) -> None:
    """Whatever is accepted becomes a relative path beneath sys without a way up."""
    try:
        steps = sysctl_steps(PROC, {name: value}, own_network=True)
    except FleetError:
        return
    for step in steps:
        assert step.path.startswith("sys/")
        assert not {"..", ".", ""} & set(step.path.split("/"))
