"""Images and volumes that try to lead the child astray while it builds the container."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anchor_supervisor.kernel import mount, pidfd, spawn, steps
from container_box import EMPTY, Box, Outcome

pytestmark = pytest.mark.root


@pytest.fixture
def outside(data_dir: Path) -> Path:
    """A host directory that no container may ever touch."""
    made = data_dir / "outside"
    made.mkdir(mode=0o777)
    made.chmod(0o777)
    return made


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("target", ["/", "../../../../../../../tmp", "/proc/self/root", "/absent"])
def test_a_link_in_place_of_a_mount_point_is_refused(box: Box, name: str, target: str) -> None:
    """/proc, /sys and /dev are never mounted through a link (runc CVE-2026-41579)."""
    (box.root / name).symlink_to(target)
    with pytest.raises(spawn.SpawnError) as raised:
        box.run("true")
    assert raised.value.errno in (errno.ELOOP, errno.ENOENT)
    assert raised.value.shell_code == spawn.OUR_ERROR


@pytest.mark.parametrize(
    "link",
    [
        "/proc/self/fd/3",
        "/proc/1/root",
        "/proc/self/cwd",
        "/proc/thread-self/fd/0",
        "../proc/self/fd/4",
    ],
)
def test_a_magic_link_is_never_followed(box: Box, link: str) -> None:
    """A working directory or a mount point on /proc/self/fd/N is refused (CVE-2024-21626)."""
    (box.root / "way").symlink_to(link)
    volume = mount.clone_tree(box.root)
    for step in (
        steps.ChangeDirectory("/way"),
        steps.ChangeDirectory("/way/sub"),
        steps.Attach(volume, "/way", "a volume"),
        steps.Attach(volume, "/way/sub", "a volume"),
        steps.MakeDirectory("/way/sub"),
    ):
        with pytest.raises(spawn.SpawnError) as raised:
            box.run("true", inside=[step])
        assert raised.value.errno in (errno.ELOOP, errno.ENOENT), step
    os.close(volume)


@pytest.mark.parametrize("path", ["/proc/self/fd/0", "/proc/self/fd/5", "/proc/1/cwd"])
def test_a_working_directory_outside_is_refused(box: Box, path: str) -> None:
    """What WORKDIR may not be, whatever the descriptor's number."""
    with pytest.raises(spawn.SpawnError) as raised:
        box.run("true", last=[steps.ChangeDirectory(path)])
    assert raised.value.errno in (errno.ELOOP, errno.ENOENT)


def test_links_in_an_image_stay_in_the_image(box: Box, outside: Path) -> None:
    """An absolute link, and any number of `..`, end at the container's own root."""
    (box.root / "absolute").symlink_to(outside)
    (box.root / "up").symlink_to("../" * 20 + str(outside).lstrip("/"))
    for name in ("absolute", "up"):
        out = box.say(
            f"ls -d {outside}/made-{name}", inside=[steps.MakeDirectory(f"/{name}/made-{name}")]
        )
        assert out.strip() == f"{outside}/made-{name}"
    assert list(outside.iterdir()) == []


def test_a_dangling_link_is_a_mount_point_where_it_points(box: Box) -> None:
    """/etc/resolv.conf is often one: its target is made, beneath the root, and mounted on."""
    (box.root / "etc").mkdir()
    (box.root / "etc/resolv.conf").symlink_to("../run/resolve/stub.conf")
    (box.root / "etc/hosts").symlink_to("/one")
    (box.root / "one").symlink_to("two/three")
    source = box.root.parent / "source"
    source.write_text("ours\n")
    source.chmod(0o644)
    mounts = [mount.clone_tree(source) for _ in range(2)]
    inside: list[steps.Step] = [
        steps.Attach(fd, path, "a file", directory=False)
        for fd, path in zip(mounts, ("/etc/resolv.conf", "/etc/hosts"), strict=True)
    ]
    out = box.say("cat /etc/resolv.conf /run/resolve/stub.conf /two/three", inside=inside)
    assert out == "ours\n" * 3
    for fd in mounts:
        os.close(fd)


def test_a_loop_of_links_ends(box: Box) -> None:
    """Neither a loop nor a chain that always dangles anew keeps the child busy."""
    (box.root / "a").symlink_to("b")
    (box.root / "b").symlink_to("a")
    (box.root / "long").symlink_to("/".join(["x" * 250] * 3))
    for path, number in (("/a", errno.ELOOP), ("/long/" + "y/" * 1700, errno.ENAMETOOLONG)):
        with pytest.raises(spawn.SpawnError) as raised:
            box.run("true", inside=[steps.MakeDirectory(path)])
        assert raised.value.errno == number


def _exchange(path: Path, spare: Path) -> None:
    """Put `spare` in the place of whatever is there, which may be a directory of the child's."""
    for attempt in itertools.count():
        try:
            spare.replace(path)
        except OSError:
            path.rename(path.with_name(f"old-{attempt}-{spare.name}"))
        else:
            return


@contextmanager
def _swapping(path: Path, first: str, second: str) -> Iterator[None]:
    """Replace `path` by a link to `first`, a directory, a link to `second`, over and over."""
    stop = threading.Event()

    def swap() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            spare = path.with_name(f"spare-{number}")
            spare.symlink_to(first if number % 2 else second)
            _exchange(path, spare)
            if number % 3 == 0:
                path.rename(path.with_name(f"gone-{number}"))

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_links_swapped_meanwhile_never_lead_out(box: Box, outside: Path) -> None:
    """A volume shared with a hostile container may change under our hands (CVE-2021-30465)."""
    shared = box.root / "shared"
    shared.mkdir()
    volume = mount.clone_tree(box.root / "bin")
    with _swapping(shared / "way", str(outside), "/proc/self/fd/0"):
        for _ in range(40):
            inside: list[steps.Step] = [
                steps.MakeDirectory("/shared/way/in/deep"),
                steps.MakeReadOnly("/shared/way"),
                steps.ChangeDirectory("/shared/way/in"),
            ]
            try:
                box.run("true", inside=inside)
            except spawn.SpawnError as error:
                assert error.step_index is not None  # noqa: PT017 - failing is allowed here
    assert list(outside.iterdir()) == []
    os.close(volume)


def test_the_images_own_null_device_is_never_used(box: Box) -> None:
    """Masks are clones of the host's /dev/null, whatever the image has there (CVE-2025-31133)."""
    (box.root / "dev").mkdir()
    (box.root / "dev/null").symlink_to("/proc/sys/kernel/core_pattern")
    (box.root / "secret").write_text("secret")

    out = box.say(
        "ls -l /dev/null; cat /secret",
        inside=[steps.Mask("/secret", EMPTY, box.cover)],
    )
    assert out.startswith("crw-rw-rw-")
    assert "secret" not in out


def test_the_interpreter_cannot_be_reached_through_init(box: Box) -> None:
    """Process 1 shows nobody what it executes, which is sealed besides (CVE-2019-5736)."""
    out = box.run("sh", "-c", "readlink /proc/1/exe || echo hidden; echo x > /proc/1/exe").output
    assert out.splitlines()[0] == "hidden"
    assert "can't create /proc/1/exe" in out


@pytest.mark.parametrize("user", [True, False])
def test_the_command_that_is_proc_self_exe_is_not_our_interpreter(
    root_directory: Path, user: bool
) -> None:
    """An entry point that names its own executor gets the sealed file it came from, at most."""
    (root_directory / "bin/tool").write_text("#!/proc/self/exe\n")
    (root_directory / "bin/tool").chmod(0o755)
    box = Box(root_directory, user=user)
    for init in (True, False):
        outcome = box.run("tool", init=init)
        assert outcome == Outcome(pidfd.Ending(code=126), "")
    box.close()
