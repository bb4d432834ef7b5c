"""Archive entries as values: names that stay inside, numbers that are believable."""

from __future__ import annotations

import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.entry import Kind, entry_of, printable, split_name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"a/b", (b"a", b"b")),
        (b"./a//b/", (b"a", b"b")),
        (b".", ()),
        (b"./", ()),
        (b"", ()),
        (b"...", (b"...",)),
        (b"..a/b..", (b"..a", b"b..")),
        (b"/", ()),
        (b"//a", (b"a",)),
        (b"\xff", (b"\xff",)),
    ],
)
def test_names_are_components(raw: bytes, name: tuple[bytes, ...]) -> None:
    """Dots and doubled slashes vanish; dots inside a name are a name."""
    assert split_name(raw) == name


@given(st.binary(max_size=50))
def test_no_name_climbs(raw: bytes) -> None:
    """Whatever passes has no empty, `.` or `..` component, no slash and no NUL."""
    try:
        name = split_name(raw)
    except ImageError:
        return
    assert not {b"", b".", b".."} & set(name)
    assert not any(b"/" in part or b"\0" in part for part in name)


@given(st.binary(max_size=30))
def test_names_in_messages_are_harmless(raw: bytes) -> None:
    """An archive cannot send escape sequences to a terminal by way of an error."""
    assert printable(raw).isascii()
    assert printable(raw).isprintable()


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1.5", 1_500_000_000),
        ("12.000000345", 12_000_000_345),
        ("1.0000000019", 1_000_000_001),
        ("-1.25", -1_250_000_000),
        ("nan", 0),
        ("1e999999999", 0),
        ("999999999999", 0),
        ("9" * 5000, 0),
        ("", 0),
    ],
)
def test_times_are_exact_or_the_epoch(text: str, nanoseconds: int) -> None:
    """Decimal text is read to the nanosecond; nonsense and the far future are 1970."""
    info = tarfile.TarInfo("a")
    info.pax_headers = {"mtime": text}
    assert entry_of(info).mtime_ns == nanoseconds


@given(st.integers(), st.integers(), st.integers(), st.integers())
def test_numbers_are_in_range_or_refused(uid: int, gid: int, mode: int, size: int) -> None:
    """No owner is -1, no mode has more than twelve bits, no size is negative."""
    info = tarfile.TarInfo("a")
    info.uid, info.gid, info.mode, info.size = uid, gid, mode, size
    try:
        entry = entry_of(info)
    except ImageError:
        return
    assert 0 <= entry.uid < 2**32 - 1
    assert 0 <= entry.gid < 2**32 - 1
    assert 0 <= entry.mode <= 0o7777
    assert 0 <= entry.size < 2**63


def test_kinds_are_told_apart() -> None:
    """Every type of the format is one of ours, or an error."""
    kinds: dict[int, Kind | None] = {}
    for code in b"0\0" + b"7123456Z":
        info = tarfile.TarInfo("a")
        info.type, info.linkname, info.devmajor = bytes([code]), "b", 1
        try:
            kinds[code] = entry_of(info).kind
        except ImageError:
            kinds[code] = None
    assert list(kinds.values()) == [
        Kind.FILE, Kind.FILE, Kind.FILE, Kind.HARD_LINK, Kind.SYMLINK, Kind.CHARACTER_DEVICE,
        Kind.BLOCK_DEVICE,
        Kind.DIRECTORY, Kind.FIFO, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind", "about"),
    [
        ("a/.wh.b", Kind.WHITEOUT, (b"a", b"b")),
        (".wh..b", Kind.WHITEOUT, (b".b",)),
        (".wh." + "x" * 255, Kind.WHITEOUT, (b"x" * 255,)),
        ("a/.wh..wh..opq", Kind.OPAQUE, (b"a",)),
        (".wh..wh..opq", Kind.OPAQUE, ()),
        (".wh..wh.plnk/1.2", Kind.NOTHING, (b".wh..wh.plnk", b"1.2")),
        ("a/.wh..wh.x/.wh..wh..opq", Kind.NOTHING, (b"a", b".wh..wh.x", b".wh..wh..opq")),
        ("a.wh.b", Kind.FILE, (b"a.wh.b",)),
        (".wh", Kind.FILE, (b".wh",)),
        (".wh.", None, ()),
        (".wh..", None, ()),
        (".wh...", None, ()),
        (".wh.a/b", None, ()),
        (".wh.a/.wh..wh..opq", None, ()),
        (".wh." + "x" * 256, None, ()),
    ],
)
def test_marks_are_told_from_content(
    name: str, kind: Kind | None, about: tuple[bytes, ...]
) -> None:
    """What is removed has the name of what it was; what makes no sense is refused (None)."""
    try:
        entry = entry_of(tarfile.TarInfo(name))
    except ImageError:
        assert kind is None
    else:
        assert (entry.kind, entry.name) == (kind, about)
