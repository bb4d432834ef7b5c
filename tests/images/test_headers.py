"""Headers that we write: whatever is in them, every reader gets it back."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.images import headers
from anchor_supervisor.images.entry import Kind, entry_of
from anchor_supervisor.images.headers import END, Header, encoded, padding

names = (
    st.lists(st.binary(min_size=1, max_size=120), min_size=1, max_size=4)
    .map(b"/".join)
    .filter(lambda name: b"\0" not in name and not {b"", b".", b".."} & set(name.split(b"/")))
)
every_header = st.builds(
    Header,
    names.map(lambda name: b"n" + name[:250].strip(b"/")).filter(
        lambda name: b"/.wh." not in name  # which is no content, but what it takes away
    ),
    st.just(headers.SYMLINK),
    st.integers(0, 0o7777),
    st.integers(0, 2**32 - 2),
    st.integers(0, 2**32 - 2),
    st.just(0),
    st.integers(-(2**33) * 10**9, 2**34 * 10**9),
    names,
    xattrs=st.dictionaries(st.sampled_from(["user.a", "user.b", "user.é"]), st.binary()),
)


def read(data: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(data + END)) as archive:
        info = archive.next()
    assert info is not None
    return info


@given(every_header)
def test_everything_comes_back(header: Header) -> None:
    """Names of any bytes and length, ids of 32 bits, times before 1970 and to the nanosecond."""
    entry = entry_of(read(encoded(header)))
    assert b"/".join(entry.name) == header.name.replace(b"//", b"/").replace(b"/./", b"/")
    assert (entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.text) == (
        Kind.SYMLINK,
        header.mode,
        header.uid,
        header.gid,
        header.mtime_ns,
        header.link,
    )
    assert entry.xattrs == header.xattrs


@pytest.mark.parametrize("length", [*range(80, 130), *range(980, 1020)])
def test_a_record_counts_its_own_digits(length: int) -> None:
    """Around every change in the number of digits."""
    assert read(encoded(Header(b"n" * length, headers.DIRECTORY))).name == "n" * length


def test_large_sizes_are_kept() -> None:
    """A file of more than 8 GiB has its size in a record."""
    assert read(encoded(Header(b"f", headers.FILE, size=9 << 30))).size == 9 << 30


def test_other_tars_read_it(tmp_path: Path) -> None:
    """GNU tar sees the same names, owners, sizes and devices."""
    content = b"x" * 700
    header = Header(b"d/" + b"l" * 120, headers.FILE, 0o4711, 7, 3_000_000, 700, 1_500_000_000)
    device = Header(b"null", headers.CHARACTER_DEVICE, 0o666, device=(1, 3))
    whole = encoded(header) + content + padding(700) + encoded(device) + END
    (tmp_path / "a.tar").write_bytes(whole)
    listing = subprocess.run(
        ["tar", "--numeric-owner", "--utc", "--full-time", "-tvf", tmp_path / "a.tar"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert listing.stderr == ""
    first, second = listing.stdout.splitlines()
    assert first.split()[:3] == ["-rws--x--x", "7/3000000", "700"]
    assert "1970-01-01 00:00:01.5" in first
    assert first.endswith("d/" + "l" * 120)
    assert second.split()[:3] == ["crw-rw-rw-", "0/0", "1,3"]


def test_the_same_header_is_the_same_bytes() -> None:
    """Records are sorted, whatever order they were given in."""
    one = Header(b"f", headers.FILE, xattrs={"user.a": b"1", "user.b": b"2"})
    other = Header(b"f", headers.FILE, xattrs={"user.b": b"2", "user.a": b"1"})
    assert encoded(one) == encoded(other)
