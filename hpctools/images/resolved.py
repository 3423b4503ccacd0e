"""From what names an image to its file and digest."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpctools.errors import InvalidInput, Problem
from hpctools.images import digests, references


@dataclass(frozen=True)
class Image:
    """A file that can be run: path, the reference that was asked for, source (the file or the image of
    a registry that a name stands for), the file's SHA-256 in hex and its size in bytes."""

    path: Path
    reference: str
    source: str
    sha256: str
    size: int


def resolve(
    reference: str,
    images: Mapping[str, str] | None = None,
    cache: Path | None = None,
    *,
    cwd: str | os.PathLike[str] = ".",
    where: str = "--image",
) -> Image:
    """The file of a reference, with its digest.

    images: the site's names, each with a file or an image of a registry. cache: the site's cache.
    cwd: what files are relative to. where: the option to name in errors.

    Raises InvalidInput, HpctoolsError.
    """
    problems: list[Problem] = []
    named = references.parse(reference, where, problems)
    if named is not None and named.kind == references.NAME:
        known = images or {}
        if reference in known:
            where = f"{where} {reference} of the site"
            named = references.parse(known[reference], where, problems)
        else:
            problems.append(references.unknown(reference, known, where))
    if problems or named is None:
        raise InvalidInput(problems)
    if named.remote:
        raise InvalidInput([Problem(where, f"{named.text} is not in the cache")])
    return of_file(Path(cwd) / Path(named.text).expanduser(), reference, where)


def of_file(path: Path, reference: str, where: str) -> Image:
    """The image that a file is. Raises InvalidInput, HpctoolsError."""
    path = Path(os.path.abspath(path))
    wrong, hint = "", ""
    try:
        if path.is_dir():
            wrong, hint = "is a folder", f"apptainer build {path.name}.sif {path} makes an image of it"
        elif not digests.is_image(path):
            wrong, hint = "is no image", "a SIF or squashfs file"
    except FileNotFoundError:
        wrong, hint = "there is no such file", _meant(path, reference)
    except OSError as error:
        wrong = error.strerror or str(error)
    if wrong:
        raise InvalidInput([Problem(where, f"{path}: {wrong}", hint)])
    return Image(path, reference, str(path), digests.sha256(path), path.stat().st_size)


def _meant(path: Path, reference: str) -> str:
    """What may have been meant by a file that is not there."""
    if references.looks_remote(reference):
        return f"docker://{reference} is an image of a registry"
    with contextlib.suppress(OSError):
        images = [name for name in os.listdir(path.parent) if name.endswith(references.SUFFIXES)]
        if near := difflib.get_close_matches(path.name, images, n=1):
            return f"did you mean {near[0]}?"
    return ""
