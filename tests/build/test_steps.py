"""The cache: each kind of change does again what depends on it, and nothing else.

What of a tree counts as a change, is in `test_fingerprint`.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from image_builder import Builder

pytestmark = pytest.mark.root

DOCKERFILE: Final = """\
FROM base AS tools
COPY tool /tool
RUN cp /tool /made; echo unrelated > /other
FROM base
ARG EARLY=1
LABEL version=1
ENV MODE=fast
WORKDIR /work
COPY tree /tree
RUN --mount=type=bind,source=bound,target=/bound cat /bound > bound
ARG LATE=1
RUN echo $LATE > late
COPY --from=tools /made /made
"""
STEPS: Final = (
    *("COPY tool", "RUN cp", "WORKDIR", "COPY tree", "RUN --mount", "RUN echo $LATE"),
    "COPY --from",
)

Change = Callable[[Path], object]


def write(name: str, text: str) -> Change:
    """Change a file's content."""
    return lambda context: (context / name).write_text(text)


def replace(before: str, after: str) -> Change:
    """Change the Dockerfile."""

    def change(context: Path) -> None:
        path = context / "Dockerfile"
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))

    return change


CHANGES: Final[dict[str, tuple[Change, tuple[str, ...]]]] = {
    "nothing": (lambda _context: None, ()),
    "a time": (lambda context: os.utime(context / "tree/file", (1, 1)), ()),
    "a label": (replace("version=1", "version=2"), ()),
    "a comment": (replace("ENV MODE", "# why\nENV MODE"), ()),
    "a file that is not copied": (write("unused", "x"), ()),
    "a file": (write("tree/file", "new"), ("COPY tree", *STEPS[4:])),
    "a mode": (lambda context: (context / "tree/file").chmod(0o600), ("COPY tree", *STEPS[4:])),
    "what is bound": (write("bound", "new"), STEPS[4:]),
    "an argument": (replace("LATE=1", "LATE=2"), STEPS[5:]),
    "an argument of before": (replace("EARLY=1", "EARLY=2"), STEPS[4:]),
    "a variable": (replace("MODE=fast", "MODE=slow"), STEPS[4:]),
    "a flag": (replace("COPY tree", "COPY --chmod=700 tree"), ("COPY --chmod", *STEPS[4:])),
    "a directory": (replace("/work", "/there"), STEPS[2:]),
    "another stage, elsewhere": (
        replace("unrelated", "something else"),
        ("RUN cp",),
    ),
    "another stage": (write("tool", "new"), ("COPY tool", "RUN cp", "COPY --from")),
}


@pytest.fixture
def context(builder: Builder) -> Path:
    """A context whose image has been built."""
    context = builder.context(DOCKERFILE, tool="tool", bound="bound", unused="")
    (context / "tree").mkdir()
    (context / "tree/file").write_text("file")
    builder.image(context)
    return context


def done_again(said: str) -> set[str]:
    """The steps that were not in the cache."""
    lines = re.findall(r"^\[\d+/\d+\] (?!\| |done)(.*)$", said, re.MULTILINE)
    assert len(lines) == len(STEPS) + 2, said
    return {line for line in lines if not line.endswith("  cached") and "FROM" not in line}


def test_each_change_does_again_what_depends_on_it(builder: Builder, context: Path) -> None:
    """And nothing else; changed back, everything is in the cache."""
    original = {path: path.read_bytes() for path in context.rglob("*") if path.is_file()}
    whole = context.with_name("whole")
    for what, (change, expected) in CHANGES.items():
        context.rename(whole)
        shutil.copytree(whole, context, symlinks=True)
        change(context)
        said = builder(context)
        assert said.code == 0, said
        again = done_again(said.err)
        missing = [step for step in expected if not any(line.startswith(step) for line in again)]
        beyond = [line for line in again if not line.startswith(tuple(expected) or ("\0",))]
        assert (missing, beyond) == ([], []), what
        shutil.rmtree(context)
        whole.rename(context)
    assert {path: path.read_bytes() for path in original} == original
    said = builder(context)
    assert not done_again(said.err), said.err


def test_an_unchanged_build_makes_the_same_image(builder: Builder, context: Path) -> None:
    """The same digest, so nothing is left to prune; `--no-cache` does all again, and keeps it."""
    first = builder.image(context)
    assert builder.image(context).digest == first.digest
    said = builder(context, "--no-cache")
    assert len(done_again(said.err)) == len(STEPS)
    assert not done_again(builder(context).err)


def test_what_was_pruned_is_done_again(builder: Builder, context: Path, base_root: Path) -> None:
    """An entry whose layer has gone is no entry; prune takes both, and the image is made again."""
    said = builder.console.anchor("prune", "--force", "--all")
    assert said.code == 0, said
    assert not list((builder.console.data_dir / "store/build-cache/keys").iterdir())
    said = builder.console.anchor("import", base_root, "base")
    assert said.code == 0, said
    assert len(done_again(builder(context).err)) == len(STEPS)


def test_an_entry_without_its_layer_is_none(builder: Builder, context: Path) -> None:
    """Whoever removes a layer behind the cache's back only costs the time to make it again."""
    layers = builder.console.data_dir / "store/layers"
    image = builder.image(context)
    shutil.rmtree(layers / image.layers[-1].diff_id.removeprefix("sha256:"))
    again = done_again(builder(context).err)
    assert [line for line in again if line.startswith("COPY --from")]


def test_an_unchanged_build_is_cheap(builder: Builder, context: Path) -> None:
    """Less than a second of processor time with 2,000 files, and no loop is even loaded."""
    for number in range(2000):
        (context / f"tree/{number}").write_text(str(number))
    builder.image(context)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    script = (
        "import sys; from anchor_supervisor.cli.main import main; "
        f"code = main(['build', {str(context)!r}]); "
        "sys.exit(code or 10 * ('trio' in sys.modules) + 20 * ('urllib3' in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=builder.console.environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done
    assert not done_again(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 1.0
