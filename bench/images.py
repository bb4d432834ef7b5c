"""Images to start from: made up, somebody's own, or Debian's smallest; each with `first` in it."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from anchor_supervisor.errors import HostError
from anchor_supervisor.kernel import mount
from anchor_supervisor.observability import places
from measure import Results, say
from options import Default, add_option, counts, root_image
from programs import MIB, compile_native, first_image, furnish

DEBIAN: Final = "debian"
MOST_MIB: Final = 4096
FICLONE: Final = 0x40049409  # linux/fs.h
DISK_MIB: Final = 6144
"""Of the disk in a file, sparse: twenty copies of an image that share nothing, at worst."""

_SBIN: Final = f"/usr/sbin:/sbin:{os.environ.get('PATH', '')}"


def add_image_options(parser: argparse.ArgumentParser, sizes: Default) -> None:
    """Declare how images are chosen."""
    parser.add_argument(
        "--image",
        metavar="ROOT",
        type=root_image("--image", (DEBIAN,)),
        action="append",
        default=[],
        help="a directory or a tar with a root, or `debian`, which is made; may be repeated",
    )
    several = counts("--sizes", MOST_MIB)
    add_option(parser, "--sizes", several, sizes, "MiB of images that are made up")


def chosen_images(
    sizes: Sequence[int], given: Sequence[Path | str], results: Results, directory: Path
) -> dict[str, Path]:
    """Return images by what they are called: those that are given, else those of these sizes."""
    if not given:
        return {f"{size} MiB": first_image(directory, 0 if size == 1 else size) for size in sizes}
    images: dict[str, Path] = {}
    for one in given:
        try:
            words, image = _debian(directory) if one == DEBIAN else _own(Path(one), directory)
        except HostError as error:
            results.missing(f"image `{one}`", error.message)
            continue
        images[words] = image
    if not images:
        message = "none of the images can be measured"
        raise HostError(message, hint="`--image DIRECTORY` takes any root file system")
    return images


def _own(given: Path, directory: Path) -> tuple[str, Path]:
    """Copy an image of the user's; what it is stays as it was."""
    copy = directory / f"copy-of-{given.name}"
    say(f"copying {given}")
    if given.is_dir():
        # Python's own copy would read a device to its end.
        _run("cp", "--archive", "--one-file-system", str(given), str(copy))
    else:
        copy.mkdir()
        with tarfile.open(given) as archive:
            archive.extractall(copy, filter="tar")
    return given.name, _with_first(copy, directory)


def _debian(directory: Path) -> tuple[str, Path]:
    """Make a Debian root, of the release and from the mirror that debootstrap takes by itself."""
    program = shutil.which("debootstrap", path=_SBIN)
    if program is None:
        message = "debootstrap is not installed"
        raise HostError(message, hint="apt install debootstrap")
    say("making a Debian root: half a minute or so")
    root = directory / "debian-root"
    _run(program, "--variant=minbase", _release(), str(root), *_mirror())
    return "Debian minbase", _with_first(root, directory)


def _release() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME=") and _is_debian():
            return line.partition("=")[2].strip('"')
    return "stable"


def _is_debian() -> bool:
    return "ID=debian" in Path("/etc/os-release").read_text().splitlines()


def _mirror() -> Iterator[str]:
    """Yield the mirror that apt uses here, where it is Debian's (deb822 sources or lines)."""
    folder = Path("/etc/apt")
    files = [*folder.glob("sources.list.d/*"), folder / "sources.list"]
    texts = [file.read_text() for file in files if file.is_file()]
    for word in " ".join(texts).split():
        if word.startswith(("http://", "https://")) and word.rstrip("/").endswith("/debian"):
            yield word
            return


def _run(*argv: str) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        message = f"`{' '.join(argv)}` failed: {''.join(said[-1:]) or done.returncode}"
        raise HostError(message)


def _with_first(image: Path, directory: Path) -> Path:
    """Put in what every image here has; somebody's own may lack a place to mount on."""
    furnish(image)
    shutil.copy(compile_native("first", directory), image / "first")
    return image


def size_in_mib(image: Path) -> int:
    """How much content an image's files have, at least 1."""
    sizes = (
        os.lstat(Path(folder, one)).st_size for folder, _, names in os.walk(image) for one in names
    )
    return max(1, round(sum(sizes) / MIB))


def largest_file(image: Path) -> tuple[int, Path]:
    """Return an image's largest file, beneath the image, and its size in bytes.

    Not `first`, which cannot write to itself (ETXTBSY, open(2)).
    """
    files = (Path(folder, name) for folder, _, names in os.walk(image) for name in names)
    plain = (file for file in files if file.is_file() and not file.is_symlink())
    others = (file for file in plain if file != image / "first")
    size, file = max(((file.stat().st_size, file) for file in others), default=(0, image))
    return size, file.relative_to(image)


@contextmanager
def sharing_place(directory: Path) -> Iterator[Path]:
    """Give a directory whose files can share blocks: this one, else one on an XFS of its own.

    Raises HostError where there is neither.
    """
    if can_share(directory):
        yield directory
        return
    make = shutil.which("mkfs.xfs", path=_SBIN)
    if make is None:
        message = "neither does this file system share blocks, nor is `mkfs.xfs` installed"
        raise HostError(message, hint="apt install xfsprogs")
    disk, place = directory / "xfs.img", directory / "xfs"
    with disk.open("wb") as file:
        file.truncate(DISK_MIB * MIB)
    place.mkdir()
    try:
        _run(make, "-q", str(disk))
        # In our own mount namespace: it goes with us, and the loop device with it.
        _run("mount", "-o", "loop", str(disk), str(place))
        try:
            yield place
        finally:
            mount.unmount(place)
    finally:
        place.rmdir()
        disk.unlink()


@contextmanager
def data_in(place: Path, image: Path) -> Iterator[Path]:
    """Keep containers' data in this place within the block; give a copy of the image there."""
    before = os.environ[places.DATA_DIR_VARIABLE]
    data, copy = place / "data", place / "shared-image"
    data.mkdir(mode=0o755)
    _run("cp", "--archive", str(image), str(copy))
    os.environ[places.DATA_DIR_VARIABLE] = str(data)
    try:
        yield copy
    finally:
        os.environ[places.DATA_DIR_VARIABLE] = before
        shutil.rmtree(data)
        shutil.rmtree(copy)


def can_share(directory: Path) -> bool:
    """Whether a file here can share its blocks with another one (ioctl_ficlone(2))."""
    source, clone = directory / "share-1", directory / "share-2"
    source.write_bytes(b"x" * 4096)
    try:
        with source.open("rb") as one, clone.open("wb") as other:
            fcntl.ioctl(other, FICLONE, one.fileno())
    except OSError:
        return False
    finally:
        source.unlink()
        clone.unlink(missing_ok=True)
    return True
