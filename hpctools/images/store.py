"""The cache of images: a folder that several users may fill at once.

    CACHE/NAME-DIGEST/NAME.sif       an image, renamed into place whole, with its folder
    CACHE/NAME-DIGEST/record.json    what it is, its digest, who made it and when
    CACHE/.part-HOST-*/              one that is being made; its lock is held while it is
    CACHE/.lock-*                    held while a reference is fetched

Whoever can put an image here runs code as those who use it. So an image counts only if it belongs to
root, to the user, to the cache's owner, or, where not all the world can write here, to somebody who
can; and if nobody else may change it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pwd
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from hpctools import files
from hpctools.errors import HpctoolsError, NotFound
from hpctools.images import digests

# Of another host nothing says whether it still works on what it has begun; no pull takes longer.
_ABANDONED_S = 24 * 3600
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
# What folders begin with in which images are being made; the host follows.
PART = ".part-"
_LONG = 1 << 16  # bytes that no record has

Say = Callable[[str], None]


@dataclass(frozen=True)
class Record:
    """What record.json says: the reference or definition it was made of, the name it has for --image
    (may be empty), digest, size in bytes, the file's state then, when (UTC), by whom, with what."""

    reference: str
    name: str
    sha256: str
    size: int
    state: str
    made: str
    user: str
    tool: str


_KINDS: Mapping[object, type] = {"str": str, "int": int}  # of the fields of a record


@dataclass(frozen=True)
class Entry:
    """An image of the cache. distrust: why it is not used; empty where it is."""

    path: Path
    record: Record
    distrust: str


def folder(cache: Path | None) -> Path:
    """The cache of a site, or else the user's own, made if need be. Raises NotFound, OSError."""
    if cache is None:
        own = digests.home() / "images"
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        return own
    if not cache.is_dir():
        raise NotFound(f"the cache {cache} is no folder; who looks after it makes one: mkdir -m 2775 {cache}")
    return cache


def entries(cache: Path) -> list[Entry]:
    """The images of a cache, the newest first; what is no image is passed over."""
    found = []
    for inner in os.scandir(cache):
        if not inner.name.startswith(".") and (entry := _entry(cache, Path(inner.path))):
            found.append(entry)
    return sorted(found, key=lambda one: (one.record.made, one.path), reverse=True)


def find(cache: Path, *, reference: str | None = None, name: str | None = None) -> Entry | None:
    """The newest image of a reference, or of a name, that may be used."""
    for entry in entries(cache):
        asked = entry.record.reference == reference if name is None else entry.record.name == name
        if asked and not entry.distrust:
            return entry
    return None


def _entry(cache: Path, place: Path) -> Entry | None:
    """The image in a folder of the cache; None where there is none, or half of one."""
    written = place / "record.json"
    try:
        (path,) = (one for one in place.iterdir() if one.name != written.name)
        reason = distrust(cache, place, path)
        if written.stat().st_size > _LONG:
            return None
        found = json.loads(written.read_text())
        return Entry(
            path, Record(**{one.name: _KINDS[one.type](found[one.name]) for one in fields(Record)}), reason
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def distrust(cache: Path, place: Path, path: Path) -> str:
    """Why the image at path, in its folder place, is not to be run; empty if it may be. Raises OSError."""
    around, trusted = cache.stat(), {0, os.geteuid()}
    trusted.add(around.st_uid)
    for_all = around.st_mode & stat.S_IWOTH
    if for_all and not around.st_mode & stat.S_ISVTX:
        return f"anyone may replace what is in {cache}: chmod +t {cache}"
    for each in (place, path, place / "record.json"):
        seen = each.lstat()
        right = stat.S_ISDIR if each == place else stat.S_ISREG
        if not right(seen.st_mode):
            return f"{each.name} is a link, or no file"
        if seen.st_mode & _OTHERS:
            return f"others may write to {each.name}: chmod go-w"
        if for_all and seen.st_uid not in trusted:
            return f"belongs to {user_name(seen.st_uid)}: in a folder for all, only your own and its owner's"
        trusted = {seen.st_uid} if each == place else trusted
    return ""


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def timestamp(epoch_s: float) -> str:
    """A time as in records, UTC."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def checked(entry: Entry) -> Entry:
    """The entry, if its file is what was recorded. Raises HpctoolsError, OSError."""
    if digests.state(entry.path.stat()) != entry.record.state:
        found = digests.sha256(entry.path)  # copied, or changed
        if found != entry.record.sha256:
            raise HpctoolsError(
                f"{entry.path} is not what was put there: sha256 {found[:12]}, recorded"
                f" {entry.record.sha256[:12]}; remove {entry.path.parent} and fetch it again"
            )
    return entry


@contextlib.contextmanager
def filling(cache: Path, reference: str, say: Say) -> Iterator[None]:
    """Alone with a reference, as far as the file system has locks: two that want it fetch it once.

    In a cache for all the world a user waits for nobody else, whose images would not be used anyway.
    """
    own = bool(cache.stat().st_mode & stat.S_IWOTH)
    key = hashlib.sha256(f"{cache}\0{reference}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    path, mode = (_own_lock(key), 0o600) if own else (cache / f".lock-{key}", 0o664)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # no locks here, or no right to one: it is fetched twice
            try:
                stack.enter_context(files.locked(path, wait=False, mode=mode))
            except BlockingIOError:
                say(f"somebody is fetching {reference} just now; waiting")
                stack.enter_context(files.locked(path, mode=mode))
        yield


@contextlib.contextmanager
def part(cache: Path) -> Iterator[Path]:
    """A folder in the cache to make an image in, gone afterwards, as are those of who was killed.

    Raises HpctoolsError where the user may not write to the cache, OSError.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.ExitStack() as short:
            with contextlib.suppress(OSError):
                short.enter_context(files.locked(_own_lock("parts")))
            _clean(cache)
            try:
                made = Path(tempfile.mkdtemp(prefix=f"{PART}{socket.gethostname()}-", dir=cache))
            except PermissionError as error:
                owner = user_name(cache.stat().st_uid)
                raise HpctoolsError(f"you may not put images in {cache}, which belongs to {owner}") from error
            stack.callback(shutil.rmtree, made, ignore_errors=True)
            with contextlib.suppress(OSError):
                stack.enter_context(files.locked(made / "lock"))
        yield made


def _own_lock(name: str) -> Path:
    folder = digests.home() / "locks"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / name


def _clean(cache: Path) -> None:
    """Remove what our own killed ones left: nobody holds its lock any more."""
    here = f"{PART}{socket.gethostname()}-"
    for one in os.scandir(cache):
        with contextlib.suppress(OSError):  # others end theirs meanwhile
            if not one.name.startswith(PART) or one.stat(follow_symlinks=False).st_uid != os.geteuid():
                continue
            path = Path(one.path)
            if one.name.startswith(here):
                with files.locked(path / "lock", wait=False):
                    shutil.rmtree(path, ignore_errors=True)
            elif time.time() - max(inner.stat().st_mtime for inner in (path, *path.iterdir())) > _ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)


def put(cache: Path, made: Path, *, reference: str, name: str, tool: str) -> Entry:
    """Take the image made in a part of the cache into it, whole; older ones of its reference stay.

    Where the newest has the same bytes, that one is returned. Raises OSError, HpctoolsError.
    """
    made.chmod(0o644)
    with made.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    newest = find(cache, reference=reference)
    if newest and (newest.record.sha256, newest.record.name) == (digest, name):
        return newest
    found = made.stat()
    record = Record(
        reference=reference,
        name=name,
        sha256=digest,
        size=found.st_size,
        state=digests.state(found),
        made=timestamp(time.time()),
        user=user_name(os.geteuid()),
        tool=tool,
    )
    files.write(made.parent / "record.json", json.dumps(asdict(record), indent=1) + "\n")
    (made.parent / "lock").unlink(missing_ok=True)
    made.parent.chmod(0o755)
    place = _renamed(made.parent, cache / f"{made.stem}-{digest[:12]}")
    entry = _entry(cache, place)
    if entry is None or entry.distrust:
        raise HpctoolsError(f"{place}: {entry.distrust if entry else 'is not what was put there'}")
    return entry


def _renamed(made: Path, wanted: Path) -> Path:
    """made after it was given the name wanted, or the first of wanted-2, wanted-3 ... that is free."""
    for number in range(1, 1000):
        place = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            return made.rename(place)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EACCES, errno.EPERM):
                raise
    raise HpctoolsError(f"{wanted} and all names like it are taken")


def slug(text: str) -> str:
    """A part of a file's name that tells what text is: registry.example.org-nvidia-pytorch-25.10-py3."""
    plain = re.sub(r"[^A-Za-z0-9._+]+", "-", re.sub(r"@sha256:.*|^[a-z]+://", "", text))
    return plain.strip("-.")[:100] or "image"
