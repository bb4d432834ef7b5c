"""Archives are unpacked once: by one process, wholly or not at all."""

from __future__ import annotations

import hashlib
import io
import select
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import BinaryIO

import pytest

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images import layer_store
from anchor_supervisor.images.layer_store import unpacked
from anchor_supervisor.images.unpack import Limits, Unpacked, unpack

pytestmark = pytest.mark.root

UNPACK = (
    "import sys; from pathlib import Path;"
    "from anchor_supervisor.images.layer_store import unpacked;"
    "print(unpacked(Path(sys.argv[1]), Path(sys.argv[2])))"
)


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A small archive of a few hundred files."""
    return write_archive(
        tmp_path / "image.tar", {f"d/{number}": b"x" * number for number in range(300)}
    )


def start(archive: Path, data: Path) -> subprocess.Popen[str]:
    """Unpack in another process."""
    return subprocess.Popen(
        [sys.executable, "-c", UNPACK, str(archive), str(data)], stdout=subprocess.PIPE, text=True
    )


def test_the_layer_is_named_by_the_archives_digest(archive: Path, data_dir: Path) -> None:
    """Same bytes, same directory, unpacked a single time; only its owner enters the store."""
    layer = unpacked(archive, data_dir)
    before = layer.stat()
    assert layer.name == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert (layer / "d/299").stat().st_size == 299
    assert unpacked(archive, data_dir) == layer
    assert layer.stat().st_ino == before.st_ino
    assert layer.parent.stat().st_mode & 0o777 == 0o700


def test_changed_bytes_are_another_layer(archive: Path, data_dir: Path) -> None:
    """A rewritten archive does not change what a running container stands on."""
    old = unpacked(archive, data_dir)
    write_archive(archive, {"new": b"x"})
    new = unpacked(archive, data_dir)
    assert new != old
    assert (old / "d").is_dir()
    assert (new / "new").is_file()


def test_a_failed_unpack_leaves_nothing(tmp_path: Path, data_dir: Path) -> None:
    """A hostile or too large archive is named, and no part of it stays."""
    hostile = write_archive(tmp_path / "hostile.tar", {"good": b"x", "../evil": b"x"})
    with pytest.raises(ImageError, match=r"image `.*hostile\.tar`: .*`\.\./evil`"):
        unpacked(hostile, data_dir)
    with pytest.raises(ImageError, match="more than 100 bytes"):
        unpacked(hostile, data_dir, Limits(size=100))
    assert list((data_dir / "layers").iterdir()) == []


def test_an_archive_that_changes_meanwhile_is_refused(
    archive: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was digested must be what was unpacked; otherwise nothing stays."""
    real = unpack

    def unpack_and_append(file: BinaryIO, root: int, limits: Limits) -> Unpacked:
        result = real(file, root, limits)
        with archive.open("ab") as more:
            more.write(bytes(512))
        return result

    monkeypatch.setattr(layer_store, "unpack", unpack_and_append)
    with pytest.raises(ImageError, match="changed while it was read"):
        unpacked(archive, data_dir)
    assert list((data_dir / "layers").iterdir()) == []


def test_a_missing_archive_is_named(tmp_path: Path, data_dir: Path) -> None:
    """The path is in the message, whether nothing or a directory is there."""
    with pytest.raises(ImageError, match=r"no image at `.*none\.tar`"):
        unpacked(tmp_path / "none.tar", data_dir)
    with pytest.raises(ImageError, match="is a directory"):
        unpacked(tmp_path, data_dir)


def test_two_processes_at_once_give_one_layer(archive: Path, data_dir: Path) -> None:
    """Both succeed and name the same directory, and nothing else is left."""
    both = [start(archive, data_dir), start(archive, data_dir)]
    answers = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert answers == {str(data_dir / "layers" / hashlib.sha256(archive.read_bytes()).hexdigest())}
    assert len(list((data_dir / "layers").iterdir())) == 1


def test_what_a_killed_process_left_is_swept(tmp_path: Path, data_dir: Path) -> None:
    """Killed in the middle, an unpack leaves litter and no layer; the next one clears it."""
    whole = write_archive(tmp_path / "whole.tar", {"a": b"x" * 1000, "b": b"y" * 1000})
    digest = hashlib.sha256(whole.read_bytes()).hexdigest()
    new = data_dir / "layers" / f".new-{digest}"
    process = start_stuck(whole, data_dir)
    assert (new / "a").exists()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (data_dir / "layers" / digest).exists()
    assert new.exists()

    unpacked(write_archive(tmp_path / "other.tar", {"c": b"z"}), data_dir)
    assert not new.exists()
    layer = unpacked(whole, data_dir)
    assert sorted(path.name for path in layer.iterdir()) == ["a", "b"]


STUCK = """
import sys
from pathlib import Path
from anchor_supervisor.images import layer_store, unpack
make_file = unpack._make_file
def make_one(stream, entry, parent, name):
    if name == b"b":
        print("stuck", flush=True)
        sys.stdin.read()
    make_file(stream, entry, parent, name)
unpack._make_file = make_one
layer_store.unpacked(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def start_stuck(archive: Path, data: Path) -> subprocess.Popen[bytes]:
    """An unpack that has written its file `a` and waits for ever before its file `b`."""
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, str(archive), str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"stuck\n"
    return process


def test_an_unpack_under_way_is_not_litter(tmp_path: Path, data_dir: Path) -> None:
    """Another archive's unpack leaves alone what a living process holds; a second comer waits."""
    path = write_archive(tmp_path / "whole.tar", {"a": b"x" * 1000, "b": b"y" * 1000})
    stuck = start_stuck(path, data_dir)
    new = next((data_dir / "layers").glob(".new-*"))
    unpacked(write_archive(tmp_path / "other.tar", {"c": b"z"}), data_dir)
    assert (new / "a").exists()
    waiting = start(path, data_dir)
    try:
        assert waiting.stdout is not None
        readable, _, _ = select.select([waiting.stdout], [], [], 0)
        assert not readable
    finally:
        stuck.kill()
        stuck.communicate()
    output, _ = waiting.communicate()
    assert (Path(output.strip()) / "b").read_bytes() == b"y" * 1000
