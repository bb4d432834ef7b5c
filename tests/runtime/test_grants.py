"""Secrets and configs in real containers: there for whom they are meant, and for nobody else."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from anchor_supervisor.errors import ImageError, KernelError
from anchor_supervisor.fleet.model import Fleet, Grant, GrantKind, Limits, LimitsMode
from anchor_supervisor.kernel.spawn import SpawnError
from anchor_supervisor.rootfs.grants import GrantFiles
from anchor_supervisor.runtime import explain, holdings
from anchor_supervisor.runtime.holdings import Holdings
from anchor_supervisor.supervision.states import ExitStatus, State
from real_fleet import WEB, Workshop, open_descriptors, sh

pytestmark = pytest.mark.root

HUSH = b"hush-not-a-word"
STRICT = LimitsMode.STRICT


def secret(target: str = "/run/secrets/token", content: bytes = HUSH, **more: Any) -> Grant:
    return Grant(GrantKind.SECRET, "token", target, content, **more)


def granted(fleet: Fleet, *grants: Grant) -> Fleet:
    """The fleet, with these secrets and configs in its one container."""
    [container] = fleet.containers.values()
    return evolve(fleet, containers={container.name: evolve(container, grants=grants)})


async def said(workshop: Workshop, fleet: Fleet) -> str:
    """What the container says, whose command must succeed."""
    async with workshop.running(fleet) as real:
        assert await real.complete() == ExitStatus(code=0)
        return real.said()


LOOK = "id -u; cat /run/secrets/token; echo; ls -ln /run/secrets/token | awk '{print $1, $3, $4}'"


async def test_a_secret_belongs_to_the_containers_user(workshop: Workshop) -> None:
    """It can be read by whom it is for, and written and executed by nobody."""
    script = (
        f"{LOOK}; echo x > /run/secrets/token || echo refused;"
        "grep /run/secrets/token /proc/self/mountinfo"
    )
    out = await said(workshop, granted(workshop.fleet(sh(script), 'user = "web"'), secret()))
    assert out.splitlines()[:4] == ["1000", HUSH.decode(), "-r-------- 1000 1000", "refused"]
    options = out.splitlines()[4].split()[5]
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(options.split(","))


async def test_a_secret_of_another_is_not_for_the_user(workshop: Workshop) -> None:
    """The mode and the owner are the file's, and the kernel keeps them."""
    script = f"{LOOK}; cat /conf"
    config = Grant(GrantKind.CONFIG, "conf", "/conf", b"for all", 0o444)
    fleet = workshop.fleet(sh(script), 'user = "web"')
    out = await said(workshop, granted(fleet, secret(owner="root"), config))
    assert HUSH.decode() not in out
    assert "-r-------- 0 0" in out
    assert out.endswith("for all")


@pytest.mark.parametrize(
    "lines",
    [
        ["read_only = true"],
        ['root = "copy"'],
        ['user_namespace = "host"'],
        ["init = false"],
        ['volumes = ["tmpfs:/run"]'],
        ['volumes = ["data:/run/secrets"]', "read_only = true", "[volumes.data]"],
    ],
)
async def test_any_root_takes_a_secret(workshop: Workshop, lines: list[str]) -> None:
    """Without /run, read-only, copied, or beneath a volume: the mount point is made."""
    fleet = workshop.fleet(sh(LOOK), *lines)
    out = await said(workshop, granted(fleet, secret()))
    assert out.splitlines() == ["0", HUSH.decode(), "-r-------- 0 0"]


async def test_a_bound_root_needs_the_place(workshop: Workshop) -> None:
    """It is shared and cannot be changed, so the image must have the file."""
    folders = [workshop.rootfs / name for name in ("dev", "proc", "sys")]
    files = [workshop.rootfs / "etc" / name for name in ("hosts", "hostname", "resolv.conf")]
    fleet = granted(workshop.fleet('root = "bind"'), secret())
    try:
        for folder in folders:
            folder.mkdir()
        for file in files:
            file.touch()
        async with workshop.running(fleet) as real:
            with pytest.raises(ImageError, match="no file `/run/secrets/token` to mount on"):
                await real.start()
    finally:  # other tests use the same image
        for folder in folders:
            folder.rmdir()
        for file in files:
            file.unlink()


def _text(name: str) -> str:
    return Path("/proc", name).read_text()


async def test_nothing_tells_what_is_in_a_secret(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file of ours, no table, no answer and no environment has it; the plan has its name."""
    monkeypatch.setattr(explain, "private_mount_namespace", lambda: None)
    fleet = granted(workshop.fleet(), secret(owner="web", mode=0o440))
    plan = repr(explain.explain(fleet))
    assert "mount secret `token` of `web` with mode 0440 on `/run/secrets/token`" in plan
    async with workshop.running(fleet) as real:
        run = await real.start()
        answers = (
            plan,
            repr(fleet),
            repr(run.holdings),
            json.dumps(real.machine.exec_context(WEB)),
            json.dumps(real.machine.root_context(WEB, State.RUNNING)),
            json.dumps(real.machine.facts(WEB)),
            *map(_text, ("self/mountinfo", f"{run.pid}/environ", f"{run.pid}/cmdline")),
        )
        for answer in answers:
            assert HUSH.decode() not in answer
            assert "hush" not in answer
        assert "/run/secrets/token" in real.machine.root_context(WEB, State.RUNNING)["mount_points"]
        for top in (workshop.run_dir, workshop.data_dir):
            assert not [path for path in top.rglob("*") if _holds(path)]


def _holds(path: Path) -> bool:
    return path.is_file() and HUSH in path.read_bytes()


async def test_a_running_container_sees_new_content(workshop: Workshop) -> None:
    """In the same file; it is there for the next run as well, and other keys are left alone."""
    script = "while read -r line < /fifo; do cat /run/secrets/token; echo .; done"
    fifo = workshop.data_dir / "fifo"
    os.mkfifo(fifo, 0o666)
    fleet = granted(workshop.fleet(sh(script), f'volumes = ["{fifo}:/fifo"]'), secret())
    async with workshop.running(fleet) as real:
        run = await real.start()

        expected = ""

        async def ask(content: bytes) -> None:
            nonlocal expected
            expected += f"{content.decode()}.\n"
            await trio.to_thread.run_sync(fifo.write_text, "go\n")
            assert await real.until_said(expected) == expected

        await ask(HUSH)
        container = run.holdings.container
        for content in (b"a much longer one than it was", b"short"):
            changed = evolve(container, grants=(secret(content=content),))
            await real.machine.refresh(WEB, changed)
            await ask(content)
        run.signal("KILL")
        await run.wait()
        again = await real.start()
        assert again.holdings is run.holdings
        await ask(b"short")


async def test_a_restart_makes_them_anew(workshop: Workshop) -> None:
    """What is no longer granted is gone, what is new is there, and no descriptor stays."""
    script = "cd /run/secrets; for name in *; do cat $name; done"
    fleet = granted(workshop.fleet(sh(script)), secret(), secret("/run/secrets/two", b"-two"))
    async with workshop.running(fleet) as real:
        assert await real.complete() == ExitStatus(code=0)
        assert real.said() == f"{HUSH.decode()}-two"
        held = real.machine.holdings(WEB)
        assert held is not None
        before = open_descriptors()
        grants = (secret("/run/secrets/two", b"-2"), secret("/run/secrets/three", b"-3"))
        real.machine.reshape(WEB, evolve(held.container, grants=grants), fresh=False)
        assert await real.complete() == ExitStatus(code=0)
        assert real.said().endswith("-two-3-2")
        real.machine.reshape(WEB, evolve(held.container, grants=()), fresh=False)
        assert await real.complete() == ExitStatus(code=0)
        after = open_descriptors()
        assert len(after) < len(before)


def _content(held: Holdings) -> bytes:
    """What is in the first secret now, seen through the supervisor's own descriptor."""
    assert held._grants is not None
    return Path(f"/proc/self/fd/{held._grants._mount}/0").read_bytes()


async def test_a_limit_that_is_refused_does_not_keep_a_secret_old(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that can be brought in line is, and the limits are tried again by the next change."""
    async with workshop.running(granted(workshop.fleet(), secret())) as real:
        held = (await real.start()).holdings
        newer = evolve(held.container, grants=(secret(content=b"new"),), limits=Limits(pids=7))
        with monkeypatch.context() as patched:
            patched.setattr(holdings, "change_limits", _refuse)
            with pytest.raises(KernelError, match="refused"):
                held.refresh(newer, STRICT)
        assert _content(held) == b"new"
        assert held.container is newer
        asked: list[Limits] = []
        monkeypatch.setattr(holdings, "change_limits", lambda _, limits, __: asked.append(limits))
        held.refresh(newer, STRICT)
        held.refresh(newer, STRICT)
        assert asked == [Limits(pids=7)]


def _refuse(*_: object) -> None:
    raise KernelError(22, "refused")


async def test_what_changes_during_a_start_is_not_lost(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files were written already, and nobody had them to rewrite yet."""
    async with workshop.running(granted(workshop.fleet(), secret())) as real:
        run = await real.start()
        held = run.holdings
        run.signal("KILL")
        await run.wait()
        hold = Holdings.hold_grants

        def late(self: Holdings, files: GrantFiles | None) -> None:
            self.refresh(evolve(self.container, grants=(secret(content=b"new"),)), STRICT)
            hold(self, files)

        monkeypatch.setattr(Holdings, "hold_grants", late)
        again = await real.start()
        assert again.holdings is held
        assert _content(held) == b"new"


async def test_an_owner_that_is_none_is_told(workshop: Workshop) -> None:
    """The run is not begun, and trying again cannot help."""
    async with workshop.running(granted(workshop.fleet(), secret(owner="ghost"))) as real:
        with pytest.raises(ImageError, match="secret `token`: no user `ghost`") as caught:
            await real.start()
        assert real.machine.permanent(caught.value)


@contextmanager
def _link(path: Path, target: str) -> Iterator[None]:
    """Put a link into the image, which several tests use, for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    try:
        yield
    finally:
        path.unlink()
        if path.parent.name == "secrets":
            shutil.rmtree(path.parents[1])


class TestHostileImages:
    """Whatever the image has in the place of the target, nothing outside it is touched."""

    @pytest.fixture
    def outside(self, workshop: Workshop) -> Path:
        """A directory of the machine, and in it what the image wants to reach."""
        place = workshop.data_dir / "outside"
        place.mkdir()
        (place / "token").write_text("the machine's\n")
        return place

    async def test_run_is_a_link_to_etc(self, workshop: Workshop) -> None:
        """The file is where the link leads within the root."""
        with _link(workshop.rootfs / "run", "/etc"):
            out = await said(workshop, granted(workshop.fleet(sh(LOOK)), secret()))
        assert out.splitlines()[1] == HUSH.decode()
        assert not (workshop.rootfs / "etc/secrets").exists()
        assert "secrets" not in os.listdir("/etc")

    @pytest.mark.parametrize("up", ["", "../../../../../.."])
    async def test_links_out_of_the_root_stay_in_it(
        self, workshop: Workshop, outside: Path, up: str
    ) -> None:
        """Absolute or climbing, to a directory or to a file that the machine has."""
        script = f"{LOOK}; ls {outside}"
        fleet = granted(workshop.fleet(sh(script)), secret())
        for link, to in (("run", outside), ("run/secrets", outside), ("run/secrets/token", None)):
            target = f"{up}{to or outside / 'token'}"
            with _link(workshop.rootfs / link, target):
                out = await said(workshop, fleet)
            assert out.splitlines()[1] == HUSH.decode()
            assert os.listdir(outside) == ["token"]
            assert (outside / "token").read_text() == "the machine's\n"

    async def test_a_target_that_is_a_link_covers_what_it_leads_to(
        self, workshop: Workshop
    ) -> None:
        """As with volumes; it is the container's own file, and only in the container."""
        script = "cat /etc/passwd"
        with _link(workshop.rootfs / "run/secrets/token", "/etc/passwd"):
            out = await said(workshop, granted(workshop.fleet(sh(script)), secret()))
        assert out == HUSH.decode()
        assert "web" in (workshop.rootfs / "etc/passwd").read_text()

    @pytest.mark.parametrize("magic", ["/proc/self/fd/3", "/proc/self/root/x", "/proc/1/cwd/x"])
    async def test_magic_links_are_refused(self, workshop: Workshop, magic: str) -> None:
        """They are the one way to a descriptor that the child still has; the step is named."""
        with _link(workshop.rootfs / "run/secrets/token", magic):
            async with workshop.running(granted(workshop.fleet(), secret())) as real:
                with pytest.raises(SpawnError, match="mount secret `token`"):
                    await real.start()

    async def test_loops_and_directories_are_refused(self, workshop: Workshop) -> None:
        """Nothing is mounted, and the error says where it should have been."""
        place = workshop.rootfs / "run/secrets/token"
        fleet = granted(workshop.fleet(), secret())
        with _link(place, "token"):
            async with workshop.running(fleet) as real:
                with pytest.raises(SpawnError, match=re.escape("`/run/secrets/token`")):
                    await real.start()
        with _link(place, "/srv"):
            async with workshop.running(fleet) as real:
                with pytest.raises(SpawnError, match="mount secret `token`"):
                    await real.start()
