"""What a source is, what its images are called, and that a kill at any instant leaves no litter."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images import load_parts
from anchor_supervisor.images.load import STANDARD_INPUT, load, load_named
from anchor_supervisor.images.model import OCI_LAYER_GZIP, OCI_LAYER_ZSTD, Limits, Platform
from anchor_supervisor.images.store import Store
from archives import directory, member, tar
from image_archives import Files, docker_old, listing, oci, tar_of, write_directory, write_tar
from image_store import (
    assert_only,
    diff_id,
    digest_of,
    expected_tree,
    layer_tar,
    name,
    tagged,
    tree,
    unsynced,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.root

ROOT = tar(
    directory("bin"),
    member("bin/sh", b"#!"),
    directory("etc"),
    member("etc/passwd", b"root"),
)
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": lambda data: gzip.compress(data, mtime=0),
    "zst": zstd.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
}


@pytest.fixture
def store(data_dir: Path) -> Iterator[Store]:
    """An empty store."""
    with unsynced():
        yield Store(data_dir)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_root_tar(store: Store, tmp_path: Path, compression: str) -> None:
    """Every compression unpacks to the same layer; gzip and zstd travel on byte for byte."""
    content = COMPRESSIONS[compression](ROOT)
    (tmp_path / "root.tar").write_bytes(content)
    (loaded,) = load_named(tmp_path / "root.tar", store, name("a:1"))
    (layer,) = loaded.image.layers
    assert layer.diff_id == digest_of(ROOT)
    assert tree(store.layer_root(layer.diff_id)) == expected_tree(ROOT)
    kept = compression in {"gz", "zst"}
    assert (layer.blob.digest == digest_of(content)) == kept
    assert layer.blob.media_type == (OCI_LAYER_ZSTD if compression == "zst" else OCI_LAYER_GZIP)
    assert loaded.image.config["architecture"] == "amd64"
    assert_only(store, loaded.image)


def test_the_same_root_is_the_same_image(store: Store, tmp_path: Path) -> None:
    """Its time is the source's, so that importing it again changes nothing."""
    (tmp_path / "root.tar").write_bytes(ROOT)
    os.utime(tmp_path / "root.tar", (86400, 86400))
    (first,) = load(tmp_path / "root.tar", store, None)
    assert first.config["created"] == "1970-01-02T00:00:00Z"
    before = listing(store)
    assert load(tmp_path / "root.tar", store, None) == (first,)
    assert listing(store) == before


def test_a_platform_and_changes_of_ones_own(store: Store, tmp_path: Path) -> None:
    """A root is what it is said to be; an archive's image is its author's."""
    (tmp_path / "root.tar").write_bytes(ROOT)
    platform = Platform("linux", "arm", "v7")
    (one,) = load_named(
        *(tmp_path / "root.tar", store, None),
        platform=platform,
        configure=lambda config: {**config, "config": {"Cmd": ["x"]}},
    )
    config = one.image.config
    assert [config[key] for key in ("architecture", "variant")] == ["arm", "v7"]
    assert config["config"] == {"Cmd": ["x"]}
    path = write_tar(tmp_path / "x.tar", oci("a:1", 1))
    with pytest.raises(ImageError, match="only an image made of a root file system can be changed"):
        load_named(path, store, None, configure=dict)


def test_a_directory(store: Store, tmp_path: Path) -> None:
    """Its files come in as they are; a socket, and what is mounted in it, stay out."""
    root = write_directory(tmp_path / "root", {"etc/passwd": b"root", "bin/sh": b"#!"})
    (root / "bin/sh").chmod(0o4755)
    os.chown(root / "etc/passwd", 12, 34)
    (root / "link").symlink_to("/etc/passwd")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))
    (loaded,) = load_named(root, store, None)
    assert loaded.names == (name("root"),)
    unpacked = store.layer_root(loaded.image.layers[0].diff_id)
    assert tree(unpacked) == {
        "bin": None,
        "bin/sh": b"#!",
        "etc": None,
        "etc/passwd": b"root",
        "link": "-> /etc/passwd",
    }
    assert (unpacked / "bin/sh").stat().st_mode & 0o7777 == 0o4755
    status = (unpacked / "etc/passwd").stat()
    assert (status.st_uid, status.st_gid) == (12, 34)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compressed_archives(store: Store, tmp_path: Path, compression: str) -> None:
    """An archive of images may be compressed as a whole."""
    pack = COMPRESSIONS[compression]
    (tmp_path / "old").write_bytes(pack(tar_of(docker_old({"a:1": [1]}))))
    (tmp_path / "layout").write_bytes(pack(tar_of(oci("b:1", 1))))
    for each in ("old", "layout"):
        (image,) = load(tmp_path / each, store, None)
        assert image.layers[0].diff_id == diff_id(1)
    assert [line.name for line in store.images()] == [
        "docker.io/library/a:1",
        "docker.io/library/b:1",
    ]


@pytest.mark.parametrize(
    ("file", "called"),
    [
        ("debian.tar.gz", "debian:latest"),
        ("my-root_1.2.tgz", "my-root_1.2:latest"),
        ("box", "box:latest"),
        ("Debian.tar", None),
        ("a:1.tar", None),
        ("-x.tar", None),
        ("ä.tar", None),
    ],
)
def test_named_after_the_file(store: Store, tmp_path: Path, file: str, called: str | None) -> None:
    """A root is named after its file, where that can be a name; else it has none, with a note."""
    notes = Notes()
    (tmp_path / file).write_bytes(ROOT)
    (loaded,) = load_named(tmp_path / file, store, None, progress=notes)
    assert [each.familiar for each in loaded.names] == ([called] if called else [])
    assert notes.sentences == ([] if called else [NAMELESS])


NAMELESS = "the image has no name: `anchor tag` gives it one"


class Notes:
    """A Progress that keeps what is noted, and looks that whatever ends has begun."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.under_way: set[str] = set()

    def begin(self, item: str, verb: str, total: int | None = None) -> None:
        self.under_way.add(item)

    def advance(self, item: str, count: int) -> None:
        assert item in self.under_way

    def end(self, item: str, words: str) -> None:
        self.under_way.discard(item)

    def note(self, sentence: str) -> None:
        self.sentences.append(sentence)


def test_progress_ends(store: Store, tmp_path: Path) -> None:
    """Whatever begins ends."""
    notes = Notes()
    files = write_tar(tmp_path / "x.tar", oci("a:1", 1, 2))
    old = write_tar(tmp_path / "y.tar", docker_old({"b:1": [2, 3]}))
    for source in (files, old, write_directory(tmp_path / "d", {"bin/sh": b""})):
        load(source, store, None, progress=notes)
    assert not notes.under_way


@pytest.mark.parametrize("content", [ROOT, tar_of(docker_old({"a:1": [1]}))], ids=["root", "old"])
def test_standard_input(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """A pipe is read to its end, and a redirected file where it lies; both are the same image."""
    (tmp_path / "x.tar").write_bytes(content)
    with (tmp_path / "x.tar").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", file)
        (seen,) = load_named(STANDARD_INPUT, store, name("a:1"))
    here, there = os.pipe()
    writer = threading.Thread(target=_write, args=(there, content))
    writer.start()
    with os.fdopen(here, "rb") as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        (piped,) = load_named(STANDARD_INPUT, store, name("b:1"))
    writer.join()
    assert piped.image.layers == seen.image.layers


def test_a_pipe_has_no_name(store: Store, tmp_path: Path) -> None:
    """What a shell makes of `<(...)` is read to its end, and is not named after its number."""
    os.mkfifo(tmp_path / "63")
    writer = threading.Thread(target=(tmp_path / "63").write_bytes, args=(ROOT,))
    writer.start()
    (loaded,) = load_named(tmp_path / "63", store, None)
    writer.join()
    assert loaded.names == ()
    assert loaded.image.layers[0].diff_id == digest_of(ROOT)


def test_a_mount_in_a_directory(store: Store, tmp_path: Path) -> None:
    """What is mounted in it is not its own: the place is there, empty."""
    root = write_directory(tmp_path / "root", {"etc/passwd": b"root"})
    (root / "proc").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", root / "proc"], check=True)
    try:
        (root / "proc/inside").touch()
        (image,) = load(root, store, None)
    finally:
        subprocess.run(["umount", root / "proc"], check=True)
    assert set(tree(store.layer_root(image.layers[0].diff_id))) == {"etc", "etc/passwd", "proc"}


def _write(pipe: int, content: bytes) -> None:
    with os.fdopen(pipe, "wb") as file:
        file.write(content)


def test_a_root_that_looks_otherwise(store: Store, tmp_path: Path) -> None:
    """Files of the names that archives have do not make a root an archive."""
    odd = {
        "manifest.json": b"{not JSON",
        "repositories": b"x",
        "oci-layout": b"",
        "etc/passwd": b"root",
    }
    (from_tar,) = load(write_tar(tmp_path / "odd.tar", odd), store, None)
    assert set(tree(store.layer_root(from_tar.layers[0].diff_id))) == {*odd, "etc"}
    (from_directory,) = load(write_directory(tmp_path / "odd", odd), store, None)
    assert set(tree(store.layer_root(from_directory.layers[0].diff_id))) == {*odd, "etc"}
    packed = tmp_path / "odd.tar.gz"
    packed.write_bytes(gzip.compress(tar_of(odd)))
    (compressed,) = load(packed, store, None)
    assert compressed.layers[0].diff_id == from_tar.layers[0].diff_id


def test_an_empty_root(store: Store, tmp_path: Path) -> None:
    """An archive of nothing is an image of nothing."""
    (tmp_path / "x.tar").write_bytes(tar())
    (image,) = load(tmp_path / "x.tar", store, None)
    assert tree(store.layer_root(image.layers[0].diff_id)) == {}


SKOPEO_DIR = {
    "version": b"Directory Transport Version: 1.1\n",
    "manifest.json": b'{"schemaVersion":2}',
}
BROKEN = bytearray(gzip.compress(tar(member("bin/x", random.Random(1).randbytes(1 << 20)))))
BROKEN[-100_000:-90_000] = bytes(10_000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is not a tar archive"),
        (b"words\n" * 200, "it is not a tar archive"),
        (gzip.compress(b"words\n" * 200), "it is not a tar archive"),
        (ROOT[:1000], "cut short|malformed"),
        (ROOT[:2048], "cut short|end marker"),
        (gzip.compress(ROOT)[:-9], "ends early"),
        (bytes(BROKEN), "is damaged"),
        (tar_of(docker_old({"a:1": [1]}))[:3000], "malformed"),
        (tar_of(SKOPEO_DIR), "what skopeo calls `dir:`"),
    ],
    ids=range(9),
)
def test_what_is_no_image(store: Store, tmp_path: Path, content: bytes, message: str) -> None:
    """It is told so, with the file's name, and nothing but a prune's work is left."""
    kept = tagged(store, "kept", 1)
    before = listing(store)
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        load(tmp_path / "x", store, None)
    assert str(tmp_path / "x") in caught.value.message
    assert listing(store) == before
    store.prune()
    assert_only(store, kept)


@pytest.mark.parametrize("source", ["/dev/zero", "/nowhere/at/all"])
def test_what_is_no_source(store: Store, source: str) -> None:
    """A device is not read for ever, and a missing file is named."""
    with pytest.raises(ImageError, match=f"`{source}`: "):
        load(Path(source), store, None)


def test_a_bomb(store: Store, tmp_path: Path) -> None:
    """What unpacks to more than the limit is refused, whatever it is packed in."""
    limits = Limits(size=1 << 20)
    big = tar(member("bin/big", bytes(2 << 20)))
    nested = docker_old({"a:1": [1]})
    (first,) = [key for key in nested if nested[key] == layer_tar(1)]
    for content in (
        gzip.compress(big),
        lzma.compress(big),
        big,
        tar_of({**nested, first: gzip.compress(big)}),
        gzip.compress(tar_of({**nested, first: big})),
    ):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(ImageError, match="more than 1048576 bytes"):
            load(tmp_path / "x", store, None, limits=limits)
    store.prune()
    assert_only(store)


@pytest.mark.parametrize("files", [docker_old({"a:1": [1]}), oci("a:1", 1)], ids=["old", "oci"])
def test_an_image_for_another_machine(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Files
) -> None:
    """It comes in with a note; where a platform was asked for, only that one does."""
    path = write_tar(tmp_path / "x.tar", files)
    arm = Platform("linux", "arm64")
    with pytest.raises(ImageError, match=r"made for `linux/amd64`, and not `linux/arm64`"):
        load(path, store, None, platform=arm)
    assert listing(store) == (set(), [])
    notes = Notes()
    monkeypatch.setattr(load_parts, "machine_platform", lambda: arm)
    assert load(path, store, None, progress=notes)
    assert notes.sentences == ["it is made for `linux/amd64`, and this machine is `linux/arm64`"]


def test_compressed_layers_of_an_archive(store: Store, tmp_path: Path) -> None:
    """Kaniko and jib save layers as they travel, and so they stay."""
    files = docker_old({"a:1": [1, 2, 3]})
    packs = {1: COMPRESSIONS["gz"], 2: COMPRESSIONS["zst"], 3: COMPRESSIONS["xz"]}
    contents = {seed: pack(layer_tar(seed)) for seed, pack in packs.items()}
    for key, value in list(files.items()):
        for seed, content in contents.items():
            if value == layer_tar(seed):
                files[key] = content
    (image,) = load(write_tar(tmp_path / "x.tar", files), store, None)
    assert [layer.diff_id for layer in image.layers] == [diff_id(seed) for seed in packs]
    kept = [layer.blob.digest in map(digest_of, contents.values()) for layer in image.layers]
    assert kept == [True, True, False]
