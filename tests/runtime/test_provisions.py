"""A fleet is complete once its images have had their say, and every one that is missing is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from anchor_supervisor.errors import FleetError, UnfitHostError
from anchor_supervisor.fleet.diff import Effect, effect_between
from anchor_supervisor.fleet.model import Fleet
from anchor_supervisor.fleet.parse import loads
from anchor_supervisor.images.layer_writer import LayerWriter
from anchor_supervisor.images.model import Image
from anchor_supervisor.images.reference import parse
from anchor_supervisor.images.store import Store
from anchor_supervisor.runtime.provisions import provisions, wrong_names
from archives import member, tar

pytestmark = pytest.mark.root


def store_image(store: Store, name: str, **config: object) -> Image:
    """Put an image of one file into the store."""
    with store.lease("test") as lease:
        with LayerWriter(store, lease) as writer:
            writer.write(tar(member("file", b"content")))
            layer = writer.finish()
        image = store.make_image(
            lease, {"os": "linux", "architecture": "amd64", "config": config}, [layer]
        )
        store.tag(parse(name), image.digest)
    return image


def test_a_fleet_is_completed_by_its_images(data_dir: Path) -> None:
    """Images of the store say what the file does not; several containers share one look."""
    store = Store(data_dir)
    image = store_image(store, "web:1", Cmd=["serve"], User="33", StopSignal="SIGQUIT")
    text = """
[containers.a]
image = "web:1"
[containers.b]
image = "web:1"
command = ["other"]
[containers.c]
image = "host"
command = ["true"]
"""
    fleet = loads(text, file="shop.toml", directory="/", environment={})
    with store.lease("test") as lease:
        found = provisions(fleet, store, lease)
    assert found.fleet.containers["a"].command == ("serve",)
    assert found.fleet.containers["b"].command == ("other",)
    assert found.fleet.containers["b"].user == "33"
    host = found.fleet.containers["c"]
    assert evolve(host, image=fleet.containers["c"].image) == fleet.containers["c"]
    assert found.layers["a"] is found.layers["b"]
    assert found.images["a"].digest == image.digest
    assert set(found.images) == {"a", "b"}


def test_what_runs_is_held_in_the_store(data_dir: Path) -> None:
    """A prune meanwhile takes nothing away that a name no longer leads to."""
    store = Store(data_dir)
    image = store_image(store, "web", Cmd=["serve"])
    fleet = loads('[containers.a]\nimage = "web"\n', file="x.toml", directory="/", environment={})
    with store.lease("fleet x") as lease:
        found = provisions(fleet, store, lease)
        store.untag(parse("web"))
        store.prune(everything=True)
        assert (found.layers["a"].paths[0] / "file").read_text() == "content"
        assert "fleet x" in store.holders(image.digest)
    store.prune(everything=True)
    assert not found.layers["a"].paths[0].exists()


def test_every_kind_of_image_has_a_digest_that_tells_its_content(data_dir: Path) -> None:
    """Of the store and archives by content, of a directory by its place; the same where used twice.

    What is mounted has one as well: a fleet that is completed twice is the same.
    """
    store = Store(data_dir)
    image = store_image(store, "web", Cmd=["serve"])
    (data_dir / "root.tar").write_bytes(tar(member("file", b"content")))
    (data_dir / "root").mkdir()
    (data_dir / "conf").write_text("x = 1\n")
    text = f"""
[containers.store]
image = "web"
volumes = ["{data_dir}/conf:/conf:ro"]
[containers.archive]
image = "{data_dir}/root.tar"
command = ["x"]
[containers.directory]
image = "{data_dir}/root"
command = ["x"]
[containers.host]
image = "host"
command = ["x"]
"""
    fleet = loads(text, file="shop.toml", directory="/", environment={})

    def completed() -> Fleet:
        with store.lease("test") as lease:
            return provisions(fleet, store, lease).fleet

    first = completed()
    digests = {name: one.image.digest for name, one in first.containers.items()}
    assert digests["store"] == image.digest
    assert str(digests["archive"]).startswith("sha256:")
    assert str(digests["directory"]).startswith("directory:")
    assert digests["host"] == "host"
    assert first.containers["store"].volumes[0].content
    assert completed() == first
    (data_dir / "root.tar").write_bytes(tar(member("file", b"other")))
    (data_dir / "root").rename(data_dir / "old")
    (data_dir / "root").mkdir()
    (data_dir / "conf").write_text("x = 2\n")
    other = completed()
    effects = {
        name: effect_between(first.containers[name], other.containers[name])
        for name in first.containers
    }
    assert effects == {
        "store": Effect.RESTART,
        "archive": Effect.RECREATE,
        "directory": Effect.RECREATE,
        "host": Effect.NOTHING,
    }


def test_every_missing_image_is_told_at_its_line(data_dir: Path) -> None:
    """All at once, each with what can be done."""
    text = '[containers.a]\nimage = "gone:1"\n[containers.b]\n\nimage = "other"\n'
    fleet = loads(text, file="shop.toml", directory="/", environment={})
    store = Store(data_dir)
    with store.lease("test") as lease, pytest.raises(UnfitHostError) as caught:
        provisions(fleet, store, lease)
    assert [(one.line, one.key) for one in caught.value.problems] == [
        (2, "containers.a.image"),
        (5, "containers.b.image"),
    ]
    assert all(one.hint and "anchor pull" in one.hint for one in caught.value.problems)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({}, "nothing to run"),
        ({"Cmd": ["x"], "User": "1000:"}, "is not a user"),
        ({"Cmd": ["x"], "User": "4294967296"}, "`4294967296`"),
        ({"Cmd": ["x"], "StopSignal": "SIGSTOP"}, "`STOP` does not end a process"),
        ({"Cmd": ["x"], "Volumes": {"/proc/x": {}}}, "/proc/x"),
        ({"Cmd": "x"}, "wrong type"),
    ],
)
def test_an_images_word_is_checked_like_the_files(
    data_dir: Path, config: dict[str, object], complaint: str
) -> None:
    """CVE-2024-40635 and its kin come in by an image's configuration too."""
    store = Store(data_dir)
    store_image(store, "web", **config)
    fleet = loads('[containers.a]\nimage = "web"\n', file="x.toml", directory="/", environment={})
    with store.lease("test") as lease, pytest.raises((FleetError, UnfitHostError)) as caught:
        provisions(fleet, store, lease)
    assert complaint in str(caught.value)
    error = caught.value
    assert isinstance(error, (FleetError, UnfitHostError))
    assert error.problems[0].line


def test_a_name_that_is_none_is_told_without_looking() -> None:
    """At its line."""
    fleet = loads('[containers.a]\nimage = "A:1"\n', file="x.toml", directory="/", environment={})
    [problem] = wrong_names(fleet)
    assert (problem.line, problem.key) == (2, "containers.a.image")
