"""Docker's rules for what the two paths of a copy mean."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.images.endpoints import (
    Open,
    open_destination,
    open_directory,
    open_source,
)
from anchor_supervisor.kernel.mount import open_beneath


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A root with files, directories, and links of every kind."""
    (tmp_path / "dir/sub").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "to-dir").symlink_to("dir")
    (tmp_path / "to-file").symlink_to("/file")
    (tmp_path / "dangling").symlink_to("dir/new")
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "out").symlink_to("../../../../etc")
    return tmp_path


def beneath(place: Path) -> Open:
    """Opens beneath that root, as in a container. The root stays open for the test's process."""
    root = os.open(place, os.O_PATH | os.O_DIRECTORY)
    return lambda path, flags: open_beneath(root, os.fsdecode(path), flags)


def source_of(place: Path, path: bytes, *, follow: bool = False) -> tuple[str, bytes, bool]:
    """Kind, name and whether it is the content that is meant."""
    found = open_source(beneath(place), path, follow=follow)
    kind = "directory" if found.node.is_directory else oct(found.node.kind)
    os.close(found.node.handle)
    return kind, found.name, found.contents


FILE, LINK = "0o100000", "0o120000"


@pytest.mark.parametrize(
    ("path", "follow", "expected"),
    [
        (b"/file", False, (FILE, b"file", False)),
        (b"file", False, (FILE, b"file", False)),
        (b"/dir", False, ("directory", b"dir", False)),
        (b"/dir/", False, ("directory", b"dir", False)),
        (b"/dir/.", False, ("directory", b"dir", True)),
        (b"/dir/sub/..", False, ("directory", b"dir", True)),
        (b"/", False, ("directory", b"", True)),
        (b".", False, ("directory", b".", True)),
        (b"/to-dir", False, (LINK, b"to-dir", False)),
        (b"/to-dir", True, ("directory", b"to-dir", False)),
        (b"/to-dir/", False, ("directory", b"to-dir", False)),
        (b"/to-file", True, (FILE, b"to-file", False)),
        (b"/../../file", False, (FILE, b"file", False)),
    ],
)
def test_sources(place: Path, path: bytes, follow: bool, expected: tuple[str, bytes, bool]) -> None:
    """A link is itself unless followed; `/.` means the content; `..` ends at the root."""
    assert source_of(place, path, follow=follow) == expected


@pytest.mark.parametrize("path", [b"/nowhere", b"/file/", b"/file/.", b"/out/passwd", b"/round/x"])
def test_what_is_not_there_is_named(place: Path, path: bytes) -> None:
    """With the path as it was written."""
    with pytest.raises(KernelError, match=f"copy `{path.decode()}`"):
        source_of(place, path)


def destination_of(place: Path, path: bytes, source: bytes) -> tuple[str, bytes | None]:
    """The directory, beneath the root, and the name in it."""
    opened = open_source(beneath(place), source, follow=False)
    try:
        found = open_destination(beneath(place), path, opened)
    finally:
        os.close(opened.node.handle)
    where = os.readlink(f"/proc/self/fd/{found.directory}").removeprefix(str(place))
    os.close(found.directory)
    return where, found.name


@pytest.mark.parametrize(
    ("source", "path", "expected"),
    [
        (b"/file", b"/new", ("", b"new")),
        (b"/file", b"/dir/new", ("/dir", b"new")),
        (b"/file", b"/dir", ("/dir", b"file")),
        (b"/file", b"/dir/", ("/dir", b"file")),
        (b"/file", b"/to-dir", ("/dir", b"file")),
        (b"/file", b"/file", ("", b"file")),
        (b"/file", b"/to-file", ("", b"file")),
        (b"/file", b"/dangling", ("/dir", b"new")),
        (b"/file", b"/", ("", b"file")),
        (b"/dir", b"/new", ("", b"new")),
        (b"/dir", b"/new/", ("", b"new")),
        (b"/dir", b"/dir", ("/dir", b"dir")),
        (b"/dir/.", b"/dir/sub", ("/dir/sub", None)),
        (b"/dir/.", b"/new", ("", b"new")),
        (b"/", b"/dir", ("/dir", None)),
        (b"/to-dir", b"/dir/sub", ("/dir/sub", b"to-dir")),
    ],
)
def test_destinations(
    place: Path, source: bytes, path: bytes, expected: tuple[str, bytes | None]
) -> None:
    """A directory takes the source in; anything else is the copy's name, in one that exists."""
    assert destination_of(place, path, source) == expected


@pytest.mark.parametrize(
    ("source", "path", "words"),
    [
        (b"/file", b"/new/", "the directory `/new/` does not exist"),
        (b"/file", b"/file/", "the directory `/file/` does not exist"),
        (b"/dir", b"/file", "cannot copy a directory to `/file`, which is a file"),
        (b"/file", b"/nowhere/new", "No such file"),
        (b"/file", b"/round", "Too many levels of symbolic links"),
    ],
)
def test_impossible_destinations(place: Path, source: bytes, path: bytes, words: str) -> None:
    """Said before anything is written."""
    with pytest.raises(HostError, match=words):
        destination_of(place, path, source)


def test_an_archive_goes_into_a_directory(place: Path) -> None:
    """Nothing else will do."""
    found = open_directory(beneath(place), b"/to-dir")
    os.close(found.directory)
    for path in (b"/file", b"/nowhere"):
        with pytest.raises(KernelError, match="copy to"):
            open_directory(beneath(place), path)
