"""Mending what lint found, where mending is safe: comments, order and everything else stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import Finding, in_order
from hpctools.conf.judge import judge
from hpctools.conf.load import candidates, read
from hpctools.slurm.conf_text import Edit, apply

# Mending one thing can bring another to light; what needs more rounds than this goes in circles.
_ROUNDS = 10


@dataclass(frozen=True)
class Fixed:
    """mended: what was wrong and no longer is. left: what is still wrong, by the lines of the new files.

    files: the bytes of every file of the configurations, by path; changed: the paths of those that are
    not as they were.
    """

    mended: tuple[Finding, ...]
    left: tuple[Finding, ...]
    files: Mapping[str, bytes]
    changed: tuple[str, ...]


def fix(paths: Sequence[str], *, release: str) -> Fixed:
    """The configurations at paths as they should be under a release. Nothing is written.

    Raises InvalidInput as lint does.
    """
    new: dict[str, bytes] = {}
    mended: list[Finding] = []

    def current(path: str) -> bytes:
        return new[path] if path in new else read(path)

    found = candidates(paths, release)
    old = _files(found)
    # Of each line of a changed file, which it was at first: rounds move lines.
    origins: dict[str, list[int]] = {}
    for _ in range(_ROUNDS):
        findings = judge(found)
        texts = {path: data.decode("utf-8", "surrogateescape") for path, data in _files(found).items()}
        edits, done = _compatible(findings)
        if not done:
            break
        mended += [replace(one, line=_origin(origins, one)) for one in done]
        for path, some in edits.items():
            new[path] = apply(texts[path], some).encode("utf-8", "surrogateescape")
            origins[path] = _moved(texts[path], some, origins.get(path))
        found = candidates(paths, release, current)
    files = _files(found)
    changed = tuple(path for path, data in files.items() if data != old.get(path))
    return Fixed(tuple(in_order(mended)), tuple(judge(found)), files, changed)


def _files(found: Iterable[Candidate]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for candidate in found:
        for conf in candidate.confs.values():
            files.update({file.path: file.to_bytes() for file in conf.files})
        files.update({file.path: file.to_bytes() for file in candidate.yamls.values()})
    return files


def _compatible(findings: Iterable[Finding]) -> tuple[dict[str, list[Edit]], list[Finding]]:
    """As many edits as do not touch each other, and the findings that they mend; the rest is for the
    next round.
    """
    edits: dict[str, list[Edit]] = {}
    done = []
    for finding in findings:
        if not finding.edits:
            continue
        taken = edits.setdefault(finding.file, [])
        if all(one in taken for one in finding.edits):
            done.append(finding)
        elif not any(_touch(one, other) for one in finding.edits for other in taken):
            taken += [one for one in finding.edits if one not in taken]
            done.append(finding)
    return edits, done


def _touch(one: Edit, other: Edit) -> bool:
    return one.start == other.start or (one.start < other.end and other.start < one.end)


def _origin(origins: Mapping[str, list[int]], finding: Finding) -> int:
    lines = origins.get(finding.file)
    return lines[finding.line - 1] if lines else finding.line


def _moved(text: str, edits: Iterable[Edit], before: list[int] | None) -> list[int]:
    """The first number of each line of text after edits; before: those of text's own lines."""
    before = before or list(range(1, text.count("\n") + 2))
    made = [before[0]]
    place = line = 0
    for edit in sorted(set(edits)):
        kept = text.count("\n", place, edit.start)
        made += before[line + 1 : line + 1 + kept]
        line += kept
        made += [before[line]] * edit.text.count("\n")
        line += text.count("\n", edit.start, edit.end)
        # A line whose beginning is taken out is what comes behind it.
        made[-1] = (
            made[-1] if edit.text or text[edit.start - 1 : edit.start] not in ("", "\n") else before[line]
        )
        place = edit.end
    return made + before[line + 1 :]
