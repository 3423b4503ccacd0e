"""The candidate's files with what the fixed list names replaced, line for line.

What is left out leaves its line's end behind, and what is added stands at the end: so a line that a
daemon names is the candidate's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hpctools.conf import load
from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.verify import gres, nodes, table
from hpctools.conf.verify.change import Change, replaced
from hpctools.conf.verify.ground import Ground
from hpctools.conf.verify.table import Rule
from hpctools.conf.verify.value import Replacement
from hpctools.slurm import conf_text, releases
from hpctools.slurm.conf_text import Edit

# What slurmctld and slurmd read, whatever their plugins.
CONFS = ("slurm.conf", "gres.conf", "cgroup.conf", "topology.conf")
YAMLS = ("topology.yaml", "resources.yaml")
# Of plugins that stay where no node is started.
OF_PLUGINS = "acct_gather.conf"


@dataclass(frozen=True)
class Rewritten:
    """files: by their name in the new folder. origin: their absolute path there, and the folder's, -> the
    path as the user named it. devices: the device files that have to be there."""

    files: Mapping[str, bytes]
    origin: Mapping[str, str]
    replacements: tuple[Replacement, ...]
    devices: tuple[str, ...] = ()


def rewrite(candidate: Candidate, ground: Ground) -> Rewritten:
    """Everything that slurmctld and slurmd read, on ground."""
    slurm = candidate.confs["slurm.conf"]
    changes = [*_slurm(slurm, ground)]
    devices: list[str] = []
    if conf := candidate.conf("gres.conf"):
        found = gres.changes(conf, slurm, ground)
        changes += found
        devices = gres.devices(found)
    if conf := candidate.conf("cgroup.conf"):
        changes += _by_rules(conf, table.CGROUP, ground, "cgroup.conf")
    kinds = CONFS if ground.started else (*CONFS, OF_PLUGINS)
    confs = [conf for kind in kinds if (conf := candidate.conf(kind))]
    names = {path: name for conf in confs for path, name in _names(conf).items()}
    changes += [change for conf in confs for change in _includes(conf, names)]
    edits: dict[str, list[Edit]] = {}
    for change in changes:
        edits.setdefault(change.told.file, []).append(change.edit)
    files = {
        names[file.path]: _bytes(conf_text.apply(file.text, edits.get(file.path, [])))
        for conf in confs
        for file in conf.files
    }
    yamls = {name: candidate.yamls[name] for name in YAMLS if name in candidate.yamls}
    files |= {name: file.to_bytes() for name, file in yamls.items()}
    names |= {file.path: name for name, file in yamls.items()}
    origin = {os.path.join(ground.etc, name): path for path, name in names.items()}
    origin[ground.etc] = os.path.dirname(slurm.path) or "."
    if "cgroup.conf" not in files:
        files["cgroup.conf"] = _bytes(_cgroup(ground))
    files["plugstack.conf"] = b"# No SPANK plugin.\n"
    told = dict.fromkeys(change.told for change in changes)
    return Rewritten(files, origin, tuple(told), tuple(dict.fromkeys(devices)))


def with_plugins(candidate: Candidate, folder: str) -> Candidate:
    """candidate with the file of OF_PLUGINS, where folder has one."""
    path = Path(folder, OF_PLUGINS)
    if not path.is_file():
        return candidate
    file = conf_text.parse(path.read_bytes(), str(path))
    return replace(candidate, confs={**candidate.confs, OF_PLUGINS: Conf(OF_PLUGINS, file.lines, (file,))})


def slurmdbd(conf: Conf | None, ground: Ground) -> tuple[bytes, tuple[Replacement, ...]]:
    """slurmdbd.conf on ground: the candidate's, or one that has only what it must."""
    if conf is None:
        conf = Conf("slurmdbd.conf", (), (conf_text.parse(b"StorageType=accounting_storage/mysql\n"),))
    changes = [*_by_rules(conf, table.SLURMDBD, ground, "slurmdbd.conf")]
    # What it includes is written behind it; a secret that is not here is not needed on this ground.
    for line in conf.lines:
        if line.include is not None:
            told = Replacement(line.path, line.number, "Include", line.include, "", "database")
            changes.append(Change(Edit(line.start, line.start, "# "), told))
    edits: dict[str, list[Edit]] = {}
    for change in changes:
        edits.setdefault(change.told.file, []).append(change.edit)
    text = "\n".join(conf_text.apply(file.text, edits.get(file.path, [])) for file in conf.files)
    return _bytes(text), tuple(dict.fromkeys(change.told for change in changes))


def _slurm(slurm: Conf, ground: Ground) -> Iterator[Change]:
    rules = {**table.SLURM, **(table.ACCOUNTING if slurm.uses_slurmdbd else {})}
    yield from _by_rules(slurm, rules, ground, "slurm.conf")
    hosts = slurm.all("SlurmctldHost")
    for line in hosts:
        new = f"{ground.host}({ground.address})" if line is hosts[0] else ""
        yield replaced(slurm, line, line.pairs[0], new, "hosts")
    for scope, nested in (("PartitionName", table.PARTITION), ("PowerAction", table.POWER_ACTION)):
        known = _known(nested, ground, scope)
        for line in slurm.all(scope):
            for pair in line.pairs[1:]:
                rule = known.get(pair.key.lower())
                if rule and (value := rule.new(pair.value, ground)) is not None:
                    yield replaced(slurm, line, pair, value, rule.kind)
    yield from nodes.changes(slurm, ground)


def _by_rules(conf: Conf, rules: Mapping[str, Rule], ground: Ground, scope: str) -> Iterator[Change]:
    """What rules replace in the lines of conf that hold one key, and what they add."""
    known = _known(rules, ground, scope)
    for line in conf.lines:
        rule = known.get(line.key.lower())
        if rule and (new := rule.new(line.pairs[0].value, ground)) is not None:
            yield replaced(conf, line, line.pairs[0], new, rule.kind)
    main = conf.files[0]
    last = main.text.count("\n", 0, -1) + 1
    present = {line.key.lower() for line in conf.lines}
    for key, rule in rules.items():
        if key.lower() not in known or key.lower() in present or rule.default is None:
            continue
        new = rule.new(rule.default, ground)
        if new and new != rule.default:
            told = Replacement(main.path, last, key, "", new, rule.kind)
            yield Change(main.append(f"{key}={conf_text.quoted(new)}"), told)


def _known(rules: Mapping[str, Rule], ground: Ground, scope: str) -> dict[str, Rule]:
    """The rules that apply, by lower-cased key: not those of a key that the release does not know, which
    it has to refuse."""
    known = releases.known(scope, ground.release)
    return {
        key.lower(): rule
        for key, rule in rules.items()
        if key.lower() in known and (ground.started or not rule.for_nodes)
    }


def _names(conf: Conf) -> dict[str, str]:
    """The name in the new folder of each file of conf: as below the old one, else a name of its own."""
    folder = os.path.dirname(conf.path)
    found = {conf.path: conf.kind}
    for number, file in enumerate(conf.files[1:], 1):
        below = os.path.relpath(file.path, folder or ".")
        inside = not below.startswith("..")
        found.setdefault(file.path, below if inside else f"included-{conf.kind}-{number}")
    return found


def _includes(conf: Conf, names: Mapping[str, str]) -> Iterator[Change]:
    """Includes by absolute path, or of files outside of the folder, lead to the copies."""
    folder = os.path.dirname(conf.path)
    cluster = conf.value("ClusterName") or None
    texts = {file.path: file.text for file in conf.files}
    for line in conf.lines:
        if line.include is None:
            continue
        new = names.get(load.place_of(folder, conf_text.include_name(line, cluster)))
        if new is None or (os.path.normpath(line.include) == new):
            continue
        if "%c" in line.include and not os.path.isabs(line.include) and ".." not in line.include:
            continue
        start = texts[line.path].index(line.include, line.start + len("include"))
        told = Replacement(line.path, line.number, "Include", line.include, new, "paths")
        yield Change(Edit(start, start + len(line.include), new), told)


def _cgroup(ground: Ground) -> str:
    rule = table.CGROUP["CgroupPlugin"]
    return f"CgroupPlugin={rule.new('autodetect', ground)}\n"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def siblings(folder: str, candidate: Candidate) -> list[Replacement]:
    """The files of folder that stay behind, since the plugins that read them do."""
    taken = [
        candidate.confs[kind] for kind in (*CONFS, "slurmdbd.conf", OF_PLUGINS) if kind in candidate.confs
    ]
    paths = [file.path for conf in taken for file in conf.files]
    paths += [candidate.yamls[name].path for name in YAMLS if name in candidate.yamls]
    mine = {os.path.realpath(path) for path in paths}
    found = []
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        kind = "spank" if name.startswith("plugstack") else "files"
        is_conf = name.endswith((".conf", ".yaml", ".lua", ".sh", ".conf.d"))
        if is_conf and os.path.realpath(path) not in mine:
            found.append(Replacement(path, 1, name, name, "", kind))
    return found
