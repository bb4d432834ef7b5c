"""Which networks a container is on."""

from __future__ import annotations

from anchor_supervisor.fleet.attachments import attached
from anchor_supervisor.fleet.model import Attachment, Container, Image, ImageKind, Network
from fleet_text import read

TEXT = """
[containers.web]
image = "x"
networks = { back = { aliases = ["www"] } }
[containers.db]
image = "x"
[networks.back]
subnet = "10.88.201.0/24"
internal = true
"""


def test_a_container_has_its_networks_own_tables() -> None:
    """A change of one is a change of every container on it, and of no other."""
    fleet = read(TEXT)
    back = Network("back", "10.88.201.0/24", internal=True)
    assert fleet.containers["web"].networks == {"back": Attachment(("www",), network=back)}
    assert fleet.containers["db"].networks == {"default": Attachment(network=Network("default"))}
    changed = read(TEXT.replace("internal = true", ""))
    assert changed.containers["web"] != fleet.containers["web"]
    assert changed.containers["db"] == fleet.containers["db"]


def test_an_unknown_network_has_none() -> None:
    """It is refused elsewhere."""
    image = Image(ImageKind.HOST, "host")
    one = attached(Container("web", image, networks={"back": Attachment()}), {})
    assert one.networks == {"back": Attachment(network=None)}
