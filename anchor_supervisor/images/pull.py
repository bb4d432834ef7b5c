"""An image brought from a registry into the store.

Everything happens under one lease, and the name is given last of all: whoever is interrupted
leaves nothing but parts of blobs, which the next pull goes on with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, final

from anchor_supervisor.errors import ImageError, NetworkError
from anchor_supervisor.images.catalogue import short
from anchor_supervisor.images.crew import Stage, Stoppable, carry_out
from anchor_supervisor.images.faults import ConnectionFault, about
from anchor_supervisor.images.indexes import (
    check_platform,
    choose,
    media_type_of,
    parse_index,
    parse_json,
    platforms,
    refuse_foreign,
)
from anchor_supervisor.images.manifests import parse_diff_ids, parse_manifest
from anchor_supervisor.images.model import (
    LARGEST_JSON,
    MANIFESTS,
    Descriptor,
    Image,
    Platform,
    machine_platform,
)
from anchor_supervisor.images.progress import Progress, Silent
from anchor_supervisor.images.reference import Reference
from anchor_supervisor.images.registry import Document, Registry
from anchor_supervisor.images.store import BlobWriter, Lease, Store
from anchor_supervisor.images.transport import Patience
from anchor_supervisor.values import frozen

DOWNLOADS: Final = 3  # at a time, as docker does
_UNPACKERS: Final = 2
_DEEPEST: Final = 3  # indexes within indexes
_MOST_DOCUMENTS: Final = 16  # indexes and manifests that are looked at
_WORTH: Final = 1 << 20  # bytes that make a broken connection one that got somewhere


def pull(
    reference: Reference,
    store: Store,
    *,
    platform: Platform | None = None,
    insecure: bool = False,
    progress: Progress = Silent(),  # noqa: B008 - it has no state
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Image:
    """Bring an image into the store, and give it the name it was asked for by.

    `platform` None: this machine's. Blocks, and works in threads of its own; KeyboardInterrupt,
    and whatever `progress` raises, ends it at once. Raises ImageError for what there is not or
    what is not as it should be, NetworkError for a registry that cannot be talked with, HostError
    for a full disk.
    """
    try:
        with (
            store.lease(f"pull {reference.familiar}") as lease,
            Registry(
                reference, insecure=insecure, patience=patience, note=progress.note
            ) as registry,
        ):
            return _Pull(reference, store, lease, registry, platform, progress).carry_out()
    except (ImageError, NetworkError) as error:
        words = f"cannot pull `{reference.familiar}`"
        raise about(words, error) from error


@final
@frozen
class _Job:
    """One layer to bring: the blob, and what it unpacks to."""

    blob: Descriptor
    diff_id: str


@final
@frozen
class _Pull:
    """One pull under way."""

    reference: Reference
    store: Store
    lease: Lease
    registry: Registry
    platform: Platform | None
    progress: Progress

    def carry_out(self) -> Image:
        """Resolve, fetch what is missing, register, name."""
        pinned = self.reference.digest
        image = None if pinned is None else self._known(pinned)
        if image is None:  # a digest that is here needs nobody's word
            manifest, content = self._resolve()
            image = self._known(manifest.digest) or self._fetch(manifest, content)
        self.store.tag(self.reference, image.digest)
        return image

    def _known(self, digest: str) -> Image | None:
        self.lease.hold(digest)
        try:
            image = self.store.image(digest)
        except ImageError:
            return None
        self.lease.hold(image.config_blob.digest, *(layer.diff_id for layer in image.layers))
        self.lease.hold(*(layer.blob.digest for layer in image.layers))
        self._check_platform(image.config)
        self.progress.note(f"{self.reference.familiar} is up to date")
        return image

    # Which image

    def _resolve(self) -> tuple[Descriptor, bytes]:
        """Find the manifest that is meant, through indexes if need be."""
        wanted = self.platform or machine_platform()
        seen: list[str] = []
        offered: list[str] = []
        which = self.reference.digest or self.reference.tag or ""
        found = self._search(which, None, wanted, seen, offered, _DEEPEST)
        if found is not None:
            return found
        message = f"there is no image for `{wanted}`"
        there_are = ", ".join(dict.fromkeys(offered))
        hint = f"there are: {there_are}; --platform takes one of them" if offered else None
        raise ImageError(message, hint=hint)

    def _search(
        self,
        which: str,
        expected: Descriptor | None,
        wanted: Platform,
        seen: list[str],
        offered: list[str],
        depth: int,
    ) -> tuple[Descriptor, bytes] | None:
        if len(seen) >= _MOST_DOCUMENTS or not depth:
            raise ImageError("its indexes are nested too deeply")
        seen.append(which)
        document = self.registry.manifest(which)
        content = parse_json(document.content, "manifest")
        descriptor = _descriptor(document, content, expected)
        if descriptor.media_type in MANIFESTS:
            return descriptor, document.content
        entries = parse_index(content)
        offered.extend(platforms(entries))
        for target in choose(entries, wanted):
            if target.digest not in seen:
                found = self._search(target.digest, target, wanted, seen, offered, depth - 1)
                if found is not None:
                    return found
        return None

    # What it consists of

    def _fetch(self, manifest: Descriptor, content: bytes) -> Image:
        config, blobs = parse_manifest(manifest, parse_json(content, "manifest"))
        refuse_foreign(blobs)
        self.lease.hold(config.digest, *(blob.digest for blob in blobs))
        parsed = self._configuration(config)
        diff_ids = parse_diff_ids(parsed, len(blobs), "its configuration")
        self._check_platform(parsed)
        self.lease.hold(*diff_ids)
        jobs = {
            (blob.digest, diff_id): _Job(blob, diff_id)
            for blob, diff_id in zip(blobs, diff_ids, strict=True)
        }
        watch = self.registry.transport.watch
        layers = _Layers(
            self.store, self.lease, self.registry, Stoppable(self.progress, watch.stopped)
        )
        stages = (
            Stage("download", DOWNLOADS, layers.download),
            Stage("unpack", _UNPACKERS, layers.unpack),
        )
        carry_out(tuple(jobs.values()), stages, self.registry.transport.stop)
        self.store.add_blob(self.lease, manifest.media_type, content)
        return self.store.add_image(self.lease, manifest)

    def _check_platform(self, config: Mapping[str, Any]) -> None:
        wanted = self.platform or machine_platform()
        check_platform(config, wanted, asked=self.platform is not None)

    def _configuration(self, config: Descriptor) -> Mapping[str, Any]:
        path = self.store.blob(config.digest)
        if path is not None:
            return self.store.read_json(config)
        if config.size > LARGEST_JSON:
            message = f"its configuration has {config.size} bytes, more than {LARGEST_JSON}"
            raise ImageError(message)
        content = self.registry.small_blob(config.digest, config.size)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if digest != config.digest or len(content) != config.size:
            message = (
                f"what is given as its configuration `{config.digest}` has {len(content)} bytes "
                f"of {config.size} and the digest `{digest}`"
            )
            raise ImageError(message)
        parsed = parse_json(content, "configuration")
        self.store.add_blob(self.lease, config.media_type, content)
        return parsed


def _descriptor(
    document: Document, content: Mapping[str, Any], expected: Descriptor | None
) -> Descriptor:
    media_type = media_type_of(content, document.served_as)
    if expected is not None and expected.media_type != media_type:
        message = f"its index lists `{expected.media_type}`, which is `{media_type}`"
        raise ImageError(message)
    if expected is not None and expected.size != len(document.content):
        message = (
            f"its manifest has {len(document.content)} bytes, and its index says {expected.size}"
        )
        raise ImageError(message)
    return Descriptor(media_type, document.digest, len(document.content))


@final
@frozen
class _Layers:
    """The two halves of bringing a layer, each in threads of its own."""

    store: Store
    lease: Lease
    registry: Registry
    progress: Progress

    def download(self, job: _Job) -> None:
        """Bring the blob, going on where an earlier pull was interrupted."""
        resumed = False
        while True:
            with self.store.write_blob(self.lease, job.blob) as writer:
                if writer is None:
                    return
                begun = bool(writer.position)
                self._receive(writer, job.blob)
                try:
                    writer.commit()
                except ImageError:
                    # What an earlier pull has left may not have been of this blob. It is
                    # forgotten by now, so one more try begins at the first byte.
                    if not begun or resumed:
                        raise
                    resumed = True
                else:
                    return

    def _receive(self, writer: BlobWriter, blob: Descriptor) -> None:
        """Receive what is missing, over as many connections as it takes."""
        self._begin(writer, blob)
        failures, furthest = 0, writer.position
        while writer.position < blob.size:
            try:
                self._receive_once(writer, blob)
            except ConnectionFault as fault:
                # A server that always breaks at one place must not be asked for ever.
                if writer.position >= furthest + _WORTH:
                    failures = 0
                furthest = max(furthest, writer.position)
                failures += 1
                self.registry.pause(fault, failures)

    def _receive_once(self, writer: BlobWriter, blob: Descriptor) -> None:
        answer, start = self.registry.open_blob(blob.digest, writer.position, blob.size)
        with answer:
            if start != writer.position:  # the server does not know Range
                writer.restart()
                self._begin(writer, blob)
            for piece in answer.pieces():
                writer.write(piece)
                self.progress.advance(short(blob.digest), len(piece))
        if writer.position < blob.size:
            message = f"`{answer.host}` ended `{short(blob.digest)}` after {writer.position} bytes"
            raise ConnectionFault(message)

    def _begin(self, writer: BlobWriter, blob: Descriptor) -> None:
        item = short(blob.digest)
        self.progress.begin(item, "downloading", blob.size)
        self.progress.advance(item, writer.position)

    def unpack(self, job: _Job) -> None:
        """Unpack it, unless it has been."""
        self.store.ensure_layer(self.lease, job.blob, job.diff_id, progress=self.progress)
        self.progress.end(short(job.blob.digest), "pulled")
