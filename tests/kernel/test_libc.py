"""Calls of the C library: errno and words survive."""

from __future__ import annotations

import errno

import pytest

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.kernel import libc


def test_a_failure_keeps_errno_call_and_subject() -> None:
    """All three, in one line; it is an OSError and a HostError at once."""
    with pytest.raises(KernelError) as raised:
        libc.library_call("chdir", b"/nowhere", subject="/nowhere")
    error = raised.value
    assert (error.errno, error.call, error.subject) == (errno.ENOENT, "chdir", "/nowhere")
    assert str(error) == "chdir `/nowhere`: No such file or directory"
    assert isinstance(error, OSError)
    assert isinstance(error, HostError)


def test_a_system_call_by_number_fails_the_same_way() -> None:
    """A number beyond the table is ENOSYS."""
    with pytest.raises(KernelError, match="nothing: Function not implemented"):
        libc.system_call(4000, "nothing")


def test_a_path_with_a_nul_is_refused() -> None:
    """The kernel would see another, shorter path."""
    with pytest.raises(ValueError, match="holds a NUL"):
        libc.path_bytes("/etc\0/passwd")
    assert libc.path_bytes("/ü") == "/ü".encode()
