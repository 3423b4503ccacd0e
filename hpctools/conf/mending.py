"""Mending what lint found, where mending is safe: comments, order and everything else stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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
    for _ in range(_ROUNDS):
        findings = judge(found)
        texts = {path: data.decode("utf-8", "surrogateescape") for path, data in _files(found).items()}
        edits, done = _compatible(findings)
        if not done:
            break
        mended += done
        for path, some in edits.items():
            new[path] = apply(texts[path], some).encode("utf-8", "surrogateescape")
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
    return one.start <= other.end and other.start <= one.end
