"""Process 1: the file it is, and what it does when it is run wrongly."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

import pytest

from anchor_supervisor.kernel import init_image, pidfd, spawn, steps
from container_box import wait


@pytest.fixture
def image() -> bytes:
    """The bytes of init."""
    fd = init_image.open_init()
    with os.fdopen(fd, "rb") as file:
        return os.pread(file.fileno(), 1 << 20, 0)


def test_it_needs_no_loader_and_no_relocation(image: bytes) -> None:
    """No interpreter, no library, nothing to relocate: the kernel alone can start it."""
    assert image[:4] == b"\x7fELF"
    offset = struct.unpack_from("<Q", image, 32)[0]
    size, count = struct.unpack_from("<HH", image, 54)
    kinds = [struct.unpack_from("<I", image, offset + size * i)[0] for i in range(count)]
    assert 3 not in kinds, "PT_INTERP"
    dynamic = offset + size * kinds.index(2)
    start, length = (struct.unpack_from("<Q", image, dynamic + at)[0] for at in (8, 32))
    tags = [struct.unpack_from("<Q", image, start + 16 * i)[0] for i in range(length // 16)]
    used = tags[: tags.index(0)]
    assert not set(used) & {1, 7, 17, 22, 23}, "NEEDED, RELA, REL, TEXTREL, JMPREL"


def test_it_cannot_be_changed() -> None:
    """Every seal is on: nobody who reaches it can write, grow, shrink or unseal it."""
    fd = init_image.open_init()
    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & 0xF == 0xF
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    assert not os.get_inheritable(fd)
    os.close(fd)


@pytest.mark.parametrize(
    "arguments", [("1",), ("1", "/bin/true"), ("9", "/bin/true", "true"), ("x", "a", "b")]
)
def test_run_by_hand_it_refuses(tmp_path: Path, image: bytes, arguments: tuple[str, ...]) -> None:
    """Arguments that are not ours end it with 126, and nothing is run."""
    program = tmp_path / "init"
    program.write_bytes(image)
    program.chmod(0o755)
    child = spawn.spawn([steps.Execute((str(program),), ("anchor-init", *arguments), ())])
    assert wait(child) == pidfd.Ending(code=126)


def test_it_is_small(image: bytes) -> None:
    """It is in memory once for every container: a page or two."""
    assert len(image) < 8192
    fd = init_image.open_init()
    plan = [steps.Execute(("/bin/sleep",), ("sleep", "1000"), (), init=fd)]
    child = spawn.spawn(plan)
    os.close(fd)
    rollup = Path(f"/proc/{child.pid}/smaps_rollup").read_text()
    pss = int(rollup.partition("Pss:")[2].split()[0])
    pidfd.send_signal(child.pidfd, 15)
    assert wait(child) == pidfd.Ending(code=128 + 15)
    assert pss < 64


def test_as_a_reaper_it_tells_the_end_and_stays_for_orphans() -> None:
    """The status comes when the command ends; init ends when nothing that it left is left."""
    reader, writer = os.pipe()
    hold, held = os.pipe()
    fd = init_image.open_init()
    script = "(read x <&9 &) 9<&0; exit 7"
    plan: list[steps.Step] = [
        steps.SetStdio(hold, 1, 2),
        steps.Execute(("/bin/sh",), ("sh", "-c", script), (), fd, writer, to_the_last=True),
    ]
    child = spawn.spawn(plan, share_memory=False)
    for descriptor in (fd, writer, hold):
        os.close(descriptor)
    (status,) = struct.unpack("i", os.read(reader, 4))
    assert pidfd.ending_of_status(status) == pidfd.Ending(code=7)
    assert pidfd.reap(child.pidfd) is None, "an orphan still reads"
    os.close(held)
    assert wait(child) == pidfd.Ending(code=0)
    os.close(reader)


def test_as_a_reaper_it_tells_what_cannot_be_executed() -> None:
    """As a negative errno, where a wait status is never negative."""
    reader, writer = os.pipe()
    fd = init_image.open_init()
    plan = [steps.Execute(("/nowhere",), ("nowhere",), (), fd, writer, to_the_last=True)]
    child = spawn.spawn(plan, share_memory=False)
    os.close(fd)
    os.close(writer)
    assert struct.unpack("i", os.read(reader, 4)) == (-2,)
    assert wait(child) == pidfd.Ending(code=127)
    os.close(reader)
