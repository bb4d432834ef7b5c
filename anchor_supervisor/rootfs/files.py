"""The three files of /etc that are the supervisor's: hosts, hostname and resolv.conf.

Their text is made by pure functions. They live in a directory of the instance, and the container
sees them through a mount: they are rewritten in place, since a renamed file would leave the mount
on the old inode.
"""

from __future__ import annotations

import errno
import ipaddress
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import libc
from anchor_supervisor.rootfs.private import make_private

HOSTS: Final = "/etc/hosts"
HOSTNAME: Final = "/etc/hostname"
RESOLV_CONF: Final = "/etc/resolv.conf"

NO_RESOLVER: Final = "# no name server that can be reached from inside a container\n"
_LOOPBACK: Final = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


def hosts(
    own_name: str,
    own_address: str | None = None,
    others: str = "",
    extra: Mapping[str, str] | None = None,
) -> str:
    """Write the text of /etc/hosts: loopback, the container itself, `others`, `extra_hosts`.

    Without an address of its own the container's name leads to 127.0.1.1, as Debian does it.
    `others` are whole lines, of which a large fleet has many; `extra` maps a name to an address.
    """
    own = f"{own_address or '127.0.1.1'}\t{own_name}\n"
    more = "".join(f"{address}\t{name}\n" for name, address in (extra or {}).items())
    return _LOOPBACK + own + others + more


def hostname(name: str) -> str:
    """Write the text of /etc/hostname."""
    return f"{name}\n"


@lru_cache(maxsize=8)
def resolv_conf(machine: str, *, own_network: bool, nameservers: tuple[str, ...] = ()) -> str:
    """Write the text of /etc/resolv.conf, from the machine's own.

    `nameservers`, where given, take the place of the machine's. In a network namespace of its own
    a container cannot reach the machine's loopback, so resolvers there are left out; when none is
    left the file says so and is otherwise empty, and names resolve through /etc/hosts alone.
    """
    kept = []
    for line in machine.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        if words[0] != "nameserver":
            kept.append(line.strip())
        elif not nameservers and len(words) > 1 and not (own_network and _is_loopback(words[1])):
            kept.append(f"nameserver {words[1]}")
    kept += [f"nameserver {address}" for address in nameservers]
    text = "".join(f"{line}\n" for line in kept)
    return text if "nameserver " in text else NO_RESOLVER + text


def _is_loopback(address: str) -> bool:
    """Whether this resolver is reached over loopback; a zone (`fe80::1%eth0`) may follow it."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def write_files(directory: str, texts: Mapping[str, str], *, owner: int) -> dict[str, str]:
    """Write each text to `directory`; return where the file for each target (`/etc/hosts`) is.

    A file that exists keeps its inode: what is mounted in a running container changes with it.
    `owner` is the machine's number for the container's root. Raises KernelError.
    """
    make_private(directory)
    written = {target: f"{directory}/{target.rpartition('/')[2]}" for target in texts}
    contents = [text.encode() for text in texts.values()]
    calls: list[libc.Call] = []
    for path, content in zip(written.values(), contents, strict=True):
        calls += _rewriting(path, content, owner, libc.Result(len(calls)))
    said = libc.perform(calls, "write the files in", directory)
    if any(number < len(content) for number, content in zip(said[1::6], contents, strict=True)):
        raise KernelError(errno.ENOSPC, "write the files in", directory)  # it is in memory
    return written


def _rewriting(path: str, content: bytes, owner: int, file: libc.Result) -> list[libc.Call]:
    """Overwrite from the start, then cut: a reader never finds the file empty."""
    # Its owner in the container may hold a lease on it (fcntl(2)): without O_NONBLOCK, for 45 s.
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return [
        ("openat", libc.AT_FDCWD, libc.path_bytes(path), flags, 0o644),
        ("pwrite64", file, content, len(content), 0),
        ("ftruncate", file, len(content)),
        ("fchown", file, owner, owner),
        ("fchmod", file, 0o644),
        ("close", file),
    ]
