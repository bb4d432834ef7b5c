"""Images from files: what a file or a directory is, is told by what is in it.

A root file system (a tar, compressed or not, or a directory), a docker-archive, an OCI layout. An
archive is read where it lies; only what comes through a pipe, or an image archive that is
compressed as a whole, is written to a file without a name first.

Everything is verified and stored before the first image counts, so an archive that turns out to be
bad has changed nothing but what the next prune removes.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, cast, final

from anchor_supervisor.errors import ImageError, KernelError
from anchor_supervisor.images import load_docker, load_oci, load_root
from anchor_supervisor.images.archive_stream import ArchiveStream
from anchor_supervisor.images.load_files import DirectoryFiles, Files, parsed, read_small, shown
from anchor_supervisor.images.load_parts import (
    Parts,
    Planned,
    compression,
    known_layers,
    plain,
)
from anchor_supervisor.images.load_tar import TarFiles, members
from anchor_supervisor.images.model import Image, Limits, Platform, machine_platform
from anchor_supervisor.images.progress import Progress, Silent
from anchor_supervisor.images.reference import Reference, parse
from anchor_supervisor.images.store import Store
from anchor_supervisor.images.store_layout import told
from anchor_supervisor.values import define, frozen

STANDARD_INPUT: Final = Path("-")
_CHUNK: Final = 1 << 20
_ROOT_NAMES: Final = frozenset(
    {
        *(".dockerenv", "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32"),
        *("media", "mnt", "opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var"),
    }
)
"""What begins a root file system (hier(7)), and no image archive."""
_SUFFIXES: Final = (
    *(".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2", ".tgz", ".txz", ".tzst", ".tbz2"),
    *(".tar", ".oci"),
)


@final
@frozen
class Loaded:
    """An image that is in the store now, and the names that lead to it."""

    image: Image
    names: tuple[Reference, ...]


Configure = Callable[[dict[str, Any]], Mapping[str, Any]]
"""What changes the configuration of an image that is made of a root."""


@final
@define
class _Source:
    """What is read: `spools` takes whatever must be written aside to be read at all."""

    store: Store
    limits: Limits
    platform: Platform
    configure: Configure | None
    spools: contextlib.ExitStack

    def configuration(self, modified: float) -> Mapping[str, Any]:
        """Describe an image of a root that was last changed at `modified` (seconds)."""
        found = load_root.configuration(self.platform, modified)
        return found if self.configure is None else self.configure(found)


def load(
    source: Path,
    store: Store,
    name: Reference | None,
    *,
    platform: Platform | None = None,
    progress: Progress = Silent(),  # noqa: B008 - has no state
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> tuple[Image, ...]:
    """Put every image of `source` into the store; see `load_named`."""
    loaded = load_named(source, store, name, platform=platform, progress=progress, limits=limits)
    return tuple(one.image for one in loaded)


def load_named(
    source: Path,
    store: Store,
    name: Reference | None,
    *,
    platform: Platform | None = None,
    configure: Configure | None = None,
    progress: Progress = Silent(),  # noqa: B008 - has no state
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> tuple[Loaded, ...]:
    """Put every image of `source` into the store and name it: `-` is standard input.

    Without `name` an image gets the names the archive has for it, or the file's. Raises ImageError
    for what is no image or a damaged one, and then no image and no name has changed.
    """
    with (
        _naming(source),
        store.lease(f"import of {source}") as lease,
        _opened(source) as file,
        contextlib.ExitStack() as spools,
    ):
        reading = _Source(store, limits, platform or machine_platform(), configure, spools)
        planned = _planned(reading, file)
        is_pipe = stat.S_ISFIFO(os.fstat(file).st_mode)  # `<(...)` has a number for a name
        names = _names(planned, STANDARD_INPUT if is_pipe else source, name, progress)
        parts = Parts(store, lease, progress, limits, platform, known_layers(store))
        manifests = [one.prepare(parts) for one in planned]
        images = [store.add_image(lease, manifest) for manifest in manifests]
        for image, references in zip(images, names, strict=True):
            for reference in references:
                store.tag(reference, image.digest)
    return tuple(Loaded(*pair) for pair in zip(images, names, strict=True))


@contextlib.contextmanager
def _naming(source: Path) -> Iterator[None]:
    """Say which source an error is about."""
    try:
        yield
    except ImageError as error:
        message = f"`{source}`: {error.message}"
        raise ImageError(message, hint=error.hint) from error


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[int]:
    if source == STANDARD_INPUT:
        yield sys.stdin.fileno()
        return
    try:
        file = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError as error:
        raise ImageError(
            "there is nothing of this name", hint="a tar, an archive of images, or a directory"
        ) from error
    except OSError as error:
        raise KernelError(error.errno or 0, "open", str(source)) from error
    try:
        yield file
    finally:
        os.close(file)


def _planned(reading: _Source, file: int) -> list[Planned]:
    status = os.fstat(file)
    if stat.S_ISDIR(status.st_mode):
        return _planned_directory(reading, file, status.st_mtime)
    if stat.S_ISREG(status.st_mode):
        opened = reading.spools.enter_context(os.fdopen(os.dup(file), "rb"))
        opened.seek(0)
        return _planned_file(reading, opened, status.st_mtime)
    if not stat.S_ISFIFO(status.st_mode) and not stat.S_ISSOCK(status.st_mode):
        raise ImageError("it is neither a file, a directory nor a pipe")
    with os.fdopen(os.dup(file), "rb", buffering=0) as pipe:
        spooled = _spooled(reading, iter(lambda: pipe.read(_CHUNK), b""))
    return _planned_file(reading, spooled, os.fstat(spooled.fileno()).st_mtime)


def _spooled(reading: _Source, pieces: Iterator[bytes]) -> BinaryIO:
    """Write a stream to a file that goes with this process, beside what it will become."""
    folder = reading.store.data / "store" / "ingest"
    total = 0
    with told("write below", folder):
        file = reading.spools.enter_context(tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - it does
        for piece in pieces:
            total += len(piece)
            if total > reading.limits.size:
                message = f"the archive has more than {reading.limits.size} bytes"
                raise ImageError(message)
            file.write(piece)
        file.flush()
    file.seek(0)
    return cast("BinaryIO", file)


def _planned_file(reading: _Source, file: BinaryIO, modified: float) -> list[Planned]:
    """Look at the first name alone where that decides; most roots have tens of thousands."""
    root = load_root.planned_tar(file, reading.configuration(modified))
    is_compressed = compression(file) is not None
    with contextlib.closing(ArchiveStream(file, most=reading.limits.size)) as stream:
        first = next((name for name, _ in members(stream) if name), None)
    file.seek(0)
    if first is None or first[0] in _ROOT_NAMES:
        return [root]
    whole = _spooled(reading, plain(file, reading.limits)) if is_compressed else file
    file.seek(0)
    files = TarFiles.index(whole)
    file.seek(0)
    return (files and _planned_archive(reading, files)) or [root]


def _planned_directory(reading: _Source, directory: int, modified: float) -> list[Planned]:
    found = _planned_archive(reading, DirectoryFiles(directory))
    return found or [load_root.planned_directory(directory, reading.configuration(modified))]


def _planned_archive(reading: _Source, files: Files) -> list[Planned] | None:
    """Read it as an archive of images; None where it is not one."""
    found = _images_in(reading, files)
    if found is not None and reading.configure is not None:
        message = "only an image made of a root file system can be changed on its way in"
        raise ImageError(message, hint="`anchor build` changes any other: FROM it")
    return found


def _images_in(reading: _Source, files: Files) -> list[Planned] | None:
    """Tell the kinds of archives apart.

    An OCI layout first: what Docker saves nowadays is one as well, and only that has the manifest.
    """
    if files.has(load_oci.LAYOUT) and files.has(load_oci.INDEX):
        return load_oci.planned(files, reading.platform)
    if files.has(load_docker.MANIFEST):
        try:
            value = parsed(read_small(files, load_docker.MANIFEST), load_docker.MANIFEST)
        except ImageError:
            if _is_root(files):
                return None
            raise
        if load_docker.is_manifest(value):
            return load_docker.planned(files)
        if isinstance(value, dict) and "schemaVersion" in value and files.has("version"):
            message = "this is what skopeo calls `dir:`, which says nothing of its blobs' names"
            raise ImageError(message, hint="skopeo copy dir:DIRECTORY oci:LAYOUT, and import that")
    if files.has(load_docker.REPOSITORIES) and not _is_root(files):
        return load_docker.planned_version_1(files)
    return None


def _is_root(files: Files) -> bool:
    """Whether a file that every root has is there, wherever its libraries are."""
    return any(files.has(name) for name in ("etc/passwd", "etc/hostname", "bin/sh", "usr/bin/sh"))


def _names(
    planned: Sequence[Planned], source: Path, name: Reference | None, progress: Progress
) -> list[tuple[Reference, ...]]:
    """Say what each image is to be called, before anything is stored."""
    if name is not None:
        _check_single(planned, name)
        return [(name,)]
    found = []
    for one in planned:
        stem = _stem(source, one.tag) if one.tag or len(planned) == 1 else None
        names = tuple(map(_whole_name, one.names))
        found.append(names or (() if stem is None else (stem,)))
        if not found[-1]:
            progress.note("the image has no name: `anchor tag` gives it one")
    return found


def _check_single(planned: Sequence[Planned], name: Reference) -> None:
    if len(planned) == 1:
        return
    inside = [shown(one.names[0] if one.names else one.tag)[1:-1] for one in planned]
    message = f"the archive holds {len(planned)} images; `{name.familiar}` can name only one"
    hint = f"leave the name out; inside are {', '.join(sorted(inside)[:10])}"
    raise ImageError(message, hint=hint)


def _whole_name(text: str) -> Reference:
    """Read a name an archive gives to an image. Raises ImageError."""
    hint = "give it a name of your own: `anchor import SRC NAME`"
    try:
        name = parse(text)
    except ImageError as error:
        message = f"the archive names its image {shown(text)}, which is not an image's name"
        raise ImageError(message, hint=hint) from error
    if name.tag is None or name.digest is not None:
        message = f"the archive names its image {shown(text)}, by a digest"
        raise ImageError(message, hint=hint)
    return name


def _stem(source: Path, tag: str | None) -> Reference | None:
    """Name an image after its file: `debian.tar.gz` is `debian`, if that can be a name."""
    stem = source.absolute().name
    for suffix in _SUFFIXES:
        stem = stem.removesuffix(suffix)
    text = f"{stem}:{tag}" if tag else stem
    if source == STANDARD_INPUT or any(sign in stem for sign in ":@"):
        return None
    try:
        return parse(text)
    except ImageError:
        return None
