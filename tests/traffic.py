"""Constant load on a published port, and every answer counted."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, final

from attrs import define, field

CLIENTS: Final = 4
REQUEST: Final = b"GET / HTTP/1.0\r\nHost: shop\r\n\r\n"
PATIENCE: Final = 10.0


@final
@define(eq=False)
class Traffic:
    """What clients have been told so far: the last line of each answer, or how it failed."""

    port: int
    answers: Counter[str] = field(factory=Counter, init=False)
    _stop: threading.Event = field(factory=threading.Event, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def ask_until_told(self) -> None:
        """Ask, each time over a connection of its own, one after the other."""
        while not self._stop.is_set():
            answer = self._ask()
            with self._lock:
                self.answers[answer] += 1

    def _ask(self) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
                connection.sendall(REQUEST)
                said = b""
                while chunk := connection.recv(4096):
                    said += chunk
        except OSError as error:
            return f"lost: {error}"
        lines = said.decode().splitlines()
        return lines[-1] if lines and lines[0].split()[1:2] == ["200"] else f"lost: {said!r}"

    def stop(self) -> None:
        """Let every client finish its request, and end."""
        self._stop.set()

    @property
    def lost(self) -> dict[str, int]:
        """The requests that got no answer, by how."""
        return {what: count for what, count in self.answers.items() if what.startswith("lost")}


@contextmanager
def traffic_on(port: int) -> Iterator[Traffic]:
    """Ask for as long as the block lasts."""
    traffic = Traffic(port)
    clients = [threading.Thread(target=traffic.ask_until_told) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield traffic
    finally:
        traffic.stop()
        for client in clients:
            client.join()
