"""A Debian root made by debootstrap: once for the whole suite, since it takes half a minute."""

from __future__ import annotations

import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine import MACHINE_FACT


def apt_source() -> tuple[str, str]:
    """The mirror and the suite that this machine installs its own packages from."""
    return next(_apt_sources(), ("", ""))


def _apt_sources() -> Iterator[tuple[str, str]]:
    """What apt reads: deb822 stanzas in *.sources, lines in *.list (sources.list(5))."""
    folder = Path("/etc/apt")
    for path in sorted(folder.glob("sources.list.d/*.sources")):
        for stanza in path.read_text().split("\n\n"):
            lines = [line for line in stanza.splitlines() if not line.startswith("#")]
            fields = dict(line.split(": ", 1) for line in lines if ": " in line)
            if fields.get("URIs", "").rstrip("/").endswith("/debian"):
                yield fields["URIs"].split()[0], fields["Suites"].split()[0]
    for path in sorted((*folder.glob("sources.list"), *folder.glob("sources.list.d/*.list"))):
        for line in path.read_text().splitlines():
            found = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+/debian)/?\s+(\S+)", line)
            if found:
                yield found[1], found[2]


def _check_reachable(mirror: str, suite: str) -> None:
    if not mirror:
        pytest.skip(f"{MACHINE_FACT}it has no Debian mirror")
    try:
        urllib.request.urlopen(f"{mirror}/dists/{suite}/Release", timeout=10).close()
    except (urllib.error.URLError, OSError) as error:
        pytest.skip(f"{MACHINE_FACT}the Debian mirror cannot be reached: {error}")


@pytest.fixture(scope="session")
def debian_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a minimal Debian in it; not to be changed."""
    root = tmp_path_factory.getbasetemp() / "debian-root"
    if not root.exists():
        mirror, suite = apt_source()
        _check_reachable(mirror, suite)
        aside = tmp_path_factory.mktemp("debootstrap") / "root"
        command = ["debootstrap", "--variant=minbase", suite, str(aside), mirror]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
        aside.rename(root)
    return root
