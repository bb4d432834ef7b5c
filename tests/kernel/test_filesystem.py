"""File systems are called by the names that people know."""

from __future__ import annotations

import os

import pytest

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel.filesystem import file_system


def test_a_file_system_has_its_name() -> None:
    """As the mount table calls it; an O_PATH descriptor is enough."""
    for path, name in (("/proc", "proc"), ("/sys", "sysfs")):
        descriptor = os.open(path, os.O_PATH)
        try:
            assert file_system(descriptor) == name
        finally:
            os.close(descriptor)


def test_an_unknown_one_has_its_number() -> None:
    """A pipe is on a file system that nobody mounts."""
    reader, writer = os.pipe()
    try:
        assert file_system(reader) == "0x50495045"
    finally:
        os.close(reader)
        os.close(writer)


def test_a_closed_descriptor_is_an_error() -> None:
    """With the errno that the kernel gave."""
    with pytest.raises(KernelError, match="Bad file descriptor"):
        file_system(-1)
