"""What a node is stays so, whatever takes its name's place; and nothing is opened to find out."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from anchor_supervisor.images.node import NODE_FLAGS, Node, names_in, user_xattrs


def node(path: Path) -> Node:
    """A node of this path; its handle ends with the test's process."""
    return Node.of(os.open(path, NODE_FLAGS))


def test_what_was_looked_at_is_what_is_read(tmp_path: Path) -> None:
    """A file is read through its own descriptor, though its name is a link to another by now."""
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "secret").write_bytes(b"secret")
    found = node(tmp_path / "file")
    (tmp_path / "file").unlink()
    (tmp_path / "file").symlink_to("secret")
    opened = found.open()
    assert os.read(opened, 100) == b"mine"
    assert found.kind == stat.S_IFREG
    os.close(opened)
    os.close(found.handle)


def test_a_directory_stays_the_directory(tmp_path: Path) -> None:
    """Also after it was renamed and something else has its name."""
    (tmp_path / "a/inside").mkdir(parents=True)
    found = node(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").symlink_to("/")
    opened = found.open()
    assert names_in(opened) == [b"inside"]
    os.close(opened)
    os.close(found.handle)


def test_fifos_and_sockets_are_looked_at_without_effect(tmp_path: Path) -> None:
    """No reader appears at a FIFO: a writer that does not wait still finds nobody (ENXIO)."""
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name, kind in (("fifo", stat.S_IFIFO), ("socket", stat.S_IFSOCK)):
            found = node(tmp_path / name)
            assert found.kind == kind
            with pytest.raises(AssertionError):
                found.open()
            os.close(found.handle)
    with pytest.raises(OSError, match="No such device or address"):
        os.open(tmp_path / "fifo", os.O_WRONLY | os.O_NONBLOCK)


def test_a_link_is_read_by_descriptor(tmp_path: Path) -> None:
    """Its text is what it was, any bytes."""
    (tmp_path / "link").symlink_to(os.fsdecode(b"\xff\n/x"))
    found = node(tmp_path / "link")
    (tmp_path / "link").unlink()
    assert found.link_text() == b"\xff\n/x"
    os.close(found.handle)


def test_attributes_of_the_user_alone(tmp_path: Path) -> None:
    """user.* is read; what overlayfs means by its own is nobody's to copy."""
    file = tmp_path / "file"
    file.touch()
    os.setxattr(file, "user.colour", b"red")
    os.setxattr(file, "user.overlay.opaque", b"y")
    opened = os.open(file, os.O_RDONLY)
    assert user_xattrs(opened) == {"user.colour": b"red"}
    os.close(opened)


def test_names_are_bytes_in_order(tmp_path: Path) -> None:
    """Every time anew, whoever has read the directory before."""
    for name in (b"b", b"\xff", b"a\nb"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    directory = os.open(tmp_path, os.O_RDONLY)
    assert names_in(directory) == names_in(directory) == [b"a\nb", b"b", b"\xff"]
    os.close(directory)
