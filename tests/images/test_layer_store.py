"""Layers are unpacked once: by one process, wholly or not at all, and only what they should be."""

from __future__ import annotations

import gzip
import io
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

import archives
from anchor_supervisor.errors import ImageError
from anchor_supervisor.images import unpack as unpacking
from anchor_supervisor.images.model import OCI_LAYER, OCI_LAYER_GZIP, Limits
from anchor_supervisor.images.store import Lease, Store
from anchor_supervisor.images.unpack import Unpacked, unpack
from image_store import (
    blob_descriptor,
    diff_id,
    digest_of,
    expected_tree,
    hexes,
    layer_blob,
    layer_tar,
    tree,
)

pytestmark = pytest.mark.root

ARCHIVE = archives.tar(*(archives.member(f"d/{n}", b"x" * n) for n in range(300)))

UNPACK = """
import sys; from pathlib import Path
from anchor_supervisor.images.store import Store
store = Store(Path(sys.argv[2]))
with store.lease("test") as lease:
    print(store.layer_root(store.ensure_archive(lease, Path(sys.argv[1]))))
"""


@pytest.fixture
def store(data_dir: Path) -> Store:
    """An empty store."""
    return Store(data_dir)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A small archive of a few hundred files."""
    path = tmp_path / "image.tar"
    path.write_bytes(ARCHIVE)
    return path


def start(archive: Path, store: Store) -> subprocess.Popen[str]:
    """Unpack in another process."""
    command = [sys.executable, "-c", UNPACK, str(archive), str(store.data)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_layer_is_named_by_its_plain_bytes(store: Store) -> None:
    """Unpacked from whatever compression, once; entered by its owner alone; facts beside it."""
    with store.lease("test") as lease:
        packed = store.add_blob(lease, OCI_LAYER_GZIP, layer_blob(1))
        layer = store.ensure_layer(lease, packed, diff_id(1))
        assert layer.diff_id == diff_id(1)
        assert layer.blob == packed
        assert layer.size == len(layer_tar(1))
        root = store.layer_root(diff_id(1))
        assert tree(root) == expected_tree(layer_tar(1))
        assert root.parent.stat().st_mode & 0o777 == 0o700
        inode = root.stat().st_ino
        plain = store.add_blob(lease, OCI_LAYER, layer_tar(1))
        again = store.ensure_layer(lease, plain, None)
        assert (again.diff_id, again.blob, again.size) == (layer.diff_id, plain, layer.size)
        assert store.layer_root(diff_id(1)).stat().st_ino == inode
        assert hexes(store, "ingest") == set()


def test_the_root_keeps_its_own_mode(store: Store) -> None:
    """What the archive says of `.` is the root's; nobody gets there but through us."""
    content = archives.tar(archives.directory(".", mode=0o1777), archives.member("a"))
    with store.lease("test") as lease:
        blob = store.add_blob(lease, OCI_LAYER, content)
        layer = store.ensure_layer(lease, blob, None)
        assert store.layer_root(layer.diff_id).stat().st_mode & 0o7777 == 0o1777


def test_another_diff_id_is_a_lie(store: Store) -> None:
    """Bytes that are not those of the configuration's diff id are refused, and leave nothing."""
    with store.lease("test") as lease:
        blob = store.add_blob(lease, OCI_LAYER_GZIP, layer_blob(1))
        with pytest.raises(ImageError, match=f"layer `{blob.digest[7:19]}`: .* is `{diff_id(1)}`"):
            store.ensure_layer(lease, blob, diff_id(2))
    assert hexes(store, "layers") == hexes(store, "ingest") == set()


def test_what_follows_the_end_of_the_tar_counts(store: Store) -> None:
    """The diff id is of all bytes of the plain tar: padding after its end included."""
    padded = layer_tar(1) + bytes(20480)
    with store.lease("test") as lease:
        blob = store.add_blob(lease, OCI_LAYER_GZIP, gzip.compress(padded))
        assert store.ensure_layer(lease, blob, None).diff_id == digest_of(padded)


@pytest.mark.parametrize(
    ("content", "limits", "words"),
    [
        (archives.tar(archives.member("../evil")), Limits(), r"`\.\./evil`"),
        (ARCHIVE, Limits(size=1000), "more than 1000 bytes"),
        (ARCHIVE, Limits(entries=10), "more than 10 entries"),
        (gzip.compress(ARCHIVE)[:-20], Limits(), "cut short"),
        (b"rubbish" * 1000, Limits(), "malformed"),
    ],
)
def test_a_bad_layer_leaves_nothing(
    store: Store, content: bytes, limits: Limits, words: str
) -> None:
    """Hostile, too large or broken: refused by name, and no part of it stays."""
    for wanted in (None, digest_of(b"other")):
        with store.lease("test") as lease:
            blob = store.add_blob(lease, OCI_LAYER_GZIP, content)
            with pytest.raises(ImageError, match=f"layer `{blob.digest[7:19]}`: .*{words}"):
                store.ensure_layer(lease, blob, wanted, limits=limits)
        assert hexes(store, "layers") == hexes(store, "ingest") == set()


def test_a_layer_needs_its_blob(store: Store) -> None:
    """Neither a blob nor a layer that is missing is made up."""
    with store.lease("test") as lease:
        with pytest.raises(ImageError, match=r"blob `.*` is not in the store"):
            store.ensure_layer(lease, blob_descriptor(1), diff_id(1))
        with pytest.raises(ImageError, match=r"layer `.*` is not in the store"):
            store.layer_root(diff_id(1))


def test_threads_unpack_an_unknown_layer_once(store: Store) -> None:
    """Several that do not know what a blob will be all end with the same layer."""
    with store.lease("test") as lease:
        blob = store.add_blob(lease, OCI_LAYER_GZIP, layer_blob(1))
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(store.ensure_layer(lease, blob, None)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [each.diff_id for each in found] == [diff_id(1)] * 4
    assert len(hexes(store, "layers")) == 1
    assert hexes(store, "ingest") == set()


class Told:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str, int | None]] = []
        self.count = 0

    def begin(self, item: str, verb: str, total: int | None = None) -> None:
        """Remember."""
        self.begun.append((item, verb, total))

    def advance(self, item: str, count: int) -> None:
        """Remember."""
        assert item == self.begun[-1][0]
        self.count += count

    def end(self, item: str, words: str) -> None:
        """The caller's."""
        raise AssertionError

    def note(self, sentence: str) -> None:
        """Nothing to note."""
        raise AssertionError


def test_unpacking_tells_how_far_it_is(store: Store) -> None:
    """Every byte of the blob is told of once; a layer that is here tells of nothing."""
    told = Told()
    with store.lease("test") as lease:
        blob = store.add_blob(lease, OCI_LAYER_GZIP, layer_blob(1))
        store.ensure_layer(lease, blob, diff_id(1), progress=told)
        assert told.begun == [(blob.digest[7:19], "unpacking", blob.size)]
        assert told.count == blob.size
        store.ensure_layer(lease, blob, diff_id(1), progress=told)
        assert len(told.begun) == 1


def unpacked(store: Store, archive: Path, limits: Limits = Limits()) -> Path:  # noqa: B008
    """Unpack an archive, and let it go at once."""
    with store.lease("test") as lease:
        return store.layer_root(store.ensure_archive(lease, archive, limits))


def test_an_archive_is_named_by_its_own_bytes(archive: Path, store: Store) -> None:
    """Same bytes, same directory, unpacked a single time; changed bytes are another layer."""
    root = unpacked(store, archive)
    before = root.stat()
    assert root == store.layer_root(digest_of(ARCHIVE))
    assert (root / "d/299").stat().st_size == 299
    assert unpacked(store, archive).stat().st_ino == before.st_ino
    archive.write_bytes(archives.tar(archives.member("new")))
    assert (unpacked(store, archive) / "new").is_file()
    assert (root / "d").is_dir()
    packed = gzip.compress(ARCHIVE, mtime=0)
    archive.write_bytes(packed)
    assert unpacked(store, archive) == store.layer_root(digest_of(packed))


def test_an_archive_that_changes_meanwhile_is_refused(
    archive: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was digested must be what was unpacked; otherwise nothing stays."""
    real = unpack

    def unpack_and_append(file: BinaryIO, root: int, limits: Limits, **known: bool) -> Unpacked:
        result = real(file, root, limits, **known)
        with archive.open("ab") as more:
            more.write(bytes(512))
        return result

    monkeypatch.setattr(unpacking, "unpack", unpack_and_append)
    with pytest.raises(ImageError, match="changed while it was read"):
        unpacked(store, archive)
    assert hexes(store, "layers") == hexes(store, "ingest") == set()


def test_a_missing_or_bad_archive_is_named(tmp_path: Path, archive: Path, store: Store) -> None:
    """The path is in the message, whatever is wrong there; nothing stays."""
    with pytest.raises(ImageError, match=r"no image at `.*none\.tar`"):
        unpacked(store, tmp_path / "none.tar")
    with pytest.raises(ImageError, match="is a directory"):
        unpacked(store, tmp_path)
    with pytest.raises(ImageError, match=r"image `.*image\.tar`: .* more than 100 bytes"):
        unpacked(store, archive, Limits(size=100))
    assert hexes(store, "layers") == hexes(store, "ingest") == set()


@pytest.mark.parametrize(
    "names",
    [("manifest.json", "repositories", "abc/layer.tar"), ("oci-layout", "index.json", "blobs/x")],
)
def test_a_saved_image_is_no_root(store: Store, tmp_path: Path, names: tuple[str, ...]) -> None:
    """What `docker save` writes is refused with what to do; a root may have such a file."""
    saved = tmp_path / "saved.tar"
    saved.write_bytes(archives.tar(*(archives.member(name) for name in names)))
    with pytest.raises(ImageError, match="holds a saved image") as refused:
        unpacked(store, saved)
    assert refused.value.hint == f"anchor import {saved} NAME"
    assert hexes(store, "layers") == hexes(store, "ingest") == set()
    saved.write_bytes(archives.tar(*(archives.member(name) for name in (*names, "etc/passwd"))))
    assert (unpacked(store, saved) / "etc/passwd").is_file()


def test_two_processes_at_once_give_one_layer(archive: Path, store: Store) -> None:
    """Both succeed and name the same directory, and nothing else is left."""
    both = [start(archive, store), start(archive, store)]
    answers = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert answers == {str(store.layer_root(digest_of(ARCHIVE)))}
    assert len(hexes(store, "layers")) == 1
    assert hexes(store, "ingest") == set()


STUCK = """
import sys
from pathlib import Path
from anchor_supervisor.images import unpack as unpacking
from anchor_supervisor.images.store import Store
unpack = unpacking.unpack
class Stuck:
    def __init__(self, file):
        self.file = file
    def read(self, size):
        data = self.file.read(size)
        if not data:
            print("stuck", flush=True)
            sys.stdin.read()
        return data
unpacking.unpack = lambda file, *more, **known: unpack(Stuck(file), *more, **known)
store = Store(Path(sys.argv[2]))
with store.lease("stuck") as lease:
    store.ensure_archive(lease, Path(sys.argv[1]))
"""


def start_stuck(archive: Path, store: Store) -> subprocess.Popen[bytes]:
    """An unpack that waits for ever before the end of its archive."""
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, str(archive), str(store.data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"stuck\n"
    return process


def aside(store: Store) -> Path:
    """Where the archive is unpacked to."""
    return store.layout.ingest / f"layer-{digest_of(ARCHIVE)[7:]}"


def test_what_a_killed_process_left_is_swept(archive: Path, store: Store) -> None:
    """Killed in the middle, an unpack leaves litter and no layer; the next lease clears it."""
    process = start_stuck(archive, store)
    assert (aside(store) / "root").is_dir()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert hexes(store, "layers") == set()
    assert aside(store).is_dir()
    with store.lease("any"):
        assert not aside(store).exists()
    assert (unpacked(store, archive) / "d/299").is_file()


def test_an_unpack_under_way_is_not_litter(archive: Path, store: Store) -> None:
    """Others leave alone what a living process holds, prune too; a second comer waits for it."""
    stuck = start_stuck(archive, store)
    store.prune()
    assert aside(store).is_dir()
    waiting = start(archive, store)
    try:
        assert waiting.stdout is not None
        readable, _, _ = select.select([waiting.stdout], [], [], 0)
        assert not readable
    finally:
        stuck.kill()
        stuck.communicate()
    output, _ = waiting.communicate()
    assert (Path(output.strip()) / "d/299").read_bytes() == b"x" * 299


def test_facts_that_are_damaged_are_said_so(store: Store) -> None:
    """Our own file, spoilt by somebody, is an ImageError that names it."""
    with store.lease("test") as lease:
        blob = store.add_blob_file(lease, OCI_LAYER, io.BytesIO(layer_tar(1)))
        store.ensure_layer(lease, blob, None)
        facts = store.layer_root(diff_id(1)).parent / "facts.json"
        for text in ("", "[]", '{"size": "x", "entries": 1}'):
            facts.write_text(text)
            with pytest.raises(ImageError, match=r"facts\.json` is damaged"):
                store.ensure_layer(lease, blob, diff_id(1))


def test_every_descriptor_is_closed(store: Store, archive: Path) -> None:
    """Whether it goes well or not, nothing stays open or locked."""

    def everything(lease: Lease) -> None:
        blob = store.add_blob(lease, OCI_LAYER_GZIP, layer_blob(1))
        store.ensure_layer(lease, blob, diff_id(1))
        store.ensure_archive(lease, archive)
        with pytest.raises(ImageError):
            store.ensure_layer(lease, blob, diff_id(2))

    before = len(os.listdir("/proc/self/fd"))
    with store.lease("test") as lease:
        everything(lease)
    assert len(os.listdir("/proc/self/fd")) == before
