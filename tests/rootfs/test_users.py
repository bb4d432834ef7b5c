"""Users of an image: found by name and number, believed only where well-formed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchor_supervisor.errors import ImageError
from anchor_supervisor.rootfs.users import LARGEST_FILE, Credentials, lookup

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
www-data:x:33:34:www:/var/www:/usr/sbin/nologin
broken:x:1
negative:x:-1:0::/:
wrapped:x:4294967296:0::/:
minus-one:x:4294967295:0::/:
octal:x:010:0::/:
plus:x:+0:0::/:
wide:x:\uff10:0::/:
relative:x:5:5::home:/bin/sh
"""
GROUP = """\
root:x:0:
www-data:x:34:
tape:x:26:www-data,root
disk:x:6:nobody,www-data
again:x:26:www-data
bad:x:-1:www-data
"""

Find = Callable[..., Credentials]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with the two files."""
    etc = tmp_path / "root/etc"
    etc.mkdir(parents=True)
    (etc / "passwd").write_text(PASSWD)
    (etc / "group").write_text(GROUP)
    return tmp_path / "root"


@pytest.fixture
def find(root: Path) -> Iterator[Find]:
    """The lookup, in that root."""
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield lambda user, **options: lookup(fd, user, **options)
    os.close(fd)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (None, Credentials(0, 0, (26,), "/root", "root")),
        ("root", Credentials(0, 0, (26,), "/root", "root")),
        ("www-data", Credentials(33, 34, (26, 6), "/var/www", "www-data")),
        ("33", Credentials(33, 34, (26, 6), "/var/www", "www-data")),
        ("33:0", Credentials(33, 0, (), "/var/www", "www-data")),
        ("www-data:tape", Credentials(33, 26, (), "/var/www", "www-data")),
        ("999:999", Credentials(999, 999, (), "/", None)),
        ("999", Credentials(999, 0, (), "/", None)),
        ("relative", Credentials(5, 5, (), "/", "relative")),
        ("4294967294", Credentials(4294967294, 0, (), "/", None)),
    ],
)
def test_who_is_who(find: Find, user: str | None, expected: Credentials) -> None:
    """Names, numbers, explicit groups and numbers without an entry resolve as docker has it."""
    assert find(user) == expected


@pytest.mark.parametrize(
    "user",
    [
        "", ":", ":0", "1000:", "0:0:0", "-1", "+0", "0x0", "00", "010", "1e3", " 0", "0 ", "0\n",
        "\uff10", "4294967295", "4294967296", "99999999999999999999", "root\0", "a/b", "..", "1:-1",
        "1:4294967295", "nobody-here", "root:nobody-here", "broken", "negative", "wrapped",
        "minus-one", "octal", "plus", "wide",
    ],
)  # fmt: skip
def test_an_odd_user_is_never_taken_for_root(find: Find, user: str) -> None:
    """What is not plainly a user is refused, not guessed (CVE-2024-40635, CVE-2026-30892)."""
    with pytest.raises(ImageError):
        find(user)


def test_an_id_outside_of_the_containers_is_refused(find: Find) -> None:
    """A number that the user namespace does not map is named, with what can be done."""
    assert find("65535", id_count=65536).uid == 65535
    with pytest.raises(ImageError, match="65536 is not among the container's 65536 ids") as refused:
        find("65536", id_count=65536)
    assert refused.value.hint is not None


def test_without_the_files_numbers_still_work(tmp_path: Path) -> None:
    """An image of a single static program has no /etc at all."""
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        assert lookup(fd, None) == Credentials(0, 0, (), "/", None)
        with pytest.raises(ImageError, match="no user `web`"):
            lookup(fd, "web")
    finally:
        os.close(fd)


def test_a_link_in_the_image_leads_to_the_image(find: Find, root: Path, tmp_path: Path) -> None:
    """An absolute link, or one with `..`, is resolved inside the root and never on the machine."""
    (tmp_path / "passwd").write_text("evil:x:0:0::/:\n")
    for leads_to in (tmp_path / "passwd", Path("../../passwd"), Path("/proc/self/root/etc/passwd")):
        (root / "etc/passwd").unlink()
        (root / "etc/passwd").symlink_to(leads_to)
        with pytest.raises(ImageError):
            find("evil")
    (root / "usr").mkdir()
    (root / "usr/passwd").write_text("inner:x:7:8::/:\n")
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to("/usr/passwd")
    assert find("inner").uid == 7


def test_a_magic_link_is_not_followed(find: Find, root: Path) -> None:
    """An image that brings its own /proc cannot lead to a descriptor of ours."""
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to("/proc/self/fd/0")
    with pytest.raises(ImageError):
        find("root")


def test_what_is_not_a_plain_file_is_refused_without_opening_it(find: Find, root: Path) -> None:
    """A FIFO would block for ever, a directory cannot be read."""
    (root / "etc/passwd").unlink()
    os.mkfifo(root / "etc/passwd")
    with pytest.raises(ImageError, match="not a plain file"):
        find("root")
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").mkdir()
    with pytest.raises(ImageError, match="not a plain file"):
        find("root")


def test_a_file_without_end_is_refused(find: Find, root: Path) -> None:
    """A sparse terabyte is read up to the bound and no further."""
    with (root / "etc/passwd").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ImageError, match=f"larger than {LARGEST_FILE}"):
        find("root")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=12) | st.from_regex(r"[0-9:+-]{1,12}", fullmatch=True))
def test_only_what_says_zero_is_root(find: Find, user: str) -> None:
    """No text but `0` or `root`, alone or before a group, ever gives uid 0."""
    try:
        found = find(user)
    except ImageError:
        return
    assert (found.uid == 0) == (user.partition(":")[0] in {"0", "root"})


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_in_the_files_are_survived(find: Find, root: Path, content: bytes) -> None:
    """Whatever an image has there, a lookup answers or refuses."""
    (root / "etc/passwd").write_bytes(content)
    (root / "etc/group").write_bytes(content)
    assert find("1234").uid == 1234
