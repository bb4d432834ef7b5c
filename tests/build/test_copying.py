"""Where copies go."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from anchor_supervisor.build import modes
from anchor_supervisor.build.copying import Wishes, owner_of, plan_copy
from anchor_supervisor.build.layer_plan import LayerPlan
from anchor_supervisor.build.paths import Resolver
from anchor_supervisor.build.scratch import Scratch
from anchor_supervisor.build.selection import Source, select
from anchor_supervisor.build.tree import Tree
from anchor_supervisor.errors import BuildError, ImageError
from archives import hard_link, member, symlink, tar


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """What is copied from."""
    context = tmp_path / "context"
    (context / "dir/sub").mkdir(parents=True)
    (context / "dir/sub/file").write_text("x")
    (context / "one").write_text("1")
    (context / "two").write_text("2")
    root = os.open(context, os.O_RDONLY)
    yield Tree(root, "the context")
    os.close(root)


def copied(tree: Tree, tmp_path: Path, to: str, *patterns: str, **wishes: object) -> list[str]:
    """The names that a COPY adds, each with mode and owner where they are not usual."""
    parents = bool(wishes.get("parents"))
    sources = [
        source
        for pattern in patterns
        for source in select(tree, pattern, parents=parents, excluded=None)
    ]
    return planned(sources, tmp_path, to, **wishes)


def planned(sources: list[Source], tmp_path: Path, to: str, **wishes: object) -> list[str]:
    """The same, of sources."""
    room = Path(tempfile.mkdtemp(dir=tmp_path))
    plan = LayerPlan(Resolver(None))
    asked = Wishes(**wishes)  # type: ignore[arg-type]
    file = io.BytesIO()
    with ExitStack() as opened:
        plan_copy(plan, sources, to, asked, scratch=Scratch(room), opened=opened)
        plan.write(file.write)
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        return [
            info.name
            + ("/" if info.isdir() else "")
            + (f" {info.mode:o}" if info.mode not in (0o644, 0o755) else "")
            + (f" {info.uid}:{info.gid}" if info.uid or info.gid else "")
            for info in archive
        ]


@pytest.mark.parametrize(
    ("to", "patterns", "expected"),
    [
        ("/name", ["one"], ["name"]),
        ("/dir/", ["one"], ["dir/", "dir/one"]),
        ("/dir/", ["one", "two"], ["dir/", "dir/one", "dir/two"]),
        ("/", ["dir"], ["sub/", "sub/file"]),
        ("/to", ["dir"], ["to/", "to/sub/", "to/sub/file"]),
        ("/to/", ["dir", "one"], ["to/", "to/one", "to/sub/", "to/sub/file"]),
        ("/a/b/c", ["one"], ["a/", "a/b/", "a/b/c"]),
    ],
)
def test_where_copies_go(
    tree: Tree, tmp_path: Path, to: str, patterns: list[str], expected: list[str]
) -> None:
    """As docker decides it; a directory's content is copied, and not itself."""
    assert copied(tree, tmp_path, to, *patterns) == expected


def test_several_sources_need_a_directory(tree: Tree, tmp_path: Path) -> None:
    """They cannot all become one file."""
    with pytest.raises(BuildError, match="several sources"):
        copied(tree, tmp_path, "/name", "one", "two")


def test_parents(tree: Tree, tmp_path: Path) -> None:
    """`--parents` makes the way again."""
    assert copied(tree, tmp_path, "/to/", "dir/sub/file", "one", parents=True) == [
        *("to/", "to/dir/", "to/dir/sub/", "to/dir/sub/file", "to/one")
    ]
    assert copied(tree, tmp_path, "/", "dir/./sub", parents=True) == ["sub/", "sub/file"]


def test_owner_and_mode(tree: Tree, tmp_path: Path) -> None:
    """Of all that is copied; links have no mode of their own."""
    change = modes.read("u=rwX,go=")
    assert copied(tree, tmp_path, "/", "dir", owner=(5, 6), change=change) == [
        *("sub/ 700 5:6", "sub/file 600 5:6")
    ]


def test_texts_of_the_dockerfile(tmp_path: Path) -> None:
    """A heredoc is a file of its name."""
    texts = [Source("one", content=b"1"), Source("two", content=b"2")]
    assert planned(texts, tmp_path, "/etc/") == ["etc/", "etc/one", "etc/two"]
    assert planned(texts[:1], tmp_path, "/etc/renamed") == ["etc/", "etc/renamed"]


def archive(tree: Tree, content: bytes) -> list[Source]:
    """An archive as a source."""
    place = Path(f"/proc/self/fd/{tree.root}/archive")
    place.write_bytes(content)
    tree.resolver = Resolver(tree.root)
    return list(select(tree, "archive", excluded=None))


def test_an_archive_is_unpacked(tree: Tree, tmp_path: Path) -> None:
    """With its owners, unless others are asked for; the directories on its way are made."""
    sources = archive(
        tree, tar(member("a/b", b"x", uid=7, gid=8, mode=0o600), hard_link("c", "a/b"))
    )
    assert planned(sources, tmp_path, "/to", unpack=True) == [
        *("to/", "to/a/", "to/a/b 600 7:8", "to/c 600 7:8")
    ]
    assert planned(sources, tmp_path, "/to", unpack=True, owner=(1, 2))[-1] == "to/c 600 1:2"
    assert planned(sources, tmp_path, "/to/") == ["to/", "to/archive"]


@pytest.mark.parametrize(
    "content",
    [
        tar(member("../out", b"x")),
        tar(symlink("a", "/"), member("a/etc/passwd", b"x")),
        tar(member("file", b"x" * 4096))[:2048],
    ],
)
def test_hostile_archives(tree: Tree, tmp_path: Path, content: bytes) -> None:
    """End in an error that names the archive."""
    with pytest.raises(ImageError, match="`archive`: the archive"):
        planned(archive(tree, content), tmp_path, "/", unpack=True)


@pytest.mark.parametrize("content", [b"", b"text", b"\x1f\x8bbroken", bytes(1024)])
def test_what_is_no_archive_is_copied(tree: Tree, tmp_path: Path, content: bytes) -> None:
    """Whatever it begins with."""
    assert planned(archive(tree, content), tmp_path, "/", unpack=True) == ["archive"]


def test_owners_by_name(tmp_path: Path) -> None:
    """Are the image's; a number alone is user and group."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("web:x:5:6::/:/bin/sh\n")
    (tmp_path / "etc/group").write_text("staff:x:50:\n")
    root = os.open(tmp_path, os.O_RDONLY)
    assert owner_of("web", root) == (5, 6)
    assert owner_of("web:staff", root) == (5, 50)
    assert owner_of("77", root) == (77, 77)
    assert owner_of("77:0", root) == (77, 0)
    with pytest.raises(ImageError, match="no user `nobody`"):
        owner_of("nobody", root)
    os.close(root)


@pytest.mark.root
@pytest.mark.parametrize("name", [".wh.a", "d/.wh.a", ".wh..wh..opq", "d/.wh..wh..opq"])
def test_an_archive_removes_nothing(tree: Tree, tmp_path: Path, name: str) -> None:
    """What would mean a removal in a layer is none in an archive, and cannot be in an image."""
    (tmp_path / "context/a.tar").write_bytes(tar(member("a", b"x"), member(name, b"")))
    with pytest.raises(BuildError, match=r"`a\.tar` has names in it that begin with `\.wh\.`"):
        copied(tree, tmp_path, "/to/", "a.tar", unpack=True)
