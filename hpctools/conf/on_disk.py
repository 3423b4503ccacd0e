"""Mended configurations on disk: in place with the old files kept, or in a folder of their own."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hpctools import files
from hpctools.conf.mending import Fixed
from hpctools.errors import HpctoolsError, InvalidInput, Problem


def in_place(fixed: Fixed) -> Mapping[str, str]:
    """Put each changed file in the place of the old one; returns where the old ones are now.

    A link stays a link: what it names is replaced. Mode and owner stay. All old files are kept before
    the first new one is written. Raises OSError.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept: dict[str, str] = {}
    for path in fixed.changed:
        real = Path(os.path.realpath(path))
        backup = _free(real.with_name(f"{real.name}.{stamp}"))
        _copy(real.read_bytes(), backup, real)
        kept[path] = str(backup)
    for path in fixed.changed:
        real = Path(os.path.realpath(path))
        _copy(fixed.files[path], real, real)
    return kept


def into(fixed: Fixed, paths: Sequence[str], folder: str) -> tuple[list[str], list[str]]:
    """Write the files of the configurations, changed or not, below folder; returns what was written, and
    what an Include takes from elsewhere, which is not.

    paths: what the user named. A file in a folder of it keeps its place relative to that folder.
    Nothing is overwritten. Raises InvalidInput for that, for two files of one name, and where a file
    from elsewhere has to change; HpctoolsError where the folder cannot be written to.
    """
    targets: dict[Path, str] = {}
    problems = []
    elsewhere = []
    for path in fixed.files:
        relative = _relative(path, paths)
        target = Path(folder, relative or "?")
        if relative is None:
            elsewhere.append(path)
            if path in fixed.changed:
                message = "is included from outside of its configuration's folder, and has to change"
                problems.append(Problem(path, message, "conf lint --fix without --out mends it in its place"))
            continue
        if target in targets:
            problems.append(Problem(path, f"would be written to {target}, as {targets[target]}"))
        elif target.exists():
            problems.append(Problem(str(target), "exists; nothing was written", "name a new folder"))
        targets.setdefault(target, path)
    if problems:
        raise InvalidInput(problems)
    for target, path in targets.items():
        with _named(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            files.write(target, fixed.files[path], stat.S_IMODE(os.stat(path).st_mode))
    return [str(target) for target in targets], elsewhere


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """An error names the file that was to be written, and not the temporary one beside it."""
    try:
        yield
    except OSError as error:
        raise HpctoolsError(f"{path}: cannot be written: {error.strerror}") from error


def _relative(path: str, paths: Sequence[str]) -> Path | None:
    """path as it lies below what the user named: a folder, or the folder of a file. None for none."""
    for named in paths:
        folder = os.path.abspath(named if os.path.isdir(named) else os.path.dirname(named))
        found = Path(os.path.relpath(os.path.abspath(path), folder))
        if ".." not in found.parts:
            return found
    return None


def _copy(data: bytes, target: Path, like: Path) -> None:
    status = like.stat()
    owner = (status.st_uid, status.st_gid)
    mine = owner == (os.geteuid(), os.getegid())
    with _named(target):
        files.write(target, data, stat.S_IMODE(status.st_mode), None if mine else owner)


def _free(path: Path) -> Path:
    found, number = path, 1
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found
