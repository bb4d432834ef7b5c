"""`[secrets]`, `[configs]`, and what containers take of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.grants import LARGEST_CONTENT
from anchor_supervisor.fleet.model import Fleet, Grant, GrantKind
from anchor_supervisor.fleet.parse import loads
from fleet_text import NOTHING, container, messages, problems

SECRET, CONFIG = GrantKind.SECRET, GrantKind.CONFIG
TOKEN = '[secrets.token]\nenvironment = "TOKEN"\n'
MOTD = '[configs.motd]\ncontent = "hello\\n"\n'
VARIABLES = {"TOKEN": "s3cret"}


def beside(directory: Path, text: str, environment: Mapping[str, str] = NOTHING) -> Fleet:
    """Read a file's text as if it were in this directory."""
    return loads(text, file="shop.toml", directory=str(directory), environment=environment)


def wrong(directory: Path, text: str) -> list[Problem]:
    """What is said of such a text."""
    with pytest.raises(FleetError) as caught:
        beside(directory, text)
    return list(caught.value.problems)


def taking(table: str, *declared: str) -> str:
    """A file whose one container takes `x`, which is declared so."""
    lines = "\n".join(declared)
    return f'[containers.web]\nimage = "x"\n{table} = ["x"]\n[{table}.x]\n{lines}\n'


def test_by_name_everything_is_as_declared() -> None:
    """Each kind has its own place and permissions."""
    one = container(
        'secrets = ["token"]\nconfigs = ["motd", "site"]',
        f'{TOKEN}{MOTD}[configs.site]\nenvironment = "TOKEN"\nmode = "0440"\nowner = "app:www"\n',
        VARIABLES,
    )
    assert one.grants == (
        Grant(SECRET, "token", "/run/secrets/token", b"s3cret", 0o400, None),
        Grant(CONFIG, "motd", "/motd", b"hello\n", 0o444, None),
        Grant(CONFIG, "site", "/site", b"s3cret", 0o440, "app:www"),
    )


def test_a_table_says_otherwise() -> None:
    """Only what it gives; the owner may be a number."""
    one = container(
        'secrets = [{ source = "token", target = "/etc//key/", mode = "640", owner = 1000 }, '
        '{ source = "token" }]',
        TOKEN,
        VARIABLES,
    )
    assert one.grants == (
        Grant(SECRET, "token", "/etc/key", b"s3cret", 0o640, "1000"),
        Grant(SECRET, "token", "/run/secrets/token", b"s3cret"),
    )


def test_a_content_is_never_shown() -> None:
    """Not even by mistake."""
    one = container('secrets = ["token"]', TOKEN, VARIABLES)
    assert "s3cret" not in repr(one)


def test_a_file_is_found_beside_the_fleets(tmp_path: Path) -> None:
    """Bytes as they are; an absolute path as it is."""
    (tmp_path / "key").write_bytes(b"\xff\x00\n")
    for path in ("key", "./key", str(tmp_path / "key")):
        fleet = beside(tmp_path, taking("secrets", f'file = "{path}"'))
        assert fleet.containers["web"].grants[0].content == b"\xff\x00\n"
    (tmp_path / "full").write_bytes(b"x" * LARGEST_CONTENT)
    full = beside(tmp_path, taking("configs", 'file = "full"')).containers["web"].grants[0]
    assert len(full.content) == LARGEST_CONTENT


def test_a_variable_may_be_no_text(tmp_path: Path) -> None:
    """The environment has bytes, which Python writes as surrogates."""
    fleet = beside(tmp_path, taking("secrets", 'environment = "V"'), {"V": "a\udcff"})
    assert fleet.containers["web"].grants[0].content == b"a\xff"


def test_what_nobody_takes_is_not_read(tmp_path: Path) -> None:
    """A variant of the fleet may do without."""
    text = '[containers.web]\nimage = "x"\n[secrets.x]\nfile = "missing"\n'
    assert beside(tmp_path, text).containers["web"].grants == ()


def test_what_cannot_be_read_is_told_once_and_where_it_is_declared(tmp_path: Path) -> None:
    """However many take it."""
    (tmp_path / "large").write_bytes(b"x" * (LARGEST_CONTENT + 1))
    (tmp_path / "directory").mkdir()
    text = (
        '[containers.a]\nimage = "x"\nsecrets = ["one", "two", "three"]\n'
        '[containers.b]\nimage = "x"\nsecrets = ["one", { source = "one", target = "/x" }]\n'
        '[secrets.one]\nfile = "missing"\n'
        '[secrets.two]\nfile = "large"\n'
        '[secrets.three]\nfile = "directory"\n'
    )
    assert [str(one) for one in wrong(tmp_path, text)] == [
        (
            f"shop.toml:8: secrets.one.file: `{tmp_path}/missing` cannot be read: "
            "No such file or directory"
        ),
        f"shop.toml:10: secrets.two.file: `{tmp_path}/large` is larger than 1048576 bytes",
        f"shop.toml:12: secrets.three.file: `{tmp_path}/directory` is not a plain file",
    ]


@pytest.mark.parametrize(
    ("table", "declared", "message"),
    [
        ("secrets", "", "exactly one source is needed: none given"),
        ("configs", "", "exactly one source is needed: none given"),
        (
            "secrets",
            'file = "a"\nenvironment = "B"',
            "exactly one source is needed: `file` and `environment` given",
        ),
        ("secrets", 'content = "x"', "unknown key `content`"),
        ("secrets", "external = true", "unknown key `external`"),
        ("secrets", "file = 5", "`5` is a number, not a string"),
        ("secrets", 'file = ""', "the value is empty"),
        ("secrets", 'environment = "NOT_SET"', "variable `NOT_SET` is not set"),
        ("secrets", 'environment = "V"', "`V` is larger than 1048576 bytes"),
        ("configs", "content = 5", "`5` is a number, not a string"),
        ("configs", 'content = "x"\nmode = 440', "`440` is a number, not a string"),
        ("configs", 'content = "x"\nmode = "rw"', "`rw` is not a file mode"),
        ("configs", 'content = "x"\nmode = "4755"', "`4755` has more than permissions in it"),
        ("configs", 'content = "x"\nowner = "1000:"', "`1000:` is not a user"),
        ("configs", 'content = "x"\nowner = "a b"', "`a b` is not the name of a user"),
        ("configs", 'content = "x"\nowner = "070"', "user: `070` is not an id"),
        ("configs", 'content = "x"\nowner = true', "`true` is a boolean, not a string"),
    ],
)
def test_declarations_that_cannot_be_meant(table: str, declared: str, message: str) -> None:
    """One problem each, and none that follows from it; whether or not anybody takes them."""
    text = taking(table, declared)
    with pytest.raises(FleetError) as caught:
        loads(text, file="f", directory="/", environment={"V": "x" * (LARGEST_CONTENT + 1)})
    assert [one.message for one in caught.value.problems] == [message]
    assert (caught.value.problems[0].key or "").startswith(f"{table}.x")


def test_a_content_in_the_file_is_bounded_by_the_file() -> None:
    """It may be empty."""
    one = container('configs = ["x"]', '[configs.x]\ncontent = ""\n')
    assert one.grants[0].content == b""


@pytest.mark.parametrize(
    ("lines", "message", "hint"),
    [
        ('secrets = ["tokn"]', "there is no secret `tokn`", "did you mean `token`?"),
        (
            'configs = ["nothing"]',
            "there is no config `nothing`",
            "declare it: `[configs.nothing]`",
        ),
        ('configs = ["token"]', "there is no config `token`", "declare it: `[configs.token]`"),
        ('secrets = "token"', "`token` is a string, not a list", None),
        ("secrets = [5]", "`5` is a number, not a string or a table", ...),
        ('secrets = [""]', "the value is empty", None),
        ("secrets = [{}]", "`source` is missing", "the name of a secret"),
        ('secrets = [{ name = "token" }]', "unknown key `name`", ...),
        ('secrets = [{ source = "token", uid = 0 }]', "unknown key `uid`", ...),
        ('secrets = [{ source = "token", mode = 256 }]', "`256` is a number, not a string", ...),
        ('secrets = [{ source = "token", owner = ":0" }]', "`:0` is not a user", ...),
        (
            'secrets = [{ source = "token", target = "key" }]',
            "target `key` is not an absolute path of the container",
            "`/run/secrets/key`",
        ),
    ],
)
def test_grants_that_cannot_be_meant(lines: str, message: str, hint: object) -> None:
    """One problem each."""
    [found] = problems(lines, TOKEN + MOTD, VARIABLES)
    assert found.message == message
    assert hint in (..., found.hint)
    assert (found.key or "").startswith("containers.web.")


def test_a_misspelt_table_is_not_told_as_missing_secrets() -> None:
    """`[secret.token]` is one mistake."""
    assert messages('secrets = ["token"]', '[secret.token]\nfile = "x"\n') == [
        "unknown key `secret`"
    ]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", "."])
def test_a_name_is_a_files(name: str) -> None:
    """It is one in the container."""
    found = messages("", f'[secrets."{name}"]\nfile = "x"\n')
    assert found == [f"`{name}` cannot name a secret"]
