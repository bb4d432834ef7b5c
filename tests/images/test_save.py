"""What is saved is an OCI archive: the same bytes each time, whole or not there, and ours again."""

from __future__ import annotations

import fcntl
import io
import json
import os
import signal
import stat
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from anchor_supervisor.errors import HostError, ImageError
from anchor_supervisor.images.load import load, load_named
from anchor_supervisor.images.model import Image
from anchor_supervisor.images.save import Saved, save, save_file
from anchor_supervisor.images.store import Store
from image_store import assert_only, die_at, ended, in_child, name, tagged, unsynced

pytestmark = pytest.mark.root


@pytest.fixture
def store(data_dir: Path) -> Iterator[Store]:
    """An empty store."""
    with unsynced():
        yield Store(data_dir)


@pytest.fixture
def image(store: Store) -> Image:
    """An image of two layers, called a:1."""
    return tagged(store, "a:1", 1, 2)


def saved(store: Store, *wanted: Saved) -> bytes:
    """The archive."""
    sink = io.BytesIO()
    save(wanted, store, sink)
    return sink.getvalue()


def test_there_and_back(store: Store, image: Image, tmp_path: Path) -> None:
    """What is saved here and imported elsewhere is the same image under the same name."""
    save_file([Saved(image, (name("a:1"),))], store, tmp_path / "x.tar")
    elsewhere = Store(tmp_path / "elsewhere")
    (loaded,) = load_named(tmp_path / "x.tar", elsewhere, None)
    assert (loaded.image, loaded.names) == (image, (name("a:1"),))
    assert_only(elsewhere, image)


def test_the_same_bytes(store: Store, image: Image, tmp_path: Path) -> None:
    """They depend on images and names alone."""
    first = saved(store, Saved(image, (name("a:1"),)))
    elsewhere = Store(tmp_path / "elsewhere")
    (tmp_path / "x.tar").write_bytes(first)
    load(tmp_path / "x.tar", elsewhere, None)
    assert saved(elsewhere, Saved(image, (name("a:1"),))) == first


def test_several_images(store: Store, image: Image, tmp_path: Path) -> None:
    """Each has its names; what they share is there once; one without a name has none."""
    other, bare = tagged(store, "b:1", 1, 3), tagged(store, "c:1", 4)
    both = (name("b:1"), name("ghcr.io/b/b:2"))
    content = saved(store, Saved(image, (name("a:1"),)), Saved(other, both), Saved(bare))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        names = archive.getnames()
        docker = json.loads(_content(archive, "manifest.json"))
    assert len(names) == len(set(names))
    assert [entry["RepoTags"] for entry in docker] == [["a:1"], ["b:1", "ghcr.io/b/b:2"], []]
    (tmp_path / "x.tar").write_bytes(content)
    found = load_named(tmp_path / "x.tar", Store(tmp_path / "elsewhere"), None)
    assert {one.names[0].familiar if one.names else None: one.image for one in found} == {
        "a:1": image,
        "b:1": other,
        "ghcr.io/b/b:2": other,
        None: bare,
    }


def _content(archive: tarfile.TarFile, member: str) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


@pytest.mark.parametrize("damage", ["missing", "cut", "longer", "changed"])
def test_a_damaged_store_is_not_passed_on(
    store: Store, image: Image, tmp_path: Path, damage: str
) -> None:
    """A blob that is not what its digest says is an error, and the file stays what it was."""
    blob = store.blob(image.layers[1].blob.digest)
    assert blob is not None
    content = blob.read_bytes()
    if damage == "missing":
        blob.unlink()
    else:
        other = {"cut": content[:-1], "longer": content + b"x", "changed": b"x" + content[1:]}
        blob.write_bytes(other[damage])
    (tmp_path / "x.tar").write_text("as before")
    with pytest.raises(ImageError, match=r"is not in the store|is damaged"):
        save_file([Saved(image)], store, tmp_path / "x.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]
    assert (tmp_path / "x.tar").read_text() == "as before"


def test_killed_at_any_call(store: Store, image: Image, tmp_path: Path) -> None:
    """At whatever call it dies, the file is the old or the new one, with at most a link beside."""
    target = tmp_path / "x.tar"
    whole = saved(store, Saved(image))
    for number in range(1, 500):
        target.write_text("as before")

        def dying(number: int = number) -> None:
            die_at(number)
            save_file([Saved(image)], store, target)

        code = ended(in_child(dying))
        assert code in (0, -signal.SIGKILL)
        assert target.read_bytes() in ((b"as before", whole) if code else (whole,))
        for path in tmp_path.glob(".x.tar.*"):
            assert path.read_bytes() == whole
            path.unlink()
        if code == 0:
            break
    assert code == 0


def test_the_umask_counts(store: Store, image: Image, tmp_path: Path) -> None:
    """The file is made as a shell would make it."""
    old = os.umask(0o027)
    try:
        save_file([Saved(image)], store, tmp_path / "x.tar")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "x.tar").stat().st_mode) == 0o640


def test_a_link_stays_a_link(store: Store, image: Image, tmp_path: Path) -> None:
    """What it leads to is replaced, or made."""
    (tmp_path / "in").mkdir()
    (tmp_path / "x").symlink_to("in/x.tar")
    for _ in range(2):
        save_file([Saved(image)], store, tmp_path / "x")
        assert (tmp_path / "x").is_symlink()
        assert (tmp_path / "in/x.tar").read_bytes() == saved(store, Saved(image))


def test_a_pipe_that_does_not_block(store: Store, image: Image) -> None:
    """Somebody else's O_NONBLOCK loses no byte."""
    here, there = os.pipe()
    os.set_blocking(there, False)
    fcntl.fcntl(there, fcntl.F_SETPIPE_SZ, 4096)
    got: list[bytes] = []

    def read() -> None:
        with os.fdopen(here, "rb") as pipe:
            got.append(pipe.read())

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(there, "wb", buffering=0) as pipe:
        save([Saved(image)], store, cast("BinaryIO", pipe))
    reader.join()
    assert got == [saved(store, Saved(image))]


def test_a_pipe_is_written_through(store: Store, image: Image, tmp_path: Path) -> None:
    """What is no plain file is not replaced."""
    os.mkfifo(tmp_path / "x")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "x").read_bytes()))
    reader.start()
    save_file([Saved(image)], store, tmp_path / "x")
    reader.join()
    assert got == [saved(store, Saved(image))]
    assert stat.S_ISFIFO((tmp_path / "x").stat().st_mode)


@pytest.mark.parametrize("target", ["/dev/full", "/nowhere/x.tar", "/proc/x.tar"])
def test_where_nothing_can_be_written(store: Store, image: Image, target: str) -> None:
    """A full disk or a missing directory is told with the file's name."""
    with pytest.raises(HostError, match=f"write `{target}`"):
        save_file([Saved(image)], store, Path(target))
