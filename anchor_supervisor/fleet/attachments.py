"""`networks` of a container: which it is on, under which names and addresses, or which mode."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from anchor_supervisor.fleet import schema, values
from anchor_supervisor.fleet.model import Attachment, Container, Network, NetworkMode
from anchor_supervisor.fleet.places import join
from anchor_supervisor.fleet.sheet import Sheet, Table, items
from anchor_supervisor.fleet.wording import show
from anchor_supervisor.values import evolve

DEFAULT_NETWORK: Final = "default"


def attachments(table: Table) -> tuple[NetworkMode, Mapping[str, Attachment]]:
    """Read a list of names, a table of attachments, or the words `none` and `host`."""
    sheet, path = table.sheet, table.at("networks")
    given = table.get("networks", [DEFAULT_NETWORK])
    match given:
        case "none" | "host":
            return NetworkMode(given), MappingProxyType({})
        case str():
            sheet.report(path, f"{show(given)} is none of `none`, `host`", f'a list: `["{given}"]`')
            attached: dict[str, Attachment] = {}
        case dict():
            attached = {
                name: _attachment(sheet, join(path, name), value) for name, value in given.items()
            }
        case _:
            names = items(sheet, path, given, values.filled_text)
            attached = dict.fromkeys(names, Attachment())
            if len(attached) < len(names):
                sheet.report(path, "a network is listed twice")
    if not attached and not sheet.blames(path):
        sheet.report(path, "no network is named", '`networks = "none"` is for loopback alone')
    return NetworkMode.BRIDGE, MappingProxyType(attached)


def _attachment(sheet: Sheet, path: str, value: object) -> Attachment:
    table = Table(sheet, path, value, schema.ATTACHMENT)
    return Attachment(
        aliases=table.items("aliases", values.filled_text),
        address=table.read("address", values.filled_text, None),
    )


def attached(container: Container, networks: Mapping[str, Network]) -> Container:
    """Return the container with the table of each of its networks; what is unknown has none."""
    known = {
        name: evolve(attachment, network=networks.get(name))
        for name, attachment in container.networks.items()
    }
    return evolve(container, networks=MappingProxyType(known))
