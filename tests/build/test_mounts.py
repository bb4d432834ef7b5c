"""`RUN --mount`."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.build.instructions import MountKind, RunMount, Sharing
from anchor_supervisor.build.mounts import read_mount
from anchor_supervisor.fleet.wording import Mistake


def cache(**others: Any) -> RunMount:
    """A cache mount as it is without an option."""
    return RunMount("", kind=MountKind.CACHE, read_only=False, **others)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target=/x", RunMount("", target="/x")),
        ("type=bind,source=a,dst=/x,rw", RunMount("", source="a", target="/x", read_only=False)),
        (
            "type=bind,from=b,src=/a,target=/x,ro=false",
            RunMount("", from_="b", source="/a", target="/x", read_only=False),
        ),
        (
            "TYPE=Cache,target=/c,id=x,sharing=locked,mode=0700,uid=1,gid=2",
            cache(target="/c", id="x", sharing=Sharing.LOCKED, mode=0o700, uid=1, gid=2),
        ),
        ("type=cache,target=/c,readonly", RunMount("", kind=MountKind.CACHE, target="/c")),
        (
            "type=tmpfs,target=/t,size=64m",
            RunMount("", kind=MountKind.TMPFS, target="/t", read_only=False, size=64 << 20),
        ),
        ("type=secret,id=k,required", RunMount("", kind=MountKind.SECRET, id="k", required=True)),
        ("type=secret,id=k,env=K", RunMount("", kind=MountKind.SECRET, id="k", env="K")),
        ('type=cache,"target=/a,b"', cache(target="/a,b")),
    ],
)
def test_mounts_are_read_as_docker_reads_them(text: str, expected: RunMount) -> None:
    """Keys in any order and case; caches and tmpfs are written to, the others not."""
    assert read_mount(text) == expected
    assert read_mount(text, str) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the mount is empty"),
        ("type=chache,target=/x", "`chache` is none of `bind`, `cache`, `tmpfs`, `secret`"),
        ("type=ssh", "mounts of type `ssh` are not supported yet"),
        ("typ=cache", "a mount has no `typ`"),
        ("target", "a mount's `target` needs a value"),
        ("target=", "a mount's `target` is empty"),
        ("type=cache", "a mount of type `cache` needs a `target`"),
        ("type=bind,target=/x,size=1", "a mount of type `bind` has no `size`"),
        ("type=secret,from=x,id=a", "a mount of type `secret` has no `from`"),
        ("type=secret", "a secret needs an `id`"),
        ("type=secret,id=a,source=b", "a secret has an `id` or a `source`, not both"),
        ("target=/x,ro=maybe", "a mount's `ro` is `true` or `false`, not `maybe`"),
        ("type=cache,target=/x,uid=me", "`me` is not an id"),
        ("type=cache,target=/x,mode=rwx", "`rwx` is not a file mode"),
        ("type=tmpfs,target=/x,size=big", "`big` is not a size"),
        ("type=cache,target=/x,sharing=some", "`some` is none of `shared`, `private`, `locked`"),
        ("from=$a,target=/x", "variables are not expanded in a mount's `from=$a`"),
        ('"a', '`"a` is not a list of `key=value`'),
    ],
)
def test_wrong_mounts_are_named(text: str, message: str) -> None:
    """Each by what is wrong with it."""
    with pytest.raises(Mistake) as caught:
        read_mount(text)
    assert caught.value.message == message


def test_what_has_a_variable_is_left_for_later() -> None:
    """Only then can it be wrong; and then it is."""
    text = "type=cache,target=$dir,uid=$uid"
    assert read_mount(text) == cache()
    values = {"$dir": "/x", "$uid": "7"}
    assert read_mount(text, values.__getitem__) == cache(target="/x", uid=7)
    with pytest.raises(Mistake, match="is not an id"):
        read_mount(text, lambda _: "x")


@given(st.text(st.sampled_from('type=cahrg,"$/0\n'), max_size=40))
def test_any_text_is_read_or_a_mistake(text: str) -> None:
    """Nothing else is raised."""
    with contextlib.suppress(Mistake):
        assert read_mount(text).written == text
