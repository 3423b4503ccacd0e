"""What images there are: the site's names, and the cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpctools.errors import NotFound, Problem
from hpctools.images import digests, references, store


@dataclass(frozen=True)
class Listed:
    """An image that --image may name.

    name: as the site or the user named it; empty for one that only its reference names. reference: the
    file, image of a registry or definition that it is made of. path, sha256, size (bytes), made (UTC),
    user: None where they are not known; a file's digest is computed when it is first used. origin:
    site or cache. problem: why it cannot be used, empty where it can.
    """

    name: str
    reference: str
    path: str | None
    sha256: str | None
    size: int | None
    made: str | None
    user: str | None
    origin: str
    problem: str


def listing(images: Mapping[str, str] | None = None, cache: Path | None = None) -> tuple[Listed, ...]:
    """The images of a site's names and of its cache (None: the user's own), the newest first."""
    try:
        place = store.folder(cache)
        entries = store.entries(place)
    except NotFound:
        entries = []
    known = [_of_entry(entry) for entry in entries]
    named = [_of_site(name, text, known) for name, text in (images or {}).items()]
    return (*named, *known)


def _of_entry(entry: store.Entry) -> Listed:
    record = entry.record
    problem = entry.distrust or _unreadable(entry.path)
    if not problem and digests.state(entry.path.stat()) != record.state:
        found = digests.known(entry.path)
        problem = f"changed since {record.made[:10]}" if found not in (None, record.sha256) else ""
    return Listed(
        record.name,
        record.reference,
        str(entry.path),
        record.sha256,
        record.size,
        record.made,
        record.user,
        "cache",
        problem,
    )


def _of_site(name: str, text: str, cached: list[Listed]) -> Listed:
    """A name of the site; what is in a registry is described by what the cache has of it."""
    problems: list[Problem] = []
    found = references.parse(text, name, problems)
    if found is not None and found.remote:
        for one in cached:
            if one.reference == text and not one.problem:
                return Listed(name, text, one.path, one.sha256, one.size, one.made, one.user, "site", "")
        problems.append(Problem(name, f"not fetched yet: hpctools image pull {name}"))
    elif found is not None and found.kind == references.NAME:
        problems.append(Problem(name, f"{text} is again a name"))
    if problems:
        return Listed(name, text, None, None, None, None, None, "site", problems[0].message)
    path = Path(text).expanduser()
    problem = _unreadable(path)
    if problem:
        return Listed(name, text, str(path), None, None, None, None, "site", problem)
    seen = path.stat()
    user = store.user_name(seen.st_uid)
    made = store.timestamp(seen.st_mtime)
    return Listed(name, text, str(path), digests.known(path), seen.st_size, made, user, "site", "")


def _unreadable(path: Path) -> str:
    """Why an image's file cannot be run by this user; empty if it can."""
    try:
        return "" if digests.is_image(path) else "no image: neither SIF nor squashfs"
    except FileNotFoundError:
        return "there is no such file"
    except PermissionError:
        return f"not readable for {store.user_name(os.geteuid())}"
    except OSError as error:
        return error.strerror or str(error)
