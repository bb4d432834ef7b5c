"""Contexts and base images that mean harm: nothing outside them is ever copied or changed."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from anchor_supervisor.build.ignore import read_ignore
from anchor_supervisor.build.tree import DEEPEST, Tree
from anchor_supervisor.errors import BuildError
from image_builder import Builder, make_base


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree of the test's own; its descriptor is the test's as well."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_text("x")
    (tmp_path / "a/link").symlink_to("/a/b/file")
    (tmp_path / "z").write_text("z")
    return Tree(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY), "the context")


def paths(tree: Tree) -> list[str]:
    """Everything that is in a tree."""
    return [node.path for node in tree.walk("")]


def test_parents_come_first_and_names_in_order(tree: Tree) -> None:
    """Whatever order the directory has them in."""
    assert paths(tree) == ["a", "a/b", "a/b/file", "a/link", "z"]


def test_a_link_is_followed_inside(tree: Tree) -> None:
    """An absolute link begins at the tree's root."""
    node = tree.find("a/link")
    assert node is not None
    assert node.path == "a/b/file"
    with os.fdopen(tree.open(node)) as file:
        assert file.read() == "x"


def test_an_ignored_directory_comes_with_what_is_not(tree: Tree) -> None:
    """And not at all where nothing beneath it is wanted."""
    tree.ignored = read_ignore("a\n!a/b/file\n", file=".dockerignore")
    assert paths(tree) == ["a", "a/b", "a/b/file", "z"]
    assert tree.find("a/link") is not None  # it leads to what is not ignored
    tree.ignored = read_ignore("a\n!a/nothing\n", file=".dockerignore")
    assert paths(tree) == ["z"]
    assert tree.find("a") is None
    assert tree.find("a/b/file") is None


def test_a_file_that_was_exchanged_is_not_read(tree: Tree, tmp_path: Path) -> None:
    """What is opened is what was looked at: not a fifo in its place, nor another file."""
    node = tree.find("z")
    assert node is not None
    (tmp_path / "z").unlink()
    os.mkfifo(tmp_path / "z")
    with pytest.raises(BuildError, match="was changed"):
        tree.open(node)


def test_a_tree_has_a_depth(tree: Tree, tmp_path: Path) -> None:
    """No context is that deep."""
    place = os.open(tmp_path, os.O_RDONLY)
    for _ in range(DEEPEST + 5):
        os.mkdir("d", dir_fd=place)
        below = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)
    with pytest.raises(BuildError, match="directories deep"):
        paths(tree)
    shutil.rmtree(tmp_path / "d", ignore_errors=True)


@pytest.mark.root
def test_a_context_leads_nowhere_else(builder: Builder) -> None:
    """Links out of it, `..`, and a Dockerfile or .dockerignore that is one."""
    outside = builder.place / "outside"
    outside.write_text("not yours")
    context = builder.context("FROM base\nCOPY link /x\n")
    (context / "link").symlink_to(outside)
    assert "`link` is not in the context" in builder.refused(context)
    (context / "Dockerfile").write_text("FROM base\nCOPY ../outside /x\n")
    assert "`outside` is not in the context" in builder.refused(context)
    (context / "Dockerfile").write_text("FROM base\nCOPY dir/passwd /x\n")
    (context / "dir").symlink_to("/etc")
    assert "is not in the context" in builder.refused(context)
    (context / "Dockerfile").write_text("FROM base\nCOPY . /all\n")
    image = builder.image(context)
    assert builder.tree(image)["all/link"][3] == str(outside)
    (context / ".dockerignore").symlink_to(outside)
    builder.image(context)
    (context / "Dockerfile").unlink()
    (context / "Dockerfile").symlink_to(outside)
    assert "there is no `Dockerfile`" in builder.refused(context)


@pytest.mark.root
def test_what_is_no_file(builder: Builder) -> None:
    """A fifo is copied as one and never opened; a socket is left out; a device is refused."""
    context = builder.context("FROM base\nCOPY things /things\n")
    (context / "things").mkdir()
    os.mkfifo(context / "things/fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(context / "things/socket"))
    image = builder.image(context)
    assert builder.tree(image)["things/fifo"][0] == "10644"
    assert "things/socket" not in builder.tree(image)
    os.mknod(context / "things/null", 0o020666, os.makedev(1, 3))
    assert "`things/null` is a device" in builder.refused(context)
    (context / "things/null").unlink()
    (context / "things/.wh.fifo").touch()
    assert "names mean removals" in builder.refused(context)
    (context / "Dockerfile").unlink()
    os.mkfifo(context / "Dockerfile")
    assert "is not a plain file" in builder.refused(context)


@pytest.mark.root
def test_a_base_image_leads_nowhere_else(builder: Builder, tmp_path: Path) -> None:
    """Its links are followed inside it: destinations, working directories, the user database."""
    root = make_base(tmp_path / "root")
    (root / "app").symlink_to("/../../../etc")
    (root / "round").symlink_to("round")
    (root / "work").symlink_to("../../../../tmp/anchor-made-by-a-build")
    shutil.move(root / "etc/passwd", root / "home/passwd")
    (root / "etc/passwd").symlink_to("../../../home/passwd")
    (root / "file").write_text("a file")
    said = builder.console.anchor("import", root, "hostile")
    assert said.code == 0, said
    context = builder.context(
        "FROM hostile\nCOPY --chown=web input /app/copied\nWORKDIR /work\nRUN pwd > /where\n",
        input="x",
    )
    image = builder.image(context)
    tree = builder.tree(image)
    assert tree["etc/copied"][1:3] == (1000, 1001)
    assert tree["tmp/anchor-made-by-a-build"][0] == "40755"
    assert not Path("/etc/copied").exists()
    assert not Path("/tmp/anchor-made-by-a-build").exists()
    for destination, words in (
        ("/round/x", "more than 40 links"),
        ("/file/x", "which is not a directory"),
        ("/file/", "is a file"),
    ):
        (context / "Dockerfile").write_text(f"FROM hostile\nCOPY input {destination}\n")
        assert words in builder.refused(context)
