"""Engines with a store of images: podman and docker, and a docker daemon for the while.

Each gets our root as an image once, before anything is timed. podman is given a store and settings
of its own by its variables, so that its commands are those a person types. Where the docker daemon
of the machine answers, it is the one that is asked; one of our own is started only on demand.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from peers.corner import Corner, command_line, processes
from peers.engines import PIDS, LeftOutError, installed, version_of
from peers.starts import FIRST, CommandError, Engine, ask, finish, size_of

DAEMON_PATIENCE: Final = 30.0
"""Seconds for a docker daemon to answer."""

NETWORKS: Final = {"bridge": "network", "none": "no network"}
DAEMONS: Final = ("dockerd", "containerd")


@frozen
class Store:
    """An engine with a store: its program's name and version, and our root's name there."""

    program: str
    version: str
    image: str
    parent: str | None  # the control group that its containers are told to be made in

    def run(self, name: str, *options: str) -> list[str]:
        """The beginning of a command that makes a container of our root."""
        parent = [] if self.parent is None else [f"--cgroup-parent={self.parent}"]
        return [self.program, "run", "--name", name, f"--pids-limit={PIDS}", *parent, *options]

    def engines(self) -> Iterator[Engine]:
        """Ask it for containers with the network it makes by default, and without."""
        for net, named in NETWORKS.items():
            address = "address on a bridge" if net == "bridge" else "no address"
            network = f"--network={net}"
            yield Engine(
                f"{self.program}, {named}",
                self.program,
                self.version,
                f"all namespaces but user; copy-on-write; cgroup; seccomp; {address}",
                net == "bridge",
                lambda name, network=network: [  # type: ignore[misc]
                    *self.run(name, "--rm", network, self.image, FIRST),
                ],
                lambda name, network=network: [  # type: ignore[misc]
                    *self.run(name, "-d", network, self.image, FIRST, "wait"),
                ],
                self.remove,
            )

    def remove(self, names: Sequence[str]) -> list[list[str]]:
        """The command that kills and removes these containers."""
        now = ["-t", "0"] if self.program == "podman" else []
        return [[self.program, "rm", "-f", *now, *names]]


def podman(place: Corner, image: Path) -> Store:
    """Set podman up with a store of its own. Raises LeftOutError."""
    version = installed("podman")
    folder = place.directory / "podman"
    folder.mkdir()
    settings, storage = folder / "containers.conf", folder / "storage.conf"
    settings.write_text(podman_settings(place, resource_limits()))
    storage.write_text(STORAGE.format(graph=folder / "store", run=place.run / "podman"))
    os.environ["CONTAINERS_CONF"] = str(settings)
    os.environ["CONTAINERS_STORAGE_CONF"] = str(storage)
    store = Store("podman", version, place.token, place.group)
    place.tidy.callback(_remove_all, store, place)
    _import(store, place, image)
    return store


STORAGE: Final = """
[storage]
driver = "overlay"
graphroot = "{graph}"
runroot = "{run}"
"""
SETTINGS: Final = """
[containers]
default_ulimits = [{limits}]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{run}/libpod"
{runtime}
"""


def podman_settings(place: Corner, limits: Mapping[str, int]) -> str:
    """Write what podman needs to run here: no more of each resource than there is.

    crun, which is its default, refuses a machine that has control groups of both versions.
    """
    words = ", ".join(f'"{name}={limit}:{limit}"' for name, limit in limits.items())
    runtime = 'runtime = "runc"' if place.mixed else ""
    return SETTINGS.format(limits=words, run=place.run, runtime=runtime)


def resource_limits() -> dict[str, int]:
    """What podman can give its containers, of what it asks for more by default.

    It takes as many processes for itself as there can be, and can give no more than it has.
    """
    kinds = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    hard = {name: resource.getrlimit(kind)[1] for name, kind in kinds.items()}
    pids = int(Path("/proc/sys/kernel/pid_max").read_text())
    if not 0 <= hard["nproc"] <= pids:
        hard["nproc"] = pids
    return {name: most for name, most in hard.items() if most != resource.RLIM_INFINITY}


def docker(place: Corner, image: Path, *, private: bool) -> Store:
    """Find the machine's docker daemon, or start one of our own. Raises LeftOutError."""
    client = installed("docker")
    if private:
        place.tidy.enter_context(daemon(place))
    elif not os.environ.get("DOCKER_HOST", "unix:").startswith("unix:"):
        message = "its daemon is not on this machine"
        raise LeftOutError(message)
    if not _answers():
        message = "its daemon does not answer; --with-dockerd starts one for the while"
        raise LeftOutError(message)
    server = version_of(["docker", "version", "--format", "{{.Server.Version}}"])
    version = server if server == client else f"{server} (client {client})"
    store = Store("docker", version, place.token, place.group if private else None)
    place.tidy.callback(_quietly, place, "docker", "rmi", "-f", store.image)
    place.tidy.callback(_remove_all, store, place)
    _import(store, place, image)
    return store


def _answers() -> bool:
    done = subprocess.run(["docker", "info"], check=False, capture_output=True)
    return done.returncode == 0


def daemon_command(place: Corner, socket: str) -> list[str]:
    """A docker daemon whose every file, group and socket is in the corner.

    In a mount namespace of its own, with which its mounts go.
    """
    return [
        *("unshare", "--mount", "dockerd", "--config-file", str(place.run / "dockerd.json")),
        *("--data-root", str(place.directory / "docker"), "--exec-root", str(place.run / "docker")),
        *("--pidfile", str(place.run / "dockerd.pid"), "--host", socket),
        *("--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", place.group),
    ]


@contextmanager
def daemon(place: Corner) -> Iterator[int]:
    """Have a docker daemon, for everybody who asks by DOCKER_HOST. Raises LeftOutError."""
    installed("dockerd")
    (place.run / "dockerd.json").write_text(json.dumps({}))
    socket = f"unix://{place.run / 'docker.sock'}"
    before = os.environ.get("DOCKER_HOST")
    os.environ["DOCKER_HOST"] = socket
    said = place.directory / "dockerd.log"
    with said.open("wb") as log:
        # Apart from Ctrl-C: it has to answer while its containers are removed.
        process = subprocess.Popen(
            daemon_command(place, socket), stdout=log, stderr=log, start_new_session=True
        )
    try:
        _await_answer(process, said)
        yield process.pid
    finally:
        process.terminate()
        with suppress(CommandError):
            finish(process, DAEMON_PATIENCE)
        os.environ.pop("DOCKER_HOST")
        if before is not None:
            os.environ["DOCKER_HOST"] = before


def _await_answer(process: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + DAEMON_PATIENCE
    while not _answers():
        if process.poll() is not None or time.monotonic() > deadline:
            lines = said.read_text(errors="replace").strip().splitlines() or ["no word from it"]
            message = f"dockerd: {lines[-1]}"
            raise LeftOutError(message)
        time.sleep(0.1)


def daemon_memory(place: Corner, *, private: bool) -> dict[str, int]:
    """KiB that the docker daemon's processes take up, by their names."""
    found: dict[str, int] = {}
    for pid in processes():
        line = command_line(pid)
        name = Path(line.partition(" ")[0]).name
        if name in DAEMONS and (place.token in line) == private:
            found[name] = found.get(name, 0) + size_of(pid)
    return found


def _import(store: Store, place: Corner, image: Path) -> None:
    """Give the engine our root as an image."""
    archive = place.directory / "root.tar"
    if not archive.exists():
        subprocess.run(["tar", "-C", str(image), "-cf", str(archive), "."], check=True)
    try:
        ask([store.program, "import", str(archive), store.image], place.run)
    except CommandError as failed:
        raise LeftOutError(str(failed)) from None


def running(store: Store, words: str, place: Corner) -> list[str]:
    """The engine's containers with these words in their names, whatever state they are in."""
    _, _, said = ask([store.program, "ps", "-aq", "--filter", f"name={words}"], place.run)
    return said.split()


def _remove_all(store: Store, place: Corner) -> None:
    """Remove every container of ours; the daemon may have others."""
    with suppress(CommandError):
        if names := running(store, place.token, place):
            for argv in store.remove(names):
                ask(argv, place.run, shielded=True)


def _quietly(place: Corner, *argv: str) -> None:
    """What tidies up may find nothing to do."""
    with suppress(CommandError):
        ask(argv, place.run, shielded=True)
