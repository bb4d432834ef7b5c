"""System calls by name: errno and words survive, and memory is where it should be."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.kernel import libc
from anchor_supervisor.kernel._calls import NUMBERS, call, call_all
from real_fleet import open_descriptors

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
        call(False, NUMBERS["fstatfs"], 0, wrong)  # type: ignore[arg-type]


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


def test_several_calls_are_made_in_one_visit(tmp_path: Path) -> None:
    """A later call takes what an earlier one gave."""
    path = tmp_path / "file"
    calls: list[libc.Call] = [
        ("openat", libc.AT_FDCWD, libc.path_bytes(path), os.O_WRONLY | os.O_CREAT, 0o600),
        ("write", libc.Result(0), b"content", 7),
        ("lseek", libc.Result(0), 0, os.SEEK_END),
        ("close", libc.Result(0)),
    ]
    before = open_descriptors()
    descriptor, *others = libc.system_calls(calls)
    assert descriptor > 2
    assert others == [7, 7, 0]
    assert path.read_text() == "content"
    assert open_descriptors() == before


def test_nothing_is_done_after_a_failure(tmp_path: Path) -> None:
    """Its negative errno is the last thing that is told."""
    first, second = libc.path_bytes(tmp_path / "first"), libc.path_bytes(tmp_path / "second")
    calls: list[libc.Call] = [
        ("mkdirat", libc.AT_FDCWD, first, 0o700),
        ("mkdirat", libc.AT_FDCWD, first, 0o700),
        ("mkdirat", libc.AT_FDCWD, second, 0o700),
    ]
    assert libc.system_calls(calls) == [0, -errno.EEXIST]
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
    assert libc.system_calls([]) == []


@pytest.mark.parametrize("closed", [False, True])
def test_a_piece_of_work_that_fails_leaves_nothing_open(tmp_path: Path, closed: bool) -> None:
    """Each descriptor is closed once, also the one that a call of the work had closed already."""
    path = libc.path_bytes(tmp_path)
    calls: list[libc.Call] = [
        ("openat", libc.AT_FDCWD, path, os.O_RDONLY, 0),
        ("memfd_create", b"name", 0),
        *([("close", libc.Result(0))] if closed else []),
        ("mkdirat", libc.AT_FDCWD, path, 0o700),
    ]
    before = open_descriptors()
    with pytest.raises(KernelError, match="make it `there`: File exists") as raised:
        libc.perform(calls, "make it", "there")
    assert raised.value.errno == errno.EEXIST
    assert open_descriptors() == before


def test_a_piece_of_work_keeps_what_it_opens() -> None:
    """The results are the caller's."""
    [descriptor] = libc.perform([("memfd_create", b"name", 0)], "make it")
    assert os.readlink(f"/proc/self/fd/{descriptor}") == "/memfd:name (deleted)"
    os.close(descriptor)


@pytest.mark.parametrize(
    "calls",
    [
        ((), "at most 6"),
        ((0, *range(7)), "at most 6"),
        ((0, (-1,)), "earlier call"),
        ((0, (1,)), "earlier call"),
        ((0, (2,)), "earlier call"),
        ("text", "at most 6"),
        ((0, 1.5), "float"),
    ],
)
def test_calls_that_make_no_sense_are_refused_before_any_is_made(
    tmp_path: Path, calls: tuple[Any, str]
) -> None:
    """Whatever is wrong with one, the others are not made either."""
    wrong, why = calls
    path = libc.path_bytes(tmp_path / "made")
    first = (NUMBERS["mkdirat"], libc.AT_FDCWD, path, 0o700)
    with pytest.raises((TypeError, ValueError, BufferError), match=why):
        call_all(first, wrong)
    assert not (tmp_path / "made").exists()
