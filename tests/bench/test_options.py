"""What can be said to each question, and how what is no value is answered."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import options
from anchor_program import ROOT, Result
from anchor_supervisor.cli.main import WrongUse

SPEC = importlib.util.spec_from_file_location("bench_main", ROOT / "bench/__main__.py")
assert SPEC is not None
assert SPEC.loader is not None
main: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(main)

WRONG = [
    ("startup", "--count", "0"),
    ("startup", "--count", "-3"),
    ("startup", "--count", "many"),
    ("startup", "--count", "1e3"),
    ("startup", "--count", "٣"),
    ("startup", "--concurrency", "0"),
    ("startup", "--copies", "0"),
    ("startup", "--sizes", "1,big"),
    ("startup", "--sizes", "0"),
    ("startup", "--strategies", "overlay,btrfs"),
    ("startup", "--strategies", ""),
    ("startup", "--image", "/no/such/root"),
    ("startup", "--image", "/etc/os-release"),
    ("burst", "--sizes", "10,"),
    ("burst", "--sizes", "1001"),
    ("burst", "--times", "0"),
    ("restart", "--count", "0"),
    ("restart", "--alive", "soon"),
    ("ready", "--length", "0"),
    ("ready", "--times", "-1"),
    ("teardown", "--sizes", "x"),
    ("idle", "--seconds", "nan"),
    ("idle", "--seconds", "-1"),
    ("memory", "--sizes", "5"),
    ("memory", "--sizes", "5,5"),
    ("commands", "--times", "0"),
    ("commands", "--stacks", "0"),
    ("unpack", "--image", "/no/such/root"),
]


@pytest.mark.parametrize("said", WRONG, ids=" ".join)
def test_what_is_no_value_is_told(said: tuple[str, str, str]) -> None:
    """Which option, what it was, why not, and what would be right; exit code 2."""
    _, flag, value = said
    with pytest.raises(WrongUse) as wrong:
        main._main(said)
    assert wrong.value.exit_code == 2
    assert f"`{flag}`" in wrong.value.message
    assert all(part in wrong.value.message for part in value.split(",")[-1:])
    assert wrong.value.hint
    assert not wrong.value.message.endswith(".")


@pytest.mark.parametrize("question", [*main.QUESTIONS])
def test_every_question_has_a_long_and_a_short_form(
    question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its help tells both; nothing stays open once the form is known."""
    with pytest.raises(SystemExit) as leaving:
        main._main([question, "--help"])
    assert leaving.value.code == 0
    told = capsys.readouterr().out
    assert f"usage: anchor bench {question}" in told
    assert "--short" in told
    assert "(default" in told
    module: Any = importlib.import_module(question)
    for short in (True, False):
        parser = argparse.ArgumentParser()
        module.add_options(parser)
        parser.set_defaults(short=short)
        settled = vars(options.settled(parser.parse_args([])))
        assert not [name for name, value in settled.items() if isinstance(value, options.Default)]


def test_the_short_form_is_shorter() -> None:
    """Each default of it is no larger than the long form's."""
    for question in main.QUESTIONS:
        parser = argparse.ArgumentParser()
        importlib.import_module(question).add_options(parser)
        for name, value in vars(parser.parse_args([])).items():
            if isinstance(value, options.Default):
                assert _weight(value.short) <= _weight(value.long), (question, name)


def _weight(value: Any) -> float:
    if isinstance(value, tuple):
        return sum(one if isinstance(one, int) else 1 for one in value)
    return float(value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (options.count("--n"), "7", 7),
        (options.counts("--n"), "100, 1,10,10", (1, 10, 100)),
        (options.seconds("--n"), "0.5", 0.5),
        (options.words("--n", ("a", "b")), "b,a,b", ("b", "a")),
    ],
)
def test_what_is_a_value_is_taken(kind: Callable[[str], object], text: str, value: object) -> None:
    """Numbers each once and in order; words as they come."""
    assert kind(text) == value


def test_an_image_is_a_directory_or_a_tar(tmp_path: Path) -> None:
    """Or a word for what is made on the spot."""
    kind = options.root_image("--image", ("debian",))
    archive = tmp_path / "root.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(tmp_path, ".", filter=lambda entry: entry if entry.isdir() else None)
    assert kind(str(tmp_path)) == tmp_path
    assert kind(str(archive)) == archive
    assert kind("debian") == "debian"


def test_an_unknown_question_gets_the_nearest(ask: Callable[..., Result]) -> None:
    """And no traceback, nor anything on standard output."""
    told = ask("burts")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == "error: unknown question `burts`\nhint: did you mean `burst`?\n"
    told = ask("zzz")
    assert told.stderr.endswith("hint: `anchor bench --help` lists them\n")


@pytest.mark.root
def test_results_that_cannot_be_written_stop_it_before_it_begins(
    ask: Callable[..., Result], data_dir: Path
) -> None:
    """A file in the way, or a place where nobody can write."""
    (data_dir / "file").touch()
    for place in (data_dir / "file", data_dir / "file/beneath", Path("/proc/nowhere")):
        told = ask("idle", "--out", place)
        assert (told.returncode, told.stdout) == (2, "")
        assert told.stderr.startswith(f"error: `--out` is `{place}`, which cannot be written to: ")


@pytest.mark.root
def test_an_ordinary_user_is_told_so(ask: Callable[..., Result]) -> None:
    """Containers are started by root alone; a report anybody may make."""
    as_nobody = ("setpriv", "--reuid", "65534", "--clear-groups")
    told = ask("idle", wrapped=as_nobody)
    assert (told.returncode, told.stdout) == (3, "")
    assert told.stderr == (
        "error: containers can only be started by root\nhint: run it again with sudo\n"
    )


@pytest.mark.root
def test_without_a_compiler_it_says_what_to_install(
    ask: Callable[..., Result], programs: dict[str, str]
) -> None:
    """The floor is compiled on the spot."""
    programs["PATH"] = "/nowhere"
    told = ask("idle")
    assert (told.returncode, told.stdout) == (3, "")
    assert "there is no C compiler" in told.stderr
    assert "hint: apt install gcc" in told.stderr
