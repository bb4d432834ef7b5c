"""Volumes that a running container changes while another container is given them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError
from anchor_supervisor.fleet.model import Volume, VolumeKind
from anchor_supervisor.kernel import spawn, steps
from anchor_supervisor.rootfs.mapped import clone_mapped
from anchor_supervisor.rootfs.volume_content import named_path
from anchor_supervisor.rootfs.volumes import prepare
from container_box import BUSYBOX, Box
from exchange import exchange

pytestmark = pytest.mark.root

STARTS = 40


@pytest.fixture
def boxes(data_dir: Path) -> Iterator[tuple[Box, Box]]:
    """Two containers, each with a root and namespaces of its own."""
    if not BUSYBOX.exists():
        pytest.skip("needs Debian's busybox-static")
    with ExitStack() as stack:
        made = []
        for name in ("one", "other"):
            root = data_dir / name
            (root / "bin").mkdir(parents=True)
            (root / "bin/busybox").write_bytes(BUSYBOX.read_bytes())
            (root / "bin/busybox").chmod(0o755)
            (root / "bin/cat").symlink_to("busybox")
            box = Box(root)
            stack.callback(box.close)
            try:
                os.close(clone_mapped(root, box.sandbox.user))
            except HostError as error:
                pytest.skip(f"machine: {error}")
            made.append(box)
        yield made[0], made[1]


@pytest.fixture
def outside(data_dir: Path) -> Path:
    """A place of the machine that no container has; whatever appears in it has got out."""
    place = data_dir / "outside"
    place.mkdir()
    place.chmod(0o777)
    return place


@contextmanager
def exchanging(one: Path, other: Path) -> Iterator[None]:
    """Swap two names without a pause, as the attacks did."""
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            exchange(one, other)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("up", [False, True])
def test_targets_in_a_shared_volume_never_lead_out(
    up: bool, boxes: tuple[Box, Box], outside: Path, data_dir: Path
) -> None:
    """Volumes are mounted in one that another container swaps links in (CVE-2021-30465).

    Nor are the directories on the way made anywhere else (CVE-2024-45310).
    """
    shared = named_path(data_dir, "shop", "shared")
    (shared / "way").mkdir(parents=True)
    (shared / "evil").symlink_to("../" * 20 + str(outside) if up else outside)
    source = data_dir / "source"
    source.mkdir()
    table = Path("/proc/self/mountinfo").read_text()
    started = 0
    with exchanging(shared / "way", shared / "evil"):
        for number in range(STARTS):
            box = boxes[number % 2]
            with ExitStack() as stack:
                inside: list[steps.Step] = []
                for volume in (
                    Volume(VolumeKind.NAMED, "/shared", "shared"),
                    Volume(VolumeKind.BIND, f"/shared/way/{number}/deep", str(source)),
                ):
                    mounted = prepare(
                        volume, data=data_dir, fleet="shop", user_namespace=box.sandbox.user
                    )
                    assert mounted.fd is not None
                    stack.callback(os.close, mounted.fd)
                    inside.append(steps.Attach(mounted.fd, volume.target, "a volume"))
                try:
                    said = box.run("cat", "/proc/self/mountinfo", inside=inside).output
                except spawn.SpawnError as error:
                    assert error.step_index is not None  # noqa: PT017 - failing is allowed here
                    continue
                assert f"/{number}/deep " in said
                started += 1
    assert started
    assert list(outside.iterdir()) == []
    assert Path("/proc/self/mountinfo").read_text() == table
