"""The mount plan: what comes before what, and what a volume may never do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import FleetError
from anchor_supervisor.fleet.model import Volume, VolumeKind
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.steps import (
    Attach,
    EnterRoot,
    MakeReadOnly,
    MakeSymlink,
    Mask,
    OpenFilesystem,
    Slot,
    Step,
    WriteBeneath,
)
from anchor_supervisor.rootfs.plan import (
    DEVICES,
    MASKED,
    READ_ONLY,
    MountedVolume,
    View,
    mount_points,
    root_steps,
    target_problem,
)

ETC = {"/etc/hosts": 50, "/etc/hostname": 51, "/etc/resolv.conf": 52}
VIEW = View(
    root=10,
    null=11,
    devices={name: 20 + number for number, name in enumerate(DEVICES)},
    etc=ETC,
    processors=2,
)

names = st.text("abcdefgh", min_size=1, max_size=3)
targets = st.lists(names, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))


def bind(target: str, fd: int = 60) -> MountedVolume:
    return MountedVolume(Volume(VolumeKind.BIND, target, "/source"), fd)


def tmpfs(target: str, **options: int) -> MountedVolume:
    return MountedVolume(Volume(VolumeKind.TMPFS, target, **options))  # type: ignore[arg-type]


def attached(steps: Sequence[Step]) -> list[str]:
    return [step.target for step in steps if isinstance(step, Attach)]


@st.composite
def views(draw: st.DrawFn) -> View:
    """Any combination of choices and volumes."""
    chosen = draw(st.lists(targets, max_size=6, unique=True))
    volumes = [tmpfs(target) if draw(st.booleans()) else bind(target) for target in chosen]
    return evolve(
        VIEW,
        volumes=tuple(volumes),
        read_only=draw(st.booleans()),
        masked_paths=draw(st.booleans()),
        sysfs=draw(st.none() | st.just(70)),
        hidden=tuple(draw(st.lists(targets, max_size=2))),
    )


@given(views())
def test_the_machines_proc_and_sysfs_are_in_sight_when_ours_are_made(view: View) -> None:
    """The kernel gives a new procfs or sysfs only to whoever sees one whole."""
    steps = root_steps(view)
    entered = next(i for i, step in enumerate(steps) if isinstance(step, EnterRoot))
    made = {step.fstype for step in steps[:entered] if isinstance(step, OpenFilesystem)}
    assert made == ({"proc"} if view.sysfs is not None else {"proc", "sysfs"})
    assert not any(isinstance(step, Attach) for step in steps[:entered])


@given(views())
def test_no_volume_can_undo_a_mask(view: View) -> None:
    """Everything hidden or protected is so before the first mount that the user chose."""
    steps = root_steps(view)
    chosen = {mounted.volume.target for mounted in view.volumes} | set(view.etc)
    covers = [i for i, step in enumerate(steps) if isinstance(step, Mask)]
    covers += [i for i, s in enumerate(steps) if isinstance(s, MakeReadOnly) and not s.remount]
    first = next(
        (i for i, s in enumerate(steps) if isinstance(s, Attach) and s.target in chosen), len(steps)
    )
    assert all(cover < first for cover in covers)


@given(views())
def test_parents_are_mounted_before_what_is_beneath_them(view: View) -> None:
    """No mount ever hides an earlier one that the container was promised."""
    order = attached(root_steps(view))
    for earlier, target in enumerate(order):
        assert not any(
            later != target and target.startswith(later + "/") for later in order[earlier + 1 :]
        )


@given(views())
def test_the_root_turns_read_only_last_or_not_at_all(view: View) -> None:
    """Mount points may have to be made in the root until the end."""
    steps = root_steps(view)
    remounts = [step for step in steps if isinstance(step, MakeReadOnly) and step.remount]
    assert remounts == ([MakeReadOnly("/", remount=True)] if view.read_only else [])
    assert not view.read_only or steps[-1] is remounts[0]


@given(views())
def test_every_slot_is_made_once_and_before_it_is_used(view: View) -> None:
    """A step never refers to a descriptor that is not there yet."""
    made: set[Slot] = set()
    for step in root_steps(view):
        used: list[object] = []
        if isinstance(step, (Attach, WriteBeneath)):
            used = [step.fd]
        elif isinstance(step, Mask):
            used = [step.empty, step.null]
        assert all(slot in made for slot in used if isinstance(slot, Slot))
        if isinstance(step, OpenFilesystem):
            assert step.slot not in made
            made.add(step.slot)


@given(views())
def test_every_step_can_be_said_and_sent(view: View) -> None:
    """A plan prints one line a step and encodes to what C takes."""
    for step in root_steps(view):
        assert step.describe()
        assert "\n" not in step.describe()
        operation, integers, strings = step.encode()
        assert operation > 0
        assert all(isinstance(number, int) for number in integers)
        assert all(b"\0" not in text for text in strings)


@given(views())
def test_descriptors_of_the_view_are_each_used_once(view: View) -> None:
    """A detached mount can be attached only once."""
    used = [s.fd for s in root_steps(view) if isinstance(s, Attach) and isinstance(s.fd, int)]
    prepared = [*view.devices.values(), *view.etc.values()]
    prepared += [v.fd for v in view.volumes if v.fd is not None]
    prepared += [view.sysfs] if view.sysfs is not None else []
    assert sorted(used) == sorted(prepared)


@pytest.mark.parametrize(
    ("target", "attributes"),
    [
        ("/proc", "nosuid nodev noexec"),
        ("/sys", "rdonly nosuid nodev noexec"),
        ("/sys/fs/cgroup", "rdonly nosuid nodev noexec"),
        ("/dev", "nosuid strictatime"),
        ("/dev/pts", "nosuid noexec"),
        ("/dev/shm", "nosuid nodev noexec"),
        ("/dev/mqueue", "nosuid nodev noexec"),
    ],
)
def test_the_kernels_file_systems_are_mounted_as_docker_mounts_them(
    target: str, attributes: str
) -> None:
    """The attributes of every mount that is not the user's are the peers' own."""
    steps = root_steps(VIEW)
    at = next(step for step in steps if isinstance(step, Attach) and step.target == target)
    made = next(s for s in steps if isinstance(s, OpenFilesystem) and s.slot == at.fd)
    expected = sum(getattr(mount, f"MOUNT_ATTR_{word.upper()}") for word in attributes.split())
    assert made.attributes == expected
    assert at.strict


def test_dev_holds_the_six_devices_and_the_usual_links() -> None:
    """Programs find what every distribution has in /dev, and nothing else."""
    steps = root_steps(VIEW)
    inside = {target.removeprefix("/dev/") for target in attached(steps) if "/dev/" in target}
    links = {step.path.removeprefix("/dev/") for step in steps if isinstance(step, MakeSymlink)}
    assert inside == {*DEVICES, "pts", "shm", "mqueue"}
    assert links == {"fd", "stdin", "stdout", "stderr", "ptmx"}


def test_masks_follow_the_switch_but_hidden_paths_do_not() -> None:
    """`masked_paths = false` shows the kernel's files, never the supervisor's own directories."""
    masked = root_steps(evolve(VIEW, hidden=("/var/lib/anchor",)))
    bare = root_steps(evolve(VIEW, hidden=("/var/lib/anchor",), masked_paths=False))
    assert {s.path for s in bare if isinstance(s, Mask)} == {"/var/lib/anchor"}
    assert not any(isinstance(step, MakeReadOnly) for step in bare)
    assert {s.path for s in masked if isinstance(s, Mask)} >= {*MASKED, "/var/lib/anchor"}
    assert [s.path for s in masked if isinstance(s, MakeReadOnly)] == list(READ_ONLY)


def test_every_processors_thermal_counter_is_masked() -> None:
    """A counter of heat is a side channel, one per processor."""
    masked = {step.path for step in root_steps(VIEW) if isinstance(step, Mask)}
    counters = {path for path in masked if path.endswith("/thermal_throttle")}
    assert counters == {
        f"/sys/devices/system/cpu/cpu{number}/thermal_throttle" for number in (0, 1)
    }


def test_on_the_machines_network_its_own_sysfs_is_shown() -> None:
    """Only the owner of a network namespace may make a sysfs."""
    steps = root_steps(evolve(VIEW, sysfs=70))
    assert Attach(70, "/sys", "sysfs", strict=True) in steps
    assert not any(isinstance(step, WriteBeneath) for step in steps)


def test_a_volume_on_a_generated_file_wins() -> None:
    """Whoever mounts their own /etc/hosts wants that one."""
    steps = root_steps(evolve(VIEW, volumes=(bind("/etc/hosts", 61),)))
    at = [step.fd for step in steps if isinstance(step, Attach) and step.target == "/etc/hosts"]
    assert at == [61]


def test_a_tmpfs_volume_has_its_size_and_mode() -> None:
    """Size in bytes and mode in octal reach the file system as they were given."""
    steps = root_steps(evolve(VIEW, volumes=(tmpfs("/run", size=4096, mode=0o750),)))
    made = next(s for s in steps if isinstance(s, OpenFilesystem) and ("mode", "750") in s.options)
    assert made.options == (("mode", "750"), ("size", "4096"))


def test_a_tmpfs_volume_has_its_owner_and_flags() -> None:
    """Ids go to the kernel as the container numbers them: it makes the file system itself."""
    steps = root_steps(evolve(VIEW, volumes=(tmpfs("/run", uid=5, gid=6, noexec=True),)))
    made = [one for one in steps if isinstance(one, OpenFilesystem)][-1]
    assert made.options == (("mode", "1777"), ("uid", "5"), ("gid", "6"))
    assert made.attributes & mount.MOUNT_ATTR_NOEXEC


def test_a_plan_tells_what_kind_of_volume_it_mounts() -> None:
    """`--plan` names the source, the part of it, and what it may not be used for."""
    volumes = (
        MountedVolume(Volume(VolumeKind.ANONYMOUS, "/own"), 90),
        MountedVolume(
            Volume(VolumeKind.NAMED, "/part", "v", read_only=True, subpath="a/b", noexec=True), 91
        ),
    )
    said = [step.describe() for step in root_steps(evolve(VIEW, volumes=volumes))]
    assert "mount the container's own volume on `/own`" in said
    assert "mount volume `v`, from `a/b` down, read-only, noexec on `/part`" in said


def test_too_many_tmpfs_volumes_are_refused_in_words() -> None:
    """Slots are few; running out is the file's problem and says so."""
    volumes = tuple(tmpfs(f"/t{number}") for number in range(25))
    with pytest.raises(FleetError, match="more than 24 tmpfs volumes"):
        root_steps(evolve(VIEW, volumes=volumes))


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "//",
        "/.",
        "relative",
        "",
        "/a/../proc",
        "/proc",
        "//proc",
        "/./proc",
        "/proc/self/attr",
        "/proc//sys/",
        "/sys/firmware",
        "/dev",
        "/dev/null",
        "/dev/shm/x",
        "/x\0y",
    ],
)
def test_a_volume_never_covers_what_is_the_supervisors(target: str) -> None:
    """No spelling of /, /proc, /sys or /dev is a volume's target."""
    assert target_problem(target) is not None
    with pytest.raises(FleetError):
        root_steps(evolve(VIEW, volumes=(bind(target),)))


@pytest.mark.parametrize("target", ["/dev/shm", "/dev/mqueue", "/process", "/system", "/devices/x"])
def test_neighbours_of_reserved_paths_are_fine(target: str) -> None:
    """A prefix of letters is not a parent, and shared memory may be the user's."""
    assert target_problem(target) is None


def test_mount_points_are_those_the_root_must_have() -> None:
    """What lies beneath an earlier mount is made there and needs nothing of the root."""
    view = evolve(VIEW, volumes=(bind("/data", 60), bind("/data/deep", 61)))
    assert dict(mount_points(root_steps(view))) == {
        "/proc": True,
        "/sys": True,
        "/dev": True,
        "/data": True,
        "/etc/hosts": False,
        "/etc/hostname": False,
        "/etc/resolv.conf": False,
    }
