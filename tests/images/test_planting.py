"""Files put into a directory that others change: never half of one, never through a link."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError
from anchor_supervisor.images.node import Attributes
from anchor_supervisor.images.planting import Ownership, Planter
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.apart import in_own_namespace

PLAIN = Attributes(0o640, 0, 0, 5_000_000_007, {})
PLANTER = Planter(Ownership())


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[int]:
    """A directory held open."""
    handle = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield handle
    os.close(handle)


def _write(file: int, content: bytes) -> None:
    assert os.write(file, content) == len(content)


def put(parent: int, name: bytes, content: bytes) -> None:
    """Plant a file."""
    PLANTER.file(parent, name, PLAIN, lambda file: _write(file, content))


def test_nobody_sees_half_a_file(parent: int, tmp_path: Path) -> None:
    """While it is filled, its name still means what it meant before."""
    (tmp_path / "file").write_bytes(b"before")
    seen = []

    def fill(file: int) -> None:
        os.write(file, b"af")
        seen.append((tmp_path / "file").read_bytes())
        os.write(file, b"ter")

    PLANTER.file(parent, b"file", PLAIN, fill)
    status = (tmp_path / "file").stat()
    assert seen == [b"before"]
    assert (tmp_path / "file").read_bytes() == b"after"
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o640, 5_000_000_007)


def test_a_failure_leaves_nothing(parent: int, tmp_path: Path) -> None:
    """What was there stays, and nothing of ours is beside it."""
    (tmp_path / "file").write_bytes(b"before")

    def fill(file: int) -> None:
        os.write(file, b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PLANTER.file(parent, b"file", PLAIN, fill)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"before"


def test_a_link_is_replaced_and_not_followed(parent: int, tmp_path: Path) -> None:
    """Whether it is replaced by a file, a FIFO or another link."""
    (tmp_path / "other").write_bytes(b"safe")
    ways: tuple[Callable[[], None], ...] = (
        lambda: put(parent, b"link", b"new"),
        lambda: PLANTER.fifo(parent, b"link", PLAIN),
        lambda: PLANTER.symlink(parent, b"link", PLAIN, b"elsewhere"),
        lambda: PLANTER.link(parent, b"other", parent, b"link"),
    )
    for plant in ways:
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to("other")
        plant()
        assert (tmp_path / "other").read_bytes() == b"safe"
    assert (tmp_path / "link").samefile(tmp_path / "other")
    PLANTER.link(parent, b"other", parent, b"link")  # rename(2) leaves two names of one file
    assert sorted(os.listdir(tmp_path)) == ["link", "other"]


def test_a_directory_is_joined_and_nothing_else_is(parent: int, tmp_path: Path) -> None:
    """A file or a link to a directory is not entered."""
    opened, made = PLANTER.directory(parent, b"directory")
    os.close(opened)
    assert made
    opened, made = PLANTER.directory(parent, b"directory")
    os.close(opened)
    assert not made
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("directory")
    for name in (b"file", b"link"):
        with pytest.raises(HostError, match="cannot put a directory"):
            PLANTER.directory(parent, name)


def test_a_directory_is_not_replaced(parent: int, tmp_path: Path) -> None:
    """Not by anything."""
    (tmp_path / "directory").mkdir()
    with pytest.raises(HostError, match="cannot put a file where the directory `directory` is"):
        put(parent, b"directory", b"")
    assert os.listdir(tmp_path) == ["directory"]


@pytest.mark.root
def test_a_mount_point_is_refused(data_dir: Path) -> None:
    """Neither detached, as a rename from another mount namespace would do, nor written through."""
    (data_dir / "root").mkdir()
    (data_dir / "root/config").write_bytes(b"beneath")
    (data_dir / "mounted").write_bytes(b"a longer content than the new")

    def inside() -> int:
        clone = mount.clone_tree(data_dir / "mounted")
        mount.attach(clone, data_dir / "root/config")
        os.close(clone)
        return os.open(data_dir / "root", os.O_PATH | os.O_DIRECTORY)

    held: list[int] = []

    def keep() -> None:
        held.append(inside())
        with pytest.raises(HostError, match="something is mounted on it"):
            put(held[0], b"config", b"new")
        with pytest.raises(HostError, match="something is mounted on it"):
            PLANTER.symlink(held[0], b"config", PLAIN, b"x")

    in_own_namespace(keep)
    os.close(held[0])
    assert (data_dir / "mounted").read_bytes() == b"a longer content than the new"
    assert (data_dir / "root/config").read_bytes() == b"beneath"
    assert os.listdir(data_dir / "root") == ["config"]


@pytest.mark.root
def test_a_link_gets_its_owner_and_what_it_leads_to_does_not(parent: int, tmp_path: Path) -> None:
    """-a gives links away as well."""
    (tmp_path / "file").touch()
    keeping = Planter(Ownership(keep=True))
    keeping.symlink(parent, b"link", Attributes(0o777, 7, 8, 0, {}), b"file")
    status = (tmp_path / "link").lstat()
    assert (status.st_uid, status.st_gid) == (7, 8)
    assert (tmp_path / "file").stat().st_uid == 0
