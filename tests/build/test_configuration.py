"""What instructions do to an image's configuration."""

from __future__ import annotations

import copy
import json
import os
import posixpath
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.build import configuration as config
from anchor_supervisor.build import instructions as say
from anchor_supervisor.build.arguments import Scope, global_variables
from anchor_supervisor.build.configuration import (
    changed,
    checked_signal,
    empty,
    inherited,
    joined,
    read_ports,
)
from anchor_supervisor.build.dockerfile import parse
from anchor_supervisor.build.expand import instruction as expanded
from anchor_supervisor.errors import FleetError
from anchor_supervisor.fleet.wording import Mistake
from anchor_supervisor.images.model import Platform

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def after(*said: say.Instruction, base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings after instructions, from those of a base or from nothing."""
    whole: dict[str, Any] = {"config": {}} if base is None else {"config": dict(base)}
    for each in said:
        whole = changed(whole, each)
    settings = whole["config"]
    assert isinstance(settings, dict)
    return settings


def test_scratch_has_a_path_and_a_root() -> None:
    """As docker has it; and the platform that it is for."""
    found = empty(Platform("linux", "arm", "v7"))
    assert found["config"] == {"Env": [f"PATH={config.DEFAULT_PATH}"], "WorkingDir": "/"}
    assert (found["os"], found["architecture"], found["variant"]) == ("linux", "arm", "v7")
    assert found["rootfs"] == {"type": "layers", "diff_ids": []}
    assert "variant" not in empty(Platform())


def test_variables_are_set_where_they_are() -> None:
    """A new one at the end; the order stays."""
    base = {"Env": ["A=1", "B=2", "C=x=y"]}
    settings = after(say.Env((("D", ""), ("B", "3"))), base=base)
    assert settings["Env"] == ["A=1", "B=3", "C=x=y", "D="]
    assert config.environment({"config": settings}) == {"A": "1", "B": "3", "C": "x=y", "D": ""}


def test_sets_grow() -> None:
    """Labels, ports and volumes: what is there stays."""
    settings = after(
        say.Label((("a", "1"), ("b", "2"))),
        say.Label((("a", "3"),)),
        say.Expose(("80", "53/UDP")),
        say.Expose(("8000-8001",)),
        say.Volume(("/a",)),
        say.Volume(("/b", "/a")),
    )
    assert settings == {
        "Labels": {"a": "3", "b": "2"},
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}},
        "Volumes": {"/a": {}, "/b": {}},
    }


def test_shell_forms_are_given_to_the_shell() -> None:
    """The one that is set at that line."""
    settings = after(say.Cmd("a b"), say.Shell(("/bin/bash", "-c")), say.Entrypoint(("x",)))
    assert (settings["Entrypoint"], settings.get("Cmd")) == (["x"], None)
    assert after(say.Cmd("a b"))["Cmd"] == ["/bin/sh", "-c", "a b"]
    assert after(say.Shell(("/bin/bash", "-c")), say.Cmd("a"))["Cmd"] == ["/bin/bash", "-c", "a"]


def test_an_entrypoint_undoes_the_command_it_inherits() -> None:
    """Not the one that its own stage has set; and an empty one leaves none."""
    base = {"Cmd": ["inherited"], "Entrypoint": ["old"]}
    assert after(say.Entrypoint(("x",)), base=base) == {"Entrypoint": ["x"]}
    kept = changed({"config": base}, say.Entrypoint(("x",)), own_command=True)
    assert kept["config"] == {"Cmd": ["inherited"], "Entrypoint": ["x"]}
    assert after(say.Entrypoint(()), base=base) == {}
    assert after(say.Cmd(()), base=base) == {"Entrypoint": ["old"]}


def test_health_checks_are_in_nanoseconds() -> None:
    """What is left to the default is left out; NONE undoes the base's."""
    check = say.HealthCheck("curl x", interval=5, retries=3)
    found = {"Test": ["CMD-SHELL", "curl x"], "Interval": 5, "Retries": 3}
    assert after(check)["Healthcheck"] == found
    assert after(say.HealthCheck(("a",), 1, 2, 3, 4, 5))["Healthcheck"] == {
        "Test": ["CMD", "a"],
        "Interval": 1,
        "Timeout": 2,
        "StartPeriod": 3,
        "StartInterval": 4,
        "Retries": 5,
    }
    assert after(say.HealthCheck(None))["Healthcheck"] == {"Test": ["NONE"]}


def test_the_rest_is_set() -> None:
    """User, directory, signal, triggers; the maintainer is the image's author."""
    trigger = say.OnBuild("RUN a", say.Run("a"))
    said = (say.User("a:b"), say.WorkDir("/a"), say.WorkDir("b"), say.StopSignal("sigterm"))
    assert after(*said, trigger, trigger) == {
        "User": "a:b",
        "WorkingDir": "/a/b",
        "StopSignal": "sigterm",
        "OnBuild": ["RUN a", "RUN a"],
    }
    assert changed({"config": {}}, say.Maintainer("m")) == {"config": {}, "author": "m"}


@pytest.mark.parametrize(
    "given", [say.Run("a"), say.Copy(("a",), "b"), say.Add(("a",), "b"), say.Arg((("a", "b"),))]
)
def test_others_change_nothing(given: say.Instruction) -> None:
    """Files and arguments are not the configuration's."""
    assert after(given, base={"User": "a"}) == {"User": "a"}


def test_a_base_passes_on_what_it_is_and_not_where_it_was_made() -> None:
    """Its triggers are taken out, to be run; what Docker keeps of a container is left behind."""
    base = {
        "config": {"User": "a", "OnBuild": ["RUN a", 7, "RUN b"]},
        "container": "x",
        "container_config": {"Cmd": ["x"]},
        "docker_version": "1",
        "created": "2024",
        "rootfs": {"type": "layers", "diff_ids": ["sha256:1"]},
        "history": [{"created_by": "x"}],
        "os": "linux",
    }
    before = copy.deepcopy(base)
    found, triggers = inherited(base)
    assert triggers == ("RUN a", "RUN b")
    assert found == {
        "config": {"User": "a"},
        "created": "2024",
        "rootfs": {"type": "layers", "diff_ids": ["sha256:1"]},
        "history": [{"created_by": "x"}],
        "os": "linux",
    }
    assert base == before


def test_a_trigger_of_a_base_is_read_or_shown() -> None:
    """It comes from an image, so it may be anything."""
    assert config.on_build("run a") == say.Run("a")
    with pytest.raises(FleetError, match="the base image's trigger `RNU a`: there is no"):
        config.on_build("RNU a")


EVERY: list[say.Instruction] = [
    say.Env((("a", "b"),)),
    say.Label((("a", "b"),)),
    say.Expose(("1",)),
    say.Volume(("/a",)),
    say.WorkDir("b"),
    say.Cmd("a"),
    say.Entrypoint("a"),
    say.OnBuild("RUN a", say.Run("a")),
]
KEYS = st.sampled_from(
    ["Env", "Labels", "ExposedPorts", "Volumes", "WorkingDir", "Shell", "Cmd", "OnBuild"]
)


@given(st.one_of(JSON, st.dictionaries(KEYS, JSON)), JSON)
def test_whatever_a_base_holds_can_be_built_on(settings: object, other: object) -> None:
    """Members of wrong types count as missing; and nothing that was passed in is changed."""
    base = {"config": settings, "history": other, "rootfs": other}
    before = copy.deepcopy(base)
    whole, _ = inherited(base)
    for each in EVERY:
        whole = changed(whole, each)
    assert whole["config"]["Entrypoint"][-1] == "a"
    assert base == before


@given(st.text(st.sampled_from("ab./"), max_size=6), st.text(st.sampled_from("ab./"), max_size=6))
def test_directories_are_absolute_and_plain(current: str, path: str) -> None:
    """Without `.`, `..` and double slashes; an absolute one forgets the one before."""
    found = joined(current, path)
    assert found.startswith("/")
    assert found == "/" + posixpath.normpath(found).lstrip("/")
    assert not {"", ".", ".."} & set(found[1:].split("/")) or found == "/"
    assert not path.startswith("/") or joined("/x", path) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", ("80/tcp",)),
        ("53/udp", ("53/udp",)),
        ("1-3/SCTP", ("1/sctp", "2/sctp", "3/sctp")),
        ("80:8080", ("8080/tcp",)),
        ("127.0.0.1:80:8080/udp", ("8080/udp",)),
        ("7-7", ("7/tcp",)),
        ("0", ("0/tcp",)),
        ("80/", ("80/tcp",)),
    ],
)
def test_ports_are_read_as_docker_reads_them(text: str, expected: tuple[str, ...]) -> None:
    """Ranges one by one, the protocol in lower case."""
    assert read_ports(text) == expected


@pytest.mark.parametrize("text", ["", "a", "80/x", "65536", "3-1", "1-", "-1", "80tcp", "8\u0660"])
def test_wrong_ports_are_mistakes(text: str) -> None:
    """They are shown."""
    with pytest.raises(Mistake):
        read_ports(text)


@pytest.mark.parametrize(
    "text", ["SIGTERM", "term", "9", "SIGRTMIN", "RTMIN+3", "SIGRTMAX-30", "SIGIOT", "64"]
)
def test_signals_stay_as_they_are_written(text: str) -> None:
    """Names with and without `SIG`, numbers, and the real-time ones."""
    assert checked_signal(text) == text


@pytest.mark.parametrize("text", ["", "0", "65", "SIGNOPE", "RTMIN+40", "RTMIN-1", "-9", "\u0669"])
def test_what_is_no_signal_is_a_mistake(text: str) -> None:
    """Before an image carries it."""
    with pytest.raises(Mistake, match="is not a signal"):
        checked_signal(text)
    with pytest.raises(FleetError) as caught:
        changed({}, say.StopSignal(text, line=3), file="D")
    assert (caught.value.problems[0].file, caught.value.problems[0].line) == ("D", 3)


DOCKERFILES = {
    "everything": r"""
FROM scratch
MAINTAINER some one
ARG V=1
ENV A=1 B="two words" C=$V D='$A' E=a\ b A=${V:-x}3
ENV OLD the $A way
LABEL a=b "com.x y"="q r" v=$V
USER 1:2
WORKDIR /a
WORKDIR b/../c
EXPOSE 80 53/udp $V
VOLUME /data
VOLUME ["/v 1", "/v2/"]
ENTRYPOINT ["/e", "$A"]
CMD echo $A
CMD echo two && true
SHELL ["/bin/bash", "-ec"]
STOPSIGNAL SIGRTMIN+3
HEALTHCHECK --interval=1m30s --timeout=3s --start-period=5s --retries=4 CMD curl -f http://x
ONBUILD USER 7
ONBUILD ENV T=$V
""",
    "stages": r"""
ARG IMAGE=scratch U=9
FROM ${IMAGE} AS base
ARG U
USER $U
CMD ["inherited"]
ENV P=/usr/lib X=${U:+set} Y=${U:-unset} Z=${NO:-none}
WORKDIR ${P}/x
FROM base
ARG U
ENTRYPOINT ["new"]
LABEL u=$U p=$P
HEALTHCHECK NONE
ENV P=$P:/more
WORKDIR ..
""",
    "commands": r"""
FROM scratch
ENTRYPOINT ["a"]
CMD ["b"]
ENTRYPOINT shell form "x y"
USER nobody
USER root
ENV EMPTY= Q="a 'b' \"c\"" W=a"b c"d'e f'
LABEL multi="one \
two"
""",
}


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The configurations that `buildah bud` makes of the same files, in Docker's format."""
    place = tmp_path_factory.mktemp("buildah")
    store = ("--storage-driver", "vfs", "--root", f"{place}/root", "--runroot", f"{place}/run")
    environment = {**os.environ, "TMPDIR": str(place), "HOME": str(place)}
    made: dict[str, dict[str, Any]] = {}
    for name, text in DOCKERFILES.items():
        file = Path(place, name)
        file.write_text(text)
        context = place / "context"
        context.mkdir(exist_ok=True)
        bud = ("bud", "--isolation", "chroot", "--layers=false", "--format", "docker")
        inspect = ("inspect", "--type", "image", name)
        for command in ((*bud, "-q", "-t", name, "-f", str(file), str(context)), inspect):
            done = subprocess.run(
                ["buildah", *store, *command], env=environment, capture_output=True, check=False
            )
            assert done.returncode == 0, done.stderr.decode()
        made[name] = json.loads(done.stdout)["Docker"]
    return made


def built(text: str) -> dict[str, Any]:
    """The configuration of the last stage, made as a build would make it."""
    file = parse(text, file="D")
    stages: list[tuple[dict[str, Any], Scope]] = []
    seen = global_variables(file, {}, {})
    for stage in file.stages:
        image = expanded(stage.base, seen).image
        found = file.find(image, before=len(stages))
        if found is None:
            whole, scope = empty(Platform()), Scope(globals_=seen)
        else:
            whole, scope = inherited(stages[found][0])[0], stages[found][1]
        own_command = False
        for each in stage.instructions:
            scope = scope.with_environment(config.environment(whole))
            if isinstance(each, say.Arg):
                scope, _ = scope.declare(each)
                continue
            given = expanded(each, scope.variables, escape=file.escape)
            whole = changed(whole, given, own_command=own_command)
            own_command = own_command or isinstance(each, say.Cmd)
        stages.append((whole, scope))
    return stages[-1][0]


def settings_of(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What can be compared: buildah puts a changed variable last, and leaves `/` out."""
    settings = {key: value for key, value in configuration["config"].items() if value}
    settings["Env"] = config.environment(configuration)
    labels = settings.pop("Labels", {})
    settings["Labels"] = {name: labels[name] for name in labels if name != "io.buildah.version"}
    if settings.get("WorkingDir") == "/":
        del settings["WorkingDir"]
    # The container that the image was made in.
    settings.pop("Hostname", None)
    return settings


@pytest.mark.root
@pytest.mark.parametrize("name", DOCKERFILES)
def test_buildah_makes_the_same_configuration(
    name: str, buildah: dict[str, dict[str, Any]]
) -> None:
    """Member by member, and the author."""
    ours, theirs = built(DOCKERFILES[name]), buildah[name]
    assert settings_of(ours) == settings_of(theirs)
    assert ours.get("author") == theirs.get("author")
