"""Small images for tests of the store, what must hold of every store, and children that are killed.

A layer is known by its seed: its tar can be made again at any time, and so can what must be in the
directory that it is unpacked to. Nothing here asks the store what it thinks.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gzip
import hashlib
import io
import itertools
import json
import os
import signal
import tarfile
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import archives
from anchor_supervisor.images.model import OCI_LAYER_GZIP, Descriptor, Image
from anchor_supervisor.images.reference import Reference, parse
from anchor_supervisor.images.store import Lease, Store
from anchor_supervisor.kernel import libc

SEEDS: Final = range(40)
"""The layers that tests may use."""

STATE_CALLS: Final = (
    *(
        (os, call)
        for call in (
            *("open", "close", "mkdir", "rmdir", "rename", "link", "symlink", "unlink", "mkfifo"),
            *("write", "ftruncate", "fsync", "fchown", "fchmod", "chown", "chmod", "utime"),
            *("setxattr", "copy_file_range"),
        )
    ),
    (fcntl, "flock"),
    (libc, "syncfs"),
)
"""The calls through which anything changes on the disk, or is locked."""


@functools.cache
def layer_tar(seed: int) -> bytes:
    """The plain tar of a layer: a directory, files, a symbolic and a hard link."""
    return archives.tar(
        archives.directory(f"d{seed}"),
        archives.member(f"d{seed}/file", f"{seed}\n".encode() * 50),
        archives.member(f"d{seed}/empty"),
        archives.symlink(f"d{seed}/link", "file"),
        archives.hard_link(f"d{seed}/hard", f"d{seed}/file"),
    )


@functools.cache
def layer_blob(seed: int) -> bytes:
    """The layer as it travels."""
    return gzip.compress(layer_tar(seed), mtime=0)


def digest_of(content: bytes) -> str:
    """The digest of these bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def blob_descriptor(seed: int) -> Descriptor:
    """What a manifest would say of the layer's blob."""
    blob = layer_blob(seed)
    return Descriptor(OCI_LAYER_GZIP, digest_of(blob), len(blob))


@functools.cache
def diff_id(seed: int) -> str:
    """The digest of the layer's plain tar."""
    return digest_of(layer_tar(seed))


def add_image(store: Store, lease: Lease, *seeds: int, label: str = "") -> Image:
    """Bring an image of these layers into the store as a pull does."""
    layers = []
    for seed in seeds:
        descriptor = blob_descriptor(seed)
        with store.write_blob(lease, descriptor) as writer:
            if writer is not None:
                writer.write(layer_blob(seed)[writer.position :])
                writer.commit()
        layers.append(store.ensure_layer(lease, descriptor, diff_id(seed)))
    config = {"architecture": "amd64", "os": "linux", "config": {"Labels": {"label": label}}}
    return store.make_image(lease, config, layers)


def name(text: str) -> Reference:
    """A name, read."""
    return parse(text)


def tagged(store: Store, text: str, *seeds: int) -> Image:
    """Bring an image in, and name it."""
    with store.lease("test") as lease:
        image = add_image(store, lease, *seeds, label=text)
        store.tag(name(text), image.digest)
    return image


def tree(root: Path) -> dict[str, object]:
    """Everything beneath a directory: content, where a link leads, or that it is a directory."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        key = str(path.relative_to(root))
        if path.is_symlink():
            found[key] = f"-> {path.readlink()}"
        else:
            found[key] = None if path.is_dir() else path.read_bytes()
    return found


def expected_tree(plain: bytes) -> dict[str, object]:
    """What the tar must unpack to."""
    found: dict[str, object] = {}
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        for info in archive:
            file = archive.extractfile(info) if info.isreg() or info.islnk() else None
            content = None if file is None else file.read()
            found[info.name] = f"-> {info.linkname}" if info.issym() else content
    return found


def hexes(store: Store, *parts: str) -> set[str]:
    """The names in a directory of the store."""
    folder = store.data.joinpath("store", *parts)
    return set(os.listdir(folder)) if folder.is_dir() else set()


def assert_whole(store: Store, seeds: Iterable[int] = SEEDS) -> set[str]:
    """Everything named is registered, and everything that is there is whole. Returns the images.

    Every blob has its digest, and every layer's tree is what its tar says.
    """
    for hexadecimal in hexes(store, "blobs", "sha256"):
        path = store.data / "store/blobs/sha256" / hexadecimal
        assert hashlib.sha256(path.read_bytes()).hexdigest() == hexadecimal
    known = {diff_id(seed): seed for seed in seeds}
    for hexadecimal in hexes(store, "layers"):
        seed = known[f"sha256:{hexadecimal}"]
        root = store.layer_root(f"sha256:{hexadecimal}")
        assert tree(root) == expected_tree(layer_tar(seed)), seed
    images = {f"sha256:{each.removesuffix('.json')}" for each in hexes(store, "images")}
    for digest in images:
        _assert_image_whole(store, digest)
    names = {store.data / "store/names" / each for each in hexes(store, "names")}
    assert {json.loads(path.read_text())["digest"] for path in names} <= images
    return images


def _assert_image_whole(store: Store, digest: str) -> None:
    image = store.image(digest)
    assert image.digest == digest
    document = json.loads(_blob(store, digest))
    assert document["config"]["digest"] == image.config_blob.digest
    config = json.loads(_blob(store, image.config_blob.digest))
    assert config["rootfs"]["diff_ids"] == [layer.diff_id for layer in image.layers]
    assert [each["digest"] for each in document["layers"]] == [
        layer.blob.digest for layer in image.layers
    ]
    for layer in image.layers:
        assert digest_of(gzip.decompress(_blob(store, layer.blob.digest))) == layer.diff_id
        assert store.layer_root(layer.diff_id).is_dir()


def _blob(store: Store, digest: str) -> bytes:
    path = store.blob(digest)
    assert path is not None, digest
    return path.read_bytes()


def assert_only(store: Store, *images: Image) -> None:
    """Nothing is in the store but these images and what they are made of."""
    blobs, layers = set(), set()
    for image in images:
        blobs |= {image.digest, image.config_blob.digest}
        blobs |= {layer.blob.digest for layer in image.layers}
        layers |= {layer.diff_id for layer in image.layers}
    assert hexes(store, "blobs", "sha256") == {each.removeprefix("sha256:") for each in blobs}
    assert hexes(store, "layers") == {each.removeprefix("sha256:") for each in layers}
    assert hexes(store, "images") == {f"{each.digest[7:]}.json" for each in images}
    assert hexes(store, "ingest") == set()
    assert hexes(store, "leases") == set()


def in_child(act: Callable[[], object]) -> int:
    """Do something in a child of our own; return its pid."""
    with warnings.catch_warnings():
        # Threads of other tests may be about; the child needs nothing that they could hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    try:
        act()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(child: int) -> int:
    """Wait for a child; 0 where all went well, -9 where it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_at(number: int) -> None:
    """Have this process killed at its `number`th call that changes anything, in the midst of it.

    A write has been half done by then. What a kill leaves does not depend on what the disk has
    got, so that nothing is synced: a thousand children would wait for everybody's writes.
    """
    calls = itertools.count(1)

    def counted(real: Callable[..., Any], is_write: bool, is_sync: bool) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if next(calls) == number:
                if is_write:
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return 0 if is_sync else real(*arguments, **more)

        return call

    for module, each in STATE_CALLS:
        real = getattr(module, each)
        setattr(module, each, counted(real, each == "write", each in {"fsync", "syncfs"}))


@contextlib.contextmanager
def unsynced() -> Iterator[None]:
    """For as long as the block lasts nothing is synced: no power is cut, and the disk is shared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(libc, "syncfs", lambda *_: None)
        yield


def die_after(seconds: float) -> None:
    """Have this process killed so much later, wherever it is by then: SIGALRM ends it at once."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
