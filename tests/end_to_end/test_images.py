"""Images that nothing here wrote, run as their authors meant them, by name."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from console import Console
from registries import docker_registry

pytestmark = [pytest.mark.root, pytest.mark.native]

DOCKERFILE: Final = """\
FROM scratch
COPY rootfs /
RUN rm /srv/index.html && echo later > /srv/later && mkdir -p /data && echo seed > /data/seed
RUN chown -R web /data
ENV GREETING=hello
USER web
WORKDIR /srv
VOLUME /data
STOPSIGNAL SIGUSR1
HEALTHCHECK --interval=1s CMD test -e /data/ready
CMD ["sh", "-c", "trap 'echo bye; exit 0' USR1; echo $GREETING $(id -un) $PWD $(cat /data/seed); \
touch /data/ready; while :; do sleep 0.05; done"]
"""


@pytest.fixture(scope="module")
def greeting(rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An image of several layers, built by buildah, as a `docker save` archive."""
    place = tmp_path_factory.mktemp("greeting")
    shutil.copytree(rootfs, place / "rootfs", symlinks=True)
    (place / "Dockerfile").write_text(DOCKERFILE)
    buildah = [
        "buildah",
        *(
            "--storage-driver",
            "vfs",
            "--root",
            str(place / "store"),
            "--runroot",
            str(place / "rr"),
        ),
    ]
    build = ["bud", "--layers", "--isolation", "chroot", "--format", "docker", "-t", "greeting"]
    archive = place / "greeting.tar"
    for words in (
        [*build, str(place)],
        ["push", "greeting", f"docker-archive:{archive}:greeting:1"],
    ):
        done = subprocess.run([*buildah, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    yield archive
    shutil.rmtree(place)


@pytest.fixture
def imported(console: Console, greeting: Path) -> Console:
    """A console whose store has `greeting:1`."""
    said = console.anchor("import", greeting, "greeting:1")
    assert said.code == 0, said
    return console


def test_a_command_runs_in_an_image_as_its_author_meant(imported: Console) -> None:
    """Environment, user, directory and layers are the image's; the words replace its command."""
    script = "echo $GREETING $(id -un) $PWD; ls /srv; cat /data/seed; touch /data/mine"
    said = imported.anchor("run", "-i", "greeting:1", "sh", "-c", script)
    assert (said.code, said.out, said.err) == (0, "hello web /srv\nlater\nseed\n", "")
    said = imported.anchor("run", "-i", "greeting:1", "-e", "GREETING=x", "-u", "0", "env")
    assert "GREETING=x" in said.out.splitlines()


@pytest.mark.parametrize("root", ["overlay", "copy", "bind"])
def test_every_strategy_shows_the_same_tree(imported: Console, root: str) -> None:
    """What an upper layer took away is gone, whichever way the root is made."""
    words = ["--root-strategy", root, "find", "/srv", "/data", "/bin/busybox"]
    said = imported.anchor("run", "-i", "greeting:1", *words[:2], "ls", "/srv", "/bin/busybox")
    assert (said.code, said.out) == (0, "/bin/busybox\n\n/srv:\nlater\n"), said


FLEET: Final = """
[containers.web]
image = "IMAGE"
PULL
[containers.after]
kind = "job"
image = "IMAGE"
command = ["echo", "after"]
depends_on = { web = "healthy" }
"""


def fleet(image: str, pull: str = "") -> str:
    """Two containers of this image, one after the other's health check."""
    return FLEET.replace("IMAGE", image).replace("PULL", pull)


def test_a_fleet_pulls_what_is_missing(imported: Console, greeting: Path, tmp_path: Path) -> None:
    """From a registry, once; its health check gates the rest, its stop signal ends it."""
    with docker_registry(tmp_path / "registry") as address:
        name = f"{address}/team/greeting:1"
        subprocess.run(
            [
                *("skopeo", "copy", "--dest-tls-verify=false"),
                *(f"docker-archive:{greeting}", f"docker://{name}"),
            ],
            check=True,
            capture_output=True,
        )
        file = imported.write("shop.toml", fleet(name))
        said = imported.anchor("up", "-f", file)
        assert said.code == 0, said
        rows = {row["container"]: row for row in imported.anchor("ps", "--json").json()}
        assert rows["web"]["health"] == "healthy"
        assert rows["web"]["image"] == name
        assert rows["after"]["state"] == "completed"
        assert "hello web /srv seed" in imported.anchor("logs", "web").out
    # The registry is gone, and nobody asks for it.
    assert imported.anchor("down").code == 0
    assert imported.anchor("up", "-f", file).code == 0
    assert imported.anchor("logs", "web").out.count("bye") == 1
    assert imported.anchor("stop", "web").code == 0
    assert imported.anchor("logs", "web").out.count("bye") == 2
    assert imported.anchor("down").code == 0
    file = imported.write("shop.toml", fleet(name, 'pull = "always"'))
    said = imported.anchor("up", "-f", file)
    assert said.code == 3
    assert f"shop.toml:3: containers.web.image: cannot pull `{name}`" in said.err


def test_what_must_not_be_pulled_is_refused(console: Console) -> None:
    """With its line, and exit code 3; nothing has begun."""
    file = console.write("shop.toml", fleet("greeting:1", 'pull = "never"'))
    for said in (console.anchor("up", "-f", file), console.supervise("--check", file)):
        assert said.code == 3
        assert "shop.toml:3: containers.web.image: image `greeting:1` is not here" in said.err
    absent = console.supervise("--check", console.write("shop.toml", fleet("greeting:1")))
    assert absent.code == 0
    assert "image `greeting:1` is not here yet, and would be pulled" in absent.err


def test_a_fleet_keeps_its_images(imported: Console) -> None:
    """Nothing that runs is pruned; `rmi` says who has it."""
    assert imported.anchor("up", "-f", imported.write("shop.toml", fleet("greeting:1"))).code == 0
    refused = imported.anchor("rmi", "greeting:1")
    assert refused.code == 3
    assert "shop" in refused.err
    assert imported.anchor("prune", "--all", "--force").code == 0
    assert imported.anchor("restart", "web").code == 0
    assert imported.anchor("exec", "web", "cat", "/srv/later").out == "later\n"
    assert imported.anchor("down").code == 0
    assert imported.anchor("rmi", "greeting:1").code == 0
    assert imported.anchor("images", "--json").json() == []
    assert imported.anchor("prune", "--all", "--dry-run", "--json").json()["removed"] == []


BUILT: Final = """
[containers.web]
kind = "job"
build = { context = "context", args = { WHO = "you" } }
"""


def test_a_fleet_builds_its_images(imported: Console) -> None:
    """Where they are missing, and again when asked; named after fleet and container."""
    context = imported.directory / "context"
    context.mkdir()
    (context / "note").write_text("first")
    (context / "Dockerfile").write_text(
        "FROM greeting:1\nARG WHO\nUSER 0\nCOPY note /note\nRUN echo $WHO > /who\n"
        'CMD ["cat", "/who", "/note"]\n'
    )
    file = imported.write("shop.toml", BUILT)
    absent = imported.supervise("--check", file)
    assert "image `shop-web` is not here yet, and would be built" in absent.err
    said = imported.supervise(file)
    assert (said.code, said.out.splitlines()) == (0, ["web | you", "web | first"]), said
    (context / "note").write_text("second")
    assert "first" in imported.supervise(file).out
    assert "second" in imported.supervise("--build", file).out
    names = [one["name"] for one in imported.anchor("images", "--json").json()]
    assert "shop-web:latest" in names
    (context / "Dockerfile").write_text("FROM greeting:1\nRUN exit 7\n")
    said = imported.supervise("--build", file)
    assert said.code == 1
    assert "Dockerfile:2" in said.err
    assert "7" in said.err
    assert json.loads(imported.anchor("images", "--json").out)


KEPT: Final = """
[containers.web]
image = "greeting:1"
[containers.copied]
image = "greeting:1"
root = "copy"
"""


def test_a_killed_fleet_keeps_its_images_while_its_containers_live(imported: Console) -> None:
    """Their layers are their roots: a prune takes none until they are swept, and then all."""
    file = imported.write("shop.toml", KEPT)
    running = imported.start(file)
    running.wait_for("hello web")
    rows = imported.row_when(file, "web.1", lambda row: row["health"] == "healthy", what="it is up")
    before = imported.anchor("images", "--json").json()
    running.send(signal.SIGKILL)
    assert running.ended() == -signal.SIGKILL
    assert imported.anchor("prune", "--all", "--force", "--json").json()["removed"] == []
    assert imported.anchor("images", "--json").json() == before
    root = Path(f"/proc/{rows['pid']}/root")
    assert (root / "srv/later").read_text() == "later\n"
    # The next start sweeps the old containers, and its own lease holds the same.
    assert imported.anchor("up", "-f", file).code == 0
    assert not root.exists()
    assert imported.anchor("prune", "--all", "--force", "--json").json()["removed"] == []
    imported.down(file)
    assert imported.anchor("prune", "--all", "--force").code == 0
    assert imported.anchor("images", "--json").json() == []
    assert blobs_and_layers(imported) == []


def test_a_swept_fleet_holds_nothing(imported: Console) -> None:
    """`anchor down` of a killed one ends its containers, and with them what they held."""
    file = imported.write("shop.toml", KEPT)
    running = imported.start(file)
    running.wait_for("hello web")
    running.send(signal.SIGKILL)
    running.ended()
    assert "was not running" in imported.down(file).out
    assert imported.anchor("prune", "--all", "--force").code == 0
    assert blobs_and_layers(imported) == []


def blobs_and_layers(console: Console) -> list[str]:
    """What there is of content in the store."""
    store = console.data_dir / "store"
    kinds = [path for path in store.iterdir() if path.name in {"blobs", "layers", "ingest"}]
    assert len(kinds) >= 2
    return [str(path) for kind in kinds for path in kind.rglob("*") if path.parent != kind]
