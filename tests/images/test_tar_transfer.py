"""Archives on a pipe, either way: as tar writes and reads them, and hostile ones."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, ImageError
from anchor_supervisor.images.node import NODE_FLAGS, Node
from anchor_supervisor.images.planting import Ownership, Planter
from anchor_supervisor.images.tar_transfer import read_tar, write_tar
from archives import Member, directory, hard_link, member, symlink, tar


def packed(path: Path, name: bytes, **more: object) -> bytes:
    """The archive of this path."""
    written: list[bytes] = []
    handle = os.open(path, NODE_FLAGS)
    try:
        write_tar(Node.of(handle), name, written.append, first_id=0, **more)  # type: ignore[arg-type]
    finally:
        os.close(handle)
    return b"".join(written)


def taken(archive: bytes, top: Path) -> list[str]:
    """Unpack it there; what was complained of."""
    complaints: list[str] = []
    handle = os.open(top, os.O_PATH | os.O_DIRECTORY)
    try:
        read_tar(io.BytesIO(archive), handle, Planter(Ownership()), complaints.append)
    finally:
        os.close(handle)
    return complaints


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree to pack."""
    top = tmp_path / "source"
    (top / "sub").mkdir(parents=True)
    (top / "file").write_bytes(b"content")
    os.link(top / "file", top / "sub/again")
    (top / "sub/link").symlink_to("../file")
    (top / ".wh.odd").write_bytes(b"only a name here")
    os.mkfifo(top / "fifo")
    os.utime(top / "sub", ns=(0, 1_000_000_000_000_000_001))
    return top


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where to unpack."""
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def test_a_tree_goes_there_and_back(source: Path, target: Path) -> None:
    """Everything is as before, to the nanosecond."""
    assert taken(packed(source, b"top"), target) == []
    for path in source.rglob("*"):
        copied = target / "top" / path.relative_to(source)
        assert path.lstat().st_mode == copied.lstat().st_mode, path
        assert path.lstat().st_mtime_ns == copied.lstat().st_mtime_ns, path
    assert (target / "top/file").samefile(target / "top/sub/again")


def test_tarfile_reads_what_is_written(source: Path) -> None:
    """A directory below its name, content below none, a single file, link or FIFO as itself."""
    for path, name, expected in (
        (source, b"top", {"top", "top/file", "top/sub/link"}),
        (source, b"", {".", "file", "sub/link"}),
        (source / "file", b"one", {"one"}),
        (source / "sub/link", b"one", {"one"}),
        (source / "fifo", b"one", {"one"}),
    ):
        with tarfile.open(fileobj=io.BytesIO(packed(path, name))) as archive:
            assert expected <= set(archive.getnames())
    with tarfile.open(fileobj=io.BytesIO(packed(source / "file", b"one"))) as archive:
        content = archive.extractfile("one")
        assert content is not None
        assert content.read() == b"content"
    with pytest.raises(HostError, match="`null` is neither"):
        packed(Path("/dev/null"), b"null")


@pytest.mark.parametrize(
    "members",
    [
        [symlink("link", "/tmp/elsewhere"), member("link/file", b"x")],
        [symlink("link", "/tmp/elsewhere"), directory("link")],
        [member("../file", b"x")],
        [hard_link("hard", "missing")],
        [symlink("link", "/etc"), hard_link("hard", "link/passwd")],
        [hard_link("hard", "../../etc/passwd")],
    ],
)
def test_no_archive_leads_outside(members: list[Member], target: Path, tmp_path: Path) -> None:
    """Neither by its names nor by links it has made; links are never walked through."""
    before = sorted(os.listdir(tmp_path))
    with pytest.raises((ImageError, HostError)):
        taken(tar(*members), target)
    assert sorted(os.listdir(tmp_path)) == before
    assert not any(path.is_file() and not path.is_symlink() for path in target.rglob("*"))


def test_links_that_are_there_are_not_walked_through(target: Path, tmp_path: Path) -> None:
    """What a container has prepared leads nowhere either."""
    (tmp_path / "outside").mkdir()
    (target / "dir").symlink_to(tmp_path / "outside")
    (target / "file").symlink_to(tmp_path / "outside/file")
    with pytest.raises(HostError):
        taken(tar(member("dir/file", b"x")), target)
    taken(tar(member("file", b"x")), target)
    assert os.listdir(tmp_path / "outside") == []
    assert (target / "file").read_bytes() == b"x"


def test_devices_are_left_out(target: Path) -> None:
    """And named."""
    [words] = taken(tar(member("null", kind=tarfile.CHRTYPE), member("file", b"x")), target)
    assert "`null`" in words
    assert os.listdir(target) == ["file"]


def test_a_broken_archive_is_an_error(source: Path, target: Path) -> None:
    """Cut short anywhere, or no archive at all."""
    whole = packed(source, b"top")
    for broken in (whole[:-1024], whole[: len(whole) // 2], b"hello" * 1000):
        with pytest.raises(ImageError):
            taken(broken, target)


def test_directories_that_are_only_in_names_can_be_entered(target: Path) -> None:
    """As mkdir makes them; what the archive says of one later is what counts."""
    late = tarfile.TarInfo("a")
    late.type, late.mode, late.mtime = tarfile.DIRTYPE, 0o711, 1000
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a/b/c"))
        tar.addfile(late)
    assert taken(stream.getvalue(), target) == []
    assert (target / "a/b").stat().st_mode & 0o7777 == 0o755
    assert (target / "a").stat().st_mode & 0o7777 == 0o711
    assert (target / "a").stat().st_mtime == 1000


@pytest.mark.root
@pytest.mark.parametrize(("owner", "told"), [(100_005, 5), (7, 65534), (200_000, 65534)])
def test_owners_without_a_number_inside_are_nobody(source: Path, owner: int, told: int) -> None:
    """Of a single file as of a tree: never the container's root."""
    os.chown(source / "file", owner, owner)
    written: list[bytes] = []
    handle = os.open(source / "file", NODE_FLAGS)
    try:
        write_tar(Node.of(handle), b"file", written.append, first_id=100_000)
    finally:
        os.close(handle)
    with tarfile.open(fileobj=io.BytesIO(b"".join(written))) as tar:
        assert (tar.getmember("file").uid, tar.getmember("file").gid) == (told, told)
