"""A blob is what its digest says, or is not there; what a broken connection left is resumed."""

from __future__ import annotations

import gzip
import io
import os
import threading
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor_supervisor.errors import HostError, ImageError
from anchor_supervisor.images.model import LARGEST_JSON, OCI_LAYER, Descriptor
from anchor_supervisor.images.store import Store
from image_store import digest_of, hexes

CONTENT = bytes(range(256)) * 1000
BLOB = Descriptor(OCI_LAYER, digest_of(CONTENT), len(CONTENT))
PART = f"{BLOB.digest[7:]}.part"


@pytest.fixture
def store(data_dir: Path) -> Store:
    """An empty store."""
    return Store(data_dir)


def write(store: Store, *pieces: bytes, descriptor: Descriptor = BLOB) -> None:
    """Write a blob whole."""
    with store.lease("test") as lease, store.write_blob(lease, descriptor) as writer:
        assert writer is not None
        for piece in pieces:
            writer.write(piece)
        writer.commit()


def test_a_blob_is_stored_under_its_digest(store: Store) -> None:
    """Written in pieces, found whole, readable by its owner alone, and never written twice."""
    assert store.blob(BLOB.digest) is None
    write(store, CONTENT[:1000], memoryview(CONTENT)[1000:].tobytes())
    path = store.blob(BLOB.digest)
    assert path is not None
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o777 == 0o600
    with store.lease("test") as lease, store.write_blob(lease, BLOB) as writer:
        assert writer is None
    assert hexes(store, "ingest") == set()


def test_a_broken_connection_is_resumed(store: Store) -> None:
    """What was written stays; the next one is told how much there is, and hashes it again."""

    def receive() -> None:
        with store.lease("test") as lease, store.write_blob(lease, BLOB) as writer:
            assert writer is not None
            writer.write(CONTENT[:5000])
            raise ConnectionError

    with pytest.raises(ConnectionError):
        receive()
    assert store.blob(BLOB.digest) is None
    with store.lease("test") as lease, store.write_blob(lease, BLOB) as writer:
        assert writer is not None
        assert writer.position == 5000
        writer.write(CONTENT[5000:])
        assert writer.commit() == BLOB
    assert store.blob(BLOB.digest) is not None


def test_a_server_that_cannot_resume_is_begun_again(store: Store) -> None:
    """`restart` forgets what is there; the rest counts from zero."""
    with store.lease("test") as lease, store.write_blob(lease, BLOB) as writer:
        assert writer is not None
        writer.write(b"something else")
        writer.restart()
        assert writer.position == 0
        writer.write(CONTENT)
        writer.commit()
    assert store.blob(BLOB.digest) is not None


def test_a_part_that_is_spoilt_costs_one_try(store: Store) -> None:
    """Longer than the blob: begun again. Other bytes: refused at the end, and forgotten."""
    with store.lease("test"):
        part = store.layout.ingest / PART
        part.write_bytes(CONTENT + b"more")
    write(store, CONTENT)
    store.prune()
    part.write_bytes(b"rubbish")
    with pytest.raises(ImageError, match="is damaged"):
        write(store, CONTENT[7:])
    assert hexes(store, "ingest") == set()
    write(store, CONTENT)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (CONTENT[:-1], "has 255999 bytes and not 256000"),
        (CONTENT + b"x", "more than the 256000 bytes"),
        (CONTENT[:-1] + b"?", "is damaged: its digest is"),
    ],
)
def test_a_lie_is_refused_and_forgotten(store: Store, content: bytes, words: str) -> None:
    """Too short, too long, or other bytes: nothing of it stays."""
    with pytest.raises(ImageError, match=words):
        write(store, content)
    assert store.blob(BLOB.digest) is None
    assert hexes(store, "ingest") == set()


def test_never_more_than_announced_is_written(store: Store) -> None:
    """A server that never stops fills no disk: the first piece too much is not written."""
    small = Descriptor(OCI_LAYER, digest_of(b"four"), 4)
    with store.lease("test") as lease, store.write_blob(lease, small) as writer:
        assert writer is not None
        writer.write(b"fo")
        part = store.layout.ingest / f"{small.digest[7:]}.part"
        with pytest.raises(ImageError, match="more than the 4 bytes"):
            writer.write(b"urs" * 1000)
        assert not part.exists()
    assert store.blob(small.digest) is None


def test_a_second_size_for_one_digest_is_a_lie(store: Store) -> None:
    """A manifest that gives a blob another size is refused, even where the blob is here."""
    write(store, CONTENT)
    other = Descriptor(OCI_LAYER, BLOB.digest, 17)
    with (
        store.lease("test") as lease,
        pytest.raises(ImageError, match="has 256000 bytes and not 17"),
        store.write_blob(lease, other),
    ):
        pytest.fail("unreachable")


def test_nothing_written_leaves_nothing(store: Store) -> None:
    """A part without bytes is no help to anybody."""
    with store.lease("test") as lease, store.write_blob(lease, BLOB) as writer:
        assert writer is not None
    assert hexes(store, "ingest") == set()


def test_a_second_writer_waits_and_finds_it_done(store: Store) -> None:
    """Two threads want one blob: one writes it, the other is told that it is here."""
    found: list[object] = []

    def second() -> None:
        with store.lease("second") as lease, store.write_blob(lease, BLOB) as writer:
            found.append(writer)

    with store.lease("first") as lease, store.write_blob(lease, BLOB) as writer:
        assert writer is not None
        writer.write(CONTENT[:100])
        thread = threading.Thread(target=second)
        thread.start()
        writer.write(CONTENT[100:])
        writer.commit()
        assert found == []
    thread.join()
    assert found == [None]


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_any_pieces_and_breaks_give_the_same_blob(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], data: st.DataObject
) -> None:
    """However the bytes are cut, and wherever it breaks and goes on, the blob is the same."""
    store = Store(tmp_path_factory.mktemp("data"))
    whole = b"".join(pieces)
    wanted = Descriptor(OCI_LAYER, digest_of(whole), len(whole))
    for _ in range(data.draw(st.integers(0, 3))):
        with store.lease("test") as lease, store.write_blob(lease, wanted) as writer:
            assert writer is not None
            more = data.draw(st.integers(0, len(whole) - writer.position))
            writer.write(whole[writer.position :][:more])
    with store.lease("test") as lease, store.write_blob(lease, wanted) as writer:
        assert writer is not None
        writer.write(whole[writer.position :])
        writer.commit()
    path = store.blob(wanted.digest)
    assert path is not None
    assert path.read_bytes() == whole


@pytest.mark.parametrize("where", ["memory", "file", "pipe", "gzip"])
def test_a_file_of_any_kind_is_copied(store: Store, tmp_path: Path, where: str) -> None:
    """From where it stands to its end, by the kernel or by hand, and hashed as it was stored."""
    (tmp_path / "plain").write_bytes(b"skipped" + CONTENT)
    (tmp_path / "packed").write_bytes(gzip.compress(CONTENT))
    with store.lease("test") as lease:
        if where == "pipe":
            reader, writer = os.pipe()
            os.write(writer, CONTENT[:4096])
            os.close(writer)
            with os.fdopen(reader, "rb") as pipe:
                added = store.add_blob_file(lease, OCI_LAYER, pipe)
            assert added == Descriptor(OCI_LAYER, digest_of(CONTENT[:4096]), 4096)
            return
        source: BinaryIO = io.BytesIO(b"skipped" + CONTENT)
        if where == "file":
            source = (tmp_path / "plain").open("rb")
        if where == "gzip":
            # Its descriptor is the compressed file's: what counts is what read() gives.
            source = gzip.GzipFile(tmp_path / "packed")  # type: ignore[assignment]
        with source:
            if where != "gzip":
                assert source.read(7) == b"skipped"
            assert store.add_blob_file(lease, OCI_LAYER, source) == BLOB
            assert source.read() == b""
        path = store.blob(BLOB.digest)
        assert path is not None
        assert path.read_bytes() == CONTENT


def test_a_blob_that_is_not_committed_is_gone(store: Store) -> None:
    """Nothing stays of a blob whose block ends early; equal content is stored once."""
    with store.lease("test") as lease:
        with store.new_blob(lease, OCI_LAYER) as new:
            new.write(CONTENT)
        assert hexes(store, "ingest") == set()
        first = store.add_blob(lease, OCI_LAYER, CONTENT)
        path = store.blob(first.digest)
        assert path is not None
        inode = path.stat().st_ino
        assert store.add_blob(lease, OCI_LAYER, CONTENT) == first
        assert path.stat().st_ino == inode


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[]", "is not a JSON object"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not JSON"),
    ],
)
def test_json_that_is_not_an_object_is_refused(store: Store, content: bytes, words: str) -> None:
    """Whatever a blob holds, reading it as JSON gives an object or an ImageError."""
    with store.lease("test") as lease:
        blob = store.add_blob(lease, "application/json", content)
        with pytest.raises(ImageError, match=words):
            store.read_json(blob)


def test_json_is_verified_and_bounded(store: Store) -> None:
    """A changed byte, another size, a missing and an enormous blob are refused by name."""
    with store.lease("test") as lease:
        blob = store.add_blob(lease, "application/json", b'{"a": 1}')
        assert store.read_json(blob) == {"a": 1}
        path = store.blob(blob.digest)
        assert path is not None
        path.write_bytes(b'{"a": 2}')
        with pytest.raises(ImageError, match=f"blob `{blob.digest}` is damaged"):
            store.read_json(blob)
        with pytest.raises(ImageError, match="is damaged"):
            store.read_json(Descriptor(blob.media_type, blob.digest, 7))
        with pytest.raises(ImageError, match=f"more than {LARGEST_JSON}"):
            store.read_json(Descriptor(blob.media_type, blob.digest, LARGEST_JSON + 1))
        missing = Descriptor(blob.media_type, digest_of(b"missing"), 7)
        with pytest.raises(ImageError, match="is not in the store"):
            store.read_json(missing)


def test_a_store_that_cannot_be_made_is_said_in_words(tmp_path: Path) -> None:
    """A data directory that is a file is a HostError that names it."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(HostError, match=r"make `.*/file/store`"),
        Store(tmp_path / "file").lease("x"),
    ):
        pytest.fail("unreachable")
