"""Debian's own `docker-registry` (CNCF distribution) on loopback, for as long as a block lasts."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from waiting import eventually


@contextmanager
def docker_registry(directory: Path, htpasswd: Path | None = None) -> Iterator[str]:
    """Give the address, `127.0.0.1:PORT`, of a registry that keeps its things in `directory`.

    `htpasswd`: a file of `htpasswd -B`, for basic authentication.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    address = f"127.0.0.1:{port}"
    settings: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(directory / "data")},
            "delete": {"enabled": True},
        },
        "http": {"addr": address},
    }
    if htpasswd is not None:
        settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(htpasswd)}}
    (directory / "config.yml").write_text(json.dumps(settings))  # YAML takes JSON
    with (
        (directory / "log").open("wb") as log,
        subprocess.Popen(
            ["docker-registry", "serve", str(directory / "config.yml")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            eventually(
                lambda: _answers(process, address),
                what=f"docker-registry answers: {(directory / 'log').read_text()[-500:]}",
            )
            yield address
        finally:
            process.kill()


def _answers(process: subprocess.Popen[bytes], address: str) -> bool:
    assert process.poll() is None, "docker-registry has ended; its log is in its directory"
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in {200, 401}
    except OSError:
        return False
    finally:
        connection.close()
