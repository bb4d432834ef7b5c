"""Digests of what is mounted: they follow the content and nothing else, and wait for nothing."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from anchor_supervisor.fleet.diff import Effect, effect_between
from anchor_supervisor.fleet.model import (
    Container,
    Fleet,
    Image,
    ImageKind,
    Volume,
    VolumeKind,
)
from anchor_supervisor.runtime import contents
from anchor_supervisor.runtime.contents import content_digest, with_contents
from exchange import exchange


def bind(source: Path, **more: Any) -> Volume:
    return Volume(VolumeKind.BIND, "/target", str(source), **{"read_only": True, **more})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with everything that a directory can have."""
    top = tmp_path / "tree"
    (top / "deep/er").mkdir(parents=True)
    (top / "file").write_text("content")
    (top / "empty").touch()
    (top / "deep/er/file").write_text("below")
    (top / "link").symlink_to("deep/er/file")
    os.mkfifo(top / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(top / "socket"))
    return top


def _link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a content": lambda top: (top / "file").write_text("CONTENT"),
    "a content below": lambda top: (top / "deep/er/file").write_text("other"),
    "a new file": lambda top: (top / "deep/new").touch(),
    "a new directory": lambda top: (top / "deep/new").mkdir(),
    "a removal": lambda top: (top / "empty").unlink(),
    "a new name": lambda top: (top / "file").rename(top / "elif"),
    "a move": lambda top: (top / "file").rename(top / "deep/file"),
    "a swap": lambda top: exchange(top / "file", top / "empty"),
    "another kind": lambda top: (top / "empty").rename(top / "link"),
    "where a link leads": lambda top: _link(top / "link", "deep/er/fil"),
    "a name that is no text": lambda top: Path(os.fsdecode(bytes(top) + b"/\xff")).touch(),
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_change_of_content_is_seen(tree: Path, what: str) -> None:
    """Whatever a process in the container could tell apart by reading."""
    before = content_digest(bind(tree))
    CHANGES[what](tree)
    assert before != content_digest(bind(tree))
    assert content_digest(bind(tree)) is not None


def test_nothing_else_is_a_change(tree: Path, tmp_path: Path) -> None:
    """Times, modes, and the place or the order in which things were made."""
    before = content_digest(bind(tree))
    os.utime(tree / "file", (1, 1))
    (tree / "file").chmod(0o600)
    assert content_digest(bind(tree)) == before
    other = tmp_path / "other"
    for name in ("socket", "fifo", "link", "file", "empty", "deep"):
        other.mkdir(exist_ok=True)
        (tree / name).rename(other / name)
    assert content_digest(bind(other)) == before


def test_a_file_counts_by_its_content_alone(tmp_path: Path) -> None:
    """Writable or not; one that is exchanged for another of the same content is the same."""
    file = tmp_path / "conf"
    file.write_text("x = 1")
    before = content_digest(bind(file, read_only=False))
    assert before == content_digest(bind(file))
    file.unlink()
    (tmp_path / "elsewhere").write_text("x = 1")
    file.symlink_to("elsewhere")
    assert content_digest(bind(file)) == before
    (tmp_path / "elsewhere").write_text("x = 2")
    assert content_digest(bind(file)) != before


def test_what_does_not_count_has_none(tree: Path, tmp_path: Path) -> None:
    """A directory that the container writes to, what is missing, and what no content is in."""
    assert content_digest(bind(tree, read_only=False)) is None
    assert content_digest(bind(tmp_path / "nowhere")) is None
    for name in ("fifo", "socket"):
        assert content_digest(bind(tree / name, read_only=False)) is None
    assert content_digest(bind(Path("/dev/zero"))) is None
    assert content_digest(bind(Path("/proc/self/status"))) is None
    assert content_digest(bind(Path("/proc"))) is None
    assert content_digest(bind(Path("/sys"))) is None


def test_links_lead_nowhere(tree: Path, tmp_path: Path) -> None:
    """What they point to is not looked at, be it a secret or the whole machine."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (tree / "out").symlink_to(outside)
    (tree / "root").symlink_to("/")
    before = content_digest(bind(tree))
    (outside / "new").touch()
    assert content_digest(bind(tree)) == before is not None


def test_a_subpath_is_all_that_is_looked_at(tree: Path) -> None:
    """And it is found within the source."""
    before = content_digest(bind(tree, subpath="deep"))
    (tree / "file").write_text("other")
    assert content_digest(bind(tree, subpath="deep")) == before
    (tree / "deep/er/file").write_text("other")
    assert content_digest(bind(tree, subpath="deep")) != before
    assert content_digest(bind(tree, subpath="nowhere")) is None


def test_what_is_mounted_beneath_is_not_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file system may be a network's, or the kernel's own fancy."""
    entered = []
    real = contents._names

    def names(directory: int, most: int) -> list[str]:
        entered.append(os.readlink(f"/proc/self/fd/{directory}"))
        return [name for name in real(directory, most) if name in {"proc", "sys"}]

    monkeypatch.setattr(contents, "_names", names)
    assert content_digest(bind(Path("/"))) is not None
    assert entered == ["/"]


def test_beyond_the_bounds_nothing_is_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file counts by size and time; a directory of too many entries does not count."""
    monkeypatch.setattr(contents, "MOST_BYTES", 12)
    before = content_digest(bind(tree))
    os.utime(tree / "deep/er/file", (1, 1))  # fits into what is left
    assert content_digest(bind(tree)) == before
    (tree / "huge").write_bytes(b"x" * 13)
    with_huge = content_digest(bind(tree))
    assert with_huge != before
    os.utime(tree / "huge", (1, 1))
    assert content_digest(bind(tree)) != with_huge
    monkeypatch.setattr(contents, "MOST_ENTRIES", 9)
    assert content_digest(bind(tree)) is not None
    (tree / "one-more").touch()
    assert content_digest(bind(tree)) is None


def test_nesting_of_any_depth_ends(tmp_path: Path) -> None:
    """A path longer than the kernel takes one makes the directory not count."""
    top = tmp_path / "deep"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d" * 10, dir_fd=here)
        below = os.open("d" * 10, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert content_digest(bind(top)) is None
    shutil.rmtree(top)


def fleet(*volumes: Volume) -> Fleet:
    web = Container("web", Image(ImageKind.HOST, "host"), volumes=volumes)
    twin = evolve(web, name="twin")
    return Fleet("shop", {"web": web, "twin": twin}, {})


def test_a_whole_fleet_is_looked_at_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that several containers mount is read once; other volumes are left as they are."""
    asked = []
    real = content_digest

    def counted(volume: Volume) -> str | None:
        asked.append(volume.source)
        return real(volume)

    monkeypatch.setattr(contents, "content_digest", counted)
    named = Volume(VolumeKind.NAMED, "/data", "data", read_only=True)
    tmpfs = Volume(VolumeKind.TMPFS, "/ram")
    found = with_contents(fleet(bind(tree), bind(tree / "file"), named, tmpfs))
    first, second, *others = found.containers["web"].volumes
    assert first.content
    assert second.content
    assert first.content != second.content
    assert others == [named, tmpfs]
    assert found.containers["twin"].volumes == found.containers["web"].volumes
    assert len(asked) == 2


def test_a_change_of_content_restarts_and_nothing_more(tree: Path) -> None:
    """Two looks at the same are the same fleet, and a changed file takes a new run."""
    before = with_contents(fleet(bind(tree / "file")))
    assert with_contents(fleet(bind(tree / "file"))) == before
    (tree / "file").write_text("other")
    after = with_contents(fleet(bind(tree / "file")))
    old, new = before.containers["web"], after.containers["web"]
    assert effect_between(old, new) is Effect.RESTART
