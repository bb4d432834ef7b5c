"""A planned layer, written and unpacked again, is what was planned."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_supervisor.build.layer_plan import Item, LayerPlan, item_of
from anchor_supervisor.build.paths import Resolver
from anchor_supervisor.build.tree import Tree
from anchor_supervisor.errors import BuildError
from anchor_supervisor.images import headers
from anchor_supervisor.images.headers import Header

FILE = Item(Header(b"", headers.FILE, 0o640, 3, 4), content=b"text")
DIRECTORY = Item(Header(b"", headers.DIRECTORY, 0o711, 5, 6))


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[LayerPlan]:
    """A plan over a small image."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("tmp")
    os.utime(tmp_path / "tmp", ns=(1, 123_456_789_012))
    root = os.open(tmp_path, os.O_RDONLY)
    yield LayerPlan(Resolver(root), owner=(7, 8), now=10**18)
    os.close(root)


def members(plan: LayerPlan) -> dict[str, tarfile.TarInfo]:
    """What another reader makes of the tar."""
    file = io.BytesIO()
    plan.write(file.write)
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        return {info.name: info for info in archive}


def test_directories_above_are_said_again(plan: LayerPlan) -> None:
    """As the image has them where it has them, else as new ones of the owner asked for."""
    plan.put("tmp/new/deep/name", FILE)
    found = members(plan)
    assert list(found) == [".", "tmp", "tmp/new", "tmp/new/deep", "tmp/new/deep/name"]
    assert (found["tmp"].mode, found["tmp"].uid, found["tmp"].mtime) == (0o1777, 0, 123.456789012)
    assert (found["tmp/new"].mode, found["tmp/new"].uid, found["tmp/new"].gid) == (0o755, 7, 8)
    assert found["tmp/new"].mtime == 10**9
    assert (found["tmp/new/deep/name"].mode, found["tmp/new/deep/name"].size) == (0o640, 4)


def test_what_comes_later_wins(plan: LayerPlan) -> None:
    """A directory that was only on the way gets the attributes of its own entry."""
    plan.put("dir/file", FILE)
    plan.put("dir", DIRECTORY)
    plan.put("dir/file", Item(FILE.header, content=b"longer text"))
    found = members(plan)
    assert (found["dir"].mode, found["dir"].uid) == (0o711, 5)
    assert found["dir/file"].size == len(b"longer text")


@pytest.mark.parametrize(
    ("path", "item"),
    [("tmp", FILE), ("file", DIRECTORY), ("link", DIRECTORY), ("file/x", FILE), ("link/x", FILE)],
)
def test_files_and_directories_do_not_replace_each_other(
    plan: LayerPlan, path: str, item: Item
) -> None:
    """Nor does a directory replace a link, as /bin is one in many images."""
    with pytest.raises(BuildError, match="cannot replace it"):
        plan.put(path, item)
    plan = LayerPlan(Resolver(None))
    plan.put("a", FILE)
    with pytest.raises(BuildError, match="cannot replace it"):
        plan.put("a/b", FILE)


def test_removals_cannot_be_copied(plan: LayerPlan) -> None:
    """A name that would take something away from the image below is refused."""
    for path in (".wh.file", "tmp/.wh..wh..opq", "tmp/.wh.x/y"):
        with pytest.raises(BuildError, match="mean removals"):
            plan.put(path, FILE)


def test_no_time_is_newer(plan: LayerPlan) -> None:
    """What `newest` says; older times stay."""
    plan.newest = 200 * 10**9
    plan.put("tmp/new/name", FILE)
    found = members(plan)
    assert found["tmp/new"].mtime == 200
    assert found["tmp"].mtime == 123.456789012


def test_links_to_one_file_stay_links(plan: LayerPlan, tmp_path: Path) -> None:
    """Content is written once."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "one").write_text("x" * 2000)
    (source / "two").hardlink_to(source / "one")
    root = os.open(source, os.O_RDONLY)
    tree = Tree(root, "the context")
    for node in tree.walk(""):
        item = item_of(tree, node)
        assert item is not None
        plan.put(node.path, item)
    found = members(plan)
    os.close(root)
    assert found["two"].islnk()
    assert found["two"].linkname == "one"


def test_what_changes_while_it_is_copied_is_an_error(plan: LayerPlan, tmp_path: Path) -> None:
    """A layer is of one moment, or of none."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "one").write_text("long enough")
    root = os.open(source, os.O_RDONLY)
    tree = Tree(root, "the context")
    for node in tree.walk(""):
        item = item_of(tree, node)
        assert item is not None
        plan.put(node.path, item)
    (source / "one").write_text("short")
    with pytest.raises(BuildError, match="was changed while it was copied"):
        members(plan)
    os.close(root)
