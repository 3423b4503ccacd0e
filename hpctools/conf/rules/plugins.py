"""Plugins that a release does not have, and settings that a plugin refuses (src/interfaces, plugin.c)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import Problem, Severity
from hpctools.conf.rules import rule
from hpctools.slurm.conf_text import Edit, Pair, set_value
from hpctools.slurm.releases import RELEASES, at_least, known, plugin_last_release, plugins

_ALWAYS = "22.05"
_NEVER = ""
# From then on a value with "none" in it, in any case, means for most keys that nothing is set.
_NONE_IS_UNSET_SINCE = "23.11"
# Of topology/default likewise: the plugin is flat.
_DEFAULT_IS_UNSET_SINCE = "25.05"
# Folders of shared code, which are no plugins.
_NO_PLUGINS = frozenset({"common", "common_xkcp", "cons_common", "other"})


@dataclass(frozen=True)
class _Loaded:
    """A key that names plugins. kind: theirs; many: the value is a list.

    fatal_since: the release from which slurmctld stops at a name that it does not find; "" where slurmd
    or srun do. bare_since: from which cons_tres would do for select/cons_tres. none: whether "none" means
    that nothing is set. own: whether sites write such plugins themselves.
    """

    kind: str
    fatal_since: str = _ALWAYS
    many: bool = False
    bare_since: str = _NEVER
    none: bool = False
    own: bool = False


_KEYS = {
    "AccountingStorageType": _Loaded("accounting_storage", none=True),
    "AcctGatherEnergyType": _Loaded("acct_gather_energy", many=True, bare_since=_ALWAYS, none=True),
    "AcctGatherFilesystemType": _Loaded("acct_gather_filesystem", none=True),
    "AcctGatherInfinibandType": _Loaded("acct_gather_interconnect", many=True, bare_since=_ALWAYS, none=True),
    "AcctGatherInterconnectType": _Loaded(
        "acct_gather_interconnect", many=True, bare_since=_ALWAYS, none=True
    ),
    "AcctGatherProfileType": _Loaded("acct_gather_profile", none=True),
    "AuthType": _Loaded("auth", bare_since="23.11"),
    "AuthAltTypes": _Loaded("auth", many=True, bare_since="23.11"),
    "BurstBufferType": _Loaded("burst_buffer", many=True, bare_since=_ALWAYS),
    "CertmgrType": _Loaded("certmgr"),
    "CliFilterPlugins": _Loaded("cli_filter", _NEVER, many=True, bare_since=_ALWAYS, none=True, own=True),
    "CredType": _Loaded("cred", bare_since="23.11"),
    "CryptoType": _Loaded("cred"),
    "ExtSensorsType": _Loaded("ext_sensors"),
    "HashPlugin": _Loaded("hash", bare_since=_ALWAYS),
    "JobAcctGatherType": _Loaded("jobacct_gather", none=True),
    "JobCompType": _Loaded("jobcomp", "23.02", none=True),
    "JobSubmitPlugins": _Loaded("job_submit", many=True, bare_since=_ALWAYS, own=True),
    "MCSPlugin": _Loaded("mcs", none=True),
    "MetricsType": _Loaded("metrics"),
    "MpiDefault": _Loaded("mpi", _NEVER, bare_since=_ALWAYS, none=True),
    "NodeFeaturesPlugins": _Loaded("node_features", many=True, bare_since=_ALWAYS),
    "PowerPlugin": _Loaded("power", bare_since=_ALWAYS, none=True),
    "PreemptType": _Loaded("preempt"),
    "PrEpPlugins": _Loaded("prep", many=True, bare_since=_ALWAYS, own=True),
    "PrioritySiteFactorPlugin": _Loaded("site_factor", _NEVER, none=True, own=True),
    "PriorityType": _Loaded("priority"),
    "ProctrackType": _Loaded("proctrack", _NEVER),
    "SchedulerType": _Loaded("sched"),
    "SelectType": _Loaded("select"),
    "SwitchType": _Loaded("switch", none=True),
    "TaskPlugin": _Loaded("task", _NEVER, many=True, bare_since=_ALWAYS, none=True),
    "TLSType": _Loaded("tls", bare_since=_ALWAYS),
    "TopologyPlugin": _Loaded("topology", none=True),
}
# What _validate_and_set_defaults puts in the place of older names.
_TRANSLATED = {
    "AcctGatherEnergyType": ("rsmi", "gpu"),
    "AcctGatherInfinibandType": ("infiniband", "interconnect"),
    "AcctGatherInterconnectType": ("infiniband", "interconnect"),
    "CryptoType": ("crypto", "cred"),
}
# Since then auth/slurm also makes the credentials of jobs, and CredType may name it so, or cred/slurm.
_CRED_BY_AUTH_SINCE = "23.11"
# Only slurmd loads these.
_OF_SLURMD = frozenset({"proctrack", "task"})
# What does the same in releases that have the first no more.
_SUCCESSORS = {("select", "cons_res"): "cons_tres"}

_CORES = ("CR_CPU", "CR_CORE", "CR_SOCKET")
_CONS_TRES_IS_DEFAULT_SINCE = "23.11"
# Since then also of SelectTypeParameters="".
_CHECKED_SINCE = "24.05"
# First it was logged as an error.
_LINEAR_WITH_TREE_REFUSED_SINCE = "24.05"
_LINEAR_WITH_TREE_LOGGED_SINCE = "23.11"


@rule("unknown-plugin", "fatal")
def unknown_plugin(candidate: Candidate) -> Iterator[Problem]:
    for pair, loaded, word in _not_found(candidate):
        kind, name = loaded.kind, _name(loaded, word)
        names = _names(kind, candidate.release)
        if word.lower() in (f"{kind}/none", "none") and kind == "preempt":
            names |= {"none"}
        severity = _severity(loaded, candidate.release)
        if name.lower() in names:
            right = f"{kind}/{name.lower()}"
            edits = () if loaded.many else (set_value(pair, right),)
            message = f"{pair.key}={word or '(empty)'}: Slurm wants it written {right}{_effect(loaded)}"
            yield Problem(pair, message, right, severity, edits)
        elif kind == "accounting_storage" and name == "mysql":
            message = f"{pair.key}={word} is for slurmdbd.conf only"
            yield Problem(pair, message, "AccountingStorageType=accounting_storage/slurmdbd")
        elif plugin_last_release(kind, name) is None:
            near = get_close_matches(name.lower(), sorted(names), n=1, cutoff=0.7)
            hint = f"did you mean {kind}/{near[0]}?" if near else f"{kind}/ has {', '.join(sorted(names))}"
            if loaded.own and name.lower() != "none":
                message = f"{pair.key}: Slurm has no {kind}/{name}; the site must have built it"
                yield Problem(pair, message, hint, "warning")
            else:
                message = f"{pair.key}: Slurm has no plugin {word or '(empty)'}{_effect(loaded)}"
                yield Problem(pair, message, hint, severity)


@rule("removed-plugin", "fatal")
def removed_plugin(candidate: Candidate) -> Iterator[Problem]:
    for pair, loaded, name in _of_others(candidate):
        kind, last = loaded.kind, plugin_last_release(loaded.kind, name)
        if not last or not at_least(candidate.release, last):
            continue
        successor = _SUCCESSORS.get((kind, name))
        hint = (
            f"{kind}/{successor}, which does the same" if successor else f"remove {pair.key}, or take another"
        )
        edits: tuple[Edit, ...] = (set_value(pair, f"{kind}/{successor}"),) if successor else ()
        message = f"{kind}/{name} is gone since {gone_since(last)}{_effect(loaded)}"
        yield Problem(pair, message, hint, _severity(loaded, candidate.release), edits)


@rule("newer-plugin", "fatal")
def newer_plugin(candidate: Candidate) -> Iterator[Problem]:
    for pair, loaded, name in _of_others(candidate):
        since = next((one for one in RELEASES if name in plugins(loaded.kind, one)), candidate.release)
        if not at_least(candidate.release, since):
            message = f"{loaded.kind}/{name} is new in {since}{_effect(loaded)}"
            hint = f"remove {pair.key}, or take another"
            yield Problem(pair, message, hint, _severity(loaded, candidate.release))


@rule("select-parameters", "fatal")
def select_parameters(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("SelectTypeParameters") if slurm else None
    if not slurm or not pair or (slurm.partial and not slurm.get("SelectType")):
        return
    words = [word.upper() for word in pair.value.split(",") if word]
    cores = [word for word in words if word.startswith(_CORES) and word != "CR_CORE_DEFAULT_DIST_BLOCK"]
    kind = _select_type(slurm, candidate.release)
    if kind == "select/linear" and cores:
        message = f"{cores[0]} with select/linear, which gives whole nodes"
        yield Problem(pair, message, "SelectType=select/cons_tres, or CR_Memory")
    elif (
        kind.startswith("select/cons_")
        and not cores
        and (words or at_least(candidate.release, _CHECKED_SINCE))
    ):
        message = f"{pair.key}={pair.value} does not say what {kind} shares: cores, CPUs or sockets"
        yield Problem(pair, message, "add CR_Core_Memory, or CR_Core")


@rule("linear-with-tree", "fatal")
def linear_with_tree(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("TopologyPlugin") if slurm else None
    if not slurm or not pair or pair.value.lower() != "topology/tree":
        return
    if _select_type(slurm, candidate.release).lower() == "select/linear":
        severity: Severity = "warning"
        if at_least(candidate.release, _LINEAR_WITH_TREE_REFUSED_SINCE):
            severity = "fatal"
        elif at_least(candidate.release, _LINEAR_WITH_TREE_LOGGED_SINCE):
            severity = "error"
        message = f"select/linear with topology/tree is refused since {_LINEAR_WITH_TREE_REFUSED_SINCE}"
        yield Problem(pair, message, "SelectType=select/cons_tres", severity)


def gone_since(last: str) -> str:
    """The release after the last one that had something, of those that can be asked for."""
    return next(release for release in RELEASES if release > last)


def _not_found(candidate: Candidate) -> Iterator[tuple[Pair, _Loaded, str]]:
    """Each word of a key that names a plugin which slurmctld would not find under that name."""
    slurm = candidate.slurm
    keys = known("slurm.conf", candidate.release)
    for key, loaded in _KEYS.items():
        pair = slurm.get(key) if slurm else None
        if not slurm or not pair or key.lower() not in keys or keys[key.lower()].type == "DEFUNCT":
            continue
        if key == "CryptoType" and slurm.get("CredType"):
            continue
        old, new = _TRANSLATED.get(key, ("", ""))
        text = pair.value.replace(old, new) if old else pair.value
        if _is_unset(loaded, text, candidate.release):
            continue
        if key == "CredType" and at_least(candidate.release, _CRED_BY_AUTH_SINCE):
            text = text.removeprefix("auth/")
        names = _names(loaded.kind, candidate.release)
        words = [word for word in text.split(",") if word] if loaded.many else [text]
        for word in words:
            bare = loaded.bare_since and at_least(candidate.release, loaded.bare_since)
            name = word.removeprefix(f"{loaded.kind}/")
            if name not in names or (name == word and not bare):
                # Variants of one plugin: pmix_v4, pmix_v5.
                if not (loaded.kind == "mpi" and name.startswith("pmix")):
                    yield pair, loaded, word


def _of_others(candidate: Candidate) -> Iterator[tuple[Pair, _Loaded, str]]:
    """The plugins among them that other releases have, by name."""
    for pair, loaded, word in _not_found(candidate):
        kind, name = loaded.kind, _name(loaded, word)
        if (kind, name) == ("accounting_storage", "mysql") or name in plugins(kind, candidate.release):
            continue
        if plugin_last_release(kind, name) is not None:
            yield pair, loaded, name


def _effect(loaded: _Loaded) -> str:
    """What slurmctld does not notice."""
    return ": no slurmd starts" if loaded.kind in _OF_SLURMD else ""


def _names(kind: str, release: str) -> frozenset[str]:
    """The plugins of a type that slurm.conf may name: accounting_storage/mysql is slurmdbd's."""
    names = plugins(kind, release) - _NO_PLUGINS
    if kind == "cred" and at_least(release, _CRED_BY_AUTH_SINCE):
        names |= {"slurm"}
    return names - {"mysql"} if kind == "accounting_storage" else names


def _is_unset(loaded: _Loaded, text: str, release: str) -> bool:
    word = text.lower()
    if loaded.kind == "preempt":
        return text == "preempt/none"
    if loaded.kind == "topology" and at_least(release, _DEFAULT_IS_UNSET_SINCE):
        return word.removeprefix("topology/") in ("none", "default")
    # What obsolete-option says until 23.02; later any word with openmpi in it is none without a word.
    if loaded.kind == "mpi" and text == "openmpi":
        return True
    # auth/none and burst_buffer/none are no such: one is a plugin, and the other none.
    if loaded.none and at_least(release, _NONE_IS_UNSET_SINCE):
        return "none" in word or (loaded.kind == "mpi" and "openmpi" in word)
    return not text and loaded.kind in ("auth", "cred", "acct_gather_energy", "power")


def _name(loaded: _Loaded, word: str) -> str:
    """The plugin that a word is meant to name: linear of SELECT/linear, linear, select/linear."""
    head, slash, tail = word.partition("/")
    return tail if slash and head.lower() == loaded.kind else word


def _severity(loaded: _Loaded, release: str) -> Severity:
    return "fatal" if loaded.fatal_since and at_least(release, loaded.fatal_since) else "error"


def _select_type(slurm: Conf, release: str) -> str:
    default = "cons_tres" if at_least(release, _CONS_TRES_IS_DEFAULT_SINCE) else "linear"
    return slurm.value("SelectType", f"select/{default}")
