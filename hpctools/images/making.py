"""Images fetched from registries and built from definitions, into the cache or a file."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpctools.errors import HpctoolsError, InvalidInput, Problem
from hpctools.images import programs, references, store
from hpctools.images.store import Entry, Say


def pull(
    reference: str,
    cache: Path | None = None,
    *,
    name: str = "",
    force: bool = False,
    runtime: str = "",
    say: Say = lambda text: None,
    where: str = "REF",
) -> Entry:
    """The image of a registry in the cache, fetched if it is not there, or with force again.

    name: what --image may call it. An older one of the same reference stays for the jobs that run in it.
    cache: the site's, None for the user's own. Raises InvalidInput, NotFound, HpctoolsError.
    """
    problems: list[Problem] = []
    found = references.parse(reference, where, problems)
    if found is not None and not found.remote:
        problems.append(
            Problem(where, f"{reference} is in no registry: there is nothing to fetch", references.FORMS)
        )
    _check_name(name, problems)
    if problems:
        raise InvalidInput(problems)
    place = store.folder(cache)
    with store.filling(place, reference, say):
        known = store.find(place, reference=reference)
        if known and not force:
            return _told(store.checked(known), place, name, say)
        program = programs.find(runtime)
        with _room(place), store.part(place) as part:
            made = part / f"{store.slug(name or reference)}.sif"
            words = [program, "pull", "--disable-cache", str(made), reference]
            programs.make(words, f"{reference} could not be fetched", place, say)
            tool = programs.version(program)
            entry = store.put(place, made, reference=reference, name=name, tool=tool)
    if known and known.path == entry.path:
        say(f"unchanged: {entry.path}")
    elif known:
        say(f"the older one of {known.record.made[:10]} stays for jobs that use it: {known.path.parent}")
    return entry


def _told(known: Entry, place: Path, name: str, say: Say) -> Entry:
    """The entry that is there already, under a further name if one is wanted."""
    record = known.record
    if not name or name == record.name:
        say(f"there already, since {record.made[:10]} by {record.user}; --force fetches it again")
        return known
    with _room(place), store.part(place) as part:
        made = part / f"{store.slug(name)}.sif"
        shutil.copyfile(known.path, made)
        say(f"there already; copied as {name}")
        return store.put(place, made, reference=record.reference, name=name, tool=record.tool)


def build(
    definition: Path,
    output: Path | None = None,
    cache: Path | None = None,
    *,
    name: str = "",
    force: bool = False,
    runtime: str = "",
    say: Say = lambda text: None,
) -> Path:
    """Build an image from a definition file, to output or, as name, to the cache; returns its path.

    The user who runs it needs no rights: Apptainer takes a user namespace or fakeroot by itself.
    Raises InvalidInput, NotFound, HpctoolsError.
    """
    definition = Path(os.path.abspath(definition))
    output = None if output is None else Path(os.path.abspath(output))
    problems = list(_build_problems(definition, output, name, force))
    _check_name(name, problems)
    if problems:
        raise InvalidInput(problems)
    place = store.folder(cache) if output is None else output.parent
    if output is None and not force and (known := store.find(place, name=name)):
        hint = "--force adds a newer one; the older stays for jobs that use it"
        raise InvalidInput([Problem("--name", f"{name} is there: {known.path}", hint)])
    program = programs.find(runtime)
    with _room(place), store.part(place) as part:
        made = part / (f"{store.slug(name)}.sif" if output is None else output.name)
        words = [program, "build", str(made), str(definition)]
        programs.make(words, f"{definition} could not be built", place, say)
        if output is None:
            tool = programs.version(program)
            return store.put(place, made, reference=str(definition), name=name, tool=tool).path
        made.chmod(0o644)
        return made.replace(output)


def _build_problems(definition: Path, output: Path | None, name: str, force: bool) -> Iterator[Problem]:
    if not definition.is_file():
        yield Problem("DEF", f"{definition}: there is no such file")
    if output is None:
        if not name:
            yield Problem("OUTPUT", "neither a file nor a name for the image", "OUTPUT or --name NAME")
        return
    if name:
        yield Problem("--name", f"the image goes to {output}", "OUTPUT or --name, not both")
    if output.suffix != ".sif":
        yield Problem("OUTPUT", f"{output}: an image's file ends with .sif here")
    if not output.parent.is_dir():
        yield Problem("OUTPUT", f"{output.parent}: there is no such folder")
    if output.exists() and not force:
        yield Problem("OUTPUT", f"{output} is there", "--force takes its place")


@contextmanager
def _room(place: Path) -> Iterator[None]:
    """A file system without room is said as such."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HpctoolsError(f"no room in {place}: {error.strerror}") from error
        raise


def _check_name(name: str, problems: list[Problem]) -> None:
    if name and not references.is_name(name):
        hint = "letters, digits and . _ + -, at most 64; no .sif"
        problems.append(Problem("--name", f"not a name for an image: {name!r}", hint))
