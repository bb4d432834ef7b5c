"""Run the tests that make real containers on another kernel: Debian's stock one, under QEMU.

virtme-ng boots that kernel over this machine's own file system, read-only. Python is slow to read
through that (9p), and cannot be an idmapped lower layer there, so what the tests need is put on
one ext4 disk first, and bound over its usual paths by `guest.sh`: the checkout with its virtual
environment, the standard library, the interpreter. The rest of the disk is the tests' scratch
space. One boot runs everything that is marked `vm`, or `root` and not `native`;
arguments are handed to pytest instead.

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
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parents[2]
BUILD: Final = CHECKOUT / "build/vm"
DISK_SIZE: Final = "4G"  # sparse
DEADLINE: Final = 15 * 60.0  # seconds, for a machine that hangs
SLOWNESS: Final = 10.0  # an emulated processor compared with a real one
SELECTION: Final = "vm or (root and not native)"
VERDICT: Final = "pytest in the virtual machine exited with"

_UNUSED: Final = shutil.ignore_patterns(
    *(".git", "build", ".*_cache", ".hypothesis", "*.egg-info", "stamps", "test", "idlelib"),
    *("clang_format*", "grimp*", "libcst*", "mypy*", "*mypyc*", "pip", "ruff*", "setuptools*"),
    *("clang-format*", "lib2to3", "tkinter", "turtledemo", "config-*", "virtme*", "include"),
)


def main() -> int:
    """Build the disk, boot, and pass on what pytest said."""
    binds = tuple(_paths_to_bind())
    disk = build_disk(binds)
    return boot(disk, sys.argv[1:])


def _paths_to_bind() -> Iterator[Path]:
    """What the interpreter reads, by its paths here."""
    yield CHECKOUT
    yield Path(sysconfig.get_path("stdlib"))
    yield Path(sys.executable).resolve()
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        library = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME"))
        if library.exists():
            yield library


def build_disk(binds: Iterable[Path]) -> Path:
    """Copy `binds` to a new ext4 image, numbered, with a list of where each belongs."""
    stage = BUILD / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    (stage / "scratch").mkdir(parents=True)
    listing = []
    for number, path in enumerate(binds):
        if path.is_dir():
            ignore = _UNUSED if path == CHECKOUT else _without_site_packages
            shutil.copytree(path, stage / str(number), symlinks=True, ignore=ignore)
        else:
            shutil.copy2(path, stage / str(number))
        listing.append(f"{number} {path}\n")
    (stage / "binds").write_text("".join(listing))
    disk = BUILD / "disk.img"
    disk.unlink(missing_ok=True)
    features = ("-q", "-F", "-O", "^has_journal", "-E", "root_owner=0:0", "-d", str(stage))
    mkfs = shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:" + os.environ["PATH"])
    subprocess.run([mkfs or "mkfs.ext4", *features, str(disk), DISK_SIZE], check=True)
    shutil.rmtree(stage)
    return disk


def _without_site_packages(folder: str, names: list[str]) -> set[str]:
    return _UNUSED(folder, names) | ({"site-packages", "dist-packages"} & set(names))


def boot(disk: Path, pytest_arguments: list[str]) -> int:
    """Boot once, stream what the guest says, and return what pytest returned there."""
    emulated = os.environ.get("ANCHOR_VM_KVM") != "1"
    environment = {
        "ANCHOR_TEST_SLOWNESS": str(SLOWNESS if emulated else 2.0),
        "CI": os.environ.get("CI", ""),
        "NO_COLOR": "1",
    }
    given = shlex.join(f"{key}={value}" for key, value in environment.items())
    selection = shlex.join(pytest_arguments or ["-m", SELECTION, *marked_files()])
    guest = shlex.quote(str(CHECKOUT / "tests/vm/guest.sh"))
    command = [
        str(Path(sys.executable).parent / "vng"),
        *("--run", str(kernel())),
        *(("--disable-kvm",) if emulated else ()),
        *("--force-9p", "--cpus", "2", "--memory", "3G", "--cwd", str(CHECKOUT)),
        f"--qemu-opts=-drive if=virtio,format=raw,cache=unsafe,file={disk}",
        # emulation has no side channels to close, and wide vector instructions cost it most
        *(("--append", "mitigations=off", "--qemu-opts=-cpu Nehalem") if emulated else ()),
        *("--exec", f"env {given} VERDICT={shlex.quote(VERDICT)} bash {guest} {selection}"),
    ]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PATH": path},
        start_new_session=True,
    ) as machine:
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(machine.pid, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, DEADLINE)
        verdict = _follow(machine.stdout or ())
    if verdict is None:
        print("the virtual machine ended without a verdict", file=sys.stderr)
        return 70
    return verdict


def marked_files() -> list[str]:
    """Test files with a marked test: collecting the others there would take longer than running."""
    return [
        str(path.relative_to(CHECKOUT))
        for path in sorted((CHECKOUT / "tests").rglob("test_*.py"))
        if re.search(r"\bmark\.(root|vm)\b", path.read_text())
    ]


def _follow(lines: Iterable[str]) -> int | None:
    """Print every line as it comes; the last word of the verdict is the exit status."""
    verdict = None
    for line in lines:
        if line.startswith(VERDICT):
            verdict = int(line.split()[-1])
        print(line, end="", flush=True)
    return verdict


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
