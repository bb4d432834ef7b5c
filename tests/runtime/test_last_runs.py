"""When scheduled jobs last began, over the lives of supervisors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
import trio.testing

from anchor_supervisor.runtime import last_runs
from anchor_supervisor.runtime.last_runs import LastRuns
from anchor_supervisor.runtime.sweep import remove_volumes
from log_lines import captured_logs
from waiting import DEADLINE


async def test_what_is_noted_is_there_for_the_next_supervisor(tmp_path: Path) -> None:
    """Kept in the background, and at the end; nothing is written where nothing was noted."""
    path = tmp_path / "schedules/shop.json"
    runs = LastRuns(path)
    assert runs.read() == {}
    await runs.flush()
    assert not path.parent.exists()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runs.keep)
        runs.note("backup", 1000.5)
        with trio.fail_after(DEADLINE):
            while not path.exists():
                await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    runs.note("report", 2000.0)
    await runs.flush()
    again = LastRuns(path)
    assert again.read() == {"backup": 1000.5, "report": 2000.0}
    again.note("backup", 3000.0)
    await again.flush()
    assert LastRuns(path).read() == {"backup": 3000.0, "report": 2000.0}
    assert [one.name for one in path.parent.iterdir()] == ["shop.json"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"a": "b"}',
        '{"a": true}',
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": 9e18}',
        '{"a": 253402300799}',
        '{"a": -1}',
        "\xff",
        "[" * 100000,
    ],
)
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: str) -> None:
    """It is told, and the fleet comes up all the same."""
    path = tmp_path / "shop.json"
    path.write_text(content, encoding="latin-1")
    with captured_logs() as logged:
        assert LastRuns(path).read() == {}
    [entry] = logged
    assert (entry["log_level"], entry["file"]) == ("warning", str(path))


async def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    """The job has run; that it will be made up for once more is the smaller evil."""
    (tmp_path / "schedules").write_text("in the way")
    runs = LastRuns(tmp_path / "schedules/shop.json")
    runs.note("backup", 1.0)
    with captured_logs() as logged:
        await runs.flush()
    [entry] = logged
    assert entry["event"] == "a scheduled run could not be noted"


async def test_a_full_disk_keeps_what_was_noted_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left of what did not fit."""

    def full(aside: Path, text: str, encoding: str) -> int:
        aside.write_bytes(text.encode(encoding)[:3])
        raise OSError(28, "No space left on device")

    runs = LastRuns(tmp_path / "schedules/shop.json")
    runs.note("backup", 1.0)
    await runs.flush()
    runs.note("backup", 2.0)
    with monkeypatch.context() as patched, captured_logs() as logged:
        patched.setattr(Path, "write_text", full)
        await runs.flush()
    assert len(logged) == 1
    assert [one.name for one in runs.path.parent.iterdir()] == ["shop.json"]
    assert LastRuns(runs.path).read() == {"backup": 1.0}


def test_it_goes_with_the_volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`down --volumes` leaves nothing to make up for."""
    monkeypatch.setenv("ANCHOR_DATA_DIR", str(tmp_path))
    path = last_runs.place("shop")
    path.parent.mkdir()
    path.write_text(json.dumps({"backup": 1.0}))
    path.with_suffix(".new").write_text('{"back')  # whoever wrote it was killed
    remove_volumes("shop")
    assert not list(path.parent.iterdir())
    remove_volumes("shop")
