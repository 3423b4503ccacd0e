"""The table of docs/releases.md: what was tested on which release, from pytest's own results.

scripts/test --results DIR      # writes DIR/RELEASE.xml for each release
python tests/releases_table.py DIR > docs/releases.md
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# Features by release

What the tests that need Slurm said on each release. Made from their results by
`tests/releases_table.py`; `scripts/test --results DIR` runs them. A number is that of tests that passed;
"here only" marks what is tested on the release of the machine alone, since it is about the sandbox
itself.

Releases between these are supported by what is known of their differences, and not run.
"""


def results(path: Path) -> dict[str, Counter[str]]:
    """Test module (tests.slurm.test_x) -> how many of its tests passed, failed or were left out."""
    found: dict[str, Counter[str]] = {}
    for case in ElementTree.parse(path).iter("testcase"):  # noqa: S314 - pytest has written it
        tags = [child.tag for child in case]
        outcome = next((tag for tag in ("failure", "error", "skipped") if tag in tags), "passed")
        found.setdefault(case.get("classname", ""), Counter())[outcome] += 1
    return found


def feature(module: str) -> str:
    """What a test module is about: the first sentence of its docstring."""
    path = ROOT / (module.replace(".", "/") + ".py")
    text = ast.get_docstring(ast.parse(path.read_text())) or module
    return " ".join(text.split("\n\n")[0].split()).rstrip(".")


def cell(counts: Counter[str] | None) -> str:
    if counts is None:
        return "here only"
    bad = counts["failure"] + counts["error"]
    parts = [str(counts["passed"])]
    parts += [f"{bad} failed"] if bad else []
    parts += [f"{counts['skipped']} left out"] if counts["skipped"] else []
    return ", ".join(parts)


def table(folder: Path) -> str:
    """docs/releases.md from the files RELEASE.xml in folder."""
    releases = {path.stem: results(path) for path in sorted(folder.glob("*.xml"))}
    modules = sorted({module for found in releases.values() for module in found if ".slurm." in f".{module}"})
    lines = [HEAD, "| | " + " | ".join(releases) + " |", "| --- |" + " ---: |" * len(releases)]
    for module in modules:
        cells = (cell(found.get(module)) for found in releases.values())
        lines.append(f"| {feature(module)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(Path(sys.argv[1])))
