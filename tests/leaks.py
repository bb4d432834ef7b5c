"""Everything a fleet can leave on a machine, seen from outside: /proc, /sys and one netlink dump.

A test takes a `Snapshot` before and another after; what is in the second and not in the first, and
does not go within a deadline, is a leak. Shares no code with the product, and needs no tool.

The deadline does not hide a race. The kernel dismantles namespaces, links and cgroups in its own
work queues after their last reference is gone, so "at once" is not observable from outside; what
the product forgot to release stays for ever, and no deadline saves it. Only objects that were new
at the *first* look after the test are waited for, so other tenants of the machine cannot add any.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from waiting import SLOWNESS, eventually

_PROC: Final = Path("/proc")
_NAMESPACE = re.compile(r"(cgroup|ipc|mnt|net|pid|user|uts):\[\d+\]")

PATIENCE: Final = 30.0 * SLOWNESS
"""Seconds. A thousand namespaces take the kernel one; the rest is for other tenants to go."""

_NFNETLINK: Final = 12  # NETLINK_NETFILTER
_GET_TABLE: Final = (10 << 8) | 1  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE
_DUMP_REQUEST: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE, _ERROR = 3, 2  # NLMSG_DONE, NLMSG_ERROR
_TABLE_NAME: Final = 1  # NFTA_TABLE_NAME


@final
@dataclass(frozen=True)
class Snapshot:
    """What is there now, each thing as one readable line."""

    things: frozenset[str]

    @classmethod
    def take(cls, run_dir: Path | None = None, data_dir: Path | None = None) -> Snapshot:
        """Look at the whole machine, and into these two directories."""
        programs = tuple(_programs())
        return cls(
            frozenset(
                (
                    *_cgroups(),
                    *_mounts(),
                    *_links(),
                    *_tables(),
                    *_namespaces(programs),
                    *_beneath("named network namespace", Path("/run/netns")),
                    *(_processes_of(run_dir, programs) if run_dir else ()),
                    *(_run_entries(run_dir) if run_dir else ()),
                    *(_beneath("writable layer", data_dir / "fleets") if data_dir else ()),
                )
            )
        )

    def since(self, before: Snapshot) -> frozenset[str]:
        """Things that are here and were not there before."""
        return self.things - before.things


def assert_nothing_left(
    before: Snapshot, run_dir: Path | None = None, data_dir: Path | None = None
) -> None:
    """Fail with the list of what is still there and was not before."""
    leaked = Snapshot.take(run_dir, data_dir).since(before)
    if leaked:
        eventually(
            lambda: sorted(leaked & Snapshot.take(run_dir, data_dir).things),
            lambda still: not still,
            what="nothing is left",
            deadline=PATIENCE,
        )


def cgroup2_mount() -> Path | None:
    """Return where the unified hierarchy is mounted, if it is."""
    for line in (_PROC / "self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup2 "):
            return Path(fields.split()[4])
    return None


def _cgroups() -> Iterator[str]:
    top = cgroup2_mount()
    if top is not None:
        for folder, _, _ in os.walk(top):
            yield f"cgroup {folder}"


def _mounts() -> Iterator[str]:
    for process in ("1", "self"):
        for line in (_PROC / process / "mountinfo").read_text().splitlines():
            fields, _, rest = line.partition(" - ")
            yield f"mount of {rest.split()[0]} on {fields.split()[4]} (pid {process})"


def _links() -> Iterator[str]:
    for _, name in socket.if_nameindex():
        yield f"link {name}"


def _tables() -> Iterator[str]:
    """NFT_MSG_GETTABLE of every family, asked directly: no nft(8) needed to look."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NFNETLINK) as s:
        s.sendto(struct.pack("=IHHIIBBH", 20, _GET_TABLE, _DUMP_REQUEST, 1, 0, 0, 0, 0), (0, 0))
        while True:
            data = s.recv(65536)
            while data:
                length, kind = struct.unpack_from("=IH", data)
                if kind in {_DONE, _ERROR}:
                    return
                yield f"nft table {_table_name(data[20:length])}"
                data = data[(length + 3) & ~3 :]


def _table_name(attributes: bytes) -> str:
    while attributes:
        length, kind = struct.unpack_from("=HH", attributes)
        if kind == _TABLE_NAME:
            return attributes[4:length].rstrip(b"\0").decode()
        attributes = attributes[(length + 3) & ~3 :]
    return "?"


def _namespaces(programs: Sequence[str]) -> Iterator[str]:
    """Namespaces that some process is in, or holds open."""
    for process in programs:
        for folder in (f"/proc/{process}/ns", f"/proc/{process}/fd"):
            for target in _targets(folder):
                if _NAMESPACE.fullmatch(target):
                    yield f"namespace {target}"


def _targets(folder: str) -> Iterator[str]:
    """Where the links of a folder of /proc lead; one whose owner is gone is passed over."""
    with suppress(OSError):
        for entry in os.listdir(folder):
            with suppress(OSError):
                yield os.readlink(f"{folder}/{entry}")


def _processes_of(run_dir: Path, programs: Sequence[str]) -> Iterator[str]:
    """Programs of ours that were told to use this run directory."""
    mark = f"ANCHOR_RUN_DIR={run_dir}".encode()
    for process in programs:
        with suppress(OSError):  # gone meanwhile
            environment = (_PROC / process / "environ").read_bytes().split(b"\0")
            if mark in environment and process != str(os.getpid()):
                command = (_PROC / process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                yield f"process {process} ({command.strip()})"


def _programs() -> Iterator[str]:
    """The pids of all but the kernel's own threads, which are many, and in no namespace of ours."""
    for name in os.listdir(_PROC):
        if name.isdigit():
            with suppress(OSError):
                os.readlink(f"/proc/{name}/exe")
                yield name


def _run_entries(run_dir: Path) -> Iterator[str]:
    """All but the register of id ranges itself, which is the machine's; its entries are fleets'."""
    register = f"run directory entry {run_dir}/ids"
    return (line for line in _beneath("run directory entry", run_dir) if line != register)


def _beneath(kind: str, folder: Path) -> Iterator[str]:
    if folder.is_dir():
        for entry in sorted(folder.rglob("*")):
            yield f"{kind} {entry}"
