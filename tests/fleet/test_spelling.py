"""Values as a person writes them."""

from __future__ import annotations

import pytest

from anchor_supervisor.fleet.model import (
    ExecProbe,
    HttpProbe,
    Image,
    ImageKind,
    LogProbe,
    NotifyProbe,
    Port,
    Probe,
    Reaction,
    ReactionKind,
    RestartWhen,
    TcpProbe,
    Volume,
)
from anchor_supervisor.fleet.mounts import volume
from anchor_supervisor.fleet.ports import ports
from anchor_supervisor.fleet.reactions import reaction
from anchor_supervisor.fleet.spelling import (
    grant_words,
    image_words,
    port_words,
    probe_words,
    reaction_words,
    volume_words,
    words_of,
)
from container_values import MOTD, TOKEN


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (None, "size", None),
        (True, "boolean", "true"),
        (3, "count", "3"),
        (0.25, "number", "0.25"),
        (2.0, "number", "2"),
        (90.0, "duration", "1m30s"),
        (64 << 20, "size", "64M"),
        (RestartWhen.ON_FAILURE, "string", "on-failure"),
        (("sh", "-c", "a 'b'"), "list", """sh -c 'a '"'"'b'"'"''"""),
        (("a\x1b[31m",), "list", r"'a\x1b[31m'"),
        ((), "list", ""),
        (frozenset({75, 3}), "list", "3, 75"),
        ("a\nb", "string", r"a\nb"),
        (Reaction(ReactionKind.SIGNAL, "HUP"), "string", "signal HUP"),
    ],
)
def test_values_by_the_type_of_their_key(value: object, kind: str, words: str | None) -> None:
    """Units where the key has them, and nothing that a terminal would act on."""
    assert words_of(value, kind) == words


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        (ExecProbe(("pg", "-q")), ("exec", "pg -q")),
        (TcpProbe(80), ("tcp", "80")),
        (HttpProbe(80, "/x"), ("http", ":80/x")),
        (LogProbe(r"ready \d"), ("log", r"ready \d")),
        (NotifyProbe(), ("notify", "true")),
    ],
)
def test_a_probe_is_a_key_and_a_value(probe: Probe, words: tuple[str, str]) -> None:
    """As in `health`."""
    assert probe_words(probe) == words


@pytest.mark.parametrize(
    "entry",
    [
        "data:/data",
        "data:/data:ro,nocopy,subpath=a/b",
        "/srv/x:/x:rslave",
        "tmpfs:/t:noexec,size=16M,mode=1777,uid=1,gid=2",
        "/cache",
    ],
)
def test_a_volume_is_written_as_it_is_read(entry: str) -> None:
    """Reading what is written gives the same."""
    one: Volume = volume("/etc")(entry)
    assert volume_words(one) == entry


@pytest.mark.parametrize("entry", ["127.0.0.1:8080:80/tcp", "0.0.0.0:53:53/udp"])
def test_a_port_is_written_as_it_is_read(entry: str) -> None:
    """Reading what is written gives the same."""
    [one] = ports(entry)
    assert port_words(one) == entry
    assert ports(port_words(Port("127.0.0.1", 1, 2))) == (Port("127.0.0.1", 1, 2),)


@pytest.mark.parametrize("text", ["restart", "ignore", "signal HUP"])
def test_a_reaction_is_written_as_it_is_read(text: str) -> None:
    """Reading what is written gives the same."""
    assert reaction_words(reaction(text)) == text


def test_an_image_has_its_digest() -> None:
    """As much of it as tells two apart."""
    digest = "sha256:0123456789abcdef"
    assert image_words(Image(ImageKind.STORE, "a:1")) == "a:1"
    assert image_words(Image(ImageKind.STORE, "a:1", digest)) == "a:1 (sha256:0123456789ab)"
    assert image_words(Image(ImageKind.DIRECTORY, "/x", "0" * 64)) == "/x (digest:000000000000)"


def test_of_a_secret_the_content_has_no_words() -> None:
    """Its name, permissions and owner do."""
    assert grant_words(TOKEN) == "token, mode 0400"
    assert grant_words(MOTD) == "motd, mode 0444"
