"""docs/priorities.md: its example is run, and prints what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from hpctools.cli.conf_explain import explain
from hpctools.conf.starting import policies

PAGE = (Path(__file__).parent.parent.parent / "docs" / "priorities.md").read_text()
FILES = re.findall(r"^```yaml (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CONSOLE = re.findall(
    r"^```console\n\$ hpctools conf explain(.*?)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES:
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_has_its_example() -> None:
    assert [name for name, _ in FILES] == ["inventory.yaml", "policy.yaml"]
    assert len(CONSOLE) == 3


@pytest.mark.parametrize(("words", "said"), CONSOLE, ids=range(len(CONSOLE)))
def test_the_example_prints_what_the_page_says(words: str, said: str, folder: Path) -> None:
    result = CliRunner().invoke(explain, shlex.split(words), catch_exceptions=False)
    assert result.stdout == said


def test_the_arithmetic_of_the_text_is_that_of_the_command(folder: Path) -> None:
    shown = CONSOLE[0][1]
    sums = re.findall(r"(\(?[0-9+, ]+\)?) \* ([0-9]+) =\s([0-9,]+)", PAGE)
    assert len(sums) == 3
    for first, second, result in sums:
        terms = first.strip("() ").replace(",", "").split("+")
        assert sum(map(int, terms)) * int(second) == int(result.strip(",").replace(",", ""))
        assert f" {result.strip(',')} " in shown


def test_the_python_of_the_page_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = PAGE.partition("## From Python\n")[2]
    lines = [line.removeprefix("    ") for line in code.split("\n") if line.startswith("    ") or not line]
    exec(compile("\n".join(lines), "priorities.md", "exec"), {})  # noqa: S102 - the page's own example
    said = capsys.readouterr().out
    assert "39634216" in said
    assert "PriorityWeightQOS=26422812" in said


def test_the_policy_that_the_page_begins_with_is_there() -> None:
    (name,) = re.findall(r"hpctools conf new --policy (\S+)", PAGE)
    assert name in policies()
