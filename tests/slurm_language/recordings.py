"""What real clusters answered: tests/recorded/RELEASE/COMMAND.txt, made by tests/record.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "recorded"
RELEASES = sorted(folder.name for folder in ROOT.iterdir())

each_release = pytest.mark.parametrize("release", RELEASES)


def answer(release: str, name: str) -> str:
    """The text that a command printed on a cluster of this release."""
    return (ROOT / release / f"{name}.txt").read_text(encoding="utf-8")


def corpus(*names: str) -> Path:
    """A file of the corpus of other sites' answers, or the test is skipped."""
    folder = os.environ.get("HPCTOOLS_CORPUS")
    if not folder:
        pytest.skip("HPCTOOLS_CORPUS does not name a folder with other sites' answers")
    return Path(folder, "sacct", *names)


def parses(function: Callable[[str], object], text: str) -> bool:
    """Whether function takes text; any other error than ParseError is the test's failure."""
    from hpctools.errors import ParseError

    try:
        function(text)
    except ParseError:
        return False
    return True
