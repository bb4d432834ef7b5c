"""The same Dockerfiles built by anchor and by buildah: what comes out is the same.

Trees are compared by kind, mode, owner and content. Times are not: whatever a RUN or a WORKDIR
makes has the time of its making. Configurations are compared in what a container is made of;
`created`, `history` and the labels that buildah adds of itself are each builder's own.
"""

from __future__ import annotations

import io
import json
import lzma
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, final

import pytest
from attrs import frozen

from archives import directory, member, symlink, tar
from image_builder import Builder, tree_of

pytestmark = pytest.mark.root

DOCKERFILES: Final = Path(__file__).parent / "dockerfiles"
NAMES: Final = sorted(path.name for path in DOCKERFILES.iterdir())
COMPARED: Final = (
    *("Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels", "OnBuild", "Shell"),
    *("StopSignal", "User", "Volumes", "WorkingDir"),
)
REMAINS: Final = frozenset(
    {"dev", "proc", "run", "sys", "etc/hostname", "etc/hosts", "etc/resolv.conf"}
)
TOKEN: Final = "4b1d-not-in-any-layer"


@final
@frozen
class Buildah:
    """buildah with a storage of its own; it takes nothing from the machine."""

    place: Path

    def __call__(self, *words: str | Path) -> str:
        """Run it; it must work."""
        where = ["--storage-driver", "vfs", "--root", str(self.place / "root")]
        command: list[str] = [
            "buildah",
            *where,
            "--runroot",
            str(self.place / "run"),
            *map(str, words),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def build(self, context: Path, *words: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Build, and return the tree and the configuration."""
        isolated = ("--isolation", "chroot", "--format", "docker", "--layers=false", "-q")
        image = self("bud", *isolated, *words, context)
        facts = json.loads(self("inspect", "--type", "image", image))
        container = self("from", image)
        tree = tree_of(Path(self("mount", container)))
        return tree, facts["Docker"]["config"]


@pytest.fixture(scope="module")
def buildah(base_root: Path) -> Iterator[Buildah]:
    """A buildah that has the base image."""
    place = Path(tempfile.mkdtemp(prefix="anchor-buildah-"))
    made = Buildah(place)
    with tarfile.open(place / "base.tar", "w") as archive:
        archive.add(base_root, ".")
    container = made("from", "scratch")
    made("add", container, place / "base.tar", "/")
    made("commit", "-q", container, "docker.io/library/base")
    yield made
    made("rm", "-a")
    made("rmi", "-a", "-f")
    shutil.rmtree(place)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_image_as_buildah_makes(
    name: str, builder: Builder, buildah: Buildah, tmp_path: Path
) -> None:
    """Files, directories, links, modes, owners, content and configuration are the same."""
    context = tmp_path / "context"
    shutil.copytree(DOCKERFILES / name, context, symlinks=True)
    make_archives(context)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    secret = ("--secret", f"id=token,src={token}")
    tree, settings = buildah.build(context, *secret)
    image = builder.image(context, *secret)
    volumes = {path.lstrip("/") for path in settings.get("Volumes") or ()}
    assert not differences(builder.tree(image), without(tree, REMAINS | volumes))
    ours = image.config["config"]
    assert not differences(comparable(ours), comparable(settings))
    assert TOKEN.encode() not in everything(builder.store.data)


def make_archives(context: Path) -> None:
    """Archives are made here, since nobody reviews bytes."""
    if context.name != "context" or "ADD plain.tar" not in (context / "Dockerfile").read_text():
        return
    plain = tar(
        directory("from"),
        member("from/archive", b"content", uid=5, gid=6, mode=0o640),
        symlink("from/link", "archive"),
        directory("tmp/from", mode=0o711),
    )
    (context / "plain.tar").write_bytes(plain)
    for suffix, mode in (("gz", "w:gz"), ("bz2", "w:bz2"), ("xz", "w:xz")):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
            info, content = member(f"in-{suffix}", suffix.encode())
            archive.addfile(info, io.BytesIO(content))
        (context / f"packed.tar.{suffix}").write_bytes(file.getvalue())
    (context / "text.gz").write_bytes(lzma.compress(b"not a tar at all"))


def without(tree: dict[str, Any], remains: frozenset[str]) -> dict[str, Any]:
    """What buildah leaves of what it has mounted for a RUN, VOLUMEs too, is not the image's."""
    return {path: entry for path, entry in tree.items() if path not in remains}


def comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """What a container is made of; absent and empty are the same."""
    found = {key: settings.get(key) or None for key in COMPARED}
    # buildah names itself in a label, and leaves the default directory out.
    labels = found["Labels"] or {}
    kept = {name: text for name, text in labels.items() if name != "io.buildah.version"}
    return {**found, "Labels": kept, "WorkingDir": found["WorkingDir"] or "/"}


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """What is not the same on both sides, each with ours and theirs."""
    return {
        key: (ours.get(key), theirs.get(key))
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key)
    }


def everything(data: Path) -> bytes:
    """All bytes of all plain files beneath a directory."""
    return b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
