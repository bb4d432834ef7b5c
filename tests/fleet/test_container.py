"""A whole `[containers.NAME]` table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from anchor_supervisor.errors import FleetError
from anchor_supervisor.fleet.model import (
    Attachment,
    Build,
    Capabilities,
    Condition,
    Container,
    Grant,
    GrantKind,
    Image,
    ImageKind,
    Kind,
    Network,
    NetworkMode,
    Reaction,
    ReactionKind,
    RestartPolicy,
    RestartWhen,
    RootStrategy,
    UpdatePolicy,
    UserNamespace,
)
from anchor_supervisor.fleet.parse import loads
from anchor_supervisor.fleet.schedule_model import Schedule
from fleet_text import NOTHING, container, messages, problems, problems_in, read

DEFAULT = Network("default")
EVERYTHING = """
kind = "job"
root = "copy"
read_only = true
user = "999:999"
working_dir = "/srv"
entrypoint = ["entry"]
environment = { A = "1", B = 2 }
networks = { default = { aliases = ["pg"] } }
init = false
essential = true
depends_on = { db = "healthy", other = { on_restart = "signal HUP" } }
replicas = 2
hostname = "web.example"
extra_hosts = { registry = "10.0.0.5", six = "fd00::1" }
ulimits = { nofile = [1024, 524288], core = 0, memlock = "unlimited", nproc = [10, -1] }
sysctls = { "net.core.somaxconn" = 1024, "kernel.shm_rmid_forced" = "1" }
capabilities = { add = ["CAP_NET_RAW"], drop = ["kill", "ALL"] }
user_namespace = "host"
security = { no_new_privileges = false, masked_paths = "none" }
labels = { tier = "front" }
max_runtime = "10m"
schedule = { cron = "0 3 * * *", timezone = "UTC" }
update = { parallelism = 2 }
configs = ["motd"]
on_change = "ignore"
"""

OTHERS = """
[containers.db]
image = "./db.tar"
command = ["db"]
health = { tcp = 1 }
[containers.other]
image = "store-name"
[configs.motd]
content = "hello"
"""


def test_every_key_reaches_the_container() -> None:
    """Nothing that the file says is lost on the way."""
    assert container(EVERYTHING, OTHERS) == Container(
        name="web",
        image=Image(ImageKind.HOST, "host"),
        kind=Kind.JOB,
        root=RootStrategy.COPY,
        read_only=True,
        user="999:999",
        working_dir="/srv",
        entrypoint=("entry",),
        command=("true",),
        environment={"A": "1", "B": "2"},
        networks={"default": Attachment(aliases=("pg",), network=DEFAULT)},
        init=False,
        essential=True,
        restart=RestartPolicy(when=RestartWhen.NO),
        depends_on={"db": Condition.HEALTHY, "other": Condition.STARTED},
        replicas=2,
        hostname="web.example",
        extra_hosts={"registry": "10.0.0.5", "six": "fd00::1"},
        ulimits={
            "nofile": (1024, 524288),
            "core": (0, 0),
            "memlock": (-1, -1),
            "nproc": (10, -1),
        },
        sysctls={"net.core.somaxconn": "1024", "kernel.shm_rmid_forced": "1"},
        capabilities=Capabilities(add=("NET_RAW",), drop=("KILL", "ALL")),
        user_namespace=UserNamespace.HOST,
        no_new_privileges=False,
        masked_paths=False,
        labels={"tier": "front"},
        on_restart={"other": Reaction(ReactionKind.SIGNAL, "HUP")},
        on_change=Reaction(ReactionKind.IGNORE),
        max_runtime=600.0,
        schedule=Schedule(cron="0 3 * * *"),
        update=UpdatePolicy(parallelism=2),
        grants=(Grant(GrantKind.CONFIG, "motd", "/motd", b"hello", 0o444),),
    )


def test_what_is_left_out_has_the_models_default() -> None:
    """The file and the values agree on what a container is by default."""
    assert container("") == Container(
        name="web",
        image=Image(ImageKind.HOST, "host"),
        command=("true",),
        networks={"default": Attachment(network=DEFAULT)},
    )


def test_lists_are_short_for_tables() -> None:
    """`depends_on` and `networks` as lists; `env_file` and `command` as strings."""
    short = container('depends_on = ["db", "other"]\nnetworks = ["a", "b"]', OTHERS + NETWORKS)
    assert short.depends_on == {"db": Condition.STARTED, "other": Condition.STARTED}
    assert short.networks == {name: Attachment(network=Network(name)) for name in ("a", "b")}
    assert container("entrypoint = \"sh -c 'a b'\"").entrypoint == ("sh", "-c", "a b")


NETWORKS = "[networks.a]\n[networks.b]\n"


def test_a_word_for_networks_is_a_mode() -> None:
    """`none` and `host` are no networks; any other word should have been a list."""
    assert container('networks = "none"').network_mode is NetworkMode.NONE
    host = container('networks = "host"')
    assert (host.network_mode, dict(host.networks)) == (NetworkMode.HOST, {})
    found = problems('networks = "default"')
    assert [(one.message, one.hint) for one in found] == [
        ("`default` is none of `none`, `host`", 'a list: `["default"]`')
    ]


def test_the_default_network_is_implied() -> None:
    """It exists where a container is on it, and only there."""
    text = '[containers.web]\nimage = "host"\ncommand = ["true"]\n'
    assert list(read(text).networks) == ["default"]
    assert list(read(f'{text}networks = "none"').networks) == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('networks = ["default", "default"]', "a network is listed twice"),
        ("networks = []", "no network is named"),
        ("networks = 5", "`5` is a number, not a list"),
        ("networks = { default = 5 }", "`5` is a number, not a table"),
        ('networks = { default = { alias = ["x"] } }', "unknown key `alias`"),
        ('depends_on = ["db", "db"]', "a container is listed twice"),
        ('depends_on = "db"', "`db` is a string, not a table"),
        ('depends_on = { db = "service_healthy" }', "`service_healthy` is a word of compose's"),
        ('depends_on = { db = "ready" }', "`ready` is none of `started`, `healthy`, `completed`"),
        ("environment = { A = true }", "`true` is a boolean, not a string"),
        ("environment = { A = 1.5 }", "`1.5` is a number, not a string"),
        ('environment = ["NOT_SET"]', "variable `NOT_SET` is not set"),
        ('environment = ["=x"]', "`` is not a variable's name"),
        ('environment = { "A=B" = "x" }', "`A=B` is not a variable's name"),
        ('user_namespace = "keep-id"', "`keep-id` is not supported yet"),
        ('root = "reflinked"', "`reflinked` is none of `overlay`, `copy`, `reflink`, `bind`"),
        ('pull = "daily"', "`daily` is none of `missing`, `always`, `never`"),
        ('build = { file = "x" }', "unknown key `file`"),
        ("build = {}\npull = 5", "`5` is a number, not a string"),
        ('security = { seccomp = "default" }', "`seccomp` is not supported yet"),
        ('security = { masked_paths = "all" }', "`all` is none of `default`, `none`"),
        ('max_runtime = "1ms"', "`1ms` is under 100ms"),
        ("max_runtime = 60", "`60` has no unit"),
        ('image_health = "none"', "unknown key `image_health`"),
        ('devices = ["/dev/fuse"]', "`devices` is not supported yet"),
        ("ulimits = { nofile = [1] }", "1 numbers are given"),
        ("ulimits = { nofile = -2 }", "`-2` is not between -1 and 9223372036854775807"),
        ("replicas = 0", "`0` is not between 1 and 1000"),
        ('image_name = "x"', "unknown key `image_name`"),
        ('init = "yes"', "`yes` is a string, not `true` or `false`"),
    ],
)
def test_what_cannot_be_meant_is_one_problem(lines: str, message: str) -> None:
    """One problem each, and none that follows from it."""
    assert messages(lines, OTHERS) == [message]


def test_an_image_is_a_word() -> None:
    """Which content a name leads to is found out, not written."""
    text = '[containers.web]\nimage = { reference = "x", digest = "sha256:0" }\n'
    assert [one.message for one in problems_in(text)] == ["`{…}` is a table, not a string"]


def test_an_unknown_key_says_which_one_was_meant() -> None:
    """By nearness, or by what compose calls it."""
    hints = {
        'volums = ["x:/x"]': "did you mean `volumes`?",
        "healthcheck = { test = 1 }": "here it is `health`",
        'cap_add = ["NET_RAW"]': "here it is `capabilities.add`",
        'mem_limit = "1G"': "here it is `limits.memory`",
        "zzzzz = 1": None,
    }
    assert {line: problems(line)[0].hint for line in hints} == hints


def test_a_misspelt_key_is_not_told_as_a_missing_one() -> None:
    """`comand` is one mistake: `nothing to run` would only follow from it."""
    text = '[containers.web]\nimage = "host"\ncomand = ["true"]\n'
    with pytest.raises(FleetError) as caught:
        read(text)
    assert [one.message for one in caught.value.problems] == ["unknown key `comand`"]


def test_an_environment_is_read_in_order_of_rank(tmp_path: Path) -> None:
    """The file's own table over later env files over earlier ones."""
    (tmp_path / "one.env").write_text("A=one\nB=one\nC=one\n")
    (tmp_path / "two.env").write_text("B=two\nC=two\nD=$OUTER\n")
    text = (
        '[containers.web]\nimage = "host"\ncommand = ["true"]\n'
        'env_file = ["one.env", "./two.env"]\nenvironment = ["C=table", "OUTER"]\n'
    )
    environment: Mapping[str, str] = {"OUTER": "outer"}
    fleet = loads(text, file="shop.toml", directory=str(tmp_path), environment=environment)
    assert fleet.containers["web"].environment == {
        "A": "one",
        "B": "two",
        "C": "table",
        "D": "outer",
        "OUTER": "outer",
    }


def test_a_wrong_env_file_is_told_with_its_own_line(tmp_path: Path) -> None:
    """A problem names the file that has to be mended."""
    (tmp_path / "bad.env").write_text("GOOD=1\nnot a line\n")
    text = (
        '[containers.web]\nimage = "host"\ncommand = ["true"]\n'
        'env_file = ["bad.env", "missing.env"]\n'
    )
    with pytest.raises(FleetError) as caught:
        loads(text, file="shop.toml", directory=str(tmp_path), environment=NOTHING)
    assert [str(one) for one in caught.value.problems] == [
        f"{tmp_path}/bad.env:2: the line is not of the form `KEY=value`",
        (
            "shop.toml:4: containers.web.env_file[1]: "
            f"`{tmp_path}/missing.env` cannot be read: No such file or directory"
        ),
    ]


def test_a_build_is_found_beside_the_file_and_names_its_image() -> None:
    """A string is the context; paths are taken from the file and from the context."""
    text = """
[containers.web]
build = "./web"
[containers.api]
image = "shop/api:1"
build = { context = "api", dockerfile = "x/Dockerfile", args = { V = 1 }, target = "run" }
"""
    fleet = read(text)
    assert fleet.containers["web"].image == Image(ImageKind.STORE, f"{fleet.name}-web")
    assert fleet.containers["web"].build == Build(f"{fleet.directory}/web")
    assert fleet.containers["api"].image == Image(ImageKind.STORE, "shop/api:1")
    assert fleet.containers["api"].build == Build(
        f"{fleet.directory}/api", f"{fleet.directory}/api/x/Dockerfile", {"V": "1"}, "run"
    )


def test_the_images_health_check_is_taken_unless_the_file_speaks() -> None:
    """`none` switches it off."""
    assert container("").image_health
    assert not container("health = { tcp = 1 }").image_health
    off = container('health = "none"')
    assert off.health is None
    assert not off.image_health
