"""Programs without a daemon: whether they are here, and by which command they are asked."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peers.corner import Corner
from peers.engines import MAKERS, PIDS, LeftOutError, configured, installed, version_of

IMAGE = Path("/image")
SPEC: dict[str, Any] = {
    "process": {"terminal": True, "args": ["sh"], "cwd": "/"},
    "root": {"path": "rootfs", "readonly": True},
    "linux": {"namespaces": [{"type": "pid"}], "resources": {"devices": [{"allow": False}]}},
}

Install = Callable[[str, str], Path]


def test_who_is_not_installed_is_left_out(install: Install) -> None:
    """Each that a machine may lack says so in the same words."""
    install("nothing", "true")
    with pytest.raises(LeftOutError, match=r"^not installed$"):
        installed("bwrap")


@pytest.mark.parametrize("name", ["unshare", "bwrap", "crun", "runc", "lxc", "systemd-nspawn"])
def test_every_maker_looks_for_its_program(name: str, install: Install, place: Corner) -> None:
    """Before it makes anything."""
    install("nothing", "true")
    with pytest.raises(LeftOutError, match=r"^not installed$"):
        list(MAKERS[name](place, IMAGE))


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("bubblewrap 0.8.0", "0.8.0"),
        ("unshare from util-linux 2.38.1", "2.38.1"),
        ("systemd 252 (252.39-1~deb12u1)\n+PAM", "252"),
        ("docker-compose version 1.29.2, build unknown", "1.29.2"),
        ("Docker Compose version v2.26.1-4", "2.26.1-4"),
        ("runc version 1.1.5+ds1", "1.1.5+ds1"),
        ("nobody knows", "of no known version"),
    ],
)
def test_a_version_is_the_first_number(said: str, version: str, install: Install) -> None:
    """However a program words it."""
    install("one", f"echo '{said}'")
    assert installed("one") == version


def test_one_that_cannot_say_its_version_is_left_out(install: Install) -> None:
    """With its own last words."""
    install("one", "echo usage >&2; echo 'unknown command: compose' >&2; exit 1")
    with pytest.raises(LeftOutError, match=r"^`one version`: unknown command: compose$"):
        version_of(["one", "version"])


def test_bubblewrap(install: Install, place: Corner) -> None:
    """All namespaces; the command lives as long as the container."""
    install("bwrap", "echo bubblewrap 0.8.0")
    (engine,) = MAKERS["bwrap"](place, IMAGE)
    words = " ".join(engine.once("a"))
    assert words.startswith("bwrap --unshare-all --die-with-parent --bind /image / ")
    assert words.endswith(" /first")
    assert engine.wait is not None
    assert list(engine.wait("a")) == [*engine.once("a"), "wait"]
    assert engine.end is None
    assert engine.signal is signal.SIGTERM
    assert "no cgroup" in engine.isolation


def test_unshare_hears_sigkill_alone(install: Install, place: Corner) -> None:
    """It ignores others while it waits for its child."""
    install("unshare", "echo unshare from util-linux 2.38.1")
    (engine,) = MAKERS["unshare"](place, IMAGE)
    assert "--root=/image" in engine.once("a")
    assert "--kill-child" in engine.once("a")
    assert engine.signal is signal.SIGKILL


@pytest.mark.parametrize(("name", "apart"), [("crun", True), ("runc", False)])
def test_a_runtime_gets_a_bundle_a_container(
    name: str, apart: bool, install: Install, place: Corner
) -> None:
    """Its own example, with our root and program, and a control group in the corner."""
    install(name, f"case $1 in spec) echo '{json.dumps(SPEC)}' >config.json;; *) echo 1.2;; esac")
    (engine,) = MAKERS[name](place, IMAGE)
    assert engine.apart is apart
    argv = list(engine.once("x-1"))
    assert argv[:3] == [name, "--root", str(place.run / f"state-{name}")]
    assert argv[3:5] == ["run", "-b"]
    assert argv[6] == "x-1"
    config = json.loads(Path(argv[5], "config.json").read_text())
    assert config["process"]["args"] == ["/first"]
    assert config["linux"]["cgroupsPath"] == "/anchor-bench-7/x-1"
    assert config["linux"]["resources"]["pids"] == {"limit": PIDS}
    assert engine.wait is not None
    assert engine.end is not None
    waiting = list(engine.wait("x-2"))
    assert waiting[3:5] == ["run", "-d"]
    config = json.loads(Path(waiting[6], "config.json").read_text())
    assert config["process"]["args"] == ["/first", "wait"]
    assert [list(one)[3:] for one in engine.end(["x-1", "x-2"])] == [
        ["delete", "-f", "x-1"],
        ["delete", "-f", "x-2"],
    ]


def test_a_runtime_that_has_no_example_is_left_out(install: Install, place: Corner) -> None:
    """With its own words."""
    install("runc", "case $1 in spec) echo 'cannot' >&2; exit 1;; *) echo 1.2;; esac")
    with pytest.raises(LeftOutError, match=r"^cannot$"):
        list(MAKERS["runc"](place, IMAGE))


def test_no_limit_is_asked_for_where_none_can_be(install: Install, place: Corner) -> None:
    """A runtime would refuse to start anything."""
    install("runc", f"case $1 in spec) echo '{json.dumps(SPEC)}' >config.json;; *) echo 1.2;; esac")
    bare = Corner(place.token, place.directory, place.run, (), None, mixed=False)
    (engine,) = MAKERS["runc"](bare, IMAGE)
    config = json.loads(Path(list(engine.once("x"))[5], "config.json").read_text())
    assert "pids" not in config["linux"]["resources"]


def test_only_what_has_to_be_is_changed_in_an_example() -> None:
    """The rest of its isolation is what the runtime itself proposes."""
    config = configured(SPEC, IMAGE, "/group/x", ["/first", "wait"])
    assert config["root"] == {"path": "/image", "readonly": False}
    assert config["process"] == {"terminal": False, "args": ["/first", "wait"], "cwd": "/"}
    assert config["linux"]["namespaces"] == SPEC["linux"]["namespaces"]
    assert config["linux"]["resources"] == {
        "devices": [{"allow": False}],
        "pids": {"limit": PIDS},
    }
    assert SPEC["linux"].keys() == {"namespaces", "resources"}  # it is as it was


def test_lxc_gets_a_file_of_settings(install: Install, place: Corner) -> None:
    """Copy-on-write with a layer of its own, and a control group in the corner."""
    install("lxc-execute", "echo 5.0.2")
    (engine,) = MAKERS["lxc"](place, IMAGE)
    argv = list(engine.once("x"))
    assert argv[-2:] == ["--", "/first"]
    settings = Path(argv[argv.index("-f") + 1]).read_text()
    upper = place.directory / "lxc/x/delta0"
    assert f"lxc.rootfs.path = overlay:/image:{upper}\n" in settings
    assert "lxc.cgroup.dir = anchor-bench-7\n" in settings
    assert upper.is_dir()
    assert engine.end is not None
    (end,) = engine.end(["x"])
    assert list(end) == ["lxc-stop", "-k", "-P", str(place.run / "lxc"), "-n", "x"]


def test_nspawn_registers_where_somebody_listens(install: Install, place: Corner) -> None:
    """On a machine without systemd it has to be told not to, and makes groups where it is."""
    install("systemd-nspawn", "echo 'systemd 252 (252)'")
    (engine,) = MAKERS["systemd-nspawn"](place, IMAGE)
    argv = list(engine.once("x"))
    alone = not Path("/run/systemd/system").exists()
    assert ("--register=no" in argv) is engine.grouped is alone
    assert ("not registered" in engine.isolation) is alone
    assert argv[-3:] == ["-M", "x", "/first"]
