"""Names of images mean what docker's users mean by them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.reference import Reference, parse

DIGEST = f"sha256:{'ab' * 32}"


@pytest.mark.parametrize(
    ("text", "whole", "familiar"),
    [
        ("debian", "docker.io/library/debian:latest", "debian:latest"),
        ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("someone/tool", "docker.io/someone/tool:latest", "someone/tool:latest"),
        ("docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("index.docker.io/library/debian:1", "docker.io/library/debian:1", "debian:1"),
        ("ghcr.io/a/b:1.2", "ghcr.io/a/b:1.2", "ghcr.io/a/b:1.2"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x/y", "localhost:5000/x/y:latest", "localhost:5000/x/y:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        (f"x@{DIGEST}", f"docker.io/library/x@{DIGEST}", f"x@{DIGEST}"),
        (f"x:1@{DIGEST}", f"docker.io/library/x:1@{DIGEST}", f"x:1@{DIGEST}"),
        ("a__b/c--d.e", "docker.io/a__b/c--d.e:latest", "a__b/c--d.e:latest"),
    ],
)
def test_a_name_is_completed(text: str, whole: str, familiar: str) -> None:
    """The whole name and the short one mean the same."""
    read = parse(text)
    assert (str(read), read.familiar) == (whole, familiar)
    assert parse(whole) == parse(familiar) == read


@pytest.mark.parametrize(
    "text",
    [
        *("", ":1", "@", "x@", "x@sha256:ab", f"x@{DIGEST.upper()}", "Debian", "a//b", "/a", "a/"),
        *("x:", "x:-1", "x:a b", f"x:{'t' * 129}", "a/../b", "..", "x\n", "x:1\n", "a b"),
        *("host.example/", "-.example/x", "[::1/x", "ho st.example/x", "a/b" * 100, "x:1:2"),
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    """With the name in the message, and nothing worse."""
    with pytest.raises(ImageError, match="is not an image's name"):
        parse(text)


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_an_error(text: str) -> None:
    """And a name survives being written and read again."""
    try:
        read = parse(text)
    except ImageError:
        return
    assert isinstance(read, Reference)
    assert parse(str(read)) == read
    assert "\n" not in str(read)
    assert "/../" not in f"/{read.repository}/"
