"""Id ranges: private, stable, and found again after a crash."""

from itertools import pairwise
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError
from anchor_supervisor.runtime import id_ranges
from anchor_supervisor.runtime.id_ranges import FIRST, RANGE, IdRanges


def test_no_two_containers_share_a_range(tmp_path: Path) -> None:
    """Ranges of one fleet and of two never overlap."""
    ranges = [IdRanges(tmp_path, fleet).take(f"web.{n}") for fleet in "ab" for n in range(50)]
    firsts = sorted(ids.first for ids in ranges)
    assert all(later - earlier >= RANGE for earlier, later in pairwise(firsts))
    assert all(FIRST <= first < 1 << 31 and first % RANGE == 0 for first in firsts)


def test_a_container_gets_its_range_again(tmp_path: Path) -> None:
    """The same fleet and name lead to the same range once it is free."""
    register = IdRanges(tmp_path, "abc")
    first = register.take("web.1")
    register.release(first)
    assert register.take("web.1") == first


def test_a_dead_fleets_ranges_are_swept_and_others_kept(tmp_path: Path) -> None:
    """release_all gives back this fleet's ranges, whoever took them, and no other's."""
    mine, other = IdRanges(tmp_path, "mine"), IdRanges(tmp_path, "other")
    mine.take("a.1")
    mine.take("b.1")
    kept = other.take("a.1")
    assert IdRanges(tmp_path, "mine").release_all() == 2
    assert [path.name for path in tmp_path.iterdir()] == [str(kept.first)]


def test_the_end_of_the_ranges_is_an_error_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When every range is taken, the message says how many there are and where to look."""
    monkeypatch.setattr(id_ranges, "RANGES", 2)
    register = IdRanges(tmp_path, "abc")
    register.take("a.1")
    register.take("b.1")
    with pytest.raises(HostError, match="all 2 ranges") as caught:
        register.take("c.1")
    assert str(tmp_path) in (caught.value.hint or "")
