"""Published ports."""

from __future__ import annotations

import pytest

from fleet_text import container, messages

OTHER = '[containers.other]\nimage = "x"\n'


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("8080:80", "8080:81"),
        ("0.0.0.0:8080:80", "8080:80"),
        ("8080:80", "0.0.0.0:8080:80"),
        ("8000-8090:1-91", "8080:80"),
        ("53:53/udp", "0.0.0.0:53:53/udp"),
    ],
)
def test_a_port_is_published_once(first: str, second: str) -> None:
    """A wildcard address meets every other; a range each of its numbers."""
    found = messages(f'ports = ["{first}"]', f'{OTHER}ports = ["{second}"]')
    assert len(found) == 1
    assert "is already published by `web`" in found[0]
    assert "is already published twice here" in messages(f'ports = ["{first}", "{second}"]')[0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("53:53/tcp", "53:53/udp"),
        ("127.0.0.1:80:80", "127.0.0.2:80:80"),
        ("8080:80", "8081:80"),
    ],
)
def test_ports_that_do_not_meet(first: str, second: str) -> None:
    """Protocols and addresses lie apart."""
    assert container(f'ports = ["{first}"]', f'{OTHER}ports = ["{second}"]').ports


def test_replicas_share_a_published_port() -> None:
    """The port leads to all of them."""
    assert container('ports = ["8080:80"]\nreplicas = 3').replicas == 3


def test_a_port_needs_a_network_of_the_containers_own() -> None:
    """On the machine's network it is open already, on none it is out of reach."""
    assert messages('ports = ["80:80"]\nnetworks = "host"') == [
        (
            'a port cannot be published with `networks = "host"`: '
            "its ports are the machine's own already"
        )
    ]
    assert messages('ports = ["80:80"]\nnetworks = "none"') == [
        'a port cannot be published with `networks = "none"`: nothing can reach it'
    ]


def test_an_internal_network_publishes_to_this_machine_alone() -> None:
    """Beyond it there is no way in."""
    inner = "[networks.default]\ninternal = true"
    assert container('ports = ["80:80"]', inner).ports
    assert messages('ports = ["0.0.0.0:80:80"]', inner) == [
        (
            "`0.0.0.0:80` is published beyond this machine, "
            "but every network of the container is internal"
        )
    ]
