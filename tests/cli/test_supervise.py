"""`anchor-supervise`: its options, and the exit code of each way a fleet can end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anchor_supervisor.cli import check as check_module
from anchor_supervisor.cli import supervise as program
from anchor_supervisor.cli import up as up_module
from anchor_supervisor.errors import HostError, SupervisionBug
from anchor_supervisor.fleet.model import Fleet, LimitsMode
from anchor_supervisor.observability.log import LogFormat
from anchor_supervisor.runtime import service
from anchor_supervisor.runtime.terms import Ending, Options, Outcome

SHOP = '[containers.web]\nimage = "host"\ncommand = ["true"]\n'


@pytest.fixture
def shop(tmp_path: Path) -> str:
    """A fleet file that is right."""
    path = tmp_path / "shop.toml"
    path.write_text(SHOP)
    return str(path)


class Supervised:
    """Stands for `service.supervise`: notes what it was given, ends as it is told."""

    def __init__(self, code: int = 0, error: Exception | None = None) -> None:
        self.code, self.error = code, error
        self.given: list[tuple[Fleet, Options]] = []

    def __call__(self, fleet: Fleet, options: Options) -> Ending:
        self.given.append((fleet, options))
        if self.error is not None:
            raise self.error
        return Ending(Outcome(self.code, "done"), (), {})


@pytest.fixture
def supervised(monkeypatch: pytest.MonkeyPatch) -> Supervised:
    """A fleet that ends well at once."""
    made = Supervised()
    monkeypatch.setattr(service, "supervise", made)
    return made


@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_is_the_fleets(supervised: Supervised, shop: str, code: int) -> None:
    """0 on request or when all jobs succeeded, 1 where something was lost."""
    supervised.code = code
    assert program.main([shop]) == code
    [(fleet, options)] = supervised.given
    assert fleet.name == "shop"
    assert options == Options()


@pytest.mark.parametrize(
    ("error", "code"),
    [(HostError("no cgroup2", hint="mount it"), 3), (SupervisionBug("two starts at once"), 70)],
)
def test_an_error_is_a_sentence_and_a_code(
    supervised: Supervised,
    shop: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: Exception,
    code: int,
) -> None:
    """The machine's fault is 3, our own 70; never a traceback, which goes to a report."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    supervised.error = error
    assert program.main([shop]) == code
    said = capsys.readouterr().err
    assert said.startswith(f"error: {error}\n")
    assert "Traceback" not in said
    assert len(list(tmp_path.glob("anchor-report-*"))) == (code == 70)


def test_the_options_reach_the_supervisor(
    supervised: Supervised, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--quiet, --log-format, --limits, --no-color."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    words = ["--quiet", "--log-format", "json", "--limits", "best-effort", "--no-color", shop]
    assert program.main(words) == 0
    [(fleet, options)] = supervised.given
    limits = LimitsMode.BEST_EFFORT  # told apart from the file's word, so that a reload keeps it
    assert options == Options(output=False, log_format=LogFormat.JSON, limits=limits)
    assert fleet.limits is LimitsMode.BEST_EFFORT
    assert os.environ["NO_COLOR"] == "1"
    monkeypatch.delenv("NO_COLOR")


def test_each_mode_is_another_program(
    supervised: Supervised, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--check, --plan and --detach start nothing here."""
    called: list[tuple[str, object]] = []

    def noted(name: str) -> object:
        def mode(_fleet: Fleet, **options: object) -> int:
            called.append((name, options))
            return 0

        return mode

    monkeypatch.setattr(check_module, "check", noted("check"))
    monkeypatch.setattr(check_module, "plan", noted("plan"))
    monkeypatch.setattr(up_module, "up", noted("up"))
    for words in (["--check"], ["--plan", "--json"], ["--detach", "--wait-timeout", "1m30s"]):
        assert program.main([*words, shop]) == 0
    assert called == [
        ("check", {"as_json": False}),
        ("plan", {"as_json": True}),
        ("up", {"timeout": 90.0, "log_format": None, "build": False, "limits": None}),
    ]
    assert supervised.given == []


def test_several_files_and_profiles(
    supervised: Supervised, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later file overrides; options may stand anywhere; the variable is for want of an option."""
    local = Path(shop).with_name("local.toml")
    local.write_text(
        '[containers.web]\ncommand = ["false"]\n[containers.more]\nextends = "web"\n'
        'profiles = ["debug"]\n'
    )
    monkeypatch.delenv("ANCHOR_PROFILES", raising=False)
    assert program.main([shop, "--profile", "debug", str(local)]) == 0
    monkeypatch.setenv("ANCHOR_PROFILES", "debug")
    assert program.main(["--quiet", shop, str(local)]) == 0
    monkeypatch.setenv("ANCHOR_PROFILES", "")
    assert program.main([shop, str(local), "--quiet"]) == 0
    fleets = [fleet for fleet, _ in supervised.given]
    assert [list(fleet.containers) for fleet in fleets] == [["web", "more"]] * 2 + [["web"]]
    for fleet in fleets:
        assert (fleet.name, fleet.files) == ("shop", (shop, str(local)))
        assert fleet.containers["web"].command == ("false",)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "FLEET.toml"),
        (["--check", "--plan", "x.toml"], "not allowed with argument"),
        (["--wait-timeout", "soon", "x.toml"], "--wait-timeout"),
        (["--limits", "lax", "x.toml"], "invalid choice"),
        (["--log-format", "xml", "x.toml"], "invalid choice"),
        (["--colour", "x.toml"], "unrecognized arguments"),
    ],
)
def test_a_wrong_use_is_refused(
    supervised: Supervised, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    """Exit 2 with the usage, before the file is read."""
    try:
        code = program.main(words)
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    assert code == 2
    assert complaint in capsys.readouterr().err
    assert supervised.given == []


def test_a_wrong_file_is_refused_with_its_line(
    supervised: Supervised, shop: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, file and line, the nearest known key."""
    Path(shop).write_text(SHOP + 'comand = "x"\n')
    assert program.main([shop]) == 2
    said = capsys.readouterr().err
    assert f"{shop}:4" in said
    assert "command" in said
    assert program.main([f"{shop}.gone"]) == 2
    assert supervised.given == []
