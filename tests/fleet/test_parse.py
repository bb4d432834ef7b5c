"""The whole file: what is told about it, and that nothing else is ever raised."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import FleetError
from anchor_supervisor.fleet import schema
from anchor_supervisor.fleet.check import problems
from anchor_supervisor.fleet.model import Fleet, LimitsMode
from anchor_supervisor.fleet.parse import load, loads, structure
from anchor_supervisor.fleet.read import LARGEST_FILE
from fleet_text import HEAD, NOTHING, problems_in, read

CONTRACT = """
[fleet]
name = "shop"
limits = "strict"

[containers.db]
image = "postgres"
root = "overlay"
read_only = false
user = "999:999"
working_dir = "/"
entrypoint = ["docker-entrypoint.sh"]
command = ["postgres"]
environment = { PGDATA = "/data" }
volumes = ["pgdata:/data", "./conf:/etc/conf:ro", "tmpfs:/run:size=16M"]
networks = ["default"]
init = true
essential = true
limits = { memory = "256M", memory_high = "200M", swap = "0", cpus = 0.5, \
cpu_weight = 100, cpuset = "0-1", pids = 128, io_weight = 100 }
health = { exec = ["pg_isready"], interval = "5s", timeout = "2s", \
retries = 3, start_period = "10s", on_failure = "restart" }
restart = { when = "always", delay = "100ms", factor = 2.0, max_delay = "60s", \
jitter = 0.1, max = 5, window = "10m", reset_after = "10s" }
stop = { signal = "TERM", grace = "10s", command = ["pg_ctl", "stop"] }

[containers.migrate]
kind = "job"
image = "shop"
command = ["migrate"]
depends_on = { db = "healthy" }

[containers.web]
image = "shop"
command = ["serve"]
replicas = 2
depends_on = { db = "healthy", migrate = "completed" }
ports = ["8080:80", "0.0.0.0:443:443", "53:53/udp"]
health = { http = ":80/health" }
restart = "on-failure"
schedule = { every = "1h" }
secrets = ["token"]
hostname = "web"
extra_hosts = { registry = "10.0.0.5" }
ulimits = { nofile = [1024, 524288] }
sysctls = { "net.core.somaxconn" = "1024" }
capabilities = { add = ["NET_RAW"], drop = ["KILL"] }
user_namespace = "auto"
security = { seccomp = "default", no_new_privileges = true, masked_paths = "default" }
devices = ["/dev/fuse"]
labels = { tier = "front" }

[networks.default]
subnet = "10.88.0.0/24"
internal = false
ipv6 = false

[volumes.pgdata]
[secrets.token]
file = "./token"
mode = "0400"
owner = "1000:1000"
"""
LATER = ("schedule", "secrets", "devices")


def test_every_key_of_the_contract_is_known_or_refused_with_its_place() -> None:
    """Each at its own line; nothing is silently passed over."""
    found = problems_in(CONTRACT)
    lines = CONTRACT.splitlines()
    assert [(one.key, one.message) for one in found] == [
        ("containers.web.schedule", "a service runs all the time, so `schedule` has no meaning"),
        ("containers.web.security.seccomp", "`seccomp` is not supported yet"),
        ("containers.web.devices", "`devices` is not supported yet"),
        (
            "secrets.token.file",
            "`/etc/fleet/token` cannot be read: No such file or directory",
        ),
    ]
    for one in found:
        assert one.line is not None
        assert (one.key or "").rpartition(".")[2] in lines[one.line - 1]


def test_the_rest_of_the_contract_is_read() -> None:
    """Without what is refused, the example is a fleet; a secret that nobody takes is not read."""
    kept = [
        line.replace('seccomp = "default", ', "")
        for line in CONTRACT.splitlines()
        if not line.startswith(LATER)
    ]
    fleet = read("\n".join(kept))
    assert (fleet.name, fleet.limits) == ("shop", LimitsMode.STRICT)
    assert list(fleet.containers) == ["db", "migrate", "web"]
    assert fleet.networks["default"].subnet == "10.88.0.0/24"
    assert fleet.volumes == {"pgdata"}
    assert (
        fleet.place("containers.web.ports[1]").line
        == kept.index('ports = ["8080:80", "0.0.0.0:443:443", "53:53/udp"]') + 1
    )
    assert problems(fleet) == []


def test_how_many_start_at_a_time() -> None:
    """As many as may, unless the file says."""
    text = '[containers.web]\nimage = "x"\n'
    assert read(text).parallel is None
    assert read(f"[fleet]\nparallel = 8\n{text}").parallel == 8
    wrong = {"0": "`0` is not between 1 and 1000", '"many"': "`many` is not a whole number"}
    for value, message in wrong.items():
        [found] = problems_in(f"[fleet]\nparallel = {value}\n{text}")
        assert (found.key, found.message) == ("fleet.parallel", message)


CLASSIC = """\
[fleet]
limit = "strict"

[containers.db]
image = "~/postgres"
comand = ["postgres"]
stop = { grace = 10 }

[containers.web]
image = "host"
command = ["serve", "${PORT}"]
depends_on = { bd = "healthy", db = "completed" }
ports = [
  "8080:80",
  "80",
]
volumes = ["data:/data"]
limits = { memory = "256X" }
user = "1000:"
"""

TOLD = """\
shop.toml:2: fleet.limit: unknown key `limit` (did you mean `limits`?)
shop.toml:5: containers.db.image: `~/postgres` is not an image's name (such as "debian", \
"ghcr.io/someone/tool:1.2", "host" or "./rootfs")
shop.toml:6: containers.db.comand: unknown key `comand` (did you mean `command`?)
shop.toml:7: containers.db.stop.grace: `10` has no unit (`"10s"` is 10 seconds)
shop.toml:11: containers.web.command[1]: variable `PORT` is not set (set it, give `.env` a line \
for it, or write `${PORT:-default}`; `$$PORT` is for a shell in the container)
shop.toml:12: containers.web.depends_on.bd: there is no container `bd` (did you mean `db`?)
shop.toml:12: containers.web.depends_on.db: `db` is a service, so it never becomes `completed` \
(`kind = "job"` for `db`, or ask `started` or `healthy`)
shop.toml:15: containers.web.ports[1]: `80` has no host port: one chosen freely is not supported \
yet (`"80:80"` for the same port on this machine)
shop.toml:17: containers.web.volumes[0]: there is no volume `data` (declare it: `[volumes.data]`)
shop.toml:18: containers.web.limits.memory: `256X` is not a size (such as `64M`, `1.5G` or `512K`)
shop.toml:19: containers.web.user: `1000:` is not a user (`USER` or `USER:GROUP`, names or numbers)
"""


def test_the_classic_mistakes_are_told_all_at_once() -> None:
    """File, line, key, what is wrong, and what would be right."""
    assert "".join(f"{one} ({one.hint})\n" for one in problems_in(CLASSIC)) == TOLD


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "shop.toml: the file has no containers"),
        ("[containers]", "shop.toml:1: containers: the file has no containers"),
        ("containers = 5", "shop.toml:1: containers: `5` is a number, not a table"),
        ("[containers]\nweb = 5", "shop.toml:2: containers.web: `5` is a number, not a table"),
        ("[containers.web]", "shop.toml:1: containers.web: `image` is missing"),
        ("a = ", "shop.toml:1: not valid TOML: invalid value (at the end)"),
        ("\n\na = x", "shop.toml:3: not valid TOML: invalid value"),
        ("a = 1\na = 2", "shop.toml:2: not valid TOML: cannot overwrite a value"),
        (f"a = {'9' * 5000}", "shop.toml: a number in the file has too many digits"),
        (f"a = {'[' * 5000}", "shop.toml: tables or lists are nested too deeply"),
        (f"\n{'a.' * 5000}a = 1", "shop.toml:2: a dotted key of more than 32 parts"),
        (f"{HEAD}user = 0x{'f' * 9000}", "shop.toml:4: containers.web.user"),
        (f'{HEAD}user = "\\u0000"', "shop.toml:4: containers.web.user"),
        (f'{HEAD}user = "\\u001b[31m"', "shop.toml:4: containers.web.user: `\\x1b[31m` is not"),
        (f"{HEAD}networks = 'none'\n[volumes.x]\nsize = 1", "shop.toml:6: volumes.x.size: unknown"),
        (f'{HEAD}"{"k" * 300}" = 1', "shop.toml:1: containers.web: key `kkkk"),
        (f"{HEAD}[networks.default]\ninternal = 'x'", "shop.toml:5: networks.default.internal"),
    ],
    ids=range(17),
)
def test_hopeless_files_have_their_place_too(text: str, told: str) -> None:
    """Empty, broken, or made to exhaust whoever reads them."""
    assert str(problems_in(text)[0]).startswith(told)


def test_the_number_of_problems_has_an_end() -> None:
    """Nobody reads more than a hundred; the rest is counted."""
    found = problems_in(HEAD + "".join(f"key{number} = 1\n" for number in range(150)))
    assert len(found) == 101
    assert found[-1].message == "and 50 more problems"
    many = "".join(f'[containers.c{number}]\nimage = "x"\n' for number in range(1001))
    assert problems_in(many)[0].message == (
        "1001 containers are more than the 1000 a fleet may have"
    )


def test_a_fleet_is_named_by_its_file() -> None:
    """Unless the file says otherwise; a text without a file needs a name."""
    assert read(HEAD).name == "shop"
    assert read(f'[fleet]\nname = "other"\n{HEAD}').name == "other"
    with pytest.raises(FleetError) as caught:
        loads(HEAD, file=None, directory="/", environment=NOTHING)
    assert str(caught.value) == "fleet.name: the fleet has no name"


def test_load_reads_beside_the_file(tmp_path: Path) -> None:
    """`.env` gives variables, the environment wins, relative paths start at the file."""
    path = tmp_path / "my-shop.toml"
    path.write_text(
        '[containers.web]\nimage = "./${IMAGE}"\ncommand = ["$COMMAND", "$$HOME"]\n', "utf-8"
    )
    (tmp_path / ".env").write_text("IMAGE=root.tar\nCOMMAND=from-file\n")
    fleet = load(path, {"COMMAND": "from-environment"})
    web = fleet.containers["web"]
    assert (fleet.name, fleet.file, fleet.directory) == ("my-shop", str(path), str(tmp_path))
    assert web.image.reference == f"{tmp_path}/root.tar"
    assert web.command == ("from-environment", "$HOME")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, a directory, not text, too large, or a pipe that nobody writes to."""
    (tmp_path / "latin.toml").write_bytes(b"a = 1\nb = '\xff'")
    (tmp_path / "large.toml").write_bytes(b"#" * (LARGEST_FILE + 1))
    os.mkfifo(tmp_path / "pipe.toml")
    told = {
        "missing.toml": "cannot be read: No such file or directory",
        "": "is not a plain file",
        "latin.toml": "is not UTF-8 text: line 2",
        "large.toml": f"is larger than {LARGEST_FILE} bytes",
        "pipe.toml": "is not a plain file",
    }
    for name, words in told.items():
        with pytest.raises(FleetError) as caught:
            load(tmp_path / name, NOTHING)
        assert caught.value.problems[0].message.endswith(words)


def test_a_wrong_dotenv_is_told_with_its_own_line(tmp_path: Path) -> None:
    """A problem names the file that has to be mended."""
    (tmp_path / "shop.toml").write_text(HEAD)
    (tmp_path / ".env").write_text("A=1\nB\n")
    with pytest.raises(FleetError) as caught:
        load(tmp_path / "shop.toml", NOTHING)
    assert str(caught.value) == f"{tmp_path}/.env:2: variable `B` is not set"


words = st.sampled_from(
    sorted(
        {key for section in schema.SECTIONS.values() for key in section}
        | {"web", "db", "host", "none", "default", "always", "job", "healthy", "", ":", "a:/b"}
        | {"$X", "${X:-1}", "1s", "64M", "8080:80", "10.0.0.1", "10.0.0.0/24", "-1", "\0", "\x1b"}
    )
)
leaves = (
    words
    | st.text(max_size=6)
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.just(dt.time(1, 2))
)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(words | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


def _tables(section: schema.Section) -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(section, trees))


containers = st.fixed_dictionaries(
    {"image": words},
    optional={
        **dict.fromkeys(schema.CONTAINER.keys() - {"image"}, trees),
        "limits": _tables(schema.LIMITS),
        "health": _tables(schema.HEALTH),
        "restart": words | _tables(schema.RESTART),
        "stop": _tables(schema.STOP),
    },
)
documents = st.dictionaries(words | st.text(max_size=4), trees, max_size=5) | st.fixed_dictionaries(
    {"containers": st.dictionaries(words, containers, max_size=3)},
    optional={"networks": trees, "volumes": trees, "fleet": trees},
)


@given(documents)
def test_no_document_gets_another_exception_out_of_the_parser(document: dict[str, object]) -> None:
    """Whatever TOML can hold becomes a fleet that is right, or a FleetError with places."""
    try:
        fleet = structure(
            document, lines=NOTHING_AT_ALL, file="x.toml", directory="/", environment={"X": "1"}
        )
    except FleetError as error:
        told = [str(one) for one in error.problems]
    else:
        assert isinstance(fleet, Fleet)
        told = []
        assert problems(fleet) == []
    assert all(line.isprintable() for line in told)


NOTHING_AT_ALL: dict[str, int] = {}


@given(st.text(max_size=200))
def test_no_text_gets_another_exception_out_of_the_parser(text: str) -> None:
    """TOML or not."""
    with pytest.raises(FleetError):
        loads(text, file="x.toml", directory="/", environment=NOTHING)
