"""The pages of docs/rules: the files that each shows are what its rule is tried with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpctools.conf.finding import Finding
from hpctools.conf.judge import lint

FOLDER = Path(__file__).parent.parent.parent / "docs" / "rules"
# Where a page names none: the newest, which knows most.
RELEASE = "26.05"
_BLOCK = re.compile(r"^```(\S+\.(?:conf|yaml))((?: \S+)*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """The files of a "Wrong" or "Right" section. release: of its heading, as in `## Wrong (25.11)`."""

    page: Path
    heading: str
    files: Mapping[str, str]
    modes: Mapping[str, int]
    folders: frozenset[str]

    @property
    def rule(self) -> str:
        return self.page.stem

    @property
    def release(self) -> str:
        named = re.search(r"\((\d\d\.\d\d)", self.heading)
        return named[1] if named else RELEASE

    @property
    def is_wrong(self) -> bool:
        return self.heading.startswith("Wrong")

    @property
    def alone(self) -> bool:
        """Whether it is one file, judged alone: `## Wrong (alone)`."""
        return "alone" in self.heading

    def write(self, folder: Path) -> Sequence[str]:
        """Lay the files out in folder; returns what to lint."""
        for name, text in self.files.items():
            if name in self.folders:
                # What nobody can read as a file, root included.
                (folder / name).mkdir()
                continue
            (folder / name).write_text(text)
            (folder / name).chmod(self.modes[name])
        return [str(folder / name) for name in self.files] if self.alone else [str(folder)]

    def findings(self, folder: Path) -> list[Finding]:
        return lint(self.write(folder), release=self.release)

    def __str__(self) -> str:
        return f"{self.rule}: {self.heading}"


def pages() -> list[Path]:
    return sorted(path for path in FOLDER.glob("*.md") if path.stem != "README")


def examples(page: Path) -> list[Example]:
    found = []
    for section in re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]:
        blocks = _BLOCK.findall(section)
        modes = {
            name: next((int(word[5:], 8) for word in words.split() if word.startswith("mode=")), 0o644)
            for name, words, _ in blocks
        }
        files = {name: text for name, _, text in blocks}
        folders = frozenset(name for name, words, _ in blocks if "directory" in words)
        found.append(Example(page, section.splitlines()[0], files, modes, folders))
    return found
