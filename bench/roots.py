"""What copy-on-write buys: starts over a small image and a large one, with every root strategy.

Prints JSON lines, as bench/startup.py does. Run it as root on an otherwise idle machine, with a
directory to make the large image of, such as the result of `debootstrap --variant=minbase`::

    python bench/roots.py --large /srv/debian [--count 50]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

import trio

from anchor_supervisor.errors import HostError
from anchor_supervisor.fleet.model import Fleet, instances
from anchor_supervisor.fleet.parse import loads
from anchor_supervisor.images.load import load
from anchor_supervisor.images.reference import parse
from anchor_supervisor.images.store import Store
from anchor_supervisor.kernel.mount import private_mount_namespace
from anchor_supervisor.kernel.process import raise_open_files
from anchor_supervisor.observability import places
from anchor_supervisor.runtime.lock import fleet_lock
from anchor_supervisor.runtime.machine import HostMachine
from anchor_supervisor.runtime.site import open_site
from anchor_supervisor.runtime.sweep import sweep_locked
from measure import own_directories, report, report_machine, report_ratio

FLEET = """
[fleet]
name = "roots"
[containers.one]
image = "{image}"
root = "{root}"
networks = "none"
command = ["/bin/busybox", "true"]
replicas = {count}
"""


def fleet_of(image: str, root: str, count: int) -> Fleet:
    """A fleet of replicas that end at once."""
    text = FLEET.format(image=image, root=root, count=count)
    return loads(text, file=None, directory="/", environment={})


async def time_starts(machine: HostMachine) -> list[float]:
    """Seconds from wanting a container until its command is executed, each a first start."""
    samples = []
    for instance in instances(machine.site.fleet):
        begun = time.perf_counter()
        run = await machine.start(instance)
        samples.append(time.perf_counter() - begun)
        await run.wait()
    return samples


def bench(image: str, root: str, count: int) -> float | None:
    """Time one strategy over one image; the median in milliseconds, None where it cannot be."""
    fleet = fleet_of(image, root, count)
    with fleet_lock(places.fleet_run_dir(fleet.name), fleet.name), open_site(fleet) as site:
        machine = HostMachine(site, lambda *_: None)
        try:
            samples = trio.run(time_starts, machine)
        except HostError as error:
            print(f"{root} over {image}: {error}", file=sys.stderr)
            return None
        finally:
            machine.release()
            sweep_locked(fleet.name)
    return report(f"start: {root} over the {image} image, no network", samples)


def make_images(large: Path, directory: Path) -> None:
    """Put both images into the store; busybox is the small one, and in both the command."""
    store = Store(places.data_dir())
    small = directory / "small"
    for root in (small, directory / "large"):
        if root != small:
            shutil.copytree(large, root, symlinks=True, ignore=shutil.ignore_patterns("dev"))
        for folder in ("bin", "dev", "proc", "sys", "etc"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for file in ("hosts", "hostname", "resolv.conf"):
            (root / "etc" / file).touch()  # where `bind` is to mount
        shutil.copy2("/bin/busybox", root / "bin/busybox")
        begun = time.perf_counter()
        load(root, store, parse(root.name))
        report(f"import of the {root.name} directory", [time.perf_counter() - begun])
        shutil.rmtree(root)


def main() -> int:
    """Run all of it."""
    parser = argparse.ArgumentParser(description="Time starts over small and large images.")
    parser.add_argument("--large", type=Path, required=True, help="a directory with a whole root")
    parser.add_argument("--count", type=int, default=50, help="containers of each kind")
    options = parser.parse_args()
    report_machine()
    with own_directories() as directory:
        make_images(options.large, directory)
        raise_open_files()
        private_mount_namespace()
        for root in ("overlay", "bind", "copy", "reflink"):
            count = options.count if root in {"overlay", "bind"} else max(3, options.count // 10)
            small, large = (bench(image, root, count) for image in ("small", "large"))
            if small and large:
                report_ratio(f"{root}: large image over small one", large / small)
    return 0


if __name__ == "__main__":
    sys.exit(main())
