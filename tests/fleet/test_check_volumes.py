"""Volumes and their targets."""

from __future__ import annotations

import pytest

from fleet_text import container, messages, problems


def test_a_named_volume_is_declared() -> None:
    """With the nearest name, or how to declare it."""
    assert container('volumes = ["data:/data"]', "[volumes.data]").volumes[0].source == "data"
    found = problems('volumes = ["dat:/data", "new:/o"]', "[volumes.data]")
    assert [(one.key, one.message, one.hint) for one in found] == [
        ("containers.web.volumes[0]", "there is no volume `dat`", "did you mean `data`?"),
        (
            "containers.web.volumes[1]",
            "there is no volume `new`",
            "declare it: `[volumes.new]`",
        ),
    ]


@pytest.mark.parametrize(
    "target",
    [
        "/proc",
        "/proc/",
        "//proc",
        "/./proc",
        "/proc/self/attr",
        "/sys",
        "/sys/fs/cgroup",
        "//sys//kernel",
        "/dev",
        "/dev/pts",
        "/dev/shm/x",
    ],
)
def test_no_volume_stands_in_for_the_kernels_files(target: str) -> None:
    """However the path is written (CVE-2019-16884, CVE-2019-19921)."""
    found = messages(f'volumes = ["./x:{target}"]')
    assert len(found) == 1
    assert found[0].endswith("is the kernel's, not a place for files")


@pytest.mark.parametrize("target", ["/data/../proc", "/..", "/a/.."])
def test_no_target_goes_up(target: str) -> None:
    """Through a link of the image it would not lead where it seems to."""
    assert messages(f'volumes = ["./x:{target}"]') == [f"target `{target}` has `..` in it"]


def test_targets_beside_the_kernels_are_fine() -> None:
    """Only whole path components count."""
    found = container('volumes = ["./x:/process", "./y:/data/proc", "./z:/data/..."]')
    assert [one.target for one in found.volumes] == ["/process", "/data/proc", "/data/..."]


def test_shared_memory_and_message_queues_may_be_volumes() -> None:
    """The two places of /dev that hold what programs put there."""
    found = container('volumes = ["tmpfs:/dev/shm:size=1G", "/dev/mqueue"]')
    assert [one.target for one in found.volumes] == ["/dev/shm", "/dev/mqueue"]


def test_a_volume_without_a_source_needs_no_declaration() -> None:
    """It is the container's own."""
    assert container('volumes = ["/data"]').volumes[0].source is None


def test_a_tmpfs_belongs_to_an_id_that_the_container_has() -> None:
    """Its own user namespace has 65,536 of them; the machine's has all."""
    entry = 'volumes = ["tmpfs:/a:uid=65535", "tmpfs:/b:uid=65536,gid=70000"]'
    found = problems(entry)
    assert [(one.key, one.message) for one in found] == [
        ("containers.web.volumes[1]", "`uid=65536` is not among the container's ids"),
        ("containers.web.volumes[1]", "`gid=70000` is not among the container's ids"),
    ]
    assert container(f'{entry}\nuser_namespace = "host"').volumes[1].gid == 70000


def test_a_target_is_taken_once() -> None:
    """Written differently it is still the same place."""
    assert messages('volumes = ["./x:/data", "tmpfs:/run", "./y:/./data/"]') == [
        "target `/data` is taken by `volumes[0]`"
    ]
    assert messages('volumes = ["./x:/"]') == ["the root itself cannot be a target"]


def test_numbers_in_the_list_are_told_only_when_all_could_be_read() -> None:
    """Else they would point at the wrong line."""
    assert messages('volumes = ["wrong", "./x:/proc"]') == [
        "`wrong` is not `SOURCE:TARGET` or `SOURCE:TARGET:OPTIONS`"
    ]
