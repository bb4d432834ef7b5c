"""What was changed: from an overlay's upper directory, and by comparing whole trees."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError
from anchor_supervisor.images import changes as under_test
from anchor_supervisor.images.changes import changes


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small image."""
    top = tmp_path / "image"
    (top / "etc").mkdir(parents=True)
    (top / "etc/passwd").write_bytes(b"root\n")
    (top / "usr/share/doc").mkdir(parents=True)
    (top / "usr/share/doc/text").write_bytes(b"words")
    (top / "usr/link").symlink_to("share")
    (top / "srv").mkdir()
    return top


@pytest.fixture
def tree(image: Path, tmp_path: Path) -> Path:
    """A whole copy of it, attributes and all."""
    return Path(shutil.copytree(image, tmp_path / "tree", symlinks=True))


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    """An empty upper directory."""
    (tmp_path / "upper").mkdir()
    return tmp_path / "upper"


def found(
    tree: Path, image: Path, *, upper: bool, own: tuple[bytes, ...] = (), first_id: int = 0
) -> list[str]:
    """The lines of a diff."""
    opened = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (tree, image)]
    try:
        all_of_it = changes(*opened, upper=upper, own=own, first_id=first_id)
    finally:
        for each in opened:
            os.close(each)
    return [f"{change.kind} {os.fsdecode(change.path)}" for change in all_of_it]


def test_the_same_tree_has_no_changes(tree: Path, image: Path) -> None:
    """A copy is not a change, nor is a directory whose time alone differs."""
    os.utime(tree / "srv", ns=(0, 0))
    assert found(tree, image, upper=False) == []


def test_a_compared_tree_tells_everything(tree: Path, image: Path) -> None:
    """New, changed and gone names; the directories above count as changed."""
    (tree / "etc/passwd").write_bytes(b"longer\n")
    (tree / "srv").chmod(0o700)
    shutil.rmtree(tree / "usr/share")
    (tree / "usr/link").unlink()
    (tree / "usr/link").symlink_to("elsewhere")
    (tree / "new/inner").mkdir(parents=True)
    (tree / "new" / os.fsdecode(b"\xff\n")).touch()
    assert found(tree, image, upper=False) == [
        "C /etc",
        "C /etc/passwd",
        "A /new",
        "A /new/inner",
        f"A /new/{os.fsdecode(bytes([0xFF, 10]))}",
        "C /srv",
        "C /usr",
        "C /usr/link",
        "D /usr/share",
    ]


def test_a_file_in_a_directorys_place_is_one_change(tree: Path, image: Path) -> None:
    """As docker has it; and the other way round what is in it is new."""
    shutil.rmtree(tree / "usr/share")
    (tree / "usr/share").touch()
    (tree / "etc/passwd").unlink()
    (tree / "etc/passwd").mkdir()
    (tree / "etc/passwd/x").touch()
    assert found(tree, image, upper=False) == [
        "C /etc",
        "C /etc/passwd",
        "A /etc/passwd/x",
        "C /usr",
        "C /usr/share",
    ]


def test_an_upper_directory_only_has_what_was_touched(upper: Path, image: Path) -> None:
    """What is not in it is as in the image; what was copied up unchanged is no change."""
    (upper / "etc").mkdir()
    shutil.copy2(image / "etc/passwd", upper / "etc/passwd")
    assert found(upper, image, upper=True) == []
    os.utime(upper / "etc/passwd", ns=(0, 7))
    (upper / "srv").mkdir()
    (upper / "srv/new").touch()
    assert found(upper, image, upper=True) == ["C /etc", "C /etc/passwd", "C /srv", "A /srv/new"]


def test_a_change_that_hides_its_time_is_found(upper: Path, image: Path) -> None:
    """Same size, same time, other content."""
    (upper / "etc").mkdir()
    shutil.copy2(image / "etc/passwd", upper / "etc/passwd")
    (upper / "etc/passwd").write_bytes(b"toor\n")
    shutil.copystat(image / "etc/passwd", upper / "etc/passwd")
    assert found(upper, image, upper=True) == ["C /etc", "C /etc/passwd"]


@pytest.mark.root
def test_marks_of_removal(upper: Path, image: Path) -> None:
    """A whiteout is a deletion where there was something; an opaque directory deletes the rest."""
    os.mknod(upper / "srv", 0o20000, 0)
    os.mknod(upper / "never", 0o20000, 0)
    (upper / "usr/share").mkdir(parents=True)
    os.setxattr(upper / "usr/share", "trusted.overlay.opaque", b"y")
    (upper / "usr/share/new").touch()
    assert found(upper, image, upper=True) == [
        "D /srv",
        "C /usr",
        "C /usr/share",
        "D /usr/share/doc",
        "A /usr/share/new",
    ]


@pytest.mark.root
def test_owners_are_compared_as_inside(upper: Path, image: Path) -> None:
    """An upper directory belongs to the container's ids."""
    (upper / "srv").mkdir()
    (upper / "etc").mkdir()
    for name in ("srv", "etc"):
        os.chown(upper / name, 700_000, 700_000)
    assert found(upper, image, upper=True, first_id=700_000) == []
    os.chown(upper / "srv", 700_001, 700_000)
    assert found(upper, image, upper=True, first_id=700_000) == ["C /srv"]


def test_mount_points_are_nobodys_change(upper: Path, image: Path) -> None:
    """Empty places to mount on, and the way to them; but not what somebody put there."""
    own = (b"/proc", b"/etc/hosts", b"/var/lib/data", b"/run/secret")
    (upper / "proc").mkdir()
    (upper / "etc").mkdir()
    (upper / "etc/hosts").touch()
    (upper / "var/lib/data").mkdir(parents=True)
    assert found(upper, image, upper=True, own=own) == []
    (upper / "var/lib/other").mkdir()
    (upper / "run").mkdir()
    (upper / "run/secret").write_bytes(b"x")
    assert found(upper, image, upper=True, own=own) == [
        "A /run",
        "A /run/secret",
        "A /var",
        "A /var/lib",
        "A /var/lib/other",
    ]


def test_no_link_is_followed_and_nothing_opened(upper: Path, image: Path, tmp_path: Path) -> None:
    """A link to a directory is a link; a FIFO is told without being read."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").touch()
    (upper / "etc").symlink_to(tmp_path / "outside")
    os.mkfifo(upper / "fifo")
    assert found(upper, image, upper=True) == ["C /etc", "A /fifo"]


def test_a_tree_too_deep_is_an_error(
    upper: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not a crash."""
    monkeypatch.setattr(under_test, "DEEPEST", 3)
    (upper / "a/b/c/d/e").mkdir(parents=True)
    with pytest.raises(HostError, match="more than 3 levels deep at `/a/b/c/d`"):
        found(upper, image, upper=True)
