"""docs/render.md: its example is run, and prints what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from hpctools.cli import cli

PAGE = (Path(__file__).parent.parent.parent / "docs" / "render.md").read_text()
CONSOLE = "\n".join(re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = [tuple(part.partition("\n")[::2]) for part in re.split(r"^\$ ", CONSOLE, flags=re.MULTILINE)[1:]]


def as_pattern(said: str) -> str:
    """What a command prints; ... stands for anything."""
    return re.escape(said.strip()).replace(r"\.\.\.", "(.|\n)*")


def test_the_example_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) == 6
    for command, said in COMMANDS:
        result = CliRunner().invoke(cli, shlex.split(command)[1:], standalone_mode=False)
        assert result.exception is None, command
        assert not result.return_value, command
        assert re.fullmatch(as_pattern(said), result.stdout.strip()), f"{command}\n{result.stdout}"
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(code, "render.md", "exec"), {})  # noqa: S102 - the page's own example
    assert capsys.readouterr().out == "1 finding\n"
