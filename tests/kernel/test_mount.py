"""Detached mounts, and paths that must not lead out."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import mount, namespaces
from container_box import IDS

pytestmark = pytest.mark.root


def test_a_new_file_system_has_its_options_and_is_in_no_table() -> None:
    """It is used through its descriptor alone."""
    before = Path("/proc/self/mountinfo").read_text()
    fd = mount.new_filesystem("tmpfs", (("mode", "0711"), ("noswap", None))[:1])
    assert os.fstat(fd).st_mode & 0o777 == 0o711
    assert Path("/proc/self/mountinfo").read_text() == before
    os.close(fd)


def test_attributes_hold() -> None:
    """A read-only mount refuses writes, and can be set writable again."""
    fd = mount.new_filesystem("tmpfs", (), mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOATIME)
    with pytest.raises(OSError, match="Read-only file system"):
        os.mkdir("x", dir_fd=fd)
    mount.set_attributes(
        fd, mount.MOUNT_ATTR_STRICTATIME, remove=mount.MOUNT_ATTR_RDONLY, recursive=True
    )
    os.mkdir("x", dir_fd=fd)
    os.close(fd)


def test_the_file_systems_own_words_are_in_the_error() -> None:
    """EINVAL alone would help nobody."""
    with pytest.raises(KernelError, match=r"make a new tmpfs \(.*[Uu]nknown parameter 'wrong'"):
        mount.new_filesystem("tmpfs", (("wrong", "1"),))
    with pytest.raises(KernelError, match="fsopen `nosuchfs`: No such device"):
        mount.new_filesystem("nosuchfs")


def test_an_idmapped_clone_shows_mapped_ids(data_dir: Path) -> None:
    """Root's files appear as the first id of the range."""
    sandbox = namespaces.create_sandbox(IDS, network=False)
    fd = mount.clone_tree(data_dir, idmap=sandbox.user, attributes=mount.MOUNT_ATTR_NOSUID)
    assert os.fstat(fd).st_uid == IDS.first
    assert data_dir.stat().st_uid == 0
    os.close(fd)
    sandbox.close()


def test_a_failed_clone_leaves_no_descriptor(data_dir: Path) -> None:
    """Attributes that are refused take the clone along."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(KernelError):
        mount.clone_tree(data_dir, attributes=1 << 40)
    with pytest.raises(KernelError):
        mount.new_filesystem("tmpfs", (), 1 << 30)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_paths_stay_beneath(data_dir: Path) -> None:
    """`..`, absolute links and magic links do not lead out of the root."""
    (data_dir / "in").mkdir()
    (data_dir / "file").write_text("inside")
    (data_dir / "in/up").symlink_to("../../../../../../file")
    (data_dir / "in/absolute").symlink_to("/file")
    (data_dir / "in/magic").symlink_to("/proc/self/root")
    root = os.open(data_dir, os.O_PATH)
    for path in ("in/up", "in/absolute", "/in/up", "../../file"):
        with os.fdopen(mount.open_beneath(root, path, os.O_RDONLY)) as file:
            assert file.read() == "inside"
    with pytest.raises(KernelError, match="open `in/magic`") as raised:
        mount.open_beneath(root, "in/magic", os.O_RDONLY)
    assert raised.value.errno == errno.ENOENT
    os.close(root)
    root = os.open("/", os.O_PATH)
    with pytest.raises(KernelError) as raised:
        mount.open_beneath(root, "/proc/self/root", os.O_PATH)
    assert raised.value.errno == errno.ELOOP
    os.close(root)


def test_a_mount_is_attached_and_detached(data_dir: Path) -> None:
    """By path or by descriptor; a link at the end is not unmounted through."""
    place = data_dir / "place"
    place.mkdir()
    (data_dir / "link").symlink_to(place)
    for target in (place, os.open(place, os.O_PATH)):
        fd = mount.new_filesystem("tmpfs")
        mount.attach(fd, target)
        os.close(fd)
        assert place.is_mount()
        with pytest.raises(KernelError, match="umount2"):
            mount.unmount(data_dir / "link")
        mount.unmount(place)
        assert not place.is_mount()
        if isinstance(target, int):
            os.close(target)
