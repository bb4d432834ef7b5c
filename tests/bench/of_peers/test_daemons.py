"""Engines with a store: their settings, their commands, and a daemon that is or is not there."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from peers.corner import Corner
from peers.daemons import (
    Store,
    daemon,
    daemon_command,
    daemon_memory,
    docker,
    podman,
    podman_settings,
    resource_limits,
    running,
)
from peers.engines import PIDS, LeftOutError

Install = Callable[[str, str], Path]

PODMAN = Store("podman", "4.3.1", "image-7", "/group")
DOCKER = Store("docker", "20.10", "image-7", None)


def test_a_container_is_made_with_a_limit_and_in_the_corner() -> None:
    """A daemon that is not ours decides about groups by itself."""
    assert PODMAN.run("x", "-d") == [
        *("podman", "run", "--name", "x", f"--pids-limit={PIDS}", "--cgroup-parent=/group", "-d"),
    ]
    assert DOCKER.run("x") == ["docker", "run", "--name", "x", f"--pids-limit={PIDS}"]


@pytest.mark.parametrize("store", [PODMAN, DOCKER])
def test_an_engine_is_asked_with_its_network_and_without(store: Store) -> None:
    """What it makes by default, and none; said beside the figure."""
    bridge, none = store.engines()
    assert (bridge.network, none.network) == (True, False)
    assert bridge.name == f"{store.program}, network"
    assert none.name == f"{store.program}, no network"
    assert list(bridge.once("x"))[-4:] == ["--rm", "--network=bridge", "image-7", "/first"]
    assert none.wait is not None
    assert list(none.wait("x"))[-5:] == ["-d", "--network=none", "image-7", "/first", "wait"]
    assert "address on a bridge" in bridge.isolation
    assert "no address" in none.isolation


def test_removing_does_not_wait_for_a_polite_end() -> None:
    """It is a kill and a removal, by one command."""
    assert PODMAN.remove(["a", "b"]) == [["podman", "rm", "-f", "-t", "0", "a", "b"]]
    assert DOCKER.remove(["a", "b"]) == [["docker", "rm", "-f", "a", "b"]]


def test_podman_gets_no_more_than_there_is(place: Corner) -> None:
    """Each resource as both limits; and another runtime where its own refuses the machine."""
    settings = podman_settings(place, {"nofile": 20, "nproc": 30})
    assert 'default_ulimits = ["nofile=20:20", "nproc=30:30"]\n' in settings
    assert 'runtime = "runc"\n' in settings
    assert f'tmp_dir = "{place.run}/libpod"\n' in settings


def test_podman_keeps_its_runtime_elsewhere(place: Corner) -> None:
    """One version of control groups is what it wants."""
    pure = Corner(place.token, place.directory, place.run, (), Path("/sys/fs/cgroup"), mixed=False)
    assert "runtime =" not in podman_settings(pure, {})


def test_resource_limits_are_what_this_process_has() -> None:
    """No more processes than there can be at all."""
    limits = resource_limits()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert limits.get("nofile", resource.RLIM_INFINITY) == hard
    assert 0 < limits["nproc"] <= int(Path("/proc/sys/kernel/pid_max").read_text())


def test_podman_is_set_up_by_its_variables(
    install: Install, place: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that its commands are those a person types; our root is imported once."""
    monkeypatch.setenv("CONTAINERS_CONF", "")
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", "")
    asked = place.run / "asked"
    install("tar", 'exec /bin/tar "$@"')
    install("podman", f'echo "$@" >>{asked}; echo podman version 4.3.1')
    (place.directory / "root").mkdir()
    store = podman(place, place.directory / "root")
    assert store == Store("podman", "4.3.1", "anchor-bench-7", "/anchor-bench-7")
    assert f"import {place.directory}/root.tar anchor-bench-7\n" in asked.read_text()
    place.tidy.close()
    words = asked.read_text().splitlines()
    assert words[-2] == "ps -aq --filter name=anchor-bench-7"
    assert words[-1].startswith("rm -f -t 0 ")


def test_a_store_that_takes_no_image_is_left_out(install: Install, place: Corner) -> None:
    """With the engine's words."""
    install("tar", 'exec /bin/tar "$@"')
    install("podman", 'case $1 in import) echo "no space" >&2; exit 125;; *) echo 4.3.1;; esac')
    (place.directory / "root").mkdir()
    with pytest.raises(LeftOutError, match=r"^no space$"):
        podman(place, place.directory / "root")


def test_a_docker_without_a_daemon_says_what_helps(
    install: Install, place: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No daemon is started that nobody has asked for."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    install("docker", "case $1 in info) exit 1;; *) echo Docker version 28.2.2;; esac")
    with pytest.raises(LeftOutError, match="does not answer; --with-dockerd starts one"):
        docker(place, place.directory, private=False)


def test_a_docker_of_another_machine_is_not_asked(
    install: Install, place: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it took there is no figure of this machine."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
    install("docker", "echo Docker version 28.2.2")
    with pytest.raises(LeftOutError, match=r"^its daemon is not on this machine$"):
        docker(place, place.directory, private=False)


def test_a_docker_that_answers_is_asked(
    install: Install, place: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both versions are told where they differ; the image goes at the end, and it alone."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    asked = place.run / "asked"
    install("tar", 'exec /bin/tar "$@"')
    install(
        "docker",
        f'echo "$@" >>{asked}\n'
        "case $1 in version) echo 20.10.24;; ps) ;; *) echo Docker version 28.2.2, build e;; esac",
    )
    (place.directory / "root").mkdir()
    store = docker(place, place.directory / "root", private=False)
    assert store == Store("docker", "20.10.24 (client 28.2.2)", "anchor-bench-7", None)
    place.tidy.close()
    assert asked.read_text().splitlines()[-2:] == [
        "ps -aq --filter name=anchor-bench-7",
        "rmi -f anchor-bench-7",
    ]


def test_a_daemon_of_our_own_is_in_the_corner(place: Corner) -> None:
    """Whatever it is told by name, and its mounts in a namespace of their own."""
    words = daemon_command(place, "unix:///x")
    assert words[:3] == ["unshare", "--mount", "dockerd"]
    for option in ("--config-file", "--data-root", "--exec-root", "--pidfile"):
        where = Path(words[words.index(option) + 1])
        assert where.is_relative_to(place.run) or where.is_relative_to(place.directory)
    assert words[words.index("--cgroup-parent") + 1] == "/anchor-bench-7"


def test_a_daemon_that_does_not_start_is_left_out(
    install: Install, place: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its last words; and whose daemon is asked is as it was."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///mine")
    install("docker", "exit 1")
    install("unshare", 'shift; exec "$(dirname "$0")/$@"')
    install("dockerd", 'test "$1" = --version && echo 20.10 && exit; echo no iptables; exit 1')
    with pytest.raises(LeftOutError, match=r"^dockerd: no iptables$"), daemon(place):
        pass
    assert os.environ["DOCKER_HOST"] == "unix:///mine"


def test_daemons_are_weighed_by_whose_they_are(place: Corner) -> None:
    """None of ours runs here, whatever others do."""
    assert daemon_memory(place, private=True) == {}


def test_containers_are_found_by_their_names(install: Install, place: Corner) -> None:
    """Whatever state they are in."""
    asked = place.run / "asked"
    install("docker", f'echo "$@" >{asked}; printf "aa\\nbb\\n"')
    assert running(DOCKER, "stack-10", place) == ["aa", "bb"]
    assert asked.read_text() == "ps -aq --filter name=stack-10\n"
