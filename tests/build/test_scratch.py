"""Room that ends with who has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anchor_supervisor.build.scratch import scratch, sweep_dead
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS


def test_it_ends_with_its_block(tmp_path: Path) -> None:
    """With all that is in it, and what was made for it; names are never used twice."""
    place = tmp_path / "room"
    with scratch(place) as room:
        (room.directory() / "file").write_text("x")
        assert room.directory() != room.directory()
        assert room.file(b"text", 0o755).read_bytes() == b"text"
        assert room.path.stat().st_mode & 0o777 == 0o700
    assert not place.exists()


def test_it_ends_with_an_error(tmp_path: Path) -> None:
    """The same."""
    with pytest.raises(FileNotFoundError), scratch(tmp_path / "room") as room:
        (room.directory() / "no" / "such").rmdir()
    assert not (tmp_path / "room").exists()


def test_what_the_dead_left_is_swept(tmp_path: Path) -> None:
    """And what the living have is not."""
    place = tmp_path / "room"
    with scratch(place) as mine:
        (place / "dead/deep").mkdir(parents=True)
        with scratch(place) as other:
            assert not (place / "dead").exists()
            assert mine.path.exists()
            (place / "dead").mkdir()
            sweep_dead(place)
            assert sorted(place.iterdir()) == sorted([mine.path, other.path])
    sweep_dead(place)
    assert not place.exists()


def test_a_sweeper_may_be_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has just made a directory, and finds it gone, makes another."""
    names = iter(["first", "second"])
    monkeypatch.setattr("secrets.token_hex", lambda _count: next(names))
    real = os.open

    def swept(path: str, flags: int, *more: int, dir_fd: int | None = None) -> int:
        if path == "first":
            os.rmdir(path, dir_fd=dir_fd)
        return real(path, flags, *more, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", swept)
    with scratch(tmp_path / "room") as room:
        assert room.path.name == "second"
    assert DIRECTORY_FLAGS & os.O_NOFOLLOW
