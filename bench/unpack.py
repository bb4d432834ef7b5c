"""How long an image takes to get in: a root unpacked and imported by us, and unpacked by umoci.

They take turns, each into a directory of its own: ext4 is slow to give out an inode again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from anchor_supervisor.images.layer_writer import LayerWriter
from anchor_supervisor.images.model import OCI_LAYER_GZIP
from anchor_supervisor.images.pack import pack_tree
from anchor_supervisor.images.store import Store
from anchor_supervisor.images.unpack import unpack
from arithmetic import ratio
from images import add_image_options, chosen_images
from measure import Results, say
from options import Default, add_option, count

UMOCI = "umoci unpack"
Work = Callable[[Path], object]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    add_image_options(parser, Default((121,), (30,)))
    add_option(parser, "--times", count("--times", 100), Default(5, 2), "how often each")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Time everybody with every image."""
    images = chosen_images(options.sizes, options.image, results, directory)
    for called, image in images.items():
        place = directory / f"unpack-{len(results.records)}"
        place.mkdir()
        try:
            _take_turns(results, called, image, place, options.times)
        finally:
            shutil.rmtree(place)


def _take_turns(results: Results, called: str, image: Path, place: Path, times: int) -> None:
    works = _works(image, place)
    samples: dict[str, list[float]] = {what: [] for what in works}
    for number in range(times):
        for at, (what, work) in enumerate(works.items()):
            say(f"{called}: {what}")
            to = place / f"{number}-{at}"
            samples[what].append(_timed(work, to))
            shutil.rmtree(to)
    if UMOCI not in works:
        results.missing(UMOCI, "umoci is not installed", image=called)
    for what, seconds in samples.items():
        results.samples(what, seconds, image=called)
        if what != UMOCI and UMOCI in samples:
            turns = ratio([[one] for one in seconds], [[one] for one in samples[UMOCI]])
            results.figure(f"{what}, to {UMOCI}", turns, "times", image=called)


def _timed(work: Work, to: Path) -> float:
    """Seconds until it is done, the file system quiet before."""
    os.sync()
    begun = time.perf_counter()
    work(to)
    return time.perf_counter() - begun


def _works(image: Path, place: Path) -> dict[str, Work]:
    """What is timed: each makes the directory that it is given."""
    works: dict[str, Work] = {"import a directory into the store": lambda to: _import(image, to)}
    if shutil.which("umoci") is None:
        return works
    layout, blob = _prepare(image, place)
    return {
        UMOCI: lambda to: _umoci("unpack", "--image", f"{layout}:root", to),
        "unpack a gzip layer": lambda to: _unpack(blob, to),
        "import a gzip layer into the store": lambda to: _import_blob(blob, to),
        **works,
    }


def _umoci(*words: object) -> None:
    subprocess.run(["umoci", *map(str, words)], check=True, capture_output=True)


def _prepare(root: Path, place: Path) -> tuple[Path, Path]:
    """Make an OCI layout of `root`, with umoci; return it, and the gzip layer in it."""
    archive, layout = place / "root.tar", place / "layout"
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    with archive.open("wb") as file:
        pack_tree(descriptor, file.write)
    os.close(descriptor)
    _umoci("init", "--layout", layout)
    _umoci("new", "--image", f"{layout}:root")
    _umoci("raw", "add-layer", "--image", f"{layout}:root", archive)
    largest = max((layout / "blobs/sha256").iterdir(), key=lambda blob: blob.stat().st_size)
    return layout, largest


def _unpack(blob: Path, place: Path) -> None:
    """Decompress, digest and unpack one layer."""
    place.mkdir()
    root = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    with blob.open("rb") as file:
        unpack(file, root)
    os.close(root)


def _import_blob(blob: Path, data: Path) -> None:
    """Take one layer into a store: copied, verified, unpacked and written to the disk."""
    store = Store(data)
    with store.lease("bench") as lease, blob.open("rb") as file:
        store.ensure_layer(lease, store.add_blob_file(lease, OCI_LAYER_GZIP, file), None)


def _import(root: Path, data: Path) -> None:
    """Make a layer of a directory: packed, compressed, unpacked and written to the disk."""
    store = Store(data)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    with store.lease("bench") as lease, LayerWriter(store, lease) as writer:
        pack_tree(descriptor, writer.write)
        writer.finish()
    os.close(descriptor)
