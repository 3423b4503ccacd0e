"""The digest of an image's file, computed once for each state of it: images have gigabytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from hpctools import files
from hpctools.errors import HpctoolsError

# Where what a file of an image begins with stands, and what: SIF (sif.go, of Apptainer), squashfs.
_MAGIC = ((32, b"SIF_MAGIC"), (0, b"hsqs"))


def home() -> Path:
    """$XDG_CACHE_HOME/hpctools, where a relative or missing value means ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "hpctools"


def is_image(path: Path) -> bool:
    """Whether a file begins as SIF or squashfs does. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(64)
    return any(start[at : at + len(word)] == word for at, word in _MAGIC)


def state(found: os.stat_result) -> str:
    """What changes when a file is written or replaced: size, time of change, inode."""
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"


def known(path: Path) -> str | None:
    """The digest of a file if it was computed for the state that it is in. Raises OSError."""
    try:
        return str(json.loads(_kept(path, state(path.stat())).read_text())["sha256"])
    except (ValueError, KeyError, TypeError, FileNotFoundError):
        return None


def sha256(path: Path) -> str:
    """The digest of a file, computed once for each state of it.

    Raises OSError, and HpctoolsError where it is written to meanwhile.
    """
    with contextlib.suppress(OSError):
        if found := known(path):
            return found
    before = state(path.stat())
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if state(path.stat()) != before:
        raise HpctoolsError(f"{path}: was written to while it was read; try again when it is whole")
    kept = _kept(path, before)
    # Without room or a home it is computed again the next time.
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        files.write(kept, json.dumps({"path": str(path), "sha256": digest}) + "\n")
    return digest


def _kept(path: Path, seen: str) -> Path:
    key = hashlib.sha256(f"{path}\0{seen}".encode("utf-8", "surrogateescape")).hexdigest()
    return home() / "digests" / f"{key[:32]}.json"
