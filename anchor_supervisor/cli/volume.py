"""`anchor volume`: the named volumes on this machine, whether their fleets run or not."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from anchor_supervisor.cli import render
from anchor_supervisor.cli.options import (
    add_fleet_options,
    add_json_option,
    help_formatter,
    paint_for_output,
    print_json,
)
from anchor_supervisor.cli.problems import warn
from anchor_supervisor.control.fleets import find_fleet, running_fleets
from anchor_supervisor.errors import AnchorError, HostError, KernelError
from anchor_supervisor.observability import places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from anchor_supervisor.rootfs.volume_store import StoredVolume

EXAMPLES = """\
A volume is `FLEET/NAME`; NAME alone is enough with -p or --file, or where only one fleet has one
of that name. What a fleet that runs has is never removed.

examples:
  anchor volume ls                   every volume, and which fleet uses it
  anchor volume create shop/pgdata   make one before its fleet does
  anchor volume inspect pgdata       where it is, and its size
  anchor volume rm shop/pgdata       remove it with its content
  anchor volume prune                those of all fleets that do not run: shows them, and asks
"""

_HEADERS = ("FLEET", "NAME", "SIZE", "CREATED", "USED BY")


class Unanswered(AnchorError):  # noqa: N818 - it is what is the case
    """Nobody is there to be asked."""

    exit_code = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, words: str, act: Callable[[argparse.Namespace], int]) -> Any:  # noqa: ANN401 - argparse's own
        one = actions.add_parser(name, help=words, formatter_class=help_formatter)
        one.set_defaults(act=act)
        add_fleet_options(one, taken="f" if name == "prune" else "")
        if name != "create":
            add_json_option(one)
        return one

    action("ls", "list volumes", _list)
    for name, words, act in (
        ("create", "make empty volumes, filled from the image by their first container", _create),
        ("rm", "remove volumes with their content", _remove),
        ("inspect", "everything known about volumes, as JSON", _inspect),
    ):
        action(name, words, act).add_argument("names", nargs="+", metavar="VOLUME")
    prune = action("prune", "remove the volumes of all fleets that do not run", _prune)
    prune.add_argument("-f", "--force", action="store_true", help="do not ask")
    prune.add_argument("-n", "--dry-run", action="store_true", help="only show what would go")


def run(options: argparse.Namespace) -> int:
    """Do what was asked."""
    from anchor_supervisor.kernel.process import raise_open_files

    raise_open_files()  # a size takes a descriptor for each level of the deepest directory
    return int(options.act(options))


def _list(options: argparse.Namespace) -> int:
    rows = [_facts(volume) for volume in _chosen(options)]
    if options.json:
        print_json(rows)
    elif rows:
        print(_table(rows))
    return 0


def _create(options: argparse.Namespace) -> int:
    from anchor_supervisor.rootfs.volume_store import create_volume

    names = [_split(options, text, new=True) for text in options.names]
    for fleet, name in names:
        create_volume(places.data_dir(), fleet, name)
        print(f"{fleet}/{name}")
    return 0


def _inspect(options: argparse.Namespace) -> int:
    print_json([_facts(volume) for volume in _named(options)])
    return 0


def _remove(options: argparse.Namespace) -> int:
    """Look at all of them first: a wrong name removes nothing."""
    from anchor_supervisor.rootfs.volume_store import remove_volume

    volumes = _named(options)
    for fleet in {volume.fleet: None for volume in volumes}:
        _refuse_used(fleet)
    for volume in volumes:
        with _held(volume.fleet):
            remove_volume(places.data_dir(), volume.fleet, volume.name)
        if not options.json:
            print(f"removed {volume.fleet}/{volume.name}")
    if options.json:
        print_json({"removed": [f"{volume.fleet}/{volume.name}" for volume in volumes]})
    return 0


def _prune(options: argparse.Namespace) -> int:
    """Show, ask, remove, and say what was freed. A fleet that starts meanwhile keeps its own."""
    idle = [volume for volume in _chosen(options) if not _is_used(volume.fleet)]
    rows = [_facts(volume) for volume in idle]
    freed = sum(row["size"] for row in rows)
    if rows and not options.json:
        print(_table(rows))
    if not options.dry_run and rows:
        if not options.force and not _agreed(freed):
            return 1
        gone = [_removed_if_idle(volume) for volume in idle]
        rows = [row for row, is_gone in zip(rows, gone, strict=True) if is_gone]
        freed = sum(row["size"] for row in rows)
    if options.json:
        print_json({"dry_run": options.dry_run, "removed": rows, "freed": freed})
    else:
        words = "would be freed" if options.dry_run else "freed"
        print(f"{render.size(freed)} {words}" if rows else "no volume of a fleet that does not run")
    return 0


def _removed_if_idle(volume: StoredVolume) -> bool:
    """Remove it, unless its fleet has been started since it was shown."""
    from anchor_supervisor.rootfs.volume_store import remove_volume

    with ExitStack() as held:
        try:
            held.enter_context(_held(volume.fleet))
        except KernelError:
            raise
        except HostError as error:
            warn(f"kept `{volume.fleet}/{volume.name}`: {error}")
            return False
        remove_volume(places.data_dir(), volume.fleet, volume.name)
    return True


def _agreed(freed: int) -> bool:
    """Ask on standard error, so that standard output has nothing but the answer to the verb."""
    if not sys.stdin.isatty():
        message = "volumes hold data, and none is removed without being asked for"
        raise Unanswered(message, hint="`--force` removes them, `--dry-run` only shows them")
    print(f"Remove them, and free {render.size(freed)}? [y/N] ", end="", file=sys.stderr)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _chosen(options: argparse.Namespace) -> Sequence[StoredVolume]:
    """All volumes, or those of the fleet that was named."""
    from anchor_supervisor.rootfs.volume_store import stored_volumes

    return stored_volumes(places.data_dir(), _fleet(options))


def _fleet(options: argparse.Namespace) -> str | None:
    """The fleet that was named; a running one, or ./fleet.toml, is not meant by itself."""
    if not options.file and options.fleet is None:
        return None
    return find_fleet(files=options.file or (), name=options.fleet)


def _named(options: argparse.Namespace) -> list[StoredVolume]:
    from anchor_supervisor.rootfs.volume_store import find_volume

    data = places.data_dir()
    names = {_split(options, text): None for text in options.names}
    return [find_volume(data, fleet, name) for fleet, name in names]


def _split(options: argparse.Namespace, text: str, *, new: bool = False) -> tuple[str, str]:
    """Give fleet and name of what was typed; a name alone is that of the only fleet with one."""
    from anchor_supervisor.fleet.mounts import VOLUME_NAME
    from anchor_supervisor.rootfs.volume_store import stored_volumes

    fleet, slash, name = text.rpartition("/")
    if VOLUME_NAME.fullmatch(name) is None:
        message = f"`{render.one_line(text)}` is not a volume's name"
        raise HostError(message, hint="`FLEET/NAME`, such as `shop/pgdata`")
    if slash:
        return places.checked_fleet_name(fleet), name
    known = _fleet(options)
    if known is None and new:
        known = find_fleet()
    if known is not None:
        return known, name
    owners = [one.fleet for one in stored_volumes(places.data_dir()) if one.name == name]
    if len(owners) == 1:
        return owners[0], name
    if owners:
        message = f"several fleets have a volume `{name}`: {', '.join(owners)}"
        raise HostError(message, hint=f"say which: `{owners[0]}/{name}`")
    message = f"there is no volume `{name}`"
    raise HostError(message, hint="`anchor volume ls` lists what is there")


def _is_used(fleet: str) -> bool:
    """A run directory is that of a supervisor that runs, or of one whose containers may still."""
    return places.fleet_run_dir(fleet).exists()


def _refuse_used(fleet: str) -> None:
    if not _is_used(fleet):
        return
    if fleet in running_fleets():
        message = f"fleet `{fleet}` is running and uses its volumes"
    else:
        message = f"fleet `{fleet}` is starting, or has died and left its containers"
    raise HostError(message, hint=f"end it with `anchor -p {fleet} down`")


@contextmanager
def _held(fleet: str) -> Iterator[None]:
    """Keep the fleet from starting. Raises HostError where it runs."""
    from anchor_supervisor.runtime.lock import fleet_lock

    _refuse_used(fleet)
    with fleet_lock(places.fleet_run_dir(fleet), fleet):
        yield


def _facts(volume: StoredVolume) -> dict[str, Any]:
    from datetime import UTC, datetime

    from anchor_supervisor.rootfs.volume_store import volume_size

    created = datetime.fromtimestamp(volume.created, UTC)
    return {
        "fleet": volume.fleet,
        "name": volume.name,
        "path": str(volume.path),
        "size": volume_size(volume),
        "created": created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "used_by": volume.fleet if _is_used(volume.fleet) else None,
        "unused": volume.unused,
    }


def _table(rows: Sequence[dict[str, Any]]) -> str:
    present = render.now()
    cells = [
        [
            render.one_line(row["fleet"]),
            row["name"],
            render.size(row["size"]),
            render.ago(row["created"], present),
            row["used_by"] or "-",
        ]
        for row in rows
    ]
    return render.table(_HEADERS, cells, paint_for_output(), 0)
