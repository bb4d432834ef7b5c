"""Builds that are killed: the next one works, and nothing of them is left after it."""

from __future__ import annotations

import random
import signal
import threading
from pathlib import Path
from typing import Final

import pytest

from image_builder import Builder

pytestmark = pytest.mark.root

DOCKERFILE: Final = """\
FROM base
COPY big /big
RUN --mount=type=cache,target=/c echo x >> /c/x; cp /big /again
RUN --mount=type=secret,id=token cat /run/secrets/token > /dev/null; rm /again
COPY --from=base /bin /copied
"""
SECRET: Final = "killed-and-still-not-stored"
TIMES: Final = 8


def test_killed_at_any_moment(builder: Builder) -> None:
    """Kill -9, again and again, at moments that differ; the image then is the one it should be."""
    context = builder.context(DOCKERFILE)
    (context / "big").write_bytes(random.Random(1).randbytes(3 << 20))
    token = builder.place / "token"
    token.write_text(SECRET)
    words = ("--secret", f"id=token,src={token}", "-t", "made")
    moments = random.Random(2)
    for _ in range(TIMES):
        build = builder.console.start_anchor("build", *words, context)
        killer = threading.Timer(moments.uniform(0.1, 1.5), build.process.kill)
        killer.start()
        build.process.wait()
        killer.cancel()
        assert build.process.returncode in (0, -signal.SIGKILL), build.text()
    image = builder.image(context, *words)
    token.unlink()
    assert {path for path in builder.tree(image) if "/" not in path} >= {"big", "copied"}
    assert "again" not in builder.tree(image)
    said = builder.console.anchor("prune", "--force")
    assert said.code == 0, said
    left = [path for path in (builder.console.data_dir / "store").rglob("*") if path.is_file()]
    assert not [path for path in left if SECRET.encode() in path.read_bytes()]
    assert not list((builder.console.data_dir / "store/ingest").iterdir())
    assert not scratch_of(builder)


def scratch_of(builder: Builder) -> list[Path]:
    """What builds have left of what they needed for a moment."""
    places = (
        builder.console.data_dir / "store/build-cache/scratch",
        builder.console.run_dir / ".build",
    )
    return [path for place in places if place.is_dir() for path in place.iterdir()]


def test_two_builds_of_the_same_at_once(builder: Builder) -> None:
    """Both make it, and a prune at the same time takes nothing away from them."""
    context = builder.context(DOCKERFILE.replace(" --mount=type=secret,id=token cat", " true cat"))
    (context / "big").write_bytes(random.Random(3).randbytes(1 << 20))
    builds = [builder.console.start_anchor("build", context) for _ in range(3)]
    for _ in range(3):
        said = builder.console.anchor("prune", "--force")
        assert said.code == 0, said
    for build in builds:
        assert build.ended() == 0, build.text()
    images = [builder.store.find(build.text().split("sha256:")[-1].strip()) for build in builds]
    assert all(images)
    assert builder.read(builder.image(context), "etc/passwd")
