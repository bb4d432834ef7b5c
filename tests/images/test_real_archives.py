"""Images that nobody here made, in and out again: buildah, skopeo, umoci, debootstrap, GNU tar."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from anchor_program import ROOT, Anchor
from anchor_supervisor.images.load import load, load_named
from anchor_supervisor.images.save import Saved, save_file
from anchor_supervisor.images.store import Store
from image_archives import Files, blob, oci_layout, write_directory
from image_store import assert_only, name

pytestmark = [pytest.mark.root, pytest.mark.native]

BUSYBOX = Path("/usr/bin/busybox")
NAME = "localhost/box:1"


def ran(*command: str | Path) -> str:
    """What the command says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def inspected(transport: str, path: Path, tag: str = "") -> dict[str, object]:
    """What skopeo sees."""
    found: dict[str, object] = json.loads(ran("skopeo", "inspect", f"{transport}:{path}{tag}"))
    return found


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The command, with a place of its own."""
    place = tmp_path_factory.mktemp("buildah")
    return ("buildah", f"--root={place}/root", f"--runroot={place}/run", "--storage-driver=vfs")


@pytest.fixture(scope="module")
def made(buildah: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of one image of two layers, in every form there is."""
    place = tmp_path_factory.mktemp("made")
    root = place / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin")
    (root / "bin/sh").symlink_to("busybox")
    container = ran(*buildah, "from", "scratch").strip()
    ran(*buildah, "copy", "-q", container, root, "/")
    ran(*buildah, "config", "--cmd", "/bin/sh", "--env", "A=b", container)
    ran(*buildah, "commit", "-q", container, NAME)
    ran(*buildah, "copy", "-q", container, BUSYBOX, "/second")
    ran(*buildah, "commit", "-q", container, NAME)
    ran(*buildah, "push", "-q", NAME, f"oci:{place}/layout:{NAME}")
    for transport in ("oci-archive", "docker-archive"):
        copied = f"{transport}:{place}/{transport}.tar:{NAME}"
        ran("skopeo", "copy", "-q", f"oci:{place}/layout:{NAME}", copied)
    ran("umoci", "init", "--layout", place / "umoci")
    ran("umoci", "new", "--image", f"{place}/umoci:0.1")
    ran("umoci", "unpack", "--image", f"{place}/umoci:0.1", place / "bundle")
    (place / "bundle/rootfs/bin").mkdir()
    shutil.copy(BUSYBOX, place / "bundle/rootfs/bin")
    ran("umoci", "repack", "--image", f"{place}/umoci:0.1", place / "bundle")
    ran("umoci", "config", "--image", f"{place}/umoci:0.1", "--config.cmd", "/bin/busybox")
    return place


@pytest.fixture
def store(data_dir: Path) -> Store:
    """An empty store."""
    return Store(data_dir)


@pytest.mark.parametrize("form", ["layout", "oci-archive.tar", "docker-archive.tar"])
def test_what_buildah_and_skopeo_write(store: Store, made: Path, form: str) -> None:
    """The image has the id, the name and the files that it was made with."""
    (loaded,) = load_named(made / form, store, None)
    index = json.loads((made / "layout/index.json").read_text())["manifests"][0]["digest"]
    manifest = json.loads((made / "layout/blobs/sha256" / index[7:]).read_text())
    assert loaded.names == (name(NAME),)
    assert loaded.image.config_blob.digest == manifest["config"]["digest"]
    assert (loaded.image.digest == index) == (form != "docker-archive.tar")
    assert loaded.image.config["config"]["Cmd"] == ["/bin/sh"]
    files: dict[str, Path] = {}
    for layer in loaded.image.layers:
        root = store.layer_root(layer.diff_id)
        files |= {str(path.relative_to(root)): path for path in root.rglob("*")}
    assert set(files) == {"bin", "bin/busybox", "bin/sh", "second"}
    for each in ("bin/busybox", "second"):
        assert files[each].read_bytes() == BUSYBOX.read_bytes()


def test_what_umoci_writes(store: Store, made: Path) -> None:
    """A tag alone belongs to the directory's name; the digest is umoci's."""
    (loaded,) = load_named(made / "umoci", store, None)
    assert [each.familiar for each in loaded.names] == ["umoci:0.1"]
    assert loaded.image.digest == inspected("oci", made / "umoci", ":0.1")["Digest"]
    root = store.layer_root(loaded.image.layers[-1].diff_id)
    assert (root / "bin/busybox").read_bytes() == BUSYBOX.read_bytes()


@pytest.mark.parametrize("form", ["oci", "docker-archive"])
def test_what_umoci_inserts(store: Store, made: Path, tmp_path: Path, form: str) -> None:
    """Such a layer ends with its last byte of content; the image's word for it says it is whole."""
    shutil.copytree(made / "umoci", tmp_path / "inserted")
    (tmp_path / "words").write_text("words\n")
    ran("umoci", "insert", "--image", f"{tmp_path}/inserted:0.1", tmp_path / "words", "/words")
    copy = f"{form}:{tmp_path}/copy:x:1"
    ran("skopeo", "copy", "-q", f"oci:{tmp_path}/inserted:0.1", copy)
    (loaded,) = load_named(tmp_path / "copy", store, None)
    root = store.layer_root(loaded.image.layers[-1].diff_id)
    assert (root / "words").read_text() == "words\n"


def test_what_others_read(
    store: Store, made: Path, tmp_path: Path, buildah: tuple[str, ...]
) -> None:
    """What we save, skopeo and buildah load, with the digests it came with; so do we."""
    (image,) = load(made / "oci-archive.tar", store, None)
    path = tmp_path / "saved.tar"
    save_file([Saved(image, (name(NAME),))], store, path)
    seen = inspected("oci-archive", path)
    assert seen["Digest"] == image.digest
    assert seen["Layers"] == [layer.blob.digest for layer in image.layers]
    assert inspected("oci-archive", path, f":{NAME}")["Digest"] == image.digest
    ran("skopeo", "copy", "-q", f"oci-archive:{path}", f"oci:{tmp_path}/copy:x")
    assert inspected("oci", tmp_path / "copy", ":x")["Digest"] == image.digest
    assert (
        ran(*buildah, "pull", "-q", f"oci-archive:{path}")
        .strip()
        .endswith(image.config_blob.digest.removeprefix("sha256:"))
    )
    (again,) = load(tmp_path / "copy", Store(tmp_path / "elsewhere"), name("again"))
    assert again == image


def test_what_docker_reads(store: Store, made: Path, tmp_path: Path) -> None:
    """The manifest.json beside the layout is a docker-archive's, to those who look for that."""
    (image,) = load(made / "docker-archive.tar", store, None)
    path = tmp_path / "saved.tar"
    save_file([Saved(image, (name(NAME),))], store, path)
    assert inspected("docker-archive", path, f":{NAME}")["Layers"] == [
        layer.diff_id for layer in image.layers
    ]
    ran("skopeo", "copy", "-q", f"docker-archive:{path}", f"oci:{tmp_path}/copy:x")
    (again,) = load(tmp_path / "copy", store, None)
    assert again.config_blob.digest == image.config_blob.digest


def test_docker_manifests_stay_dockers(store: Store, made: Path, tmp_path: Path) -> None:
    """An image whose manifest is Docker's keeps it, in and out again."""
    source = f"oci:{made}/layout:{NAME}"
    ran("skopeo", "copy", "-q", "--format", "v2s2", source, f"dir:{tmp_path}/dir")
    _as_layout(tmp_path / "dir", tmp_path / "layout")
    (image,) = load(tmp_path / "layout", store, name("x"))
    assert image.manifest.media_type == "application/vnd.docker.distribution.manifest.v2+json"
    save_file([Saved(image)], store, tmp_path / "saved.tar")
    elsewhere = Store(tmp_path / "elsewhere")
    (again,) = load(tmp_path / "saved.tar", elsewhere, None)
    assert again == image
    assert inspected("oci-archive", tmp_path / "saved.tar")["Digest"] == image.digest


def _as_layout(source: Path, target: Path) -> None:
    """A layout of the blobs of skopeo's `dir:`, as no tool writes it but any may hold it."""
    files: Files = {}
    manifest = (source / "manifest.json").read_bytes()
    for path in source.iterdir():
        if path.name not in {"version", "manifest.json"}:
            blob(files, path.read_bytes(), "")
    entry = blob(files, manifest, json.loads(manifest)["mediaType"])
    write_directory(target, oci_layout(files, entry))


def _facts(root: Path) -> dict[str, tuple[object, ...]]:
    """What a tree is, file by file; device nodes and all."""
    found: dict[str, tuple[object, ...]] = {}
    for path in root.rglob("*"):
        status = path.lstat()
        kept = status.st_mtime_ns // 10**9 if path.is_symlink() or not path.is_dir() else 0
        found[str(path.relative_to(root))] = (
            *(oct(status.st_mode), status.st_uid, status.st_gid, kept, status.st_rdev),
            path.readlink() if path.is_symlink() else status.st_size if path.is_file() else 0,
        )
    return found


def test_a_debian_root(
    debian_root: Path, programs: dict[str, str], data_dir: Path, tmp_path: Path
) -> None:
    """A directory and a stream of GNU tar's become images of what debootstrap has made."""
    anchor = Anchor(tmp_path, {**programs, "PYTHONPATH": str(ROOT)})
    done = anchor("import", "--json", str(debian_root), "debian:directory")
    assert done.returncode == 0, done.stderr
    done = anchor.shell(f"tar -C {debian_root} -c . | {{anchor}} import - debian:stream")
    assert (done.returncode, done.stdout.split()[0]) == (0, "debian:stream"), done.stderr
    store = Store(data_dir)
    wanted = _facts(debian_root)
    for tag in ("directory", "stream"):
        image = store.find(f"debian:{tag}")
        assert image is not None
        assert _facts(store.layer_root(image.layers[0].diff_id)) == wanted
    assert image is not None
    store.untag(name("debian:directory"))
    store.prune()
    assert_only(store, image)
    assert os.listdir(data_dir / "store/ingest") == []
