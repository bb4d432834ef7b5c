"""What a killed build leaves is gone with the next prune, whoever built."""

from __future__ import annotations

import random

import pytest

from image_builder import Builder

pytestmark = pytest.mark.root


def test_prune_takes_what_a_killed_build_left(builder: Builder) -> None:
    """Container, network, cgroup and secret; the fixture looks at the whole machine."""
    context = builder.context(
        "FROM base\nRUN --mount=type=secret,id=token echo running; sleep 1000\n"
    )
    token = builder.place / "token"
    token.write_text("secret")
    build = builder.console.start_anchor("build", "--secret", f"id=token,src={token}", context)
    build.wait_for("| running")
    left = builder.console.run_dir / ".build"
    assert list(left.rglob("content"))
    said = builder.console.anchor("prune", "--force")  # of a living build it takes nothing
    assert said.code == 0, said
    assert list(left.rglob("content"))
    build.process.kill()
    build.process.wait()
    assert "killed build" in builder.console.anchor("prune", "--dry-run").out
    said = builder.console.anchor("prune", "--force")
    assert said.code == 0, said
    assert not left.exists()
    assert not (builder.console.data_dir / "store/build-cache/scratch").exists()


def test_a_next_build_sweeps_as_well(builder: Builder) -> None:
    """The same without a prune."""
    context = builder.context("FROM base\nRUN echo running; sleep 1000\n")
    build = builder.console.start_anchor("build", context)
    build.wait_for("| running")
    build.process.kill()
    build.process.wait()
    other = builder.context(f"FROM base\nLABEL number={random.random()}\n", "other")
    builder.image(other)
    assert not (builder.console.data_dir / "store/build-cache/scratch").exists()
