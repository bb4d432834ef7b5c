"""The same work through whatever else is installed: one container of one program, whole commands.

Every peer runs the same static program over the same root. Their isolation differs, and is said
beside the figures. Engines with a daemon are asked only where it answers. What is not installed is
left out, and named.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Final, final

from attrs import frozen

from floor import floor_samples
from measure import Results, say
from programs import command, first_image, timed

QUIET: Final = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@final
@frozen
class Peer:
    """One other program: how it is asked, and what it does not do that the others do."""

    name: str
    isolation: str
    argv: Callable[[Path, int], Sequence[str]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what can be chosen."""
    parser.add_argument("--count", type=int, default=50, help="containers for each")
    parser.add_argument("--only", default="", help="names, with commas between")


def ask(options: argparse.Namespace, results: Results, directory: Path) -> None:
    """Time everybody, the floor among them."""
    image = first_image(directory)
    only = set(filter(None, options.only.split(",")))
    floors = [end for _, end in floor_samples(image, directory, options.count, network=True)]
    floor = results.samples("C floor", floors, isolation="all namespaces but user; no address")
    for peer in _everybody(image, directory, results):
        if only and peer.name not in only:
            continue
        say(f"{peer.name}: {options.count} containers")
        try:
            timed(*peer.argv(image, 0))
            samples = [timed(*peer.argv(image, number)) for number in range(1, options.count + 1)]
        except subprocess.CalledProcessError as error:
            why = error.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["failed"]
            results.figure(f"{peer.name}: not possible here", 0, why[0])
            continue
        ratio = round(median(samples) * 1000 / floor, 1)
        results.samples(
            peer.name, samples, isolation=peer.isolation, ratio_to_floor=ratio, whole_command=True
        )


def _everybody(image: Path, directory: Path, results: Results) -> Iterator[Peer]:
    yield Peer(
        "anchor run",
        "all namespaces, user among them; overlay; address; pids limit",
        lambda root, _: command("main", "run", "-i", str(root), "/first"),
    )
    yield Peer(
        "anchor run, no network",
        "all namespaces, user among them; overlay; pids limit",
        lambda root, _: command("main", "run", "-i", str(root), "--net", "none", "/first"),
    )
    for name, make in MAKERS.items():
        if shutil.which(name) is None:
            results.figure(f"{name}: not installed", 0, "left out")
        else:
            yield from make(image, directory)


def _bwrap(_image: Path, _directory: Path) -> Iterator[Peer]:
    yield Peer(
        "bwrap",
        "all namespaces; bind; no cgroup, no address",
        lambda root, _: [
            *("bwrap", "--unshare-all", "--bind", str(root), "/", "--proc", "/proc"),
            *("--dev", "/dev", "--die-with-parent", "/first"),
        ],
    )


def _runtime(program: str) -> Callable[[Path, Path], Iterator[Peer]]:
    def make(image: Path, directory: Path) -> Iterator[Peer]:
        bundle = directory / f"bundle-{program}"
        bundle.mkdir()
        subprocess.run([program, "spec"], cwd=bundle, check=True)
        config = json.loads((bundle / "config.json").read_text())
        config["process"]["args"] = ["/first"]
        config["process"]["terminal"] = False
        config["root"] = {"path": str(image), "readonly": False}
        (bundle / "config.json").write_text(json.dumps(config))
        state = directory / f"state-{program}"
        # A cgroup tree that is neither v1 nor v2 alone confuses it: a tmpfs hides one half.
        hide = "mount -t tmpfs none /sys/fs/cgroup/unified 2>/dev/null"
        inside = f"{hide}; exec {program} --root {state} run -b {bundle}"
        yield Peer(
            program,
            "all namespaces but user; bind; seccomp as in its own default; no address",
            lambda _, number: ["unshare", "-m", "sh", "-c", f"{inside} bench-{number}"],
        )

    return make


def _nspawn(_image: Path, _directory: Path) -> Iterator[Peer]:
    yield Peer(
        "systemd-nspawn",
        "all namespaces but user; overlay (volatile); no address",
        lambda root, _: [
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network"),
            *("--volatile=overlay", "-D", str(root), "/first"),
        ],
    )


def _podman(_image: Path, directory: Path) -> Iterator[Peer]:
    usual = (
        *(
            "podman",
            "--root",
            str(directory / "podman"),
            "--runroot",
            str(directory / "podman-run"),
        ),
        *("--cgroup-manager=cgroupfs", "--runtime", "runc", "run", "--rm", "--log-driver=none"),
        *("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=32768:32768"),
    )
    for network in ("none", "bridge"):
        yield Peer(
            f"podman, network {network}",
            "all namespaces but user; overlay; seccomp; cgroup",
            lambda root, _, network=network: [  # type: ignore[misc]
                *usual,
                *("--network", network, "--rootfs", f"{root}:O", "/first"),
            ],
        )


def _docker(image: Path, directory: Path) -> Iterator[Peer]:
    if subprocess.run(["docker", "info"], check=False, **QUIET).returncode:  # type: ignore[call-overload]
        say("docker is installed, and its daemon does not answer")
        return
    archive = directory / "docker.tar"
    subprocess.run(["tar", "-C", str(image), "-cf", str(archive), "."], check=True)
    subprocess.run(["docker", "import", str(archive), "anchor-bench"], check=True, **QUIET)  # type: ignore[call-overload]
    for network in ("none", "bridge"):
        yield Peer(
            f"docker, network {network}",
            "all namespaces but user; overlay; seccomp; cgroup",
            lambda _, __, network=network: [  # type: ignore[misc]
                *("docker", "run", "--rm", "--network", network, "anchor-bench", "/first"),
            ],
        )


MAKERS: Final = {
    "bwrap": _bwrap,
    "crun": _runtime("crun"),
    "runc": _runtime("runc"),
    "systemd-nspawn": _nspawn,
    "podman": _podman,
    "docker": _docker,
}
