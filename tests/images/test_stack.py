"""A stack of layers shows what its author meant, where a layer alone cannot say it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

import archives
from anchor_supervisor.errors import ImageError
from anchor_supervisor.images import stack as module
from anchor_supervisor.images.model import MOST_LAYERS, OCI_LAYER
from anchor_supervisor.images.store import Lease, Store
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.strategies import merged
from archives import directory, member, symlink
from image_store import digest_of, hexes

pytestmark = pytest.mark.root


@pytest.fixture
def store(data_dir: Path) -> Store:
    """An empty store."""
    return Store(data_dir)


def added(store: Store, lease: Lease, *members: archives.Member) -> str:
    """A layer of these entries."""
    blob = store.add_blob(lease, OCI_LAYER, archives.tar(*members))
    return store.ensure_layer(lease, blob, None).diff_id


def modes(paths: tuple[Path, ...], *names: str) -> list[tuple[int, int, int] | None]:
    """Mode, owner and group of these names, as overlayfs shows them."""
    root = merged(Layers(paths, digest_of(b"x")))
    try:
        return [mode(root, name) for name in names]
    finally:
        os.close(root)


def mode(root: int, name: str) -> tuple[int, int, int] | None:
    """The same of one name; None where it is not there."""
    try:
        status = os.stat(name, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


BASE = (
    directory(".", mode=0o711, uid=7),
    directory("tmp", mode=0o1777),
    directory("home", mode=0o750, uid=1),
    directory("home/ann", mode=0o700, uid=1000, gid=100),
)


def test_layers_that_say_everything_are_just_stacked(store: Store) -> None:
    """The uppermost first, and nothing of our own."""
    with store.lease("test") as lease:
        one = added(store, lease, *BASE)
        two = added(store, lease, directory("."), directory("tmp"), member("tmp/file"))
        expected = (store.layer_root(two), store.layer_root(one))
        assert store.stack(lease, [one, two]) == expected
        assert store.stack(lease, [one]) == expected[1:]
        assert store.stack(lease, []) == ()
        missing = digest_of(b"missing")
        with pytest.raises(ImageError, match=f"layer `{missing}` is not in the store"):
            store.stack(lease, [one, missing])


def test_a_guess_that_is_right_needs_nothing(store: Store) -> None:
    """Directories as most are: no layer of our own for them."""
    with store.lease("test") as lease:
        one = added(store, lease, directory(".", mode=0o755), directory("usr", mode=0o755))
        two = added(store, lease, member("usr/bin/tool"), member("new/file"))
        assert len(store.stack(lease, [one, two])) == 2


def test_what_a_layer_does_not_say_stays_as_it_was(store: Store) -> None:
    """A file added to /tmp or a home leaves its mode and owner, as it does for docker's users."""
    with store.lease("test") as lease:
        one = added(store, lease, *BASE)
        two = added(store, lease, member("tmp/file"), member("home/ann/deep/file"))
        three = added(store, lease, member("home/ann/other"))
        paths = store.stack(lease, [one, two, three])
        assert len(paths) == 4
        names = (".", "tmp", "home", "home/ann", "home/ann/deep", "tmp/file", "home/ann/other")
        assert modes(paths, *names) == [
            (0o711, 7, 0),
            (0o1777, 0, 0),
            (0o750, 1, 0),
            (0o700, 1000, 100),
            (0o755, 0, 0),
            (0o644, 0, 0),
            (0o644, 0, 0),
        ]
        inode = paths[0].stat().st_ino
        assert store.stack(lease, [one, two, three]) == paths
        assert paths[0].stat().st_ino == inode
        assert hexes(store, "ingest") == set()
        # Only the lease leads to it.
        before = hexes(store, "layers")
    with store.lease("other") as lease:
        lease.hold(one, two, three)
        assert [each.name for each in store.prune() if each.kind == "layer"] == [
            paths[0].parent.name[:12]
        ]
        assert before - hexes(store, "layers") == {paths[0].parent.name}


@pytest.mark.parametrize(
    "between",
    [
        (member("home/.wh.ann"),),
        (member("home/ann/.wh..wh..opq"),),
        (member("home/.wh..wh..opq"),),
        (member("home/ann"),),
        (symlink("home/ann", "/tmp"),),
    ],
)
def test_what_was_removed_is_no_truth(store: Store, between: tuple[archives.Member, ...]) -> None:
    """A directory made anew over one that was removed has nothing of it."""
    with store.lease("test") as lease:
        one = added(store, lease, *BASE)
        two = added(store, lease, *between)
        three = added(store, lease, member("home/ann/file"))
        paths = store.stack(lease, [one, two, three])
        assert modes(paths, "home/ann", "home/ann/file") == [(0o755, 0, 0), (0o644, 0, 0)]


def test_what_is_removed_above_is_not_brought_back(store: Store) -> None:
    """A guessed directory that a later layer removes stays removed."""
    with store.lease("test") as lease:
        one = added(store, lease, *BASE)
        two = added(store, lease, member("home/ann/file"), member("tmp/file"))
        three = added(store, lease, member("home/.wh.ann"))
        paths = store.stack(lease, [one, two, three])
        assert modes(paths, "home/ann", "tmp", "home") == [None, (0o1777, 0, 0), (0o750, 1, 0)]


def test_a_later_layers_word_goes_before_an_earlier_ones(store: Store) -> None:
    """The truth is the nearest layer beneath that has an entry, and above all one's own."""
    with store.lease("test") as lease:
        one = added(store, lease, *BASE)
        two = added(store, lease, directory("tmp", mode=0o700), directory("home", mode=0o701))
        three = added(store, lease, member("tmp/file"), member("home/file"))
        four = added(store, lease, directory("home", mode=0o702))
        paths = store.stack(lease, [one, two, three, four])
        assert modes(paths, "tmp", "home") == [(0o700, 0, 0), (0o702, 0, 0)]


def test_a_layer_that_hides_everything_ends_the_stack(store: Store) -> None:
    """An opaque root, which overlayfs does not know, leaves out what is beneath it."""
    with store.lease("test") as lease:
        one = added(store, lease, *BASE)
        two = added(store, lease, member(".wh..wh..opq"), member("only"))
        three = added(store, lease, member("top"))
        paths = store.stack(lease, [one, two, three])
        assert paths == (store.layer_root(three), store.layer_root(two))
        assert modes(paths, "tmp", "only", "top") == [None, (0o644, 0, 0), (0o644, 0, 0)]


def test_no_link_of_a_layer_is_followed(store: Store, tmp_path: Path) -> None:
    """A link in a layer beneath is a link, wherever it leads."""
    (tmp_path / "secret").mkdir(mode=0o700)
    with store.lease("test") as lease:
        one = added(store, lease, symlink("home", str(tmp_path)))
        two = added(store, lease, member("home/secret/file"))
        paths = store.stack(lease, [one, two])
        assert modes(paths, "home", "home/secret") == [(0o755, 0, 0), (0o755, 0, 0)]


def test_attributes_of_a_user_come_too(store: Store) -> None:
    """What else belongs to a directory is restored with its mode."""
    with store.lease("test") as lease:
        labelled = directory("tmp", pax_headers={"SCHILY.xattr.user.label": "yes"})
        one = added(store, lease, labelled)
        two = added(store, lease, member("tmp/file"))
        paths = store.stack(lease, [one, two])
        assert os.getxattr(paths[0] / "tmp", "user.label") == b"yes"


def test_there_is_an_end_to_looking(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of millions of such directories is refused; the last possible layer is not ours."""
    with store.lease("test") as lease:
        one = added(store, lease, *BASE)
        two = added(store, lease, *(member(f"{number}/file") for number in range(50)))
        assert len(store.stack(lease, [one] * (MOST_LAYERS - 1) + [two])) == MOST_LAYERS
        monkeypatch.setattr(module, "_MOST_LOOKS", 100)
        with pytest.raises(ImageError, match="leave out 51 of their directories"):
            store.stack(lease, [one, two])
