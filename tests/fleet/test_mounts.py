"""Entries of `volumes`."""

from __future__ import annotations

import pytest

from anchor_supervisor.fleet.model import Propagation, Volume, VolumeKind
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
        (
            "tmpfs:/run:tmpfs-size=16M,tmpfs-mode=700,uid=1000,gid=4294967294,noexec",
            Volume(
                VolumeKind.TMPFS,
                "/run",
                size=16 << 20,
                mode=0o700,
                uid=1000,
                gid=4294967294,
                noexec=True,
            ),
        ),
        ("tmpfs:/run:exec,nosuid,nodev", Volume(VolumeKind.TMPFS, "/run", nosuid=True, nodev=True)),
        ("/data", Volume(VolumeKind.ANONYMOUS, "/data")),
        ("/data//x/", Volume(VolumeKind.ANONYMOUS, "/data/x")),
        ("data:/data:nocopy", Volume(VolumeKind.NAMED, "/data", "data", copy=False)),
        (
            "data:/data:subpath=a/./b/,ro",
            Volume(VolumeKind.NAMED, "/data", "data", read_only=True, subpath="a/b"),
        ),
        (
            "./x:/y:volume-subpath=a,noexec,nosuid,nodev",
            Volume(
                VolumeKind.BIND,
                "/y",
                "/etc/fleet/x",
                noexec=True,
                nosuid=True,
                nodev=True,
                subpath="a",
            ),
        ),
        (
            "./x:/y:rslave",
            Volume(VolumeKind.BIND, "/y", "/etc/fleet/x", propagation=Propagation.SLAVE),
        ),
        ("./x:/y:private", Volume(VolumeKind.BIND, "/y", "/etc/fleet/x")),
        ("./a b:/c d", Volume(VolumeKind.BIND, "/c d", "/etc/fleet/a b")),
    ],
)
def test_every_kind_of_volume_is_read(entry: str, expected: Volume) -> None:
    """Named, from this machine, in memory; paths are tidied as text."""
    assert read(entry) == expected


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("data", "`data` is not `SOURCE:TARGET` or `SOURCE:TARGET:OPTIONS`"),
        ("/data:ro", "target `ro` is not an absolute path of the container"),
        ("a:/b:slave", "option `slave` is for a path of this machine alone"),
        ("./a:/b:rshared", "unknown option `rshared`"),
        ("./a:/b:rslave,private", "option `private` contradicts or repeats another"),
        ("./a:/b:nocopy", "option `nocopy` is for a named or anonymous volume"),
        ("a:/b:copy,nocopy", "option `nocopy` contradicts or repeats another"),
        ("a:/b:exec,noexec", "option `noexec` contradicts or repeats another"),
        ("a:/b:subpath=/etc", "`/etc` is not a path within the volume"),
        ("a:/b:subpath=x/../..", "`x/../..` is not a path within the volume"),
        ("a:/b:subpath=.", "`.` is not a path within the volume"),
        ("a:/b:subpath=", "option `subpath` has no value"),
        ("tmpfs:/b:subpath=x", "option `subpath` is for a named volume or a path of this machine"),
        ("a:/b:uid=1", "option `uid` is for tmpfs alone"),
        ("tmpfs:/b:uid=-1", "`-1` is not an id"),
        ("tmpfs:/b:gid=4294967295", "id `4294967295` is larger than 4294967294"),
        ("tmpfs:/b:size=1M,tmpfs-size=2M", "option `tmpfs-size` contradicts or repeats another"),
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


@pytest.mark.parametrize(
    ("entry", "hint"),
    [
        ("/data:ro", "`NAME:/data:ro`"),
        ("a:b", "`SOURCE:/TARGET`"),
        ("./a:/b:shared", "`rslave` lets the machine's reach it"),
        ("./a:/b:Z", "SELinux labels stay as they are"),
        ("./a:/b:U", "ids are mapped"),
        ("./a:/b:cached", "leave it out"),
        ("tmpfs:/b:suid", "keeps it"),
        ("tmpfs:/b:dev", "in its /dev alone"),
        ("tmpfs:/b:tmpcopyup", "begins empty"),
        ("./a:/b:rbind", "comes along"),
        ("a:/b:noexe", "did you mean `noexec`?"),
        ("tmpfs:/b:uid", "`uid=1000`"),
    ],
)
def test_what_others_would_take_has_a_hint(entry: str, hint: str) -> None:
    """A word that docker or podman know is explained, not only unknown."""
    with pytest.raises(Mistake) as caught:
        read(entry)
    assert caught.value.hint is not None
    assert hint in caught.value.hint
