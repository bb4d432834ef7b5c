"""`anchor volume`: what is there, made and removed by name, and never from under a fleet."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from anchor_program import Anchor


@pytest.fixture
def volumes(data_dir: Path) -> Path:
    """Three volumes of two fleets; one name is in both."""
    top = data_dir / "volumes"
    for name in ("shop/pgdata", "shop/cache", "blog/cache"):
        (top / name / "data").mkdir(parents=True)
    (top / "shop/pgdata/data/file").write_bytes(bytes(100_000))
    return top


def left(volumes: Path) -> list[str]:
    return sorted(str(path.parent.relative_to(volumes)) for path in volumes.glob("*/*/data"))


@pytest.mark.usefixtures("shop", "volumes")
def test_the_list_tells_sizes_and_who_uses_them(anchor: Anchor, volumes: Path) -> None:
    """A fleet that runs uses its own; -p shows one fleet's, --json all that is known."""
    lines = anchor("volume", "ls").stdout.splitlines()
    assert lines[0].split() == ["FLEET", "NAME", "SIZE", "CREATED", "USED", "BY"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["blog", "cache"],
        ["shop", "cache"],
        ["shop", "pgdata"],
    ]
    assert [line.split()[-1] for line in lines[1:]] == ["-", "shop", "shop"]
    rows = json.loads(anchor("volume", "ls", "-p", "shop", "--json").stdout)
    assert [row["name"] for row in rows] == ["cache", "pgdata"]
    assert 100_000 <= rows[1]["size"] < 120_000
    assert rows[1]["path"] == str(volumes / "shop/pgdata/data")
    assert rows[1]["used_by"] == "shop"
    assert rows[1]["created"].endswith("Z")


def test_without_volumes_there_is_nothing_to_say(anchor: Anchor) -> None:
    """An empty list is an answer, and no error."""
    for arguments, said in ((["ls"], ""), (["ls", "--json"], "[]\n")):
        result = anchor("volume", *arguments)
        assert (result.returncode, result.stdout) == (0, said)
    assert anchor("volume", "prune", "--force").returncode == 0


def test_a_volume_is_made_found_and_removed_by_name(anchor: Anchor, data_dir: Path) -> None:
    """`FLEET/NAME`, or the name alone where it is the only one; making it twice is fine."""
    for _ in range(2):
        assert anchor("volume", "create", "shop/new").stdout == "shop/new\n"
    place = data_dir / "volumes/shop/new/data"
    assert place.stat().st_mode & 0o7777 == 0o755
    assert anchor("volume", "create", "-p", "shop", "other").stdout == "shop/other\n"
    facts = json.loads(anchor("volume", "inspect", "new").stdout)
    assert [(one["fleet"], one["name"], one["unused"]) for one in facts] == [("shop", "new", True)]
    assert anchor("volume", "rm", "new", "shop/other").stdout == (
        "removed shop/new\nremoved shop/other\n"
    )
    assert list((data_dir / "volumes").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cache", "several fleets have a volume `cache`: blog, shop"),
        ("missing", "there is no volume `missing`"),
        ("shop/missing", "there is no volume `shop/missing`"),
        ("..", "`..` is not a volume's name"),
        ("shop/..", "`shop/..` is not a volume's name"),
        ("../shop/cache", "`../shop` is not a fleet's name"),
        ("shop/pgdata/data", "`shop/pgdata` is not a fleet's name"),
        ("/cache", "`` is not a fleet's name"),
    ],
)
def test_a_wrong_name_removes_nothing(name: str, words: str, anchor: Anchor, volumes: Path) -> None:
    """Neither the volume that is named beside it; the hint says how to name one."""
    result = anchor("volume", "rm", "shop/pgdata", name)
    assert result.returncode != 0
    assert words in result.stderr
    assert "hint" in result.stderr
    assert len(left(volumes)) == 3


@pytest.mark.usefixtures("shop")
def test_what_a_running_fleet_has_stays(anchor: Anchor, volumes: Path) -> None:
    """Rm refuses, prune passes it over; neither ends anything of the fleet."""
    refused = anchor("volume", "rm", "blog/cache", "shop/pgdata")
    assert refused.returncode == 3
    assert "fleet `shop` is running and uses its volumes" in refused.stderr
    assert "anchor -p shop down" in refused.stderr
    assert len(left(volumes)) == 3
    pruned = anchor("volume", "prune", "--force")
    assert pruned.returncode == 0
    assert "freed" in pruned.stdout
    assert left(volumes) == ["shop/cache", "shop/pgdata"]


def test_what_a_dead_fleets_containers_may_use_stays(
    anchor: Anchor, volumes: Path, run_dir: Path
) -> None:
    """Its run directory is still there: somebody has to end it first."""
    (run_dir / "shop").mkdir()
    (run_dir / "shop/lock").touch()
    result = anchor("volume", "rm", "shop/pgdata")
    assert result.returncode == 3
    assert "has died and left its containers" in result.stderr
    assert len(left(volumes)) == 3
    (run_dir / "shop/lock").unlink()
    (run_dir / "shop").rmdir()


def test_pruning_asks_and_shows_what_would_go(anchor: Anchor, volumes: Path) -> None:
    """Without a terminal it needs --force; --dry-run only looks; -p means one fleet alone."""
    refused = anchor("volume", "prune")
    assert refused.returncode == 2
    assert "none is removed without being asked for" in refused.stderr
    assert "pgdata" in refused.stdout
    assert "would be freed" in anchor("volume", "prune", "--dry-run").stdout
    assert len(left(volumes)) == 3
    answer = json.loads(anchor("volume", "prune", "-p", "blog", "-f", "--json").stdout)
    assert [row["fleet"] for row in answer["removed"]] == ["blog"]
    assert left(volumes) == ["shop/cache", "shop/pgdata"]


@pytest.mark.parametrize(("answer", "count"), [(b"n\n", 3), (b"y\n", 0)])
def test_on_a_terminal_the_answer_counts(
    answer: bytes, count: int, anchor: Anchor, volumes: Path
) -> None:
    """Only a yes is one."""
    ours, theirs = os.openpty()
    try:
        os.write(ours, answer)
        done = subprocess.run(
            anchor.command("volume", "prune"),
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
            cwd=anchor.place,
            env=dict(anchor.environment),
            timeout=60,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == (1 if count else 0)
    assert "[y/N]" in done.stderr
    assert len(left(volumes)) == count


def test_a_fleet_that_starts_meanwhile_keeps_its_own(
    anchor: Anchor, volumes: Path, run_dir: Path
) -> None:
    """While the question waits for its answer; the others' volumes go all the same."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        anchor.command("volume", "prune", "--json"),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=anchor.place,
        env=dict(anchor.environment),
    ) as pruning:
        assert pruning.stdout is not None
        assert pruning.stderr is not None
        while not (asked := pruning.stderr.read(1)).startswith(b"]"):
            assert asked
        (run_dir / "blog").mkdir()
        (run_dir / "blog/lock").touch()
        os.write(ours, b"y\n")
        answer, said = json.loads(pruning.stdout.read()), pruning.stderr.read().decode()
    os.close(ours)
    os.close(theirs)
    assert pruning.returncode == 0
    assert [row["fleet"] for row in answer["removed"]] == ["shop", "shop"]
    assert "kept `blog/cache`" in said
    assert left(volumes) == ["blog/cache"]
    (run_dir / "blog/lock").unlink()
    (run_dir / "blog").rmdir()


def test_help_has_examples(anchor: Anchor) -> None:
    """For the verb, and options for each action."""
    result = anchor("volume", "--help")
    assert result.returncode == 0
    assert "  anchor volume rm" in result.stdout.partition("examples:")[2]
    assert "--dry-run" in anchor("volume", "prune", "--help").stdout
    assert anchor("volume").returncode == 2
