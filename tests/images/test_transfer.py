"""Trees copied by descriptor: what arrives, and what a hostile side cannot do."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError
from anchor_supervisor.images import transfer as under_test
from anchor_supervisor.images.node import NODE_FLAGS, Node
from anchor_supervisor.images.planting import Ownership, Planter
from anchor_supervisor.images.transfer import transfer


def copy(
    source: Path,
    parent: Path,
    name: bytes | None = b"copy",
    ownership: Ownership = Ownership(),  # noqa: B008 - frozen
    apart: frozenset[int] = frozenset(),
) -> list[str]:
    """Copy, and return what was complained of."""
    complaints: list[str] = []
    handle = os.open(source, NODE_FLAGS)
    directory = os.open(parent, os.O_PATH | os.O_DIRECTORY)
    try:
        node = Node.of(handle)
        transfer(node, directory, name, Planter(ownership), complaints.append, apart=apart)
    finally:
        os.close(handle)
        os.close(directory)
    return complaints


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with something of everything that is copied."""
    top = tmp_path / "source"
    (top / "sub/deeper").mkdir(parents=True)
    (top / "file").write_bytes(b"content")
    (top / "file").chmod(0o640)
    os.setxattr(top / "file", "user.colour", b"red")
    os.link(top / "file", top / "sub/again")
    (top / "sub/link").symlink_to("../nowhere")
    os.mkfifo(top / "fifo", 0o600)
    (top / "sub" / os.fsdecode(b"\xff\n\\ x")).write_bytes(b"odd")
    with (top / "sparse").open("wb") as sparse:
        sparse.seek(8 << 20)
        sparse.write(b"end")
        sparse.truncate(64 << 20)
    (top / "sub/deeper").chmod(0o1711)
    os.utime(top / "file", ns=(1, 1_234_567_890_123_456_789))
    os.utime(top / "sub", ns=(1, 1_000_000_000_000_000_001))
    return top


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where it goes."""
    place = tmp_path / "target"
    place.mkdir()
    return place


def test_everything_arrives(source: Path, target: Path) -> None:
    """Content, names of any bytes, modes, times, attributes, links of both kinds, FIFOs, holes."""
    assert copy(source, target) == []
    made = target / "copy"
    for path in sorted(source.rglob("*")):
        copied = made / path.relative_to(source)
        before, after = path.lstat(), copied.lstat()
        assert (before.st_mode, before.st_size) == (after.st_mode, after.st_size), path
        assert before.st_mtime_ns == after.st_mtime_ns, path
        if path.is_symlink():
            assert os.readlink(path) == os.readlink(copied)
        elif path.is_file():
            assert path.read_bytes() == copied.read_bytes()
    assert (made / "file").stat().st_ino == (made / "sub/again").stat().st_ino
    assert os.getxattr(made / "file", "user.colour") == b"red"
    assert (made / "sparse").stat().st_blocks <= (source / "sparse").stat().st_blocks + 16


def test_a_copy_goes_over_what_is_there(source: Path, target: Path) -> None:
    """Directories are joined, files and links replaced and never written through."""
    (target / "copy/sub").mkdir(parents=True)
    (target / "copy/sub").chmod(0o700)
    (target / "copy/kept").touch()
    (target / "outside").write_bytes(b"safe")
    (target / "copy/file").symlink_to("../outside")
    copy(source, target)
    assert (target / "outside").read_bytes() == b"safe"
    assert (target / "copy/file").read_bytes() == b"content"
    assert not (target / "copy/file").is_symlink()
    assert (target / "copy/kept").exists()
    assert (target / "copy/sub").stat().st_mode & 0o777 == 0o700
    assert not [name for name in os.listdir(target / "copy") if name.startswith(".anchor-")]


def test_a_link_in_the_target_is_no_directory(source: Path, target: Path, tmp_path: Path) -> None:
    """A directory never goes through a link that stands in its place: nothing lands elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (target / "copy").mkdir()
    (target / "copy/sub").symlink_to(elsewhere)
    with pytest.raises(HostError, match="`sub` is"):
        copy(source, target)
    assert os.listdir(elsewhere) == []


def test_a_file_does_not_replace_a_directory(source: Path, target: Path) -> None:
    """As docker refuses it; nothing of ours stays."""
    (target / "copy").mkdir()
    with pytest.raises(HostError, match="where the directory `copy` is"):
        copy(source / "file", target)
    assert os.listdir(target) == ["copy"]


def test_content_alone_can_be_copied(source: Path, target: Path) -> None:
    """Without the directory itself, whose attributes are left alone."""
    target.chmod(0o711)
    copy(source, target, None)
    assert sorted(os.listdir(target)) == sorted(os.listdir(source))
    assert target.stat().st_mode & 0o777 == 0o711


def test_sockets_and_devices_are_left_out_and_named(source: Path, target: Path) -> None:
    """With a word for each; neither is ever opened."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "socket"))
        complaints = copy(source, target)
    assert complaints == ["left out `copy/socket`: a socket is not copied"]
    assert not (target / "copy/socket").exists()
    with pytest.raises(HostError, match="cannot copy `null`: a device is not copied"):
        copy(Path("/dev/null"), target, b"null")


def test_a_fifo_is_copied_and_not_read(source: Path, target: Path) -> None:
    """A FIFO nobody writes to holds nothing up, also where it is the one thing asked for."""
    copy(source / "fifo", target)
    assert (target / "copy").is_fifo()


def test_set_id_bits_stay_with_their_owner_alone(source: Path, target: Path) -> None:
    """A container's set-id file does not become one of the caller's."""
    (source / "file").chmod(0o6755)
    copy(source / "file", target)
    assert (target / "copy").stat().st_mode & 0o7777 == 0o755


@pytest.mark.root
def test_owners_are_kept_on_request(source: Path, target: Path) -> None:
    """Out: numbers as inside, nobody's where there is none. In: what the container calls so."""
    os.chown(source / "file", 700_005, 700_006)
    os.chown(source / "sub/link", 700_001, 12, follow_symlinks=False)
    (source / "file").chmod(0o4755)
    copy(source, target, ownership=Ownership(keep=True, first=700_000, count=65536))
    out = (target / "copy/file").stat()
    assert (out.st_uid, out.st_gid, out.st_mode & 0o7777) == (5, 6, 0o4755)
    link = (target / "copy/sub/link").lstat()
    assert (link.st_uid, link.st_gid) == (1, 65534)
    inward = Ownership(keep=True, first=800_000, count=65536, inward=True)
    copy(target / "copy/file", target, b"in", inward)
    back = (target / "in").stat()
    assert (back.st_uid, back.st_gid) == (800_005, 800_006)
    os.chown(target / "in", 70_000, 0)
    with pytest.raises(HostError, match="no id 70000, only 0 to 65535"):
        copy(target / "in", target, b"again", inward)


def test_too_deep_is_an_error_and_no_crash(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Descriptors are not endless, and a container can nest as it likes."""
    monkeypatch.setattr(under_test, "DEEPEST", 2)
    with pytest.raises(HostError, match="more than 2 levels deep at `copy/sub/deeper`"):
        copy(source, target)


def test_what_is_asked_for_is_never_apart(source: Path, target: Path) -> None:
    """A copy that begins on a file system that is otherwise left out is whole."""
    shm = os.stat("/dev/shm").st_dev
    top = Path(f"/dev/shm/anchor-{os.getpid()}")
    top.mkdir()
    try:
        (top / "file").touch()
        copy(top, target, apart=frozenset({shm}))
    finally:
        (top / "file").unlink()
        top.rmdir()
    assert os.listdir(target / "copy") == ["file"]


def test_a_tree_that_moves_does_no_harm(source: Path, target: Path, tmp_path: Path) -> None:
    """Names become links, files and FIFOs as fast as they can; only what is beneath arrives."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_bytes(b"secret")
    flipping, ended = source / "flip", threading.Event()

    def flip() -> None:
        while not ended.is_set():
            flipping.symlink_to(secret)
            flipping.unlink()
            flipping.mkdir()
            (flipping / "key").write_bytes(b"fine")
            (flipping / "key").unlink()
            (flipping / "key").symlink_to(secret / "key")
            (flipping / "key").unlink()
            os.mkfifo(flipping / "key")
            (flipping / "key").unlink()
            flipping.rmdir()

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        for number in range(60):
            copy(source, target, b"%d" % number)
    finally:
        ended.set()
        thread.join()
    for path in target.rglob("key"):
        assert path.is_symlink() or path.is_fifo() or path.read_bytes() in (b"", b"fine")
