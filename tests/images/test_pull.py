"""Pulling: what others have pushed, by tag, digest and platform, once."""

from __future__ import annotations

import gzip
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.model import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Platform,
)
from anchor_supervisor.images.pull import DOWNLOADS, pull
from anchor_supervisor.images.store import Store
from fake_registry import Call, FakeRegistry, serve
from image_store import assert_only, ended, expected_tree, in_child, tree
from registries import docker_registry
from registry_kit import IMPATIENT, Recorder, as_it_is, at, layer

pytestmark = [pytest.mark.root, pytest.mark.native]  # the same code on any kernel

KINDS = {
    "docker": (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER_GZIP),
    "plain": (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER),
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout that umoci has made: two layers, of which the second takes something away."""
    place = tmp_path_factory.mktemp("umoci")
    image, bundle = f"{place}/layout:made", place / "bundle"
    run("umoci", "init", "--layout", f"{place}/layout")
    run("umoci", "new", "--image", image)
    run("umoci", "unpack", "--image", image, str(bundle))
    root = bundle / "rootfs"
    (root / "etc").mkdir()
    (root / "etc" / "name").write_text("made")
    (root / "gone").write_text("soon")
    run("umoci", "repack", "--refresh-bundle", "--image", image, str(bundle))
    (root / "gone").unlink()
    (root / "big").write_bytes(b"x" * 300_000)
    run("umoci", "repack", "--image", image, str(bundle))
    return place / "layout"


def run(*command: str) -> str:
    """Run somebody else's program."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout


def skopeo_push(layout: Path, reference: str, *options: str) -> str:
    """Push with skopeo, and give the digest that it says it has there."""
    source = f"oci:{layout}:made"
    run(
        "skopeo", "copy", "-q", "--dest-tls-verify=false", *options, source, f"docker://{reference}"
    )
    looked = run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{reference}")
    digest = run("skopeo", "inspect", "--tls-verify=false", f"docker://{reference}")
    assert looked
    return str(json.loads(digest)["Digest"])


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--format", "v2s2"),
        ("--dest-compress-format", "zstd"),
        ("--dest-decompress",),
    ],
    ids=["oci", "v2s2", "zstd", "plain"],
)
def test_what_skopeo_has_pushed(
    registry: str, layout: Path, store: Store, options: tuple[str, ...]
) -> None:
    """Whatever form skopeo gives it, the digest is the same here, and so is the content."""
    reference = at(registry, f"skopeo/{'-'.join(('by', *options)).replace('--', '')}:1")
    if "--dest-decompress" in options:  # skopeo decompresses into directories and layouts only
        source, plain = f"oci:{layout}:made", layout.parent / "plain"
        run("skopeo", "copy", "-q", *options, source, f"dir:{plain}")
        to = f"docker://{reference}"
        run(
            "skopeo",
            "copy",
            "-q",
            "--dest-tls-verify=false",
            "--preserve-digests",
            f"dir:{plain}",
            to,
        )
        digest = json.loads(run("skopeo", "inspect", "--tls-verify=false", to))["Digest"]
    else:
        digest = skopeo_push(layout, str(reference), *options)
    image = pull(reference, store, patience=IMPATIENT)
    assert image.digest == digest
    lower, upper = (store.layer_root(each.diff_id) for each in image.layers)
    assert (lower / "etc" / "name").read_text() == "made"
    assert (upper / "big").stat().st_size == 300_000
    assert (upper / "gone").is_char_device()
    found = store.find(str(reference))
    assert found is not None
    assert found.digest == digest
    store.prune()
    assert_only(store, image)


def test_what_buildah_has_pushed(registry: str, store: Store, tmp_path: Path) -> None:
    """An image that buildah has built, with its configuration."""
    (tmp_path / "file").write_text("built")
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY file /\nCMD ["/file"]\n')
    storage = ("--root", f"{tmp_path}/s", "--runroot", f"{tmp_path}/r", "--storage-driver", "vfs")
    reference = at(registry, "built:1")
    run("buildah", *storage, "bud", "-q", "-t", "built", str(tmp_path))
    run("buildah", *storage, "push", "-q", "--tls-verify=false", "built", f"docker://{reference}")
    run("buildah", *storage, "rmi", "-a")
    image = pull(reference, store, patience=IMPATIENT)
    assert image.config["config"]["Cmd"] == ["/file"]
    assert (store.layer_root(image.layers[-1].diff_id) / "file").read_text() == "built"


@pytest.mark.parametrize("kinds", KINDS.values(), ids=list(KINDS))
def test_every_kind_of_manifest(
    fake: FakeRegistry, store: Store, kinds: tuple[str, str, str]
) -> None:
    """Docker's and OCI's media types, with layers compressed or not."""
    plain = layer(1)
    pack = as_it_is if kinds[2] == OCI_LAYER else gzip.compress
    digest = fake.add_image(layers=[plain], kinds=kinds, pack=pack)
    image = pull(at(fake), store, patience=IMPATIENT)
    assert image.digest == digest
    assert tree(store.layer_root(image.layers[0].diff_id)) == expected_tree(plain)


def test_by_digest(fake: FakeRegistry, store: Store) -> None:
    """A digest is the image whatever a tag says; both together are a name of their own."""
    old = fake.add_image(layers=[layer(1)])
    fake.add_image(layers=[layer(2)])
    reference = at(fake, f"shop:1@{old}")
    assert pull(reference, store, patience=IMPATIENT).digest == old
    assert store.find(str(reference)) is not None
    assert fake.of(f"manifests/{old}")


def test_a_digest_that_is_here(fake: FakeRegistry, store: Store) -> None:
    """It needs nobody's word: the registry is not asked at all."""
    digest = fake.add_image()
    image = pull(at(fake), store, patience=IMPATIENT)
    fake.asked.clear()
    assert pull(at(fake, f"shop@{digest}"), store, patience=IMPATIENT) == image
    assert not fake.asked


def test_an_indexs_digest(fake: FakeRegistry, store: Store) -> None:
    """It names the image of this platform, and stays its name here."""
    digest = fake.add_image("shop", "image")
    index = fake.add_index("shop", "1", [(digest, {"os": "linux", "architecture": "amd64"})])
    reference = at(fake, f"shop@{index}")
    assert pull(reference, store, patience=IMPATIENT).digest == digest
    found = store.find(str(reference))
    assert found is not None
    assert found.digest == digest


def test_what_is_here_is_not_brought_again(fake: FakeRegistry, store: Store) -> None:
    """The same digest asks for the manifest alone; a layer that another image has, for no blob."""
    fake.add_image(layers=[layer(1), layer(2)])
    first = pull(at(fake), store, patience=IMPATIENT)
    fake.asked.clear()
    recorder = Recorder()
    assert pull(at(fake), store, progress=recorder, patience=IMPATIENT) == first
    assert recorder.lines == [f"{fake.address}/shop:1 is up to date"]
    assert not fake.of("blobs")
    fake.add_image("other", layers=[layer(1), layer(3)])
    pull(at(fake, "other:1"), store, patience=IMPATIENT)
    assert len(fake.of("blobs")) == 2  # a configuration and a layer
    fake.asked.clear()
    pull(at(fake, "other:1"), store, patience=IMPATIENT)
    assert not fake.of("blobs")


def test_a_tag_that_has_moved(fake: FakeRegistry, store: Store) -> None:
    """The name leads to what the registry has by now; the old image is left without one."""
    fake.add_image(layers=[layer(1)])
    old = pull(at(fake), store, patience=IMPATIENT)
    fake.add_image(layers=[layer(2)])
    new = pull(at(fake), store, patience=IMPATIENT)
    found = store.find(f"{fake.address}/shop:1")
    assert found == new != old
    store.prune()
    assert_only(store, new)


def test_several_platforms(fake: FakeRegistry, store: Store) -> None:
    """Of an index the image for the platform is taken; where there is none, all are named."""
    machines = {
        "amd64": {"os": "linux", "architecture": "amd64"},
        "arm64": {"os": "linux", "architecture": "arm64", "variant": "v8"},
        "arm": {"os": "linux", "architecture": "arm", "variant": "v7"},
        "unknown": {"os": "unknown", "architecture": "unknown"},
    }
    made = {
        name: fake.add_image("shop", name, [layer(number)], architecture=name)
        for number, name in enumerate(machines)
    }
    fake.add_index("shop", "1", [(made[name], platform) for name, platform in machines.items()])
    for name, wanted in (("amd64", None), ("arm64", Platform(architecture="arm64"))):
        image = pull(at(fake), store, platform=wanted, patience=IMPATIENT)
        assert image.digest == made[name]
    with pytest.raises(ImageError) as refused:
        pull(at(fake), store, platform=Platform(architecture="s390x"), patience=IMPATIENT)
    assert "no image for `linux/s390x`" in refused.value.message
    assert refused.value.hint is not None
    assert "linux/amd64, linux/arm64/v8, linux/arm/v7;" in refused.value.hint


def test_an_index_within_an_index(fake: FakeRegistry, store: Store) -> None:
    """A nested index is looked into; one that is nested too deeply is not."""
    image = fake.add_image("shop", "image")
    platform = {"os": "linux", "architecture": "amd64"}
    inner = fake.add_index("shop", "inner", [(image, platform)])
    fake.add_index("shop", "1", [(inner, None)])
    assert pull(at(fake), store, patience=IMPATIENT).digest == image
    for depth in range(4):
        inner = fake.add_index("shop", f"deep{depth}", [(inner, None)])
    with pytest.raises(ImageError, match="nested too deeply"):
        pull(at(fake, "shop:deep3"), store, patience=IMPATIENT)


def test_another_machines_image(fake: FakeRegistry, store: Store) -> None:
    """A manifest for another processor is refused by its configuration, unless it is asked for."""
    fake.add_image(architecture="riscv64")
    with pytest.raises(ImageError, match="made for `linux/riscv64`") as refused:
        pull(at(fake), store, patience=IMPATIENT)
    assert refused.value.hint == "--platform linux/riscv64 takes it all the same"
    wanted = Platform(architecture="riscv64")
    image = pull(at(fake), store, platform=wanted, patience=IMPATIENT)
    assert image.config["architecture"] == "riscv64"
    with pytest.raises(ImageError, match="made for `linux/riscv64`"):  # also where it is here
        pull(at(fake), store, patience=IMPATIENT)


def test_several_pulls_at_once(registry: str, layout: Path, store: Store) -> None:
    """Processes that want the same at the same time all get it, and it is there once."""
    reference = at(registry, "together:1")
    digest = skopeo_push(layout, str(reference))
    children = [in_child(lambda: pull(reference, store, patience=IMPATIENT)) for _ in range(4)]
    assert [ended(child) for child in children] == [0] * 4
    image = store.image(digest)
    store.prune()
    assert_only(store, image)


def test_layers_come_in_parallel(fake: FakeRegistry, store: Store) -> None:
    """As many as three at a time, and not more; a layer that is there twice comes once."""
    fake.add_image(layers=[layer(seed) for seed in (1, 2, 3, 4, 5, 6, 1)])
    together, lock = threading.Barrier(DOWNLOADS, timeout=20), threading.Lock()
    now = most = 0

    def meet(call: Call) -> bool:
        nonlocal now, most
        if "/blobs/" not in call.asked.path or len(fake.of("/blobs/")) == 1:  # the configuration
            return False
        with lock:
            now += 1
            most = max(most, now)
        together.wait()
        with lock:
            now -= 1
        serve(call)
        return True

    fake.trick = meet
    image = pull(at(fake), store, patience=IMPATIENT)
    assert most == DOWNLOADS == 3
    assert len(image.layers) == 7
    assert len(fake.of("/blobs/")) == 7  # six layers and the configuration


def test_the_progress_adds_up(fake: FakeRegistry, store: Store) -> None:
    """Each layer begins, is counted to its last byte, and ends."""
    fake.add_image(layers=[layer(1, 200_000)])
    recorder = Recorder()
    image = pull(at(fake), store, progress=recorder, patience=IMPATIENT)
    size = image.layers[0].blob.size
    short = image.layers[0].blob.digest[7:19]
    assert recorder.lines == [
        f"{short} downloading {size}",
        f"{short} unpacking {size}",
        f"{short}: pulled",
    ]
    assert recorder.counts[short] == size
