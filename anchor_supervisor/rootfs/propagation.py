"""Whether mounts that the machine makes later reach a place (mount_namespaces(7), proc(5))."""

from __future__ import annotations

from pathlib import Path


def hears_of_mounts(descriptor: int) -> bool:
    """Whether the mount that an open file is on is shared, or a slave of one that is."""
    number = _mount_number(descriptor)
    for line in Path("/proc/thread-self/mountinfo").read_text().splitlines():
        fields = line.partition(" - ")[0].split()
        if fields[0] == number:
            return any(field.startswith(("shared:", "master:")) for field in fields[6:])
    return False


def _mount_number(descriptor: int) -> str:
    for line in Path(f"/proc/thread-self/fdinfo/{descriptor}").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "mnt_id":
            return value.strip()
    return ""
