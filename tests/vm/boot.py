"""Run the tests that make real containers on another kernel: Debian's stock one, under QEMU.

virtme-ng boots that kernel over this machine's own file system, read-only. Python is slow to read
through that (9p), and cannot be an idmapped lower layer there, so what the tests need is put on
one ext4 disk first, and bound over its usual paths by `guest.sh`: the checkout with its virtual
environment, the standard library, the interpreter. The rest of the disk is the tests' scratch
space. What runs is everything marked `vm`, and below the loop what is marked `root` and not
`native`. Arguments go to pytest instead.

The processor is emulated unless `ANCHOR_VM_KVM=1`: a /dev/kvm that opens, and even makes a
machine, may still hang in it, so acceleration is never guessed.

Exit status: pytest's own, or 70 where the machine did not live to report one.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parents[2]
BUILD: Final = CHECKOUT / "build/vm"
DISK_SIZE: Final = "4G"  # sparse
DEADLINE: Final = 25 * 60.0  # seconds, for a machine that hangs
SLOWNESS: Final = 10.0  # an emulated processor compared with a real one
SELECTION: Final = "vm or (root and not native)"
ROOMS: Final = frozenset({"tests", "kernel", "rootfs", "network", "end_to_end", "vm"})
FILES: Final = frozenset({"images/test_layer_stacks.py"})
"""Of other rooms: what another kernel could do otherwise."""
DRIVERS: Final = "ahci,evdev,i2c_i801,iTCO_wdt,lpc_ich,pcspkr,psmouse"
"""Of devices that nobody here uses, and that take a third of the time to boot."""
PROGRAMS: Final = Path(sys.executable).parent
VERDICT: Final = "pytest in the virtual machine exited with"

_MARKS_BELOW: Final = r"\bmark\.(root|vm)\b"
_MARKS_ABOVE: Final = r"\bmark\.vm\b"

_UNUSED: Final = shutil.ignore_patterns(
    *(".git", "build", ".*_cache", ".hypothesis", "*.egg-info", "stamps", "test", "idlelib"),
    *("clang_format*", "grimp*", "libcst*", "mypy*", "*mypyc*", "pip", "ruff*", "setuptools*"),
    *("clang-format*", "lib2to3", "tkinter", "turtledemo", "config-*", "virtme*", "include"),
)


def main() -> int:
    """Build the disk, boot, and pass on what pytest said."""
    arguments = sys.argv[1:] or ["-m", SELECTION, *marked_files()]
    compile_all(arguments)
    return boot(build_disk(tuple(_paths_to_bind()), arguments))


def compile_all(arguments: Iterable[str]) -> None:
    """Leave bytecode beside the sources, and beside the tests as pytest makes it: assertions told.

    An emulated processor would take two minutes to make it.
    """
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    modules = ("-m", "compileall", "-q", "anchor_supervisor")
    tests = ("-m", "pytest", "--collect-only", "--quiet", *arguments)
    for command in (modules, tests):
        subprocess.run(
            [sys.executable, *command],
            cwd=CHECKOUT,
            env=environment,
            stdout=subprocess.DEVNULL,
            check=False,  # what is wrong is told where the tests run
        )


def _paths_to_bind() -> Iterator[Path]:
    """What the interpreter reads, by its paths here."""
    yield CHECKOUT
    yield Path(sysconfig.get_path("stdlib"))
    yield Path(sys.executable).resolve()
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        library = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME"))
        if library.exists():
            yield library


def build_disk(binds: Iterable[Path], arguments: Iterable[str]) -> Path:
    """Copy `binds` to a new ext4 image, numbered, with a list of where each belongs.

    Pytest's arguments are on it too: a kernel's command line, which carries the guest's first
    command, ends at 2 KiB.
    """
    stage = BUILD / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    (stage / "scratch").mkdir(parents=True)
    listing = []
    for number, path in enumerate(binds):
        if path.is_dir():
            ignore = _unused_of_checkout if path == CHECKOUT else _without_site_packages
            shutil.copytree(path, stage / str(number), symlinks=True, ignore=ignore)
        else:
            shutil.copy2(path, stage / str(number))
        listing.append(f"{number} {path}\n")
    (stage / "binds").write_text("".join(listing))
    (stage / "arguments").write_text("".join(f"{argument}\0" for argument in arguments))
    disk = BUILD / "disk.img"
    disk.unlink(missing_ok=True)
    features = ("-q", "-F", "-O", "^has_journal", "-E", "root_owner=0:0", "-d", str(stage))
    mkfs = shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:" + os.environ["PATH"])
    subprocess.run([mkfs or "mkfs.ext4", *features, str(disk), DISK_SIZE], check=True)
    shutil.rmtree(stage)
    return disk


def _unused_of_checkout(folder: str, names: list[str]) -> set[str]:
    """Of the folders called `build` only the one with build products is of no use."""
    unused = _UNUSED(folder, names)
    return unused if Path(folder) == CHECKOUT else unused - {"build"}


def _without_site_packages(folder: str, names: list[str]) -> set[str]:
    return _UNUSED(folder, names) | ({"site-packages", "dist-packages"} & set(names))


def boot(disk: Path) -> int:
    """Boot, show what the machine says, and return what pytest returned there."""
    verdict = None
    with (
        subprocess.Popen(
            _command(disk),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}:/usr/sbin:/sbin"},
            start_new_session=True,
        ) as machine,
        _killed_after(DEADLINE, machine),
    ):
        for line in machine.stdout or ():
            print(line, end="", flush=True)
            if line.startswith(VERDICT):
                verdict = int(line.split()[-1])
    if verdict is None:
        print("the virtual machine ended without a verdict", file=sys.stderr)
        return 70
    return verdict


def _command(disk: Path) -> list[str]:
    emulated = os.environ.get("ANCHOR_VM_KVM") != "1"
    environment = {
        "ANCHOR_TEST_SLOWNESS": str(SLOWNESS if emulated else 2.0),
        "CI": os.environ.get("CI", ""),
        "NO_COLOR": "1",
        "VERDICT": VERDICT,
    }
    given = shlex.join(f"{key}={value}" for key, value in environment.items())
    guest = shlex.quote(str(CHECKOUT / "tests/vm/guest.sh"))
    return [
        str(PROGRAMS / "vng"),
        *("--run", str(kernel())),
        *("--force-9p", "--cpus", "2", "--memory", "2G", "--cwd", str(CHECKOUT)),
        f"--qemu-opts=-drive if=virtio,format=raw,cache=unsafe,file={disk}",
        # Two that have to take turns wait for one another most of the time: the other processor is
        # for the tests that need one, and off the rest of the time.
        *("--append", "maxcpus=1", "--append", f"modprobe.blacklist={DRIVERS}"),
        # emulation has no side channels to close, and wide vector instructions cost it most
        *(("--disable-kvm", "--append", "mitigations=off") if emulated else ()),
        *(("--qemu-opts=-cpu Nehalem",) if emulated else ()),
        *("--exec", f"env {given} bash {guest}"),
    ]


@contextmanager
def _killed_after(seconds: float, machine: subprocess.Popen[str]) -> Iterator[None]:
    """Kill a machine that hangs, with all its helpers."""
    timer = threading.Timer(seconds, lambda: os.killpg(machine.pid, signal.SIGKILL))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def marked_files() -> list[str]:
    """Test files worth their minutes: all that need limits, and those of the rooms below the loop.

    What is above the loop asks the kernel nothing itself; the end-to-end stories cover it.
    """
    return [
        str(path.relative_to(CHECKOUT))
        for path in sorted((CHECKOUT / "tests").rglob("test_*.py"))
        if re.search(_MARKS_BELOW if _is_below(path) else _MARKS_ABOVE, path.read_text())
    ]


def _is_below(path: Path) -> bool:
    return path.parent.name in ROOMS or f"{path.parent.name}/{path.name}" in FILES


def kernel() -> Path:
    """Return the kernel that the tests' own package installed; `ANCHOR_VM_KERNEL` names another."""
    chosen = os.environ.get("ANCHOR_VM_KERNEL")
    if chosen:
        return Path(chosen)
    found = sorted(Path("/boot").glob("vmlinuz-*-amd64"))
    if not found:
        sys.exit("no kernel in /boot: run `make setup-vm`")
    return found[-1]


if __name__ == "__main__":
    sys.exit(main())
