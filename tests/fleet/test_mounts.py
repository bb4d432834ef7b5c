"""Entries of `volumes`."""

from __future__ import annotations

import pytest

from anchor_supervisor.fleet.model import Volume, VolumeKind
from anchor_supervisor.fleet.mounts import volume
from anchor_supervisor.fleet.wording import Mistake

read = volume("/etc/fleet")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("data:/data", Volume(VolumeKind.NAMED, "/data", "data")),
        ("data:/data:rw", Volume(VolumeKind.NAMED, "/data", "data")),
        ("./x:/y", Volume(VolumeKind.BIND, "/y", "/etc/fleet/x")),
        ("../x:/y:ro", Volume(VolumeKind.BIND, "/y", "/etc/x", read_only=True)),
        (".:/y", Volume(VolumeKind.BIND, "/y", "/etc/fleet")),
        ("/srv//a/:/y/./z//", Volume(VolumeKind.BIND, "/y/z", "/srv/a")),
        ("//srv:/y", Volume(VolumeKind.BIND, "/y", "/srv")),
        ("tmpfs:/run", Volume(VolumeKind.TMPFS, "/run")),
        (
            "tmpfs:/run:ro,size=16M,mode=1777",
            Volume(VolumeKind.TMPFS, "/run", None, True, 16 << 20, 0o1777),
        ),
        ("./a b:/c d", Volume(VolumeKind.BIND, "/c d", "/etc/fleet/a b")),
    ],
)
def test_every_kind_of_volume_is_read(entry: str, expected: Volume) -> None:
    """Named, from this machine, in memory; paths are tidied as text."""
    assert read(entry) == expected


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("/data", "`/data` has no source: a volume without a name is not supported yet"),
        ("a:b", "target `b` is not an absolute path of the container"),
        ("a:", "target `` is not an absolute path of the container"),
        (":/a", "`` is not a volume's name"),
        ("a/b:/c", "`a/b` is not a volume's name"),
        ("~/x:/c", "`~/x`: `~` is a shell's"),
        ("a:/b:ro:x", "`a:/b:ro:x` is not `SOURCE:TARGET` or `SOURCE:TARGET:OPTIONS`"),
        ("a:/b:z", "unknown option `z`"),
        ("a:/b:ro,", "unknown option ``"),
        ("a:/b:ro,rw", "option `rw` contradicts or repeats another"),
        ("a:/b:size=1M", "option `size` is for tmpfs alone"),
        ("tmpfs:/b:size", "option `size` has no value"),
        ("tmpfs:/b:size=0", "a tmpfs of size `0` would have no limit"),
        ("tmpfs:/b:mode=9", "`9` is not a file mode"),
        ("tmpfs:/b:ro=1", "unknown option `ro=1`"),
    ],
)
def test_what_is_no_volume_is_refused(entry: str, message: str) -> None:
    """Each with what is wrong about it."""
    with pytest.raises(Mistake) as caught:
        read(entry)
    assert caught.value.message == message


def test_a_dotted_target_is_kept_for_the_check() -> None:
    """`..` may lead through a link, so it is not tidied away but refused later."""
    assert read("a:/b/../proc").target == "/b/../proc"
