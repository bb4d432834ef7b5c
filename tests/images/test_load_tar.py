"""Members of a tar are found where they lie; what its headers claim is not believed."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images import load_tar
from anchor_supervisor.images.load_files import read_small
from anchor_supervisor.images.load_tar import TarFiles, members
from archives import Member, directory, hard_link, member, symlink, tar


def index(path: Path, *entries: Member) -> TarFiles:
    """The files of an archive of these members."""
    path.write_bytes(tar(*entries))
    found = TarFiles.index(path.open("rb"))
    assert found is not None
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where to write an archive."""
    return tmp_path / "x.tar"


def test_members_by_name(place: Path) -> None:
    """However a name is written it is the same; the last of a name counts."""
    with (
        files := index(
            place, directory("./"), member("./a//b", b"1"), member("c", b"2"), member("c", b"33")
        )
    ).file:
        assert [read_small(files, name) for name in ("a/b", "./a/./b", "c")] == [b"1", b"1", b"33"]
        assert (files.has("a"), files.has("d")) == (False, False)


def test_links_between_members(place: Path) -> None:
    """Symbolic and hard links lead to members, from where they are."""
    with (
        files := index(
            place,
            member("x/file", b"1"),
            symlink("y/link", "../x/file"),
            hard_link("z/hard", "x/file"),
            symlink("w", "/z/hard"),
        )
    ).file:
        assert [read_small(files, name) for name in ("y/link", "z/hard", "w")] == [b"1"] * 3


@pytest.mark.parametrize("to", ["../../etc/passwd", "..", "/etc/passwd", "w", "none", ""])
def test_links_lead_nowhere_else(place: Path, to: str) -> None:
    """A link out of the archive, to itself or to nothing is not there."""
    with (files := index(place, symlink("w", to))).file:
        assert not files.has("w")
        with pytest.raises(ImageError, match=r"has no `w`|leads in circles"):
            files.open("w")


def test_long_chains_of_links_end(place: Path) -> None:
    """More links than an archive needs are refused, however few they are to a computer."""
    links = [symlink(f"l{number}", f"l{number + 1}") for number in range(40)]
    with (files := index(place, *links, member("l40", b"1"))).file:
        assert read_small(files, "l30") == b"1"
        with pytest.raises(ImageError, match="leads in circles"):
            files.open("l0")


def test_names_that_lead_upwards_name_nothing(place: Path) -> None:
    """Neither the member nor the name asked for may have `..`."""
    with (files := index(place, member("../a", b"1"), member("b/../c", b"1"))).file:
        assert not files.table
        with pytest.raises(ImageError, match="is not a name in it"):
            files.open("../a")


def test_a_replaced_member_is_gone(place: Path) -> None:
    """A device or a directory after a file of the same name is no file any more."""
    with (
        files := index(place, member("a", b"1"), directory("a"), member("b", kind=tarfile.FIFOTYPE))
    ).file:
        assert (files.has("a"), files.has("b")) == (False, False)


def test_too_many_members_are_no_image(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has more files than any archive of images is something else."""
    monkeypatch.setattr(load_tar, "MOST_MEMBERS", 3)
    place.write_bytes(tar(*(member(f"f{number}") for number in range(4))))
    with place.open("rb") as file:
        assert TarFiles.index(file) is None


def test_a_header_may_not_claim_gigabytes() -> None:
    """A pax header of 8 GiB is refused before it is read."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 8 << 30
    content = info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 16)
    with pytest.raises(ImageError, match="header of more than"):
        list(members(io.BytesIO(content)))


@given(
    content=st.binary(max_size=2000),
    at=st.integers(0, 1535),
    cut=st.integers(0, 4096),
)
def test_damage_is_an_error_or_no_matter(content: bytes, at: int, cut: int) -> None:
    """Whatever bytes are in the headers, members are listed or an ImageError is raised."""
    whole = tar(member("a", b"1"), member("b" * 150, b"2"))
    damaged = (whole[:at] + content + whole[at + len(content) :])[: len(whole) - cut]
    try:
        for name, _ in members(io.BytesIO(damaged)):
            assert ".." not in name
    except ImageError as error:
        assert error.message  # noqa: PT017 - the other way is fine
