"""`anchor pull`, as a person or a script uses it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_program import ROOT, Anchor
from anchor_supervisor.images.reference import parse
from anchor_supervisor.images.store import Store
from fake_registry import Call, FakeRegistry, fake_registry
from image_store import assert_only
from registry_kit import as_it_is, layer
from waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.native]  # the same code on any kernel

SIZE = 2_000_000


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """A registry with an image of one big layer."""
    with fake_registry() as registry:
        registry.add_image(layers=[layer(1, SIZE)], pack=as_it_is)
        yield registry


@pytest.fixture
def environment(programs: dict[str, str], data_dir: Path) -> dict[str, str]:
    """Somebody without credentials."""
    home = {"HOME": str(data_dir.parent), "XDG_RUNTIME_DIR": "/nowhere"}
    return {**programs, "PYTHONPATH": str(ROOT), **home}


def test_the_name_and_the_digest(anchor: Anchor, fake: FakeRegistry, data_dir: Path) -> None:
    """Standard output is a name that can be pulled again; what happened is on standard error."""
    digest = fake.add_image("team/shop", "2")
    result = anchor("pull", f"{fake.address}/team/shop:2")
    assert (result.returncode, result.stdout) == (0, f"{fake.address}/team/shop:2@{digest}\n")
    assert re.fullmatch(r"[0-9a-f]{12}: pulled \(\d+ in .*\)\n", result.stderr)
    again = anchor("pull", result.stdout.strip())
    assert (again.returncode, again.stdout) == (0, result.stdout)
    assert again.stderr == f"{parse(result.stdout.strip()).familiar} is up to date\n"
    assert {each.name for each in Store(data_dir).images()} == {
        f"{fake.address}/team/shop:2",
        f"{fake.address}/team/shop:2@{digest}",
    }


def test_as_a_document(anchor: Anchor, fake: FakeRegistry) -> None:
    """--json and --quiet are for scripts."""
    digest = fake.add_image("shop", "2", [layer(3)])
    result = anchor("pull", "--json", "--quiet", f"{fake.address}/shop:2")
    assert (result.returncode, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert document["digest"] == digest
    assert document["name"] == f"{fake.address}/shop:2"
    assert (document["os"], document["architecture"], document["layers"]) == ("linux", "amd64", 1)
    assert document["size"] == len(layer(3))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Shop",), "error: `Shop` is not an image's name"),
        (("--platform", "linux", "shop"), "error: `linux` is not a platform\nhint: such as linux/"),
        (
            ("127.0.0.1:1/shop",),
            "error: cannot pull `127.0.0.1:1/shop:latest`: `127.0.0.1:1` cannot",
        ),
        (
            ("registry.invalid/shop",),
            "error: cannot pull `registry.invalid/shop:latest`: `registry.",
        ),
    ],
)
def test_what_cannot_be(anchor: Anchor, arguments: tuple[str, ...], words: str) -> None:
    """Each is one sentence, and exit code 3."""
    result = anchor("pull", *arguments)
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.startswith(words)


def test_an_error_is_harmless(anchor: Anchor, fake: FakeRegistry) -> None:
    """What a registry says reaches the terminal as text."""
    error = json.dumps({"errors": [{"message": "\x1b[2Jevil\nhint: run this"}]}).encode()

    def refuse(call: Call) -> bool:
        call.answer(404, error)
        return True

    fake.trick = refuse
    result = anchor("pull", f"{fake.address}/shop:1")
    assert result.returncode == 3
    assert "\x1b" not in result.stderr
    assert "evil" in result.stderr
    assert not any(line.startswith("hint: run") for line in result.stderr.splitlines())


def test_interrupted(anchor: Anchor, fake: FakeRegistry, data_dir: Path) -> None:
    """Ctrl-C ends it at once, in the midst of a layer; the next pull goes on from there."""
    halfway = threading.Event()

    def stall(call: Call) -> bool:
        content = call.registry.blobs.get(call.asked.path.rpartition("/")[2], b"")
        if len(content) < SIZE or halfway.is_set():
            return False
        call.head(200, length=len(content))
        call.send(content[: SIZE // 2])
        halfway.set()
        call.hang()
        return True

    fake.trick = stall
    command = anchor.command("pull", f"{fake.address}/shop:1")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=anchor.environment, stdout=pipe, stderr=pipe) as process:
        assert halfway.wait(30)
        eventually(
            lambda: [path for path in data_dir.glob("store/ingest/*") if path.stat().st_size],
            what="some of it is stored",
        )
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=8)  # less than any timeout of the pull's own
    assert (process.returncode, out, err) == (130, b"", b"")
    assert not list(Store(data_dir).images())
    assert anchor("pull", f"{fake.address}/shop:1").returncode == 0
    assert fake.asked[-1].headers["range"].startswith("bytes=")
    store = Store(data_dir)
    store.prune()
    image = store.find(f"{fake.address}/shop:1")
    assert image is not None
    assert_only(store, image)
