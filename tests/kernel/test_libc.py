"""System calls by name: errno and words survive, and memory is where it should be."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.kernel import libc
from anchor_supervisor.kernel._calls import NUMBERS, call

PROC_MAGIC = 0x9FA0


def test_a_failure_keeps_errno_call_and_subject() -> None:
    """All three, in one line; it is an OSError and a HostError at once."""
    with pytest.raises(KernelError) as raised:
        libc.system_call("umount2", b"/nowhere", 0, words="unmount", subject="/nowhere")
    error = raised.value
    assert (error.errno, error.call, error.subject) == (errno.ENOENT, "unmount", "/nowhere")
    assert str(error) == "unmount `/nowhere`: No such file or directory"
    assert isinstance(error, OSError)
    assert isinstance(error, HostError)


def test_the_name_stands_where_no_words_are_given() -> None:
    """A failure without a subject names the call alone."""
    with pytest.raises(KernelError, match=r"^fsopen: No such device$"):
        libc.system_call("fsopen", b"no-such-file-system", 0)


def test_memory_is_written_to() -> None:
    """A bytearray takes the answer, cannot be resized meanwhile, and is free afterwards."""
    answer = bytearray(256)
    with Path("/proc/self/stat").open() as file:
        assert libc.system_call("fstatfs", file.fileno(), answer) == 0
    assert int.from_bytes(answer[:4], sys.byteorder) == PROC_MAGIC
    answer.append(0)


@pytest.mark.parametrize("wrong", ["text", 1.5, memoryview(b"read-only")])
def test_what_the_kernel_cannot_take_is_refused(wrong: object) -> None:
    """Only integers, bytes, writable memory and None are arguments."""
    with pytest.raises((TypeError, BufferError)):
        call(NUMBERS["fstatfs"], False, 0, wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 9])
def test_there_are_at_most_six_arguments(count: int) -> None:
    """And before them the number, and whether the call waits."""
    with pytest.raises(TypeError, match="at most 6"):
        call(*[0] * count)  # type: ignore[arg-type]


def test_a_path_with_a_nul_is_refused() -> None:
    """The kernel would see another, shorter path."""
    with pytest.raises(ValueError, match="holds a NUL"):
        libc.path_bytes("/etc\0/passwd")
    assert libc.path_bytes("/ü") == "/ü".encode()
