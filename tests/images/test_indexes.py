"""Which of several images is meant: pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.indexes import (
    Entry,
    check_platform,
    choose,
    media_type_of,
    parse_index,
    parse_json,
    parse_platform,
    platforms,
)
from anchor_supervisor.images.model import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Platform,
)
from fake_registry import digest_of

AMD64 = Platform()


def entry(platform: str | None, kind: str = OCI_MANIFEST) -> Entry:
    """An entry whose digest is its platform's."""
    digest = digest_of(f"{platform}{kind}".encode())
    parsed = None if platform is None else Platform(*platform.split("/"))
    return Entry(Descriptor(kind, digest, 1), parsed)


@pytest.mark.parametrize(
    ("there", "wanted", "best"),
    [
        (["linux/arm64", "linux/amd64"], "linux/amd64", "linux/amd64"),
        (["windows/amd64"], "linux/amd64", None),
        (["linux/amd64/v3", "linux/amd64"], "linux/amd64", "linux/amd64"),
        (["linux/amd64/v3"], "linux/amd64", None),
        (["linux/amd64", "linux/amd64/v3"], "linux/amd64/v3", "linux/amd64/v3"),
        (["linux/amd64"], "linux/amd64/v3", "linux/amd64"),
        (["linux/arm64/v8"], "linux/arm64", "linux/arm64/v8"),
        (["linux/arm64"], "linux/arm64/v8", "linux/arm64"),
        (["linux/arm/v5", "linux/arm/v6", "linux/arm64"], "linux/arm/v7", "linux/arm/v6"),
        (["linux/arm/v7"], "linux/arm/v6", None),
        (["linux/arm/v6", "linux/arm/v7"], "linux/arm", "linux/arm/v7"),
        (["linux/riscv64"], "linux/riscv64", "linux/riscv64"),
        (["unknown/unknown"], "linux/amd64", None),
    ],
)
def test_the_best_image(there: list[str], wanted: str, best: str | None) -> None:
    """The same platform and variant, else the newest that it runs."""
    found = choose(tuple(map(entry, there)), parse_platform(wanted))
    assert [each.digest for each in found[:1]] == [
        entry(each).target.digest for each in [best] if each is not None
    ]


def test_entries_that_do_not_say() -> None:
    """Indexes are looked into last; a single image without a platform is asked itself."""
    nested, silent = entry(None, OCI_INDEX), entry(None)
    fitting = entry("linux/amd64")
    assert choose((nested, silent, fitting), AMD64) == (fitting.target, nested.target)
    assert choose((nested, silent), AMD64) == (silent.target, nested.target)
    assert choose((silent, entry(None, DOCKER_MANIFEST)), AMD64) == ()


def test_platforms_are_listed_once() -> None:
    """In their order, and attestations are none."""
    names = ("linux/arm/v7", "linux/amd64", "unknown/unknown", "linux/amd64")
    assert platforms(tuple(map(entry, names))) == ("linux/arm/v7", "linux/amd64")


@pytest.mark.parametrize(
    "text", ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd 64", "é/a"]
)
def test_platforms_that_are_none(text: str) -> None:
    """They are refused with an example."""
    with pytest.raises(ImageError) as refused:
        parse_platform(text)
    assert refused.value.hint == "such as linux/amd64 or linux/arm/v7"


@pytest.mark.parametrize(
    ("document", "served_as", "kind"),
    [
        ({"mediaType": OCI_INDEX}, OCI_INDEX, OCI_INDEX),
        ({}, f"{DOCKER_MANIFEST}; charset=utf-8", DOCKER_MANIFEST),
        ({}, DOCKER_INDEX.upper(), DOCKER_INDEX),
        ({"manifests": []}, None, OCI_INDEX),
        ({"layers": []}, "application/json", OCI_MANIFEST),
        ({"mediaType": DOCKER_INDEX}, "text/plain", DOCKER_INDEX),
    ],
)
def test_what_a_document_is(document: dict[str, object], served_as: str, kind: str) -> None:
    """What it says, what it is served as, and what is in it, in this order."""
    assert media_type_of(document, served_as) == kind


@pytest.mark.parametrize(
    ("document", "served_as"),
    [
        ({"mediaType": OCI_INDEX}, OCI_MANIFEST),
        ({"mediaType": OCI_INDEX, "layers": []}, OCI_INDEX),
        ({"manifests": [], "config": {}}, OCI_INDEX),
        ({"mediaType": 1}, None),
        ({"mediaType": "text/html"}, None),
        ({"schemaVersion": 1, "fsLayers": []}, "application/json"),
        ({}, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
    ],
)
def test_documents_that_are_two_things_or_none(
    document: dict[str, object], served_as: str | None
) -> None:
    """Where these do not agree there is no telling what others would see (CVE-2021-41190)."""
    with pytest.raises(ImageError):
        media_type_of(document, served_as)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "mediaType": st.sampled_from([OCI_MANIFEST, OCI_INDEX, "x"]) | JSON,
        "digest": st.just(digest_of(b"")) | JSON,
        "size": st.integers() | JSON,
        "platform": st.fixed_dictionaries(
            {},
            optional={key: st.text(max_size=3) | JSON for key in ("os", "architecture", "variant")},
        )
        | JSON,
    },
)


@given(st.lists(ENTRY | JSON, max_size=4) | JSON)
def test_any_index_is_read_or_refused(listed: object) -> None:
    """Whatever a registry lists, it is entries or an ImageError."""
    try:
        found = parse_index({"manifests": listed})
    except ImageError:
        return
    assert all(each.target.media_type in {OCI_MANIFEST, OCI_INDEX} for each in found)
    platforms(found)
    choose(found, AMD64)


@pytest.mark.parametrize(
    ("config", "fits"),
    [
        ({}, True),
        ({"architecture": "amd64"}, True),
        ({"os": "linux", "architecture": "amd64", "variant": "v2"}, True),
        ({"os": "windows", "architecture": "amd64"}, False),
        ({"architecture": "arm64"}, False),
    ],
)
def test_a_configurations_platform(config: dict[str, str], fits: bool) -> None:
    """What does not say is taken; another processor or system is not."""
    if fits:
        check_platform(config, AMD64, asked=False)
        return
    with pytest.raises(ImageError, match="made for `"):
        check_platform(config, AMD64, asked=True)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"1"])
def test_json_that_is_none(content: bytes) -> None:
    """Nothing but an object is a document."""
    with pytest.raises(ImageError, match="JSON"):
        parse_json(content, "manifest")
