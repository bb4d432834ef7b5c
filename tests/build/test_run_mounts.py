"""`RUN --mount`: what a command sees for its own time, and what is left of it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

import pytest

from anchor_supervisor.build.cache import Cache
from anchor_supervisor.build.options import Secret
from anchor_supervisor.build.run_mounts import LARGEST_SECRET, read_secret
from anchor_supervisor.errors import BuildError
from image_builder import Builder

pytestmark = pytest.mark.root

SECRET: Final = "f00d-this-is-nobodys-business"


def everything(*places: Path) -> bytes:
    """All bytes of all plain files beneath some directories, and all names."""
    found = [path for place in places for path in place.rglob("*")]
    content = [path.read_bytes() for path in found if path.is_file() and not path.is_symlink()]
    return b"".join([*content, *(os.fsencode(path) for path in found)])


def test_a_secret_is_seen_and_never_stored(builder: Builder) -> None:
    """A file and a variable; in no blob, layer, key, log or history, whatever becomes of it."""
    context = builder.context(
        "FROM base\n"
        "RUN --mount=type=secret,id=token,uid=7,mode=0440 "
        "stat -c '%a %u' /run/secrets/token > /seen; wc -c < /run/secrets/token >> /seen || true; "
        "grep -q nobodys /run/secrets/token\n"
        "RUN --mount=type=secret,id=token,env=TOKEN,required=true "
        'echo "$TOKEN" | grep -q nobodys\n'
        "RUN --mount=type=secret,id=missing test ! -e /run/secrets/missing\n"
    )
    file = builder.console.directory.parent / "token"
    file.write_text(SECRET)
    image = builder.image(context, "--secret", f"id=token,src={file}")
    file.unlink()
    assert builder.read(image, "seen").startswith("440 7\n")
    assert not [path for path in builder.tree(image) if path.startswith("run")]
    found = everything(builder.console.data_dir, builder.console.run_dir)
    assert SECRET.encode() not in found
    # From the environment, and another value: no step depends on it.
    builder.console.environment["MINE"] = "other"
    said = builder(context, "--secret", "id=token,env=MINE")
    assert said.code == 0, said
    assert said.err.count("cached") == 3


def test_a_secret_that_is_required_and_missing_is_named(builder: Builder) -> None:
    """And so is one whose file is not there."""
    context = builder.context("FROM base\nRUN --mount=type=secret,id=key,required=true true\n")
    assert "secret `key` is required" in builder.refused(context)
    error = builder.refused(context, "--secret", "id=key,src=/no/such")
    assert "`/no/such` cannot be read" in error


def test_a_secret_has_an_end(tmp_path: Path) -> None:
    """Secrets are small; a variable that is not set is no secret."""
    large = tmp_path / "large"
    large.write_bytes(b"x" * (LARGEST_SECRET + 1))
    with pytest.raises(BuildError, match="larger than"):
        read_secret("key", Secret(file=large))
    with pytest.raises(BuildError, match="is not set"):
        read_secret("key", Secret(variable="ANCHOR_TEST_NOT_SET"))


def test_a_cache_outlives_builds_and_is_in_no_image(builder: Builder) -> None:
    """One command finds what another has left; owner and mode as asked; prune takes it."""
    mount = "--mount=type=cache,id=mine,target=/c,uid=1000,gid=1001,mode=0775"
    context = builder.context(f"FROM base\nRUN {mount} stat -c '%a %u %g' /c > /c/facts\n")
    builder.image(context)
    again = builder.context(
        f"FROM base\nUSER web\nRUN {mount} cat /c/facts > /tmp/facts && echo x > /c/more\n", "again"
    )
    image = builder.image(again)
    assert builder.read(image, "tmp/facts") == "775 1000 1001\n"
    assert "c" not in builder.tree(image)
    said = builder.console.anchor("prune", "--all", "--force")
    assert "mine" in said.out
    assert not list((builder.console.data_dir / "store/build-cache/mounts").iterdir())


def test_a_cache_that_is_in_use_is_not_pruned(builder: Builder) -> None:
    """Its lock is held by whoever uses it; a private one beside it is another directory."""
    cache = Cache(builder.store)
    with cache.mount("used", alone=False) as first, cache.mount("used", alone=False) as second:
        assert first == second
        with cache.private_mount("used") as private:
            assert private != first
        (first / "file").write_text("x")
        said = builder.console.anchor("prune", "--all", "--force")
        assert said.code == 0, said
        assert (first / "file").exists()


def test_a_locked_cache_is_one_users_at_a_time(builder: Builder) -> None:
    """`sharing=locked` waits for the other build to end."""
    cache = Cache(builder.store)
    mount = "--mount=type=cache,id=mine,target=/c,sharing=locked"
    context = builder.context(f"FROM base\nRUN {mount} {mount} true\n")
    with cache.mount("mine", alone=True) as held:
        build = builder.console.start_anchor("build", context)
        build.wait_for("[1/2] FROM")
        lock = os.open(held.parent, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(lock)
        assert build.process.poll() is None
    assert build.ended() == 0


def test_what_is_bound_is_read_only_and_without_what_is_ignored(builder: Builder) -> None:
    """A command cannot write into the context, and sees no more of it than COPY does."""
    context = builder.context(
        "FROM base\n"
        "RUN --mount=type=bind,target=/c test -f /c/input && ! touch /c/x && echo 1 > /one\n",
        input="in",
        secret="no",
    )
    builder.image(context)
    (context / ".dockerignore").write_text("secret\n")
    (context / "Dockerfile").write_text(
        "FROM base\nRUN --mount=type=bind,target=/c test -f /c/input && test ! -e /c/secret\n"
    )
    builder.image(context)


def test_what_may_be_written_to_is_a_copy(builder: Builder) -> None:
    """`rw` writes go nowhere: neither into the context, nor into the stage, nor into the image."""
    context = builder.context(
        "FROM base AS other\nRUN echo there > /file\nFROM base\n"
        "RUN --mount=type=bind,rw,target=/c echo x > /c/input && cat /c/input > /written\n"
        "RUN --mount=type=bind,from=other,source=/file,target=/f,rw "
        "echo y >> /f && cat /f > /both\n",
        input="in",
    )
    image = builder.image(context)
    assert (context / "input").read_text() == "in"
    assert builder.read(image, "written") == "x\n"
    assert builder.read(image, "both") == "there\ny\n"
    assert not {"c", "f"} & builder.tree(image).keys()


def test_a_tmpfs_has_its_size(builder: Builder) -> None:
    """No more than that can be written."""
    builder.image(
        builder.context(
            "FROM base\nRUN --mount=type=tmpfs,size=4096,target=/t ! cp /bin/busybox /t/x\n"
        )
    )


def test_a_source_outside_is_not_there(builder: Builder) -> None:
    """A link in the context that leads out of it leads back into it."""
    context = builder.context("FROM base\nRUN --mount=type=bind,source=out,target=/c true\n")
    (context / "out").symlink_to("/etc")
    assert "`out` is not in the context" in builder.refused(context)
