"""Looks into an image by running a little Python in it; once for each image and what is bound."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpctools import files, process
from hpctools.errors import CommandTimeout, HpctoolsError, NotFound
from hpctools.images import digests, needs, programs
from hpctools.images.needs import Contents, Lack, Library
from hpctools.images.resolved import Image
from hpctools.images.store import Say

# Without FUSE the whole image is unpacked first.
_LOOK_S = 120.0
_GLANCE_S = 30.0  # of who wants to submit a job
_SOURCE = Path(__file__).with_name("inside.py")


def check(
    image: Image, fabric: str, *, binds: Sequence[str] = (), gpus: bool = True, runtime: str = ""
) -> tuple[Lack, ...]:
    """What an image lacks for a job on a fabric (infiniband, roce, efa, slingshot, tcp, or "").

    binds: the site's, each SOURCE[:TARGET[:ro]]; what this host has of them is counted. Where the
    image cannot be looked into here, that is all that is said, as a note.
    """
    return inspect(image, fabric, binds=binds, gpus=gpus, runtime=runtime)[0]


def inspect(
    image: Image,
    fabric: str,
    *,
    binds: Sequence[str] = (),
    gpus: bool = True,
    runtime: str = "",
    patient: bool = True,
    say: Say = lambda text: None,
) -> tuple[tuple[Lack, ...], Mapping[str, str]]:
    """What check says, and the variables that the image sets, by one look into it; see there and look."""
    present = [one for one in binds if os.path.exists(one.partition(":")[0]) and "," not in one]
    absent = [one.partition(":")[0] for one in binds if one not in present]
    try:
        contents = look(image, binds=present, runtime=runtime, patient=patient, say=say)
    except (NotFound, CommandTimeout) as error:
        return (Lack(str(image.path), needs.NOTE, f"not looked into: {error}"),), {}
    except HpctoolsError as error:
        return (Lack(str(image.path), needs.WARNING, str(error)),), {}
    return needs.lacks(contents, fabric, gpus=gpus, absent=absent), contents.environment


def look(
    image: Image,
    *,
    binds: Sequence[str] = (),
    runtime: str = "",
    patient: bool = True,
    say: Say = lambda text: None,
) -> Contents:
    """What is in an image, and what binds bring to it; kept for the next time.

    patient: whether it may take minutes; if not, an image that once took too long is not tried again.
    say is told before it takes any time.
    Raises NotFound (no Apptainer here), CommandTimeout, HpctoolsError (it does not run).
    """
    source = _SOURCE.read_text()
    bound = [f"{one} {os.stat(one.partition(':')[0]).st_mtime_ns}" for one in binds]
    key = hashlib.sha256("\n".join([image.sha256, *bound, source]).encode("utf-8", "surrogateescape"))
    kept = digests.home() / "contents" / f"{key.hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        return _read(json.loads(kept.read_text()))
    program, late = programs.find(runtime), kept.with_suffix(".late")
    if not patient and os.path.exists(late):  # False, too, where the cache is not for us
        raise NotFound(f"it takes longer than {_GLANCE_S:.0f} s here; `hpctools image check` waits for it")
    say(f"looking into {image.path}, once")
    try:
        found = _run(image, source, binds, program, _LOOK_S if patient else _GLANCE_S)
    except CommandTimeout:
        with contextlib.suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            files.write(late, "", mode=0o600)
        raise
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        files.write(kept, json.dumps(found), mode=0o600)
    return _read(found)


def environment(image: Image, *, runtime: str = "") -> Mapping[str, str]:
    """The variables that an image sets, as a process in it has them.

    Raises NotFound, CommandTimeout, HpctoolsError where it cannot be looked into.
    """
    found = look(image, runtime=runtime)
    if not found.python:
        raise HpctoolsError(f"{image.path}: there is no python3 in it, which every job needs")
    return found.environment


def _run(image: Image, source: str, binds: Sequence[str], program: str, limit_s: float) -> Any:
    targets = [(one.split(":") + [""])[1] or one for one in binds]
    words = [*programs.exec_words(program, image.path, binds=binds), "python3", "-I", "-S", "-", *targets]
    # Variables that the user has Apptainer set are no part of the image.
    own = ("APPTAINERENV_", "SINGULARITYENV_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    done = process.run(words, stdin=source, timeout_s=limit_s, env=environ)
    said = programs.plain(done.stderr).strip()
    if done.status and "python3" in said and "not found" in said:
        return {"python": [], "libraries": {}, "providers": [], "bundled": [], "environment": {}}
    if done.status:
        raise HpctoolsError(
            f"{image.path} does not run here: {said.splitlines()[-1] if said else done.status}"
        )
    try:
        found = json.loads(done.stdout.splitlines()[-1])
        _read(found)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise HpctoolsError(f"{image.path}: its python3 answered {done.stdout[-200:]!r}") from error
    return found


def _read(found: Any) -> Contents:
    """What inside.py printed. Raises KeyError, TypeError, AttributeError where it is something else."""
    libraries = found["libraries"].items()
    return Contents(
        tuple(found["python"]),
        {name: Library(one["path"], one["error"], tuple(one["there"])) for name, one in libraries},
        tuple(found["providers"]),
        tuple(found["bundled"]),
        dict(found["environment"]),
    )
