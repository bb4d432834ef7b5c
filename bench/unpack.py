"""How long an image takes to get in: a root unpacked and imported by us, and unpacked by umoci.

Prints one JSON object a line: what was measured, how often, and the milliseconds at p50, p95, p99
and at worst; last the ratios of the medians. Nothing here passes or fails. Run it as root on an
otherwise idle machine, on a root file system such as debootstrap makes::

    python bench/unpack.py ROOT [--count 5] [--in DIRECTORY]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from anchor_supervisor.images.layer_writer import LayerWriter
from anchor_supervisor.images.model import OCI_LAYER_GZIP
from anchor_supervisor.images.pack import pack_tree
from anchor_supervisor.images.store import Store
from anchor_supervisor.images.unpack import unpack


def report(what: str, samples: Sequence[float]) -> None:
    """Print one result: seconds as milliseconds, the nearest rank of each percentile."""
    ordered, last = sorted(samples), len(samples) - 1
    ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
    values = {name: round(ordered[round(last * rank)] * 1000, 2) for name, rank in ranks.items()}
    print(json.dumps({"what": what, "n": len(samples), **values}), flush=True)


def timed(work: Callable[[], object]) -> float:
    """Seconds until it is done, the file system quiet before."""
    os.sync()
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def umoci(*words: object) -> None:
    """Run umoci. Raises CalledProcessError where it fails."""
    subprocess.run(["umoci", *map(str, words)], check=True, capture_output=True)


def prepare(root: Path, place: Path) -> tuple[Path, Path]:
    """Make an OCI layout of `root`, with umoci; return it, and the gzip layer in it."""
    archive, layout = place / "root.tar", place / "layout"
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    with archive.open("wb") as file:
        pack_tree(descriptor, file.write)
    os.close(descriptor)
    umoci("init", "--layout", layout)
    umoci("new", "--image", f"{layout}:root")
    umoci("raw", "add-layer", "--image", f"{layout}:root", archive)
    largest = max((layout / "blobs/sha256").iterdir(), key=lambda blob: blob.stat().st_size)
    return layout, largest


def unpack_only(blob: Path, place: Path) -> None:
    """Decompress, digest and unpack one layer."""
    place.mkdir()
    root = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    with blob.open("rb") as file:
        unpack(file, root)
    os.close(root)


def import_blob(blob: Path, data: Path) -> None:
    """Take one layer into a store: copied, verified, unpacked and written to the disk."""
    store = Store(data)
    with store.lease("bench") as lease, blob.open("rb") as file:
        store.ensure_layer(lease, store.add_blob_file(lease, OCI_LAYER_GZIP, file), None)


def import_directory(root: Path, data: Path) -> None:
    """Make a layer of a directory: packed, compressed, unpacked and written to the disk."""
    store = Store(data)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    with store.lease("bench") as lease, LayerWriter(store, lease) as writer:
        pack_tree(descriptor, writer.write)
        writer.finish()
    os.close(descriptor)


def measure(root: Path, place: Path, count: int) -> None:
    """Take turns, and into fresh directories: ext4 is slow to give out an inode again."""
    layout, blob = prepare(root, place)
    works: dict[str, Callable[[Path], object]] = {
        "umoci unpack": lambda to: umoci("unpack", "--image", f"{layout}:root", to),
        "unpack a gzip layer": lambda to: unpack_only(blob, to),
        "import a gzip layer into the store": lambda to: import_blob(blob, to),
        "import a directory into the store": lambda to: import_directory(root, to),
    }
    samples: dict[str, list[float]] = {what: [] for what in works}
    for number in range(count):
        for at, (what, work) in enumerate(works.items()):
            to = place / f"{number}-{at}"
            samples[what].append(timed(lambda work=work, to=to: work(to)))  # type: ignore[misc]
    for what, seconds in samples.items():
        report(what, seconds)
    first, *others = samples
    base = statistics.median(samples[first])
    ratios = {what: round(statistics.median(samples[what]) / base, 2) for what in others}
    print(json.dumps({"ratio to umoci unpack": ratios}))


def main() -> int:
    """Run all of it."""
    parser = argparse.ArgumentParser(description="Time the unpacking and importing of a root.")
    parser.add_argument("root", type=Path, help="a root file system, such as debootstrap makes")
    parser.add_argument("--count", type=int, default=5, help="how often")
    parser.add_argument("--in", dest="place", help="where to work: a disk with room")
    options = parser.parse_args()
    machine = {"kernel": platform.release(), "cpus": os.cpu_count(), "python": sys.version[:6]}
    print(json.dumps({"machine": machine}))
    place = Path(tempfile.mkdtemp(prefix="anchor-bench-", dir=options.place))
    try:
        measure(options.root, place, options.count)
    finally:
        shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
