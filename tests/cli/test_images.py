"""The verbs that look after images, as a person and as a script use them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_program import Anchor, pretending
from anchor_supervisor.cli import image_words
from anchor_supervisor.cli.image_words import ago, time_of
from anchor_supervisor.cli.render import now
from anchor_supervisor.errors import HostError
from anchor_supervisor.images.lookup import short_id
from anchor_supervisor.images.manifests import manifest_json
from anchor_supervisor.images.model import OCI_CONFIG, OCI_MANIFEST, Image
from anchor_supervisor.images.store import Store
from image_archives import as_json, config
from image_store import add_image, assert_only, ended, in_child, name, tagged, unsynced

pytestmark = pytest.mark.root


@pytest.fixture
def store(data_dir: Path) -> Iterator[Store]:
    """The store that the programs of the test see."""
    with unsynced():
        yield Store(data_dir)


@pytest.fixture
def debian(store: Store) -> Image:
    """An image with two names and a history, and one without a name."""
    first, second = (tagged(store, "debian:11", *seeds) for seeds in ((1,), (1, 2)))
    store.tag(name("localhost:5000/base"), second.digest)
    assert first != second
    return second


def refused(anchor: Anchor, *arguments: str) -> str:
    """What is said where nothing can be done."""
    done = anchor(*arguments)
    assert (done.returncode, done.stdout) == (3, "")
    return done.stderr


def test_nothing_there(anchor: Anchor) -> None:
    """Listings have their header, scripts an empty list, and an unknown name is an error."""
    assert anchor("images").stdout == "REPOSITORY  TAG  IMAGE ID  CREATED  SIZE\n"
    assert json.loads(anchor("images", "--json").stdout) == []
    assert anchor("images", "-q").stdout == ""
    assert anchor("prune", "--force").stdout == "KIND  NAME  SIZE\nfreed 0\n"
    for verb in ("history", "rmi", "save"):
        told = refused(anchor, verb, "debian")
        assert told.startswith("error: there is no image `debian`\nhint: `anchor images`")
    assert refused(anchor, "rmi", "A B").startswith("error: `A B` is not an image's name")


def test_images_is_a_table(anchor: Anchor, store: Store, debian: Image) -> None:
    """A line for each name, and one for what has none, as docker's users know it."""
    header, *lines = anchor("images").stdout.splitlines()
    assert header.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    first, second, third = (line.split() for line in lines)
    assert first[:3] == ["debian", "11", short_id(debian)]
    assert second[:3] == ["localhost:5000/base", "latest", short_id(debian)]
    assert third[:2] == ["<none>", "<none>"]
    assert first[-1] == second[-1] == "20K"
    with_digests = anchor("images", "--digests").stdout
    assert debian.digest in with_digests.splitlines()[1]
    ids = anchor("images", "-q").stdout.split()
    assert ids == list(dict.fromkeys(line.split()[2] for line in lines))


def test_images_as_json(anchor: Anchor, debian: Image) -> None:
    """Every fact of a line, with bytes and times that can be counted with."""
    rows = json.loads(anchor("images", "--json").stdout)
    assert rows[0] == {
        "name": "debian:11",
        "repository": "debian",
        "tag": "11",
        "id": short_id(debian),
        "digest": debian.digest,
        "created": None,
        "platform": "linux/amd64",
        "size": debian.size,
    }
    assert rows[2]["name"] is None


@pytest.mark.parametrize(
    ("wanted", "count"),
    [("debian", 1), ("debian:11", 1), ("debian:12", 0), ("localhost:*", 1), ("deb*", 1)],
)
def test_images_of_a_name(anchor: Anchor, debian: Image, wanted: str, count: int) -> None:
    """A repository means all of its tags, a name itself, a pattern what is like it."""
    assert len(anchor("images", wanted).stdout.splitlines()) == 1 + count


def test_a_damaged_image_hides_no_other(anchor: Anchor, store: Store, debian: Image) -> None:
    """It is a warning, and the rest is listed."""
    other = tagged(store, "other", 3)
    blob = store.blob(other.config_blob.digest)
    assert blob is not None
    blob.write_bytes(b"{}")
    done = anchor("images")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 4)
    assert done.stderr.startswith("warning: blob `sha256:")
    assert "is damaged" in refused(anchor, "history", "other")
    removed = anchor("rmi", "other")
    assert removed.stdout.startswith(f"untagged other:latest\nremoved {other.digest}, freed ")
    assert anchor("images").stderr == ""


def _with_history(store: Store, history: object) -> Image:
    with store.lease("test") as lease:
        layers = add_image(store, lease, 1, 2).layers
        content = json.loads(config(1, 2, history=history))
        store.add_blob(lease, OCI_CONFIG, as_json(content))
        image = store.make_image(lease, content, layers)
        store.tag(name("told"), image.digest)
    return image


def test_history_is_the_authors_word(anchor: Anchor, store: Store) -> None:
    """The newest first, each layer's bytes at its step, and nothing that a terminal obeys."""
    image = _with_history(
        store,
        [
            {"created": "2020-01-02T03:04:05.123456789Z", "created_by": "ADD \x1b[2J" + "x" * 60},
            {"created_by": "ENV A=b", "empty_layer": True},
            {"created": "nonsense", "created_by": "RUN y", "comment": "two\nlines"},
        ],
    )
    done = anchor("history", "told")
    header, *lines = done.stdout.splitlines()
    assert header.split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert lines[0].split() == [short_id(image), "-", "RUN", "y", "10K", "two", "lines"]
    assert lines[1].split() == ["<missing>", "-", "ENV", "A=b", "0"]
    assert lines[2].split()[0] == "<missing>"
    assert "ADD xxx" in lines[2]
    assert "x…" in lines[2]
    assert "x" * 60 in anchor("history", "--no-trunc", "told").stdout
    rows = json.loads(anchor("history", "--json", "told").stdout)
    assert [row["size"] for row in rows] == [10240, 0, 10240]
    assert rows[2]["created"] == "2020-01-02T03:04:05.123456Z"
    assert [row["diff_id"] for row in rows] == [
        image.layers[1].diff_id,
        None,
        image.layers[0].diff_id,
    ]


@pytest.mark.parametrize("history", [[], [{"created_by": 7}], [7, {}]])
def test_a_history_that_says_too_little(
    anchor: Anchor, store: Store, history: list[object]
) -> None:
    """Every layer is shown, whether anything is told of it or not."""
    _with_history(store, history)
    rows = json.loads(anchor("history", "--json", "told").stdout)
    assert sum(row["size"] for row in rows) == 20480


def test_tag_gives_a_name(anchor: Anchor, store: Store, debian: Image) -> None:
    """By name, digest or id; what the name led to before, it leads to no more."""
    for source in ("debian:11", debian.digest, short_id(debian)):
        done = anchor("tag", source, "tools")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert store.find("tools") == debian
        store.untag(name("tools"))
    facts = json.loads(anchor("tag", "--json", "debian:11", "tools:1").stdout)
    assert facts["names"] == ["debian:11", "tools:1", "localhost:5000/base:latest"]
    assert "did you mean `debian:11`?" in refused(anchor, "tag", "debain:11", "x")
    assert "is nobody's to choose" in refused(anchor, "tag", "debian:11", f"x@{debian.digest}")
    assert "is not an image's name" in refused(anchor, "tag", "debian:11", "X Y")


def test_rmi_takes_names_and_then_the_image(anchor: Anchor, store: Store, debian: Image) -> None:
    """The last name takes the image with it, and every byte that no other image has."""
    (nameless,) = [line.digest for line in store.images() if line.name is None]
    assert anchor("rmi", "debian:11").stdout == "untagged debian:11\n"
    assert store.find("localhost:5000/base") == debian
    done = anchor("rmi", "localhost:5000/base")
    assert done.stdout.startswith(
        f"untagged localhost:5000/base:latest\nremoved {debian.digest}, freed "
    )
    assert_only(store, store.image(nameless))
    assert anchor("rmi", nameless).returncode == 0
    assert_only(store)


def test_rmi_of_an_id(anchor: Anchor, store: Store, debian: Image) -> None:
    """An image of several names goes only by force; then all of them go."""
    told = refused(anchor, "rmi", short_id(debian))
    assert "has several names: `debian:11`, `localhost:5000/base:latest`" in told
    assert "`-f`" in told
    (result,) = json.loads(anchor("rmi", "-f", "--json", short_id(debian)).stdout)
    assert result["untagged"] == ["debian:11", "localhost:5000/base:latest"]
    assert result["digest"] == debian.digest
    assert {removal["kind"] for removal in result["removed"]} == {"image", "layer", "blob"}
    assert result["freed"] == sum(removal["size"] for removal in result["removed"]) > 0
    assert [line.name for line in store.images()] == [None]


def test_rmi_of_what_a_fleet_uses(anchor: Anchor, store: Store, debian: Image) -> None:
    """Refused, naming the fleet; by force the name goes, and the image stays while it is needed."""
    store.untag(name("localhost:5000/base"))
    with store.lease("fleet shop") as lease:
        lease.hold(debian.digest)
        told = refused(anchor, "rmi", "debian:11")
        assert told.startswith("error: image `debian:11` is in use: fleet shop\n")
        assert store.find("debian:11") == debian
        done = anchor("rmi", "-f", "debian:11")
        assert done.stdout == (
            f"untagged debian:11\n{debian.digest} stays while it is in use: fleet shop\n"
        )
        assert refused(anchor, "rmi", debian.digest).startswith("error: image `sha256:")
        assert store.image(debian.digest) == debian
    anchor("prune", "--force")
    assert_only(store)


def test_one_failure_stops_no_other(anchor: Anchor, store: Store, debian: Image) -> None:
    """What can be removed is, and the exit code tells of the rest."""
    done = anchor("rmi", "nothing", "debian:11", "debian:11")
    assert (done.returncode, done.stdout) == (3, "untagged debian:11\n")
    assert done.stderr.startswith("error: there is no image `nothing`\n")


def test_prune_shows_and_asks(anchor: Anchor, store: Store, debian: Image) -> None:
    """Without a terminal and `--force` nothing goes; `--dry-run` never takes anything."""
    shown = anchor("prune", "--dry-run")
    header, *lines, total = shown.stdout.splitlines()
    assert header.split() == ["KIND", "NAME", "SIZE"]
    assert {line.split()[0] for line in lines} == {"image", "blob"}
    assert total.startswith("would free ")
    asked = anchor("prune")
    assert asked.returncode == 2
    assert asked.stderr.startswith("error: nothing is removed without being asked for\n")
    assert len(list(store.images())) == 3
    done = anchor("prune", "--force")
    assert done.stdout.splitlines()[:-1] == [header, *lines]
    assert_only(store, debian)


def test_prune_all_keeps_what_a_fleet_uses(anchor: Anchor, store: Store, debian: Image) -> None:
    """Names go as well, but none that a living process needs."""
    other = tagged(store, "other", 3)
    with store.lease("fleet shop") as lease:
        lease.hold(other.digest)
        done = json.loads(anchor("prune", "--all", "--force", "--json").stdout)
    assert done["dry_run"] is False
    assert done["freed"] == sum(each["size"] for each in done["removed"]) > 0
    assert {each["name"] for each in done["removed"] if each["kind"] == "name"} == {
        "docker.io/library/debian:11",
        "localhost:5000/base:latest",
    }
    assert_only(store, other)


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 2), ("n", 1, 3), ("", 1, 3)])
def test_prune_asks_on_a_terminal(
    anchor: Anchor, store: Store, debian: Image, answer: str, code: int, left: int
) -> None:
    """Only a yes is one."""
    ours, theirs = os.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            anchor.command("prune"),
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
            env=dict(anchor.environment),
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == code
    assert done.stderr.startswith("Remove it, and free ")
    assert len(list(store.images())) == left


@pytest.fixture
def briefly_shop(environment: dict[str, str], run_dir: Path) -> Iterator[None]:
    """The fleet `shop`, whose run directory goes with it."""
    with pretending("shop", environment):
        yield
    shutil.rmtree(run_dir / "shop")


def test_inspect_shows_an_image(anchor: Anchor, store: Store, briefly_shop: None) -> None:
    """A container's name means the container; what is none may be an image; `--image` insists."""
    image = tagged(store, "debian:11", 1, 2)
    store.tag(name("web"), image.digest)
    facts = json.loads(anchor("inspect", "debian:11").stdout)
    assert facts["id"] == short_id(image)
    assert facts["names"] == ["debian:11", "web:latest"]
    assert facts["digest"] == image.digest
    assert facts["config_digest"] == image.config_blob.digest
    assert facts["platform"] == "linux/amd64"
    assert facts["size"] == image.size == sum(layer["size"] for layer in facts["layers"])
    assert [layer["blob"] for layer in facts["layers"]] == [
        layer.blob.digest for layer in image.layers
    ]
    assert facts["config"] == {"Labels": {"label": "debian:11"}}
    assert json.loads(anchor("inspect", "web.1").stdout).keys() != facts.keys()
    assert json.loads(anchor("inspect", "--image", "web").stdout) == facts
    told = anchor("inspect", "nothing")
    assert told.returncode != 0
    assert "container" in told.stderr
    assert refused(anchor, "inspect", "--image", "nothing").startswith("error: there is no image")


def test_inspect_without_a_fleet(anchor: Anchor, store: Store) -> None:
    """Images can be looked at while nothing runs."""
    image = tagged(store, "debian:11", 1)
    assert json.loads(anchor("inspect", "debian:11").stdout)["digest"] == image.digest
    assert "did you mean `debian:11`?" in refused(anchor, "inspect", "debian:1")


def test_another_users_store(store: Store, debian: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may not look is told so, in words."""
    monkeypatch.setenv("ANCHOR_DATA_DIR", str(store.data))
    assert image_words.store() == store
    for place in (store.data / "store", store.data):
        place.chmod(0o700)

        def look() -> None:
            os.setresuid(65534, 65534, 65534)
            with pytest.raises(HostError, match="are another user's") as caught:
                image_words.store()
            assert caught.value.hint == "run it again with sudo"

        assert ended(in_child(look)) == 0


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.123456789+02:00", "2026-01-02T03:04:05.123456+02:00"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05Z"),
        ("0001-01-01T00:00:00Z", None),
        ("nonsense", None),
        (7, None),
        (None, None),
    ],
)
def test_times_that_images_claim(value: object, read: str | None) -> None:
    """Anything but a time after 1970 is no time."""
    assert time_of(value) == read
    assert ago(time_of(value), now()).endswith("-" if read is None else " ago")


def test_half_a_character_is_shown_as_the_image_has_it(anchor: Anchor, store: Store) -> None:
    """JSON can say what no encoding can; scripts get it as it was written."""
    with store.lease("test") as lease:
        base = add_image(store, lease, 1)
        said = {"history": [{"created_by": "x\ud800"}], "config": {"Labels": {"a": "\ud800"}}}
        content = {**json.loads(config(1)), **said}
        blob = store.add_blob(lease, OCI_CONFIG, json.dumps(content).encode())
        manifest = manifest_json(blob, base.layers)
        image = store.add_image(lease, store.add_blob(lease, OCI_MANIFEST, manifest))
        store.tag(name("half:1"), image.digest)
    [row] = json.loads(anchor("history", "--json", "half:1").stdout)
    assert row["created_by"] == "x\ud800"
    assert '"a": "\\ud800"' in anchor("inspect", "half:1").stdout
