"""Where images, Dockerfiles and .dockerignore files come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from image_builder import Builder
from registries import docker_registry

pytestmark = pytest.mark.root


def test_base_images_are_pulled(builder: Builder, tmp_path: Path) -> None:
    """Where the store has none; with `--pull` in any case, and only then a newer one."""
    with docker_registry(tmp_path / "registry") as address:
        name = f"{address}/some/base:1"
        push(builder, "FROM base\nRUN echo 1 > /version\n", name)
        assert builder.console.anchor("rmi", name).code == 0
        context = builder.context(f"FROM {name}\nCOPY --from={name} /version /copied\n")
        said = builder(context)
        assert said.code == 0, said
        assert said.err.count("pulling") == 1
        assert "pulling" not in builder(context).err
        builder.console.anchor("tag", name, "kept")
        push(builder, "FROM base\nRUN echo 2 > /version\n", name)
        builder.console.anchor("tag", "kept", name)
        assert builder.read(builder.image(context), "copied") == "1\n"
        assert builder.read(builder.image(context, "--pull"), "copied") == "2\n"


def push(builder: Builder, dockerfile: str, name: str) -> None:
    """Build an image and push it."""
    builder.image(builder.context(dockerfile, "pushed"), "-t", name)
    said = builder.console.anchor("push", name)
    assert said.code == 0, said


def test_the_ignore_file_of_a_dockerfile_wins(builder: Builder) -> None:
    """`Other.dockerignore` beside `Other`, in place of the context's own."""
    context = builder.context("FROM base\nCOPY . /all\n", one="1", two="2")
    (context / ".dockerignore").write_text("one\n")
    (context / "Other").write_text("FROM base\nCOPY . /all\n")
    (context / "Other.dockerignore").write_text("two\n")
    tree = builder.tree(builder.image(context))
    assert "all/two" in tree
    assert "all/one" not in tree
    tree = builder.tree(builder.image(context, "-f", context / "Other"))
    assert "all/one" in tree
    assert "all/two" not in tree


def test_a_context_that_is_not_there(builder: Builder) -> None:
    """Or no directory, is named; a Dockerfile that is not text as well."""
    assert "`/no/such`" in builder.refused(Path("/no/such"))
    file = builder.place / "file"
    file.write_text("x")
    assert "cannot be opened" in builder.refused(file)
    context = builder.context("")
    assert "there is no instruction" in builder.refused(context)
    (context / "Dockerfile").write_bytes(b"FROM \xff\xfe")
    assert "is not UTF-8" in builder.refused(context)
    assert "`nothing` cannot be opened" in builder.refused(context, "-f", "nothing")


def test_options_that_cannot_be_read(builder: Builder) -> None:
    """Are refused before anything is done."""
    context = builder.context("FROM base\n")
    for words in (
        ("--build-arg", "=x"),
        ("--secret", "src=x"),
        ("--secret", "id=x,src=y,env=z"),
        ("--platform", "linux"),
        ("-t", "No Name"),
        ("--label", "=x"),
    ):
        builder.refused(context, *words)
    builder.console.environment["SOURCE_DATE_EPOCH"] = "yesterday"
    assert "SOURCE_DATE_EPOCH" in builder.refused(context)
