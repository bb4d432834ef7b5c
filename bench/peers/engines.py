"""Programs that run a container and keep no daemon: how each is asked for the same one.

Their isolation differs, and is said beside every figure. Each maker gives the manners in which its
program is asked, or raises `LeftOutError` with the reason why it cannot be asked here.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from peers.corner import Corner
from peers.starts import FIRST, Argv, Engine
from programs import command

Maker = Callable[[Corner, Path], Iterator[Engine]]

PIDS: Final = 512
"""The limit on processes wherever one is set, as in a fleet of ours."""

_VERSION: Final = re.compile(r"\d[\w.+~-]*")


class LeftOutError(Exception):
    """A program that cannot be asked here; the words say why."""


def installed(program: str, *, ask: Sequence[str] = ("--version",)) -> str:
    """The version that an installed program gives of itself. Raises LeftOutError."""
    if shutil.which(program) is None:
        message = "not installed"
        raise LeftOutError(message)
    return version_of([program, *ask])


def version_of(argv: Argv) -> str:
    """The first number that a command says. Raises LeftOutError where it fails."""
    done = subprocess.run(
        argv, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["failed"]
        message = f"`{' '.join(argv)}`: {lines[-1]}"
        raise LeftOutError(message)
    found = _VERSION.search(done.stdout)
    return found[0] if found else "of no known version"


def anchor(_place: Corner, image: Path) -> Iterator[Engine]:
    """Our own command."""
    version = version_of(command("main", "--version"))
    for net, address in (("default", "address on a veth"), ("none", "no address")):
        yield Engine(
            f"anchor run, {_named(net)}",
            "anchor run",
            version,
            f"all namespaces, user among them; copy-on-write; cgroup; seccomp; {address}",
            net == "default",
            lambda _, net=net: command(  # type: ignore[misc]
                "main", "run", "-i", str(image), "--net", net, FIRST
            ),
        )


def _named(net: str) -> str:
    return {"none": "no network", "default": "network", "bridge": "network"}[net]


def process(_place: Corner, image: Path) -> Iterator[Engine]:
    """No container at all: what it takes to start a process from here."""
    start = str(image / FIRST[1:])
    yield Engine("no container", "no container", "", "none", False, lambda _: [start])


def unshare(_place: Corner, image: Path) -> Iterator[Engine]:
    """The kernel's namespaces from a shell."""
    base = (
        *("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"),
        *("--fork", "--kill-child", f"--root={image}", FIRST),
    )
    yield Engine(
        "unshare",
        "unshare",
        installed("unshare"),
        "all namespaces but user; chroot; no cgroup, no seccomp, no address",
        False,
        lambda _: base,
        lambda _: [*base, "wait"],
        signal=signal.SIGKILL,  # it hears no other
    )


def bwrap(_place: Corner, image: Path) -> Iterator[Engine]:
    """Bubblewrap."""
    base = (
        *("bwrap", "--unshare-all", "--die-with-parent", "--bind", str(image), "/"),
        *("--proc", "/proc", "--dev", "/dev", FIRST),
    )
    yield Engine(
        "bwrap",
        "bwrap",
        installed("bwrap"),
        "all namespaces, user among them; bind; no cgroup, no seccomp, no address",
        False,
        lambda _: base,
        lambda _: [*base, "wait"],
    )


def runtime(program: str) -> Maker:
    """A runtime of the Open Container Initiative, which is given a bundle."""

    def make(place: Corner, image: Path) -> Iterator[Engine]:
        version = installed(program)
        made = subprocess.run(
            [program, "spec"], cwd=_folder(place, program), check=False, capture_output=True
        )
        if made.returncode:
            message = made.stderr.decode(errors="replace").strip()
            raise LeftOutError(message)
        template = json.loads((_folder(place, program) / "config.json").read_text())
        base = (program, "--root", str(place.run / f"state-{program}"))

        def bundle(name: str, *words: str) -> str:
            folder = _folder(place, f"{program}-bundles/{name}")
            config = configured(template, image, f"{place.group}/{name}", (FIRST, *words))
            if not place.limits_pids:
                config["linux"]["resources"].pop("pids")
            (folder / "config.json").write_text(json.dumps(config))
            return str(folder)

        yield Engine(
            program,
            program,
            version,
            "all namespaces but user; bind; cgroup; no seccomp, no address",
            False,
            lambda name: [*base, "run", "-b", bundle(name), name],
            lambda name: [*base, "run", "-d", "-b", bundle(name, "wait"), name],
            lambda names: [[*base, "delete", "-f", name] for name in names],
            apart=program == "crun",
        )

    return make


def configured(
    template: dict[str, Any], image: Path, group: str, words: Sequence[str]
) -> dict[str, Any]:
    """A runtime's own example of a config.json, turned to our root and program."""
    linux = {**template["linux"], "cgroupsPath": group}
    linux["resources"] = {**linux.get("resources", {}), "pids": {"limit": PIDS}}
    return {
        **template,
        "process": {**template["process"], "args": list(words), "terminal": False},
        "root": {"path": str(image), "readonly": False},
        "linux": linux,
    }


def _folder(place: Corner, name: str) -> Path:
    folder = place.directory / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


LXC: Final = """
lxc.rootfs.path = overlay:{image}:{upper}
lxc.net.0.type = empty
lxc.cgroup.dir = {group}
lxc.mount.auto = proc:mixed sys:mixed
"""


def lxc(place: Corner, image: Path) -> Iterator[Engine]:
    """Containers of LXC, made of a file of settings."""
    version = installed("lxc-execute")
    folder = place.run / "lxc"
    folder.mkdir(exist_ok=True)

    def settings(name: str) -> list[str]:
        file = folder / f"{name}.conf"
        upper = _folder(place, f"lxc/{name}/delta0")
        text = LXC.format(image=image, upper=upper, group=place.token)
        file.write_text(text)
        return ["-P", str(folder), "-n", name, "-f", str(file)]

    yield Engine(
        "lxc-execute",
        "lxc-execute",
        version,
        "all namespaces but user; copy-on-write; cgroup; no seccomp, no address",
        False,
        lambda name: ["lxc-execute", *settings(name), "--", FIRST],
        lambda name: ["lxc-execute", "-d", *settings(name), "--", FIRST, "wait"],
        lambda names: [["lxc-stop", "-k", "-P", str(folder), "-n", name] for name in names],
    )


def nspawn(_place: Corner, image: Path) -> Iterator[Engine]:
    """Systemd's own; on a machine that systemd does not run it cannot register what it does."""
    version = installed("systemd-nspawn")
    alone = not Path("/run/systemd/system").exists()
    base = (
        *("systemd-nspawn", "--quiet", "--pipe", "--private-network", "--volatile=overlay"),
        *(("--register=no", "--keep-unit") if alone else ()),
        *("-D", str(image)),
    )
    yield Engine(
        "systemd-nspawn",
        "systemd-nspawn",
        version,
        "all namespaces but user; copy-on-write; seccomp; no address"
        + ("; not registered" if alone else ""),
        False,
        lambda name: [*base, "-M", name, FIRST],
        lambda name: [*base, "-M", name, FIRST, "wait"],
        grouped=alone,
    )


MAKERS: Final[dict[str, Maker]] = {
    "process": process,
    "anchor": anchor,
    "unshare": unshare,
    "bwrap": bwrap,
    "crun": runtime("crun"),
    "runc": runtime("runc"),
    "lxc": lxc,
    "systemd-nspawn": nspawn,
}
