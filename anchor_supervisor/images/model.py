"""What an image is once it is in the store: frozen values, and the JSON they are read from.

The formats are those of the OCI image specification (manifest.md, config.md) and of Docker's
image manifest version 2, schema 2. Whatever comes from an image is untrusted: wrong types are an
error, unknown members are kept and ignored.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from typing import Any, Final, final

from anchor_supervisor.errors import ImageError
from anchor_supervisor.values import field, frozen

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = f"{OCI_LAYER}+gzip"
OCI_LAYER_ZSTD: Final = f"{OCI_LAYER}+zstd"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP: Final = f"{DOCKER_LAYER}.gzip"
MANIFESTS: Final = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES: Final = (OCI_INDEX, DOCKER_INDEX)

MOST_LAYERS: Final = 500  # OVL_MAX_STACK (fs/overlayfs/params.h)
LARGEST_JSON: Final = 4 << 20  # bytes of a manifest or a configuration (distribution-spec)

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@final
@frozen
class Limits:
    """What an archive may grow to: bytes of content and headers, and entries."""

    size: int = 256 << 30
    entries: int = 4_000_000


def checked_digest(text: object) -> str:
    """Return a `sha256:<64 hex>` digest. Raises ImageError for anything else."""
    if isinstance(text, str) and _DIGEST.fullmatch(text):
        return text
    message = f"{text!r:.100} is not a sha256 digest"
    raise ImageError(message)


def hexadecimal(digest: str) -> str:
    """Return the digest's hexadecimal half, which is what files are named by."""
    return checked_digest(digest).removeprefix("sha256:")


@final
@frozen
class Descriptor:
    """A blob somewhere: what it is, its digest, and its size in bytes."""

    media_type: str
    digest: str
    size: int


@final
@frozen
class Platform:
    """What an image runs on, in Go's words: `linux/amd64`, `linux/arm/v7`."""

    os: str = "linux"
    architecture: str = "amd64"
    variant: str | None = None

    def __str__(self) -> str:
        """Return it as `--platform` takes it."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def machine_platform() -> Platform:
    """Return this machine's platform."""
    machine = platform.machine()
    return Platform(
        architecture=_ARCHITECTURES.get(machine, machine),
        variant="v7" if machine == "armv7l" else None,
    )


@final
@frozen
class Layer:
    """One layer: the digest of the plain tar, the blob it travels as, and its unpacked bytes."""

    diff_id: str
    blob: Descriptor
    size: int = 0


@final
@frozen
class Image:
    """A whole image in the store. `config` is the parsed configuration, as its author wrote it.

    `digest` is the manifest's. `layers` are the lowest first, as the manifest lists them.
    """

    manifest: Descriptor
    config_blob: Descriptor
    config: Mapping[str, Any] = field(repr=False)
    layers: tuple[Layer, ...]

    @property
    def digest(self) -> str:
        """The manifest's digest, which is the image's name for ever."""
        return self.manifest.digest

    @property
    def size(self) -> int:
        """Bytes of all layers, unpacked."""
        return sum(layer.size for layer in self.layers)
