"""Pushing: the same digest on both sides, nothing sent twice."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from anchor_supervisor.errors import ImageError, NetworkError
from anchor_supervisor.images.model import Image
from anchor_supervisor.images.pull import pull
from anchor_supervisor.images.push import push
from anchor_supervisor.images.reference import Reference, parse
from anchor_supervisor.images.store import Store
from anchor_supervisor.images.transport import Patience
from fake_registry import Call, FakeRegistry, digest_of, fake_registry
from image_store import assert_only
from registries import docker_registry
from registry_kit import IMPATIENT, Recorder, as_it_is, at, layer, on

pytestmark = [pytest.mark.root, pytest.mark.native]  # the same code on any kernel

SIZE = 2_000_000


@pytest.fixture
def image(store: Store) -> Image:
    """An image of two layers that came from another registry."""
    with fake_registry() as other:
        other.add_image(layers=[layer(1, SIZE), layer(2)], pack=as_it_is)
        pulled = pull(at(other), store, patience=IMPATIENT)
        store.tag(parse("mine"), pulled.digest)
        store.untag(at(other))
        return pulled


def test_skopeo_sees_what_was_pushed(store: Store, image: Image, tmp_path: Path) -> None:
    """A real registry takes it, by tag and by digest; skopeo copies it whole, digest and all."""
    with docker_registry(tmp_path / "registry") as address:
        assert push(image, at(address), store, patience=IMPATIENT) == image.digest
        name = f"docker://{address}/shop:1"
        copied = tmp_path / "copied"
        command = ["skopeo", "copy", "-q", "--preserve-digests", "--src-tls-verify=false"]
        subprocess.run([*command, name, f"dir:{copied}"], check=True)
        assert digest_of((copied / "manifest.json").read_bytes()) == image.digest
        by_digest = at(address, f"shop@{image.digest}")
        assert push(image, by_digest, store, patience=IMPATIENT) == image.digest
        place = Store(store.data / "other")
        assert pull(by_digest, place, patience=IMPATIENT) == image


def test_what_is_there_is_not_sent(fake: FakeRegistry, store: Store, image: Image) -> None:
    """Blobs are asked for first; a second push sends the manifest alone."""
    fake.blobs[digest_of(layer(2))] = layer(2)
    recorder = Recorder()
    push(image, at(fake), store, patience=IMPATIENT, progress=recorder)
    sent = fake.of("/blobs/", "PUT")
    assert {digest_of(each.body) for each in sent} == {
        digest_of(layer(1, SIZE)),
        image.config_blob.digest,
    }
    short = digest_of(layer(1, SIZE))[7:19]
    assert recorder.counts[short] == len(layer(1, SIZE))
    assert f"{digest_of(layer(2))[7:19]}: already there" in recorder.lines
    assert f"{short}: pushed" in recorder.lines
    fake.asked.clear()
    push(image, at(fake), store, patience=IMPATIENT)
    assert not fake.of("", "POST")
    [put] = fake.of("", "PUT")
    assert digest_of(put.body) == image.digest


@pytest.mark.parametrize("place", ["absolute", "relative", "query"])
def test_where_to_upload(fake: FakeRegistry, store: Store, image: Image, place: str) -> None:
    """A Location may be absolute or not, and have a query of its own, which stays."""
    where = {
        "absolute": f"http://{fake.address}/up/load",
        "relative": "/up/load",
        "query": "load?_state=a%3Db%26c",
    }[place]
    fake.trick = lambda call: call.asked.method == "POST" and answered(call, 202, Location=where)
    push(image, at(fake), store, patience=IMPATIENT)
    [config] = [each for each in fake.of("", "PUT") if image.config_blob.digest in each.path]
    expected = {
        "absolute": f"/up/load?digest={image.config_blob.digest}",
        "relative": f"/up/load?digest={image.config_blob.digest}",
        "query": f"/v2/shop/blobs/uploads/load?_state=a%3Db%26c&digest={image.config_blob.digest}",
    }[place]
    assert config.path == expected


def answered(call: Call, status: int, **headers: str) -> bool:
    """Answer."""
    call.answer(status, b"", **headers)
    return True


def test_an_upload_elsewhere_gets_no_secret(
    fake: FakeRegistry, store: Store, image: Image, nobody: Path
) -> None:
    """Content goes where the registry says; credentials do not."""
    (nobody / ".docker").mkdir()
    auths = {fake.address: {"auth": "bWU6c2VjcmV0"}}
    (nobody / ".docker" / "config.json").write_text(json.dumps({"auths": auths}))
    with fake_registry() as elsewhere:

        def trick(call: Call) -> bool:
            if call.asked.secret is None:
                return answered(call, 401, WWW_Authenticate='Basic realm="x"')
            place = f"http://{elsewhere.address}/x"
            return call.asked.method == "POST" and answered(call, 202, Location=place)

        fake.trick = trick
        push(image, at(fake), store, patience=IMPATIENT)
        assert len(elsewhere.asked) == 3
        assert {each.secret for each in elsewhere.asked} == {None}


@pytest.mark.parametrize("place", ["http://registry.example/x", "ftp://127.0.0.1/", "http://[::1"])
def test_places_that_nothing_is_sent_to(
    fake: FakeRegistry, store: Store, image: Image, place: str
) -> None:
    """Not into the clear, and not out of the web."""
    fake.trick = lambda call: call.asked.method == "POST" and answered(call, 202, Location=place)
    with pytest.raises(NetworkError, match=r"not encrypted|no address of the web"):
        push(image, at(fake), store, patience=IMPATIENT)


def test_a_broken_upload_begins_again(fake: FakeRegistry, store: Store, image: Image) -> None:
    """A connection that breaks in the middle costs one more upload of that blob."""
    broken: list[str] = []

    def trick(call: Call) -> bool:
        if call.asked.method == "PUT" and "/blobs/" in call.asked.path and not broken:
            broken.append(call.asked.path)
            call.drop()
            return True
        return False

    fake.trick = trick
    recorder = Recorder()
    push(image, at(fake), store, patience=IMPATIENT, progress=recorder)
    assert len(broken) == 1
    assert sum("trying again" in line for line in recorder.lines) == 1
    assert set(fake.blobs) >= {image.config_blob.digest, digest_of(layer(1, SIZE))}


def test_a_registry_that_thinks_about_it(fake: FakeRegistry, store: Store, image: Image) -> None:
    """What has been sent may take longer to be answered than anything else."""

    def think(call: Call) -> bool:
        if call.asked.method == "PUT" and digest_of(layer(1, SIZE)) in call.asked.path:
            assert not call.registry.over.wait(1.5)
        return False

    fake.trick = think
    push(image, at(fake), store, patience=Patience(idle=1, tries=3, first_delay=0.001))
    assert len(fake.of(digest_of(layer(1, SIZE)), "PUT")) == 1


@pytest.mark.parametrize(
    ("part", "answer", "words"),
    [
        ("/uploads/", lambda call: call.answer(202), "does not say where to upload to"),
        ("/uploads/", lambda call: call.answer(403, b"{}"), "wants credentials"),
        ("digest=", lambda call: call.answer(400, b'{"errors":[{"code":"NO"}]}'), "400 .*: NO"),
        (
            "/manifests/",
            lambda call: call.answer(201, Docker_Content_Digest="sha256:0"),
            "has stored `sha256:0` in place of",
        ),
    ],
    ids=["nowhere", "denied", "bad", "other"],
)
def test_registries_that_refuse(
    fake: FakeRegistry, store: Store, image: Image, part: str, answer: object, words: str
) -> None:
    """A refusal names the registry and what was pushed."""
    assert callable(answer)
    fake.trick = on(part, answer)
    with pytest.raises((ImageError, NetworkError), match=words) as refused:
        push(image, at(fake), store, patience=IMPATIENT)
    assert refused.value.message.startswith(f"cannot push `{fake.address}/shop:1`: ")
    store.prune()
    assert_only(store, image)


def test_a_digest_of_another_image(fake: FakeRegistry, store: Store, image: Image) -> None:
    """A digest names one image, and that is not this one; nothing is sent."""
    other: Reference = at(fake, f"shop@{digest_of(b'')}")
    with pytest.raises(ImageError, match=f"the image's digest is `{image.digest}`"):
        push(image, other, store, patience=IMPATIENT)
    assert not fake.asked
