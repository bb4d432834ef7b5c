"""A whole view, and what a process that is started in it sees: the plan carried out for real."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import final

import pytest
from attrs import evolve, frozen

from anchor_supervisor.errors import HostError, ImageError
from anchor_supervisor.fleet.model import (
    Container,
    Image,
    ImageKind,
    NetworkMode,
    Propagation,
    RootStrategy,
    Volume,
    VolumeKind,
)
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.descriptors import Descriptors
from anchor_supervisor.kernel.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    IdRange,
    Sandbox,
    create_sandbox,
)
from anchor_supervisor.kernel.spawn import SpawnError, spawn
from anchor_supervisor.kernel.steps import (
    CloneAgain,
    Execute,
    JoinNamespace,
    SetIds,
    SetStdio,
    Step,
)
from anchor_supervisor.rootfs import files
from anchor_supervisor.rootfs.devices import open_devices
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.plan import root_steps
from anchor_supervisor.rootfs.prepare import open_view
from anchor_supervisor.rootfs.removal import remove_writable
from anchor_supervisor.rootfs.strategies import assemble

pytestmark = pytest.mark.root

CHILD = 0x40000000  # __WALL: a child that was cloned by another one
BUSYBOX = Path("/bin/busybox")


@final
@frozen
class Stage:
    """Where one container of these tests lives."""

    data: Path
    run: Path
    image: Path
    ids: IdRange

    def container(self, **choices: object) -> Container:
        """A container of the directory image, with these choices."""
        image = Image(ImageKind.DIRECTORY, str(self.image))
        return evolve(Container("web", image), **choices)  # type: ignore[arg-type]

    def see(self, container: Container, script: str, *, private_users: bool = True) -> str:
        """What the script prints when it runs in the container, errors among it."""
        ids = self.ids if private_users else None
        network = container.network_mode is not NetworkMode.HOST
        sandbox = create_sandbox(ids, network=network)
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb") as output:
            try:
                os.fchown(writer, ids.first if ids else 0, -1)
                child = self._start(container, sandbox, ids, script, writer)
            finally:
                os.close(writer)
                sandbox.close()
            text = output.read().decode()
        os.waitid(os.P_PIDFD, child, os.WEXITED | CHILD)
        os.close(child)
        return text

    def _start(
        self, container: Container, sandbox: Sandbox, ids: IdRange | None, script: str, writer: int
    ) -> int:
        owner = 0 if ids is None else ids.first
        texts = {files.HOSTS: files.hosts("web"), files.HOSTNAME: files.hostname("web")}
        with contextlib.ExitStack() as stack:
            root = assemble(
                container.root,
                Layers((Path(container.image.reference),), "x"),
                self.data / "instance",
                ids=ids,
                user_namespace=sandbox.user,
            )
            stack.callback(os.close, root)
            devices = open_devices()
            opened = stack.enter_context(Descriptors())
            stack.callback(devices.close)
            handover = devices.handover()
            view = open_view(
                container,
                root,
                devices=devices,
                handover=handover,
                fleet="shop",
                data=self.data,
                etc=files.write_files(str(self.run / "etc"), texts, owner=owner),
                hidden=(str(self.data),),
                user_namespace=sandbox.user,
                writable=self.data / "instance",
                layers=Layers((Path(container.image.reference),), "x"),
                opened=opened,
            )
            stdin = os.open(os.devnull, os.O_RDONLY)
            stack.callback(os.close, stdin)
            steps: tuple[Step, ...] = (
                *join(sandbox),
                *root_steps(view),
                SetStdio(stdin, writer, writer),
                Execute(("/bin/sh",), ("sh", "-c", script), ("PATH=/bin:/usr/bin",)),
            )
            return spawn(steps, given=handover.open(opened)).pidfd


def join(sandbox: Sandbox) -> tuple[Step, ...]:
    steps: list[Step] = []
    if sandbox.net is not None:
        steps.append(JoinNamespace(sandbox.net, CLONE_NEWNET, "network namespace"))
    steps.append(JoinNamespace(sandbox.ipc, CLONE_NEWIPC, "ipc namespace"))
    if sandbox.user is not None:
        steps += [JoinNamespace(sandbox.user, CLONE_NEWUSER, "user namespace"), SetIds(0, 0)]
    return (*steps, CloneAgain(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWCGROUP, "namespaces"))


@pytest.fixture
def stage(data_dir: Path, run_dir: Path, image: Path, ids: IdRange) -> Iterator[Stage]:
    """An image with a shell, which is all that these tests run."""
    if not BUSYBOX.exists():
        pytest.skip("needs Debian's busybox-static")
    (image / "bin").mkdir()
    (image / "bin/busybox").write_bytes(BUSYBOX.read_bytes())
    (image / "bin/busybox").chmod(0o755)
    for name in ("sh", "cat", "ls", "stat", "mount", "id", "head", "wc", "touch", "readlink"):
        (image / "bin" / name).symlink_to("busybox")
    yield Stage(data_dir, run_dir, image, ids)
    remove_writable(data_dir / "instance")
    remove_writable(run_dir / "etc")


def mounts(text: str) -> dict[str, tuple[str, set[str]]]:
    """From /proc/self/mountinfo: the type and the options of each mount point."""
    found = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        target, options = before.split()[4:6]
        found[target] = (after.split()[0], set(options.split(",")))
    return found


@pytest.mark.parametrize("private_users", [True, False])
def test_inside_every_mount_has_its_kind_and_its_flags(stage: Stage, private_users: bool) -> None:
    """Asked from inside, with and without a user namespace, the table is what the plan says."""
    script = "cat /proc/self/mountinfo"
    found = mounts(stage.see(stage.container(), script, private_users=private_users))
    inert = {"nosuid", "nodev", "noexec"}
    expected = {
        "/": ("overlay", {"rw", "nodev"}),
        "/proc": ("proc", inert | {"rw"}),
        "/proc/sys": ("proc", inert | {"ro"}),
        "/sys": ("sysfs", inert | {"ro"}),
        "/sys/fs/cgroup": ("cgroup2", inert | {"ro"}),
        "/dev": ("tmpfs", {"rw", "nosuid"}),
        "/dev/pts": ("devpts", {"rw", "nosuid", "noexec"}),
        "/dev/shm": ("tmpfs", inert | {"rw"}),
        "/dev/mqueue": ("mqueue", inert | {"rw"}),
    }
    for target, (kind, options) in expected.items():
        assert found[target][0] == kind, target
        assert options <= found[target][1], target
    assert found["/etc/hosts"][1] >= inert | {"ro"}
    assert not any(target.startswith(str(stage.data)) for target in found)


def test_devices_work_and_terminals_are_new(stage: Stage) -> None:
    """The six devices do what they do, and /dev/pts starts empty."""
    script = """
        echo gone > /dev/null && head -c 3 /dev/zero | wc -c && head -c 3 /dev/urandom | wc -c
        echo x > /dev/full || echo full
        ls /dev/pts; readlink /dev/ptmx; echo out > /dev/stdout
    """
    lines = stage.see(stage.container(), script).split("\n")
    assert [line for line in lines if "write error" not in line] == [
        "3", "3", "full", "ptmx", "pts/ptmx", "out", "",
    ]  # fmt: skip


def test_the_kernels_secrets_are_masked(stage: Stage) -> None:
    """Masked files are empty, masked directories too, and settings cannot be written."""
    script = """
        cat /proc/interrupts /proc/timer_list /proc/keys | wc -c
        ls -A /sys/firmware /proc/acpi /proc/scsi 2> /dev/null | wc -w
        echo 1 > /proc/sys/kernel/panic || echo refused
        touch /sys/firmware/x || echo refused
        cat /proc/sys/net/ipv4/ping_group_range
    """
    out = stage.see(stage.container(), script).splitlines()
    assert out[0] == "0"
    assert int(out[1]) <= 2  # `ls` names the directories themselves
    assert [line for line in out if line == "refused"] == ["refused", "refused"]
    assert out[-1].split() == ["0", "0"]


def test_volumes_of_every_kind_are_there(stage: Stage) -> None:
    """Bound, named and tmpfs volumes, one beneath another, writable or not as was asked."""
    source = stage.data / "source"
    source.mkdir()
    (source / "file").write_text("from the machine\n")
    volumes = (
        Volume(VolumeKind.TMPFS, "/srv/a/b", size=4096, mode=0o700),
        Volume(VolumeKind.NAMED, "/srv", "data"),
        Volume(VolumeKind.BIND, "/srv/a", str(source)),
        Volume(VolumeKind.BIND, "/etc/conf", str(source / "file"), read_only=True),
    )
    (source / "b").mkdir()
    script = """
        cat /etc/conf; echo x > /etc/conf || echo refused
        touch /srv/named /srv/a/bound /srv/a/b/ram && stat -c '%a %u' /srv/a/b
    """
    out = stage.see(stage.container(volumes=volumes), script).splitlines()
    assert out[0] == "from the machine"
    assert out[-2:] == ["refused", "700 0"]
    assert (stage.data / "volumes/shop/data/data/named").stat().st_uid == 0
    assert (source / "bound").stat().st_uid == 0
    assert not (source / "b/ram").exists()


def test_volumes_of_the_containers_own_are_as_their_options_say(stage: Stage) -> None:
    """An anonymous one begins with the image's content; a tmpfs has an owner; nothing executes."""
    (stage.image / "srv").mkdir()
    (stage.image / "srv/script").write_text("#!/bin/sh\necho ran\n")
    (stage.image / "srv/script").chmod(0o755)
    os.chown(stage.image / "srv", 33, 34)
    volumes = (
        Volume(VolumeKind.ANONYMOUS, "/srv", noexec=True, nosuid=True),
        Volume(VolumeKind.TMPFS, "/ram", uid=1000, gid=1001, mode=0o700, noexec=True),
    )
    script = """
        stat -c '%u:%g %a' /srv /ram; /srv/script || echo refused; cat /srv/script > /srv/new
        cat /proc/self/mountinfo; ls /srv
    """
    out = stage.see(stage.container(volumes=volumes), script)
    lines = out.splitlines()
    assert lines[:2] == ["33:34 755", "1000:1001 700"]
    assert "refused" in lines
    assert lines[-2:] == ["new", "script"]
    found = mounts("\n".join(line for line in lines if " - " in line))
    assert {"noexec", "nosuid", "nodev"} <= found["/srv"][1]
    assert {"noexec", "nosuid", "nodev"} <= found["/ram"][1]
    assert not (stage.image / "srv/new").exists()


@pytest.mark.parametrize("propagation", list(Propagation))
def test_only_a_slave_sees_what_is_mounted_later(propagation: Propagation, stage: Stage) -> None:
    """The machine's later mount arrives in the running container, or does not, as was asked."""
    source = stage.data / "source"
    (source / "later").mkdir(parents=True)
    for name in ("up", "go"):
        os.mkfifo(source / name, 0o666)
    volume = Volume(VolumeKind.BIND, "/srv", str(source), propagation=propagation)
    subprocess.run(["mount", "--bind", str(source), str(source)], check=True)
    subprocess.run(["mount", "--make-shared", str(source)], check=True)

    def mount_later() -> None:
        (source / "up").read_text()
        tree = mount.new_filesystem("tmpfs", (("mode", "755"),))
        Path(f"/proc/self/fd/{tree}/arrived").touch()
        mount.attach(tree, source / "later")
        os.close(tree)
        (source / "go").write_text("go\n")

    machine = threading.Thread(target=mount_later)
    machine.start()
    try:
        script = "echo up > /srv/up; cat /srv/go; ls /srv/later; touch /srv/later/x || echo refused"
        out = stage.see(stage.container(volumes=(volume,)), script).split()
        machine.join()
        assert ("arrived" in out) == (propagation is Propagation.SLAVE)
    finally:
        mount.unmount(source / "later")
        mount.unmount(source)


def test_a_read_only_root_is_one_but_its_volumes_are_not(stage: Stage) -> None:
    """Missing mount points are made, and then nothing more."""
    volumes = (Volume(VolumeKind.TMPFS, "/new/point"),)
    script = "touch /x || echo refused; touch /new/point/x && echo written"
    out = stage.see(stage.container(read_only=True, volumes=volumes), script).splitlines()
    assert out[-2:] == ["refused", "written"]


def test_the_hosts_file_follows_the_supervisor(stage: Stage) -> None:
    """It has our text, belongs to root, and is not the container's to write."""
    script = "cat /etc/hosts; stat -c '%u %a' /etc/hosts; echo x > /etc/hosts || echo refused"
    out = stage.see(stage.container(), script)
    assert files.hosts("web") in out
    assert out.splitlines()[-1] == "refused"
    assert "0 644" in out


def test_on_the_machines_network_sysfs_is_the_machines(stage: Stage) -> None:
    """It is read-only, and no cgroup of another is writable through it."""
    container = stage.container(network_mode=NetworkMode.HOST)
    found = mounts(stage.see(container, "cat /proc/self/mountinfo"))
    assert found["/sys"][0] == "sysfs"
    assert "ro" in found["/sys"][1]
    assert found["/sys/fs/cgroup"][0] == "cgroup2"
    assert "ro" in found["/sys/fs/cgroup"][1]


def test_links_in_the_place_of_system_directories_lead_nowhere(stage: Stage) -> None:
    """An image whose /dev, /proc or /sys is a link does not start (CVE-2026-41579)."""
    for name in ("dev", "proc", "sys"):
        (stage.image / name).symlink_to("../../../tmp")
        with pytest.raises(SpawnError, match=f"`/{name}`"):
            stage.see(stage.container(), "true")
        (stage.image / name).unlink()
        remove_writable(stage.data / "instance")


def test_links_on_the_way_to_a_volume_stay_inside(stage: Stage) -> None:
    """An absolute link of the image is the container's /, not the machine's."""
    outside = stage.data / "outside"
    outside.mkdir()
    (stage.image / "way").symlink_to(outside)
    volumes = (Volume(VolumeKind.TMPFS, "/way/data"),)
    out = stage.see(stage.container(volumes=volumes), f"ls {outside}")
    assert out.split() == ["data"]
    assert list(outside.iterdir()) == []


def test_a_bound_root_needs_its_mount_points(stage: Stage) -> None:
    """Without them the error names the first; with them the container runs, read-only."""
    container = stage.container(root=RootStrategy.BIND)
    with pytest.raises(ImageError, match="no directory `/proc`"):
        stage.see(container, "true")
    for name in ("proc", "sys", "dev"):
        (stage.image / name).mkdir()
    for name in ("hosts", "hostname"):
        (stage.image / "etc" / name).touch()
    assert stage.see(container, "touch /x || echo refused").splitlines()[-1] == "refused"


def test_a_copied_root_runs_as_an_overlay_does(stage: Stage) -> None:
    """The container owns its copy and may change it."""
    container = stage.container(root=RootStrategy.COPY)
    assert stage.see(container, "stat -c %u /bin /; touch /x && echo written").split() == [
        "0", "0", "written",
    ]  # fmt: skip
    assert (stage.data / "instance/root/x").stat().st_uid == 0


def test_with_image_host_the_supervisors_directories_are_masked(stage: Stage) -> None:
    """The machine is there, and the data of every other container is not."""
    container = Container("web", Image(ImageKind.HOST, "/"))
    try:
        out = stage.see(container, f"ls {stage.data} | wc -l; ls -d /usr")
    except HostError as error:
        pytest.skip(f"machine: {error}")
    assert out.split() == ["0", "/usr"]


def test_no_descriptor_is_left_open(stage: Stage) -> None:
    """After a start, and after one that failed, there are as many as before."""
    stage.see(stage.container(), "true")
    before = len(os.listdir("/proc/self/fd"))
    stage.see(stage.container(), "true")
    bad = stage.container(volumes=(Volume(VolumeKind.BIND, "/x", "/nowhere"),))
    with pytest.raises(HostError, match="does not exist"):
        stage.see(bad, "true")
    assert len(os.listdir("/proc/self/fd")) == before
