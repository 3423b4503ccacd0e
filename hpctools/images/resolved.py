"""From what names an image to its file and digest."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpctools.errors import InvalidInput, Problem
from hpctools.images import digests, making, references, store
from hpctools.images.store import Entry, Say


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
    pull: bool = True,
    runtime: str = "",
    say: Say = lambda text: None,
) -> Image:
    """The file of a reference, with its digest.

    images: the site's names, each with a file or an image of a registry. cache: the site's cache, None
    for the user's own. cwd: what files are relative to. where: the option to name in errors. pull:
    whether what is not in the cache is fetched, with runtime (apptainer, singularity, "" for what is
    here); say is told what is done. Raises InvalidInput, NotFound, HpctoolsError.
    """
    problems: list[Problem] = []
    found = references.parse(reference, where, problems)
    if found is not None and found.kind == references.NAME:
        if reference not in (images or {}):
            return _of_name(reference, images or {}, cache, where)
        where = f"{where} {reference} of the site"
        found = references.parse((images or {})[reference], where, problems)
    if found is not None and found.kind == references.NAME:
        problems.append(Problem(where, f"{found.text} is again a name", references.FORMS))
    if problems or found is None:
        raise InvalidInput(problems)
    if not found.remote:
        return of_file(Path(cwd) / Path(found.text).expanduser(), reference, where)
    return _of_registry(found.text, reference, cache, where, pull, runtime, say)


def _of_name(name: str, images: Mapping[str, str], cache: Path | None, where: str) -> Image:
    """An image of the cache that was given a name. Raises InvalidInput, HpctoolsError."""
    place = store.folder(cache)
    entry = store.find(place, name=name)
    if entry is None:
        known = [one.record.name for one in store.entries(place) if one.record.name and not one.distrust]
        raise InvalidInput([references.unknown(name, [*images, *known], where)])
    return _of_entry(entry, name)


def _of_registry(
    source: str,
    reference: str,
    cache: Path | None,
    where: str,
    pull: bool,
    runtime: str,
    say: Say,
) -> Image:
    entry = store.find(store.folder(cache), reference=source)
    if entry is None and not pull:
        hint = f"hpctools image pull {source}"
        raise InvalidInput([Problem(where, f"{source} is not in the cache yet", hint)])
    if entry is None:
        say(f"{source} is not in the cache yet: fetching it, once")
        entry = making.pull(source, cache, runtime=runtime, say=say, where=where)
    return _of_entry(entry, reference)


def _of_entry(entry: Entry, reference: str) -> Image:
    record = store.checked(entry).record
    return Image(entry.path, reference, record.reference, record.sha256, record.size)


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
