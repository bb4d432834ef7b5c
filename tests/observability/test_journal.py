"""The journal of transitions."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from anchor_supervisor.observability.journal import (
    Journal,
    JournalCursor,
    concerns,
    entry_at,
    last_entries,
    read_entries,
)

NOW = 1_767_323_045_123_456_789


def test_entries_come_back_in_order(data_dir: Path) -> None:
    """What was appended is read, oldest first, with its time."""
    journal = Journal(data_dir)
    for number in range(5):
        journal.append(NOW + number, "state", container=f"web.{number % 2}", reason="ü\n\x1b")
    entries = list(read_entries(data_dir))
    assert entries[0] == {
        "time": "2026-01-02T03:04:05.123456789Z",
        "event": "state",
        "container": "web.0",
        "reason": "ü\n\x1b",
    }
    assert [entry["time"][-3:-1] for entry in entries] == ["89", "90", "91", "92", "93"]
    assert [e["time"][-3:-1] for e in last_entries(data_dir, 2, names=("web.0",))] == ["91", "93"]


def test_several_are_added_in_one_go(data_dir: Path) -> None:
    """Each with its own time, in order."""
    journal = Journal(data_dir)
    journal.append_all([entry_at(NOW + number, "state", number=number) for number in range(3)])
    journal.append_all([])
    entries = list(read_entries(data_dir))
    assert [(one["number"], one["time"][-3:-1]) for one in entries] == [
        (0, "89"),
        (1, "90"),
        (2, "91"),
    ]


def test_it_stays_bounded(data_dir: Path) -> None:
    """Old entries go, new ones stay, and no line is cut."""
    journal = Journal(data_dir, max_bytes=1000, max_files=3)
    for number in range(500):
        journal.append(NOW, "state", number=number)
    names = sorted(file.name for file in data_dir.iterdir())
    assert names == ["events.1.jsonl", "events.2.jsonl", "events.jsonl"]
    numbers = [entry["number"] for entry in read_entries(data_dir)]
    assert numbers == list(range(numbers[0], 500))


def test_a_torn_entry_is_cut_off(data_dir: Path) -> None:
    """An entry that a crash has torn does not spoil the next one; strange lines are passed over."""
    journal = Journal(data_dir)
    journal.append(NOW, "first")
    journal.close()
    with (data_dir / "events.jsonl").open("ab") as file:
        file.write(b'[]\nnot json\n{"event": "tor')
    Journal(data_dir).append(NOW, "second")
    assert [entry["event"] for entry in read_entries(data_dir)] == ["first", "second"]


def test_no_journal_is_an_empty_one(data_dir: Path) -> None:
    """Reading what was never written gives nothing."""
    assert last_entries(data_dir / "nowhere", 3) == []


def test_entries_since_a_time(data_dir: Path) -> None:
    """Nothing older than `since`, in whatever generation it is."""
    journal = Journal(data_dir, max_bytes=500, max_files=50)
    for number in range(100):
        journal.append(NOW + number, "state", number=number)
    since = "2026-01-02T03:04:05.123456850Z"
    assert [one["number"] for one in read_entries(data_dir, since=since)] == list(range(61, 100))
    assert list(read_entries(data_dir, since="2027-01-01T00:00:00.000000000Z")) == []


def test_whom_an_entry_concerns(data_dir: Path) -> None:
    """`web` means all its replicas and the container itself, `web.1` that one alone."""
    journal = Journal(data_dir)
    for container in ("web.1", "web.2", "web", "web-admin.1", "db.1", None):
        journal.append(NOW, "state", container=container)
    journal.append(NOW, "clock", reason="web.1 is not meant")

    def about(*names: str) -> list[object]:
        return [entry["container"] for entry in read_entries(data_dir, names=names)]

    assert about("web") == ["web.1", "web.2", "web"]
    assert about("web.1") == ["web.1"]
    assert about("web.2", "db") == ["web.2", "db.1"]
    assert about("nobody") == []
    assert not concerns({"event": "clock"}, {"web"})


def test_a_cursor_may_begin_at_the_end(data_dir: Path) -> None:
    """Only what is written from then on, also where there was no file at all."""
    with JournalCursor(data_dir, at_end=True) as early:
        journal = Journal(data_dir)
        journal.append(NOW, "first")
        with JournalCursor(data_dir, at_end=True) as late:
            assert late.read_some() is None
            journal.append(NOW, "second")
            assert [entry["event"] for entry in late.read_some() or ()] == ["second"]
        assert [entry["event"] for entry in early.read_some() or ()] == ["first", "second"]
        assert early.read_some() is None


def test_a_lack_of_descriptors_is_waited_out(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who follows reads on later, and no descriptor is lost meanwhile."""
    journal = Journal(data_dir, max_bytes=200)
    for number in range(8):
        journal.append(NOW + number, "state", container="web.1")
    with JournalCursor(data_dir, at_end=True) as cursor:
        descriptors = len(os.listdir("/proc/self/fd"))
        real = os.open
        opened: list[int] = []

        def scarce(path: Path, flags: int, mode: int = 0o777) -> int:
            if opened:
                raise OSError(errno.EMFILE, "Too many open files", str(path))
            opened.append(real(path, flags, mode))
            return opened[-1]

        with monkeypatch.context() as patched:
            patched.setattr(os, "open", scarce)
            assert cursor.read_some() is None
        assert opened
        assert len(os.listdir("/proc/self/fd")) == descriptors
        journal.append(NOW, "later")
        found = [entry for entries in iter(cursor.read_some, None) for entry in entries]
        assert [entry["event"] for entry in found] == ["later"]
    journal.close()
