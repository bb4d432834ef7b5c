"""Registries that lie, lead astray, or never end; and what each of them is told."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from anchor_supervisor.errors import HostError, ImageError, NetworkError
from anchor_supervisor.images.model import (
    DOCKER_MANIFEST,
    LARGEST_JSON,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
)
from anchor_supervisor.images.pull import pull
from anchor_supervisor.images.reference import parse
from anchor_supervisor.images.registry import Registry
from anchor_supervisor.images.store import Store
from fake_registry import Call, FakeRegistry, digest_of, fake_registry
from image_store import assert_only
from registry_kit import HASTY, IMPATIENT, as_it_is, at, layer, on

pytestmark = [pytest.mark.root, pytest.mark.native]  # the same code on any kernel

LAYER = layer(1, 10_000)
PACKED = gzip.compress(LAYER, mtime=0)
WRONG = "sha256:" + "0" * 64


def refused(fake: FakeRegistry, store: Store, name: str = "shop:1", **options: Any) -> HostError:
    """Pull, which must fail, naming what was pulled, and leave nothing that a prune would keep."""
    options = {"patience": IMPATIENT, **options}
    with pytest.raises((ImageError, NetworkError)) as caught:
        pull(at(fake, name), store, **options)
    assert caught.value.message.startswith(f"cannot pull `{fake.address}/{name}`: ")
    assert type(caught.value) in {ImageError, NetworkError}
    store.prune()
    assert_only(store)
    return caught.value


def endless(call: Call, status: int = 200) -> None:
    """Send zeros for as long as anybody takes them."""
    call.head(status, length=None)
    while not call.registry.over.is_set():
        call.send(bytes(1 << 16))


LIES: dict[str, tuple[str, Callable[[Call], None], str]] = {
    "another layer": (
        digest_of(PACKED),
        lambda call: call.answer(200, bytes(len(PACKED))),
        "is damaged: its digest is",
    ),
    "a longer layer": (
        digest_of(PACKED),
        lambda call: call.answer(200, PACKED + b"more"),
        rf"has {len(PACKED) + 4} bytes as `sha256:\w+`, which has {len(PACKED)}",
    ),
    "a shorter layer": (
        digest_of(PACKED),
        lambda call: call.answer(200, PACKED[:-1]),
        f"has {len(PACKED) - 1} bytes as",
    ),
    "an endless layer": (digest_of(PACKED), endless, f"more than the {len(PACKED)} bytes"),
    "an endless manifest": ("/manifests/", endless, f"more than {LARGEST_JSON} bytes as a manif"),
    "a giant error": (
        "/manifests/",
        lambda call: call.answer(418, b"x" * (1 << 20)),
        "answers 418 for `manifests/1`$",
    ),
    "an endless error": ("/manifests/", lambda call: endless(call, 500), "answers 500"),
    "another manifest's digest": (
        "/manifests/",
        lambda call: call.answer(200, b"{}", Docker_Content_Digest=WRONG),
        f"lies: what it gives as `{WRONG}` has the digest",
    ),
    "no JSON": ("/manifests/", lambda call: call.answer(200, b"<html>"), "is not JSON"),
    "deep JSON": ("/manifests/", lambda call: call.answer(200, b"[" * 200_000), "is not JSON"),
    "a list": ("/manifests/", lambda call: call.answer(200, b"[1]"), "not a JSON object"),
    "nothing": ("/manifests/", lambda call: call.answer(200, b"{}"), "schema version None"),
}


@pytest.mark.parametrize(("part", "act", "words"), LIES.values(), ids=list(LIES))
def test_lies(
    fake: FakeRegistry, store: Store, part: str, act: Callable[[Call], None], words: str
) -> None:
    """Lengths, digests and documents that are not true end in a sentence, and leave nothing."""
    fake.add_image(layers=[LAYER])
    fake.trick = on(part, act)
    assert re.search(words, refused(fake, store).message)


def test_a_digest_that_is_not_what_was_asked_for(fake: FakeRegistry, store: Store) -> None:
    """A reference's digest is compared with what comes, whatever the registry says of it."""
    digest = fake.add_image(layers=[LAYER])
    fake.manifests["shop", digest] = (OCI_MANIFEST, b'{"schemaVersion": 2}')
    assert f"what it gives as `{digest}`" in refused(fake, store, f"shop@{digest}").message


def test_an_index_that_lies_about_its_images(fake: FakeRegistry, store: Store) -> None:
    """Size and kind of an entry are compared as well."""
    digest = fake.add_image("shop", "image", [LAYER])
    platform = {"os": "linux", "architecture": "amd64"}
    entry = {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1, "platform": platform}
    size = len(fake.manifests["shop", digest][1])
    for lie, words in (
        ({}, f"has {size} bytes, and its index says 1"),
        ({"size": size, "mediaType": DOCKER_MANIFEST}, f"lists `{DOCKER_MANIFEST}`, which is"),
    ):
        index = {"schemaVersion": 2, "manifests": [{**entry, **lie}]}
        fake.add_manifest("shop", "1", json.dumps(index).encode(), OCI_INDEX)
        assert words in refused(fake, store).message


DOCUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "schema 1": ({"schemaVersion": 1}, "old schema 1"),
    "manifest and index": ({"manifests": []}, "manifest and an index at once"),
    "another kind": ({"mediaType": DOCKER_MANIFEST}, "but is served as"),
    "an artifact": (
        {"config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": WRONG, "size": 2}},
        "no container image",
    ),
    "a foreign layer": (
        {
            "layers": [
                {
                    "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                    "digest": WRONG,
                    "size": 1,
                }
            ]
        },
        "is a foreign one",
    ),
    "a traversing digest": (
        {"layers": [{"mediaType": OCI_LAYER_GZIP, "digest": "sha256:../../x", "size": 1}]},
        "is not a sha256 digest",
    ),
    "a giant layer": (
        {"layers": [{"mediaType": OCI_LAYER_GZIP, "digest": WRONG, "size": 1 << 62}]},
        "no usable size",
    ),
    "too many layers": (
        {"layers": [{"mediaType": OCI_LAYER_GZIP, "digest": WRONG, "size": 1}] * 501},
        "501 layers",
    ),
    "fewer layers": ({"layers": []}, "names 1 layers, and its manifest 0"),
    "a giant configuration": (
        {"config": {"mediaType": OCI_CONFIG, "digest": WRONG, "size": LARGEST_JSON + 1}},
        f"more than {LARGEST_JSON}",
    ),
}


@pytest.mark.parametrize(("changes", "words"), DOCUMENTS.values(), ids=list(DOCUMENTS))
def test_documents(fake: FakeRegistry, store: Store, changes: dict[str, Any], words: str) -> None:
    """A manifest that is something else, or wants too much, is refused in words."""
    fake.add_image(layers=[LAYER], changes=changes)
    assert words in refused(fake, store).message


def test_a_layer_that_unpacks_to_something_else(fake: FakeRegistry, store: Store) -> None:
    """The blob's digest is right, and its content is not what the configuration says."""
    fake.add_image(layers=[LAYER], pack=lambda _: gzip.compress(layer(2), mtime=0))
    assert "not what its image says" in refused(fake, store).message


def test_a_configuration_that_is_another(fake: FakeRegistry, store: Store) -> None:
    """It is verified before anything in it counts, and it must say what it is for."""
    digest = fake.add_image(layers=[LAYER])
    config = json.loads(fake.manifests["shop", digest][1])["config"]["digest"]
    size = len(fake.blobs[config])
    fake.blobs[config] = bytes(size)
    assert "what is given as its configuration" in refused(fake, store).message
    fake.blobs[config] = bytes(size + 1)
    assert f"more than {size} bytes" in refused(fake, store).message


def test_what_there_is_not(fake: FakeRegistry, store: Store) -> None:
    """A name, or a blob of an image, that the registry does not have."""
    error = refused(fake, store, "other:2")
    assert error.message.endswith(
        f"registry `{fake.address}` has no image of this name: manifest unknown"
    )
    fake.add_image(layers=[LAYER])
    del fake.blobs[digest_of(PACKED)]
    assert f"has no blobs/{digest_of(PACKED)}" in refused(fake, store).message


def test_redirects_are_followed_without_secrets(
    fake: FakeRegistry, store: Store, nobody: Any
) -> None:
    """A blob may be elsewhere; credentials are told to nobody there, and come back at home."""
    (nobody / ".docker").mkdir()
    auths = {fake.address: {"auth": "bWU6c2VjcmV0"}}
    (nobody / ".docker" / "config.json").write_text(json.dumps({"auths": auths}))
    fake.add_image(layers=[LAYER], pack=as_it_is)

    def wants_basic(call: Call) -> bool:
        if call.asked.secret != "Basic bWU6c2VjcmV0":
            call.answer(401, b"", WWW_Authenticate='Basic realm="x"')
        elif digest_of(LAYER) in call.asked.path:
            place = f"http://{elsewhere.address}{call.asked.path}?signature=1"
            call.answer(307, b"", Location=place)
        else:
            return False
        return True

    def leads_on(call: Call) -> bool:
        if "signature" not in call.asked.path:
            return False
        call.answer(302, b"", Location=call.asked.path.partition("?")[0])
        return True

    with fake_registry() as elsewhere:
        elsewhere.blobs = fake.blobs
        elsewhere.trick = leads_on
        fake.trick = wants_basic
        pull(at(fake), store, patience=IMPATIENT)
        assert [each.secret for each in elsewhere.asked] == [None, None]
        elsewhere.trick = on(
            "", lambda call: call.answer(401, b"", WWW_Authenticate='Basic realm="x"')
        )
        store.untag(at(fake))
        store.prune()
        refused(fake, store)
        assert {each.secret for each in elsewhere.asked} == {None}


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("http://registry.example/x", "is not encrypted"),
        ("ftp://127.0.0.1/x", "no address of the web"),
        ("file:///etc/passwd", "no address of the web"),
        ("http://me:password@registry.example/x", "`http://registry.example`"),
        ("/v2/again", "redirects more than 5 times"),
    ],
)
def test_redirects_that_are_not_followed(
    fake: FakeRegistry, store: Store, place: str, words: str
) -> None:
    """Neither into the clear, nor out of the web, nor in circles; passwords are not shown."""
    fake.add_image(layers=[LAYER])
    fake.trick = on("/v2/", lambda call: call.answer(302, Location=place))
    error = refused(fake, store)
    assert words in error.message
    assert "password" not in error.message
    assert len(fake.of("/v2/again")) <= 5


def test_nobody_leads_us_to_this_machine() -> None:
    """A registry elsewhere cannot have us talk with what listens on loopback here."""
    reference = parse("registry.example/shop")
    with Registry(reference, note=print) as registry:
        for place in ("http://127.0.0.1/x", "https://localhost/x", "http://[::1]:80/x"):
            with pytest.raises(NetworkError, match="this machine itself"):
                registry._check_hop("https://registry.example/v2/", place)


SLOW: dict[str, Callable[[Call], None]] = {
    "no answer": lambda call: call.hang(),
    "half a head": lambda call: drip(call, b"HTTP/1.1 200 OK\r\nX: ", b""),
    "a dripping head": lambda call: drip(call, b"HTTP/1.1 200 OK\r\n", b"X"),
    "a dripping body": lambda call: drip(
        call, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b" "
    ),
    "endless continuation": lambda call: drip(call, b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "endless trailers": lambda call: drip(
        call, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X: y\r\n"
    ),
}


def drip(call: Call, start: bytes, drop: bytes) -> None:
    """Send something again and again, more often than any timeout of a socket would mind."""
    call.send(start)
    while not call.registry.over.wait(0.02):
        call.send(drop)


def test_answers_that_never_come(store: Store) -> None:
    """Every step has an end, also where each byte of it comes in time. All of them at once."""
    with ExitStack() as servers:
        fakes = {name: servers.enter_context(fake_registry()) for name in SLOW}
        for name, fake in fakes.items():
            fake.trick = on("/manifests/", SLOW[name])
        caught: dict[str, Exception] = {}

        def wait(name: str) -> None:
            try:
                pull(at(fakes[name]), store, patience=HASTY)
            except NetworkError as error:
                caught[name] = error

        threads = [threading.Thread(target=wait, args=(name,)) for name in SLOW]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(caught) == set(SLOW)
        for name, fake in fakes.items():
            words = r"`[\d.:]+` (has stopped answering|is too slow: one step took|takes more than)"
            assert re.search(words, str(caught[name])), name
            assert len(fake.of("/manifests/")) == HASTY.tries, name
    store.prune()
    assert_only(store)


def test_platforms_in_several_lines(fake: FakeRegistry, store: Store) -> None:
    """What a registry says is never a line of its own."""
    digest = fake.add_image("shop", "image", [LAYER])
    platform = {"os": "x\nhint: do this", "architecture": "amd64\r\nerror: that"}
    fake.add_index("shop", "1", [(digest, platform)])
    error = refused(fake, store)
    assert error.hint is not None
    assert len(f"{error.message} {error.hint}".splitlines()) == 1


def test_a_layer_that_trickles(fake: FakeRegistry, store: Store) -> None:
    """A body that stops in the middle is tried again; serving it whole then is enough."""
    fake.add_image(layers=[LAYER])

    def stall(call: Call) -> None:
        fake.trick = None
        call.head(200, length=len(PACKED))
        call.send(PACKED[:100])
        call.hang()

    fake.trick = on(digest_of(PACKED), stall)
    pull(at(fake), store, patience=HASTY)
    assert [each.headers.get("range") for each in fake.of(digest_of(PACKED))] == [
        None,
        "bytes=100-",
    ]
