"""What every test shares: places to work in, the rules of skipping, and nothing left behind.

A test marked `root` makes real kernel objects and needs uid 0. A test marked `vm` needs a machine
whose only cgroup hierarchy is v2, with controllers: `make test-vm` boots one. Where a test cannot
run it is skipped with the reason; under `CI=true` that is a failure, unless the reason starts with
`machine: `: something this kernel lacks, which the other kernel of the suite has.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from debian import debian_root as debian_root
from leaks import Snapshot, assert_nothing_left
from machine import MACHINE_FACT, limits_can_be_enforced
from waiting import SLOWNESS


def _skips_are_illegal() -> bool:
    return os.environ.get("CI") == "true"


settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("emulated", deadline=None, derandomize=True, max_examples=10)
if SLOWNESS > 1:
    settings.load_profile("emulated")
else:
    settings.load_profile("ci" if _skips_are_illegal() else "default")


def _reason_to_skip(item: pytest.Item) -> str | None:
    if (item.get_closest_marker("root") or item.get_closest_marker("vm")) and os.geteuid() != 0:
        return "needs root: run the tests as root"
    if item.get_closest_marker("vm") and not limits_can_be_enforced():
        return MACHINE_FACT + "no pure cgroup v2 with controllers here; `make test-vm` has one"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what cannot run here, each with its reason."""
    for item in items:
        reason = _reason_to_skip(item)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip that is not a fact about the machine into a failure where skips are illegal."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a whole file that skips itself."""
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.outcome == "skipped" and not hasattr(report, "wasxfail") and _skips_are_illegal():
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith(MACHINE_FACT):
            report.outcome = "failed"
            report.longrepr = f"a skip is illegal where CI=true: {reason}"


@pytest.fixture
def _place() -> Iterator[Path]:
    """A directory of the test's own, with a path short enough for a unix socket (108 bytes)."""
    place = Path(tempfile.mkdtemp(prefix="anchor-", dir=os.environ.get("ANCHOR_TEST_DIR", "/tmp")))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def run_dir(_place: Path) -> Path:
    """An empty run directory of the test's own."""
    return _made(_place / "run")


@pytest.fixture
def data_dir(_place: Path) -> Path:
    """An empty data directory of the test's own, on a file system that can be idmapped."""
    return _made(_place / "data")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture
def programs(run_dir: Path, data_dir: Path) -> dict[str, str]:
    """Give the environment that our programs get in a test: their own places, no colour."""
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "ANCHOR_RUN_DIR": str(run_dir),
        "ANCHOR_DATA_DIR": str(data_dir),
    }


@pytest.fixture
def host_image() -> str:
    """The image `host`, where the root file system can be a container's lower layer at all."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[4] == "/" and rest.split()[0] in {"9p", "overlay", "rootfs", "virtiofs"}:
            pytest.skip(f"{MACHINE_FACT}the root file system is {rest.split()[0]}, without idmaps")
    return "host"


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compare the machine before and after every test that makes real kernel objects."""
    node = request.node
    if not (node.get_closest_marker("root") or node.get_closest_marker("vm")):
        yield
        return
    run, data = request.getfixturevalue("run_dir"), request.getfixturevalue("data_dir")
    before = Snapshot.take(run, data)
    yield
    assert_nothing_left(before, run, data)
