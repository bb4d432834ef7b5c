"""The little that is said to nf_tables without libnftables: take a whole table away.

A fleet's start sweeps first, and most often there is nothing: to learn that by libnftables takes
ten milliseconds, since it loads itself and reads every table of the machine.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

from anchor_supervisor.errors import NetworkError
from anchor_supervisor.kernel import _wire
from anchor_supervisor.network.netlink import ACKNOWLEDGE, Message, answers, encode, text

_NETFILTER: Final = 12  # NETLINK_NETFILTER
_SUBSYSTEM: Final = 10  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN, _BATCH_END = 16, 17
_GET_TABLE, _DELETE_TABLE = _SUBSYSTEM << 8 | 1, _SUBSYSTEM << 8 | 2
_INET: Final = 1  # NFPROTO_INET
_TABLE_NAME: Final = 1
_FAMILY = struct.Struct(">BBH")  # struct nfgenmsg

# EINVAL, EOPNOTSUPP: a kernel without nf_tables has no table either.
_NONE: Final = frozenset({errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP})


def open_netfilter() -> socket.socket:
    """Open a socket for `delete_table`; closing it after a change waits for an RCU grace period."""
    try:
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
    except OSError as error:
        message = f"cannot open a netfilter socket: {error.strerror}"
        raise NetworkError(message) from error


def delete_table(endpoint: socket.socket, name: str) -> bool:
    """Delete the table of family inet in a transaction; False where there is none.

    That is asked first: a transaction waits for an RCU grace period, also where it deletes nothing.
    """
    if _is_absent(endpoint, name):
        return False
    batch = _FAMILY.pack(0, 0, _SUBSYSTEM)
    table = _FAMILY.pack(_INET, 0, 0) + text(_TABLE_NAME, name)
    requests = (
        Message(_BATCH_BEGIN, 0, batch, "begin"),
        Message(_DELETE_TABLE, 0, table, f"delete the table `{name}`"),
    )
    # The end of the batch is acknowledged by nobody: the last answer is that to the deletion.
    end = encode([Message(_BATCH_END, 0, batch, "end")], 3, 0)
    replies = _exchange(endpoint, name, 2, encode(requests, 1, ACKNOWLEDGE) + end)
    _, deleted = answers(requests, 1, replies)
    refusal = deleted.error()
    if refusal is not None and deleted.errno not in _NONE:
        raise refusal
    return refusal is None


def _is_absent(endpoint: socket.socket, name: str) -> bool:
    table = _FAMILY.pack(_INET, 0, 0) + text(_TABLE_NAME, name)
    question = (Message(_GET_TABLE, 0, table, f"look for the table `{name}`"),)
    replies = _exchange(endpoint, name, 1, encode(question, 1, ACKNOWLEDGE))
    [answer] = answers(question, 1, replies)
    return answer.errno == errno.ENOENT


def _exchange(endpoint: socket.socket, name: str, last: int, requests: bytes) -> bytes:
    try:
        return _wire.exchange(endpoint.fileno(), last, requests)
    except OSError as error:
        message = f"cannot delete the table `{name}`: {error.strerror}"
        raise NetworkError(message) from error
