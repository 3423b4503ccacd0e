"""The command line of hpctools submit, as far as it goes without Slurm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpctools.cli import main
from hpctools.cli.submit import FLAGS
from hpctools.jobs.options import OPTIONS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a script in it, and no Slurm to be found."""
    (tmp_path / "train.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_every_option_stands_in_the_help_with_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for option in OPTIONS:
        assert f"--{option.name} " in text
        assert option.help.split(". ")[0] in text
    for name, _, words in FLAGS:
        assert f"--{name} " in text
        assert words in text
    assert "Example: hpctools submit train.py --nodes 4" in text


def test_settings_and_their_origins_are_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "hpctools.yaml").write_text("time: 2:00:00\nenv: {A: b, HOME: }\n")
    assert main(["submit", "train.py", "-N", "4", "--show-config"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["nodes", "4", "command", "line"] in lines
    assert ["time", "02:00:00", f"{folder}/hpctools.yaml:1"] in lines
    assert ["env.A", "b", f"{folder}/hpctools.yaml:2"] in lines
    assert ["env.HOME", "(from", "here)", f"{folder}/hpctools.yaml:2"] in lines
    assert ["launcher", "torchrun", "default"] in lines
    assert ["partition", "not", "set"] in lines


def test_settings_are_shown_as_json_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "train.py", "-N", "4", "--show-config", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["nodes"] == {"value": 4, "origin": "command line"}
    assert set(found) >= {option.name for option in OPTIONS if not option.many}


def test_settings_with_mistakes_are_shown_and_then_the_mistakes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", "train.py", "-N", "none", "--show-config"]) == 2
    captured = capsys.readouterr()
    assert "launcher" in captured.out
    assert captured.err == "hpctools: --nodes: not a whole number from 1 on: 'none'\n"


def test_all_behind_the_dashes_is_the_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options before --, and neither option nor -- behind it is ours."""
    from hpctools.cli.submit import submit

    seen: list[tuple[str, ...]] = []
    words = ["train.py", "-N2", "--", "--nodes", "9", "--", "-x", "--help"]
    with submit.make_context("submit", words) as context:
        seen.append(context.obj)
        assert context.params["target"] == "train.py"
        assert context.params["nodes"] == "2"
    assert seen == [("--nodes", "9", "--", "-x", "--help")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.py", "--lr", "1"], "No such option"),
        (["train.py", "extra"], "unexpected extra argument"),
        (["--nodes", "2", "--", "train.py"], "TARGET stands before the --"),
        ([], "Missing argument 'TARGET'"),
        (["train.py", "--dry-run", "--follow"], "--dry-run and --follow exclude each other"),
        (["train.py", "--json", "--follow"], "--json and --follow exclude each other"),
        (["train.py", "--local", "--test-only"], "--test-only and --local exclude each other"),
    ],
)
def test_words_that_make_no_sense_are_the_users_mistake(
    folder: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    if "option" in said or "extra" in said:
        assert "Arguments of the program stand behind --" in captured.err


def test_without_slurm_one_message_says_so_and_what_to_do(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", "train.py"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hpctools: no Slurm here: ")
    assert "`hpctools sandbox up`" in line
    assert "`--local`" in line
    assert not (folder / "runs").exists()


def test_mistakes_are_told_even_without_slurm(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "nope.py", "--site", "./nope.yaml", "--time", "soon"]) == 2
    err = capsys.readouterr().err
    for text in ("TARGET: there is no nope.py", "--site: there is no site file", "--time: not a duration"):
        assert text in err


def test_a_local_job_runs_here_and_ends_with_the_first_failures_status(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "hello").write_text("#!/bin/sh\necho hello $A; exit 7\n")
    (folder / "hello").chmod(0o755)
    assert main(["submit", "hello", "--local", "--launcher", "none", "--env", "A=b c"]) == 7
    assert "[0] hello b c" in capfd.readouterr().out
    (run,) = (folder / "runs").iterdir()
    assert json.loads((run / "attempt-0/result.json").read_text())["status"] == 7
