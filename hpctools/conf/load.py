"""From the paths that the user names to the configurations that are judged."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpctools.conf.candidate import Candidate, Conf, Stat
from hpctools.errors import InvalidInput, Problem
from hpctools.slurm import conf_text, yaml_text
from hpctools.slurm.conf_text import ConfFile, Line
from hpctools.slurm.releases import ever

# The files that are judged. A folder holds them under these names.
CONFS = ("slurm.conf", "slurmdbd.conf", "gres.conf", "cgroup.conf", "topology.conf", "job_container.conf")
YAMLS = ("topology.yaml", "namespace.yaml", "resources.yaml")
Read = Callable[[str], bytes]
# As deep as anyone nests includes; slurmctld itself recurses until its stack ends.
_DEEPEST = 32
# Far above any real file; what is larger is named by mistake.
_LARGEST = 256 * 1024 * 1024


def read(path: str) -> bytes:
    """All of a regular file. Raises OSError, and ValueError for a device, a pipe, or a huge file."""
    # Not to wait for a pipe's writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        if status.st_size > _LARGEST:
            raise ValueError("it is larger than any configuration (256 MiB)")
        return file.read()


def needed(path: str) -> bytes:
    """All of a file that the user named. Raises InvalidInput where it cannot be read."""
    problems: list[Problem] = []
    data = _bytes(path, read, problems)
    if data is None:
        raise InvalidInput(problems)
    return data


def hash_of(path: str) -> int:
    """Slurm's hash of the slurm.conf at path with what it includes. Raises InvalidInput."""
    folder = os.path.dirname(path)
    return conf_text.conf_hash(needed(path), path, lambda name: needed(os.path.join(folder, name)))


def place_of(folder: str, name: str) -> str:
    """Where an Include of name is read from. A folder that is judged stands for the one that it will be
    (/etc/slurm): of an absolute path the file of that name in it is meant, where it has one.
    """
    beside = os.path.join(folder, os.path.basename(name))
    if os.path.isabs(name) and os.path.isfile(beside):
        return beside
    # get_extra_conf_path: beside slurm.conf, wherever the including file lies.
    return os.path.join(folder, name)


def candidates(paths: Sequence[str], release: str, read: Read = read) -> list[Candidate]:
    """A folder is one configuration, complete; files named together one for each folder they lie in.

    Two files of one kind in one folder are two configurations, each judged alone. read: where the
    bytes of a path come from. Raises InvalidInput for what cannot be read or is no file of Slurm's.
    """
    problems: list[Problem] = []
    found: list[Candidate] = []
    alone: dict[Path, dict[str, list[str]]] = {}
    for path in dict.fromkeys(paths):
        if os.path.isdir(path):
            names = [name for name in (*CONFS, *YAMLS) if os.path.lexists(os.path.join(path, name))]
            if not names:
                problems.append(Problem(path, "holds no file of Slurm's", f"such as {', '.join(CONFS[:4])}"))
            else:
                whole = {name: os.path.join(path, name) for name in names}
                found.append(_candidate(whole, release, True, read, problems))
        else:
            data = _bytes(path, read, problems)
            if data is not None:
                alone.setdefault(Path(path).parent, {}).setdefault(kind_of(path, data), []).append(path)
    for kinds in alone.values():
        if all(len(files) == 1 for files in kinds.values()):
            found.append(
                _candidate({kind: one for kind, (one,) in kinds.items()}, release, False, read, problems)
            )
        else:
            for kind, files in kinds.items():
                found += [_candidate({kind: file}, release, False, read, problems) for file in files]
    if problems:
        raise InvalidInput(problems)
    return found


def kind_of(path: str, data: bytes) -> str:
    """Which of Slurm's files this is: by its name, else by the file whose keys it holds most of."""
    name = os.path.basename(path).lower()
    for kind in (*CONFS, *YAMLS):
        if kind in name:
            return kind
    if name.endswith((".yaml", ".yml")):
        return "topology.yaml"
    keys = [line.key for line in conf_text.parse(data).lines]
    stems = {kind: kind.partition(".")[0] in name for kind in CONFS}
    return max(CONFS, key=lambda kind: (sum(bool(ever(kind, key)) for key in keys), stems[kind]))


@dataclass
class _Reader:
    """Reads a file and what it includes, in Slurm's order."""

    folder: str
    read: Read
    files: list[ConfFile] = field(default_factory=list)
    absent: list[tuple[Line, str]] = field(default_factory=list)
    cluster: str | None = None

    def lines(self, path: str, data: bytes, above: tuple[str, ...] = ()) -> list[Line]:
        file = conf_text.parse(data, path)
        self.files.append(file)
        found: list[Line] = []
        for line in file.lines:
            if line.key.lower() == "clustername":
                self.cluster = line.pairs[0].value
            found.append(line)
            if line.include is not None:
                found += self._included(line, (*above, os.path.realpath(path)))
        return found

    def _included(self, line: Line, above: tuple[str, ...]) -> list[Line]:
        name = conf_text.include_name(line, self.cluster)
        path = place_of(self.folder, name)
        why = ""
        data = None
        if "*" in name:
            why = "Slurm does not expand * in an Include"
        elif "%c" in name:
            why = "%c needs a ClusterName above it"
        elif os.path.realpath(path) in above or len(above) > _DEEPEST:
            why = f"{name} includes itself"
        else:
            try:
                data = self.read(path)
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or str(error)
        if data is None:
            self.absent.append((line, why))
            return []
        return self.lines(path, data, above)


def _candidate(
    files: dict[str, str], release: str, complete: bool, read: Read, problems: list[Problem]
) -> Candidate:
    confs: dict[str, Conf] = {}
    yamls: dict[str, yaml_text.YamlFile] = {}
    absent: list[tuple[Line, str]] = []
    stats: dict[str, Stat] = {}
    unread: list[tuple[str, str]] = []
    for kind, path in files.items():
        trouble: list[Problem] = []
        data = _bytes(path, read, trouble)
        if data is None:
            # slurmdbd.conf is root's alone: who may not read it may judge the rest.
            if complete and kind != "slurm.conf":
                unread.append((path, trouble[0].message))
            else:
                problems += [one for one in trouble if one not in problems]
            continue
        if kind in YAMLS:
            yamls[kind] = yaml_text.parse(data, path)
            paths = [path]
        else:
            reader = _Reader(os.path.dirname(path), read)
            lines = tuple(reader.lines(path, data))
            partial = bool(reader.absent) or _fragment(kind, path, lines)
            confs[kind] = Conf(kind, lines, tuple(reader.files), partial)
            absent += reader.absent
            paths = [file.path for file in reader.files]
        stats.update({one: found for one in paths if (found := _stat(one))})
    known = complete and not unread
    return Candidate(release, confs, yamls, known, tuple(absent), stats, tuple(unread))


def _fragment(kind: str, path: str, lines: tuple[Line, ...]) -> bool:
    """Whether this is a part of slurm.conf that another file includes: nodes.conf, partitions.conf."""
    keys = {line.key.lower() for line in lines}
    named = kind in os.path.basename(path).lower()
    whole = keys & {"clustername", "slurmctldhost", "controlmachine"}
    return kind == "slurm.conf" and not named and not whole


def _bytes(path: str, read: Read, problems: list[Problem]) -> bytes | None:
    try:
        return read(path)
    except (OSError, ValueError) as error:
        said = Problem(path, f"cannot be read: {getattr(error, 'strerror', None) or error}")
        if said not in problems:
            problems.append(said)
        return None


def _stat(path: str) -> Stat | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = str(status.st_uid)
    return Stat(status.st_mode & 0o7777, owner)
