"""Names that an archive gives lead to its own files and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.load_files import (
    DirectoryFiles,
    Slice,
    buffered,
    parsed,
    read_small,
    read_verified,
    shown,
    typed,
)
from anchor_supervisor.images.model import LARGEST_JSON
from image_store import digest_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with a secret beside it."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/deep/file").write_text("content")
    return tmp_path / "in"


@pytest.fixture
def files(folder: Path) -> Iterator[DirectoryFiles]:
    """Its files."""
    opened = os.open(folder, os.O_RDONLY)
    yield DirectoryFiles(opened)
    os.close(opened)


def test_a_slice_is_a_file(tmp_path: Path) -> None:
    """It reads its part alone, from anywhere, and several at once do not disturb each other."""
    (tmp_path / "x").write_bytes(b"0123456789")
    with (tmp_path / "x").open("rb") as file:
        first, second = (buffered(Slice(file.fileno(), start, 4)) for start in (0, 5))
        assert (first.read(2), second.read(), first.read()) == (b"01", b"5678", b"23")
        second.seek(1)
        assert (second.read(9), second.tell(), second.read(1)) == (b"678", 4, b"")
        assert (second.seek(-1, os.SEEK_END), second.read()) == (3, b"8")


def test_a_slice_of_what_has_shrunk(tmp_path: Path) -> None:
    """A file that ends too early is an error, not an end."""
    (tmp_path / "x").write_bytes(b"0123")
    with (tmp_path / "x").open("rb") as file, pytest.raises(ImageError, match="cut short"):
        buffered(Slice(file.fileno(), 2, 9)).read()


def test_files_of_a_directory(files: DirectoryFiles) -> None:
    """They are found by name, and closing one closes its descriptor."""
    before = len(os.listdir("/proc/self/fd"))
    assert (files.has("deep/file"), files.has("deep"), files.has("none")) == (True, False, False)
    assert read_small(files, "deep/file") == b"content"
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "name", ["../secret", "deep/../../secret", "/../secret", "link", "deep/up/secret", "", "a\0b"]
)
def test_no_name_leads_out(folder: Path, files: DirectoryFiles, name: str) -> None:
    """Neither dots nor links reach what is beside the directory."""
    (folder / "link").symlink_to("../secret")
    (folder / "deep/up").symlink_to("../..")
    with pytest.raises(ImageError, match="the archive"):
        files.open(name)


def test_an_absolute_link_is_below_the_directory(folder: Path, files: DirectoryFiles) -> None:
    """As in a container, `/` is the directory itself."""
    (folder / "link").symlink_to("/deep/file")
    assert read_small(files, "link") == b"content"


def test_small_files_are_small(folder: Path, files: DirectoryFiles) -> None:
    """A file that should be JSON and has gigabytes is not read whole."""
    with (folder / "big").open("wb") as big:
        big.truncate(10 << 30)
    with pytest.raises(ImageError, match=f"`big` has more than {LARGEST_JSON} bytes"):
        read_small(files, "big")


def test_a_blob_is_what_its_digest_says(folder: Path, files: DirectoryFiles) -> None:
    """Anything else of that name is refused."""
    digest = digest_of(b"content")
    (folder / "blobs/sha256").mkdir(parents=True)
    place = folder / "blobs/sha256" / digest.removeprefix("sha256:")
    place.write_bytes(b"content")
    assert read_verified(files, digest) == b"content"
    place.write_bytes(b"another")
    with pytest.raises(ImageError, match="does not have the digest it is named by"):
        read_verified(files, digest)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 10_000])
def test_json_of_no_use(content: bytes) -> None:
    """It is an error whatever is wrong with it."""
    with pytest.raises(ImageError, match="`x` is not JSON"):
        parsed(content, "x")


def test_types_are_checked() -> None:
    """A truth is no number here."""
    assert typed(7, int, "x") == 7
    for value, kind, words in [
        (True, int, "a number"),
        (7, str, "a text"),
        ("x", list, "a list"),
        ([], dict, "an object"),
    ]:
        with pytest.raises(ImageError, match=f"the archive's x is not {words}"):
            typed(value, kind, "x")


def test_what_is_shown_is_harmless() -> None:
    """Names from archives are cut, and give a terminal no orders."""
    assert shown("a\x1b[2Jb\udcff") == "`ab?`"
    assert len(shown("x" * 9999)) == 202
