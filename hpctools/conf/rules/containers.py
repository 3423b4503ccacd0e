"""Private /tmp of jobs: job_container.conf, and from 25.11 namespace.yaml, with the type in slurm.conf.

That the type needs PrologFlags=Contain is said by option-needs-other, its new name by obsolete-option.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import At, Problem, Severity
from hpctools.conf.gres import node_names
from hpctools.conf.rules import rule
from hpctools.slurm.conf_text import Pair
from hpctools.slurm.releases import at_least
from hpctools.slurm.yaml_text import Value, YamlFile

_NAMESPACES = "25.11"
# Until the release before there is no Dirs, and /tmp and /dev/shm are what is private.
_DIRS_SINCE = "23.02"
_DEFAULT_DIRS = "/tmp,/dev/shm"  # noqa: S108 - what Slurm makes private
_OPTIONS = frozenset(
    "auto_base_path base_path clone_ns_script clone_ns_flags clone_ns_epilog clone_ns_script_wait "
    "clone_ns_epilog_wait dirs disable_bpf_token init_script shared user_ns_script".split()
)
_DIR_CONFS = frozenset({"path", "base_path", "options", "tmpfs"})
_DIR_CONFS_SINCE = "26.05"


@rule("container-file-missing", "error")
def container_file_missing(candidate: Candidate) -> Iterator[Problem]:
    pair, plugin = _type(candidate)
    if not pair or not candidate.complete:
        return
    needed = {"tmpfs": "job_container.conf", "linux": "namespace.yaml"}.get(plugin)
    if needed and needed not in candidate.confs and needed not in candidate.yamls:
        message = f"{pair.key}={pair.value} needs {needed}, which is not here: slurmd does not start"
        yield Problem(pair, message, f"write {needed} with the path below which jobs get their own /tmp")


@rule("container-file-unused", "warning")
def container_file_unused(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.partial:
        return
    _, plugin = _type(candidate)
    conf, yaml = candidate.conf("job_container.conf"), candidate.yamls.get("namespace.yaml")
    new = at_least(candidate.release, _NAMESPACES)
    if conf and plugin != "tmpfs":
        hint = "NamespaceType=namespace/tmpfs" if new else "JobContainerType=job_container/tmpfs"
        yield Problem(conf, "slurm.conf does not use job_container/tmpfs, so this file is not read", hint)
    if yaml and not new:
        message = f"{candidate.release} does not read namespace.yaml; {_NAMESPACES} is the first that does"
        yield Problem(yaml, message, "write job_container.conf")
    elif yaml and plugin != "linux":
        message = "slurm.conf does not use namespace/linux, so this file is not read"
        yield Problem(yaml, message, "NamespaceType=namespace/linux")


@rule("container-base-path", "fatal")
def container_base_path(candidate: Candidate) -> Iterator[Problem]:
    """init_slurm_jc_conf of slurmd; a node's line without BasePath stops the slurmd of that node."""
    conf = candidate.conf("job_container.conf")
    if not conf:
        return
    for line in (*conf.all("BasePath"), *conf.all("NodeName")):
        pair = line.get("BasePath")
        if not pair:
            yield Problem(
                line, "there is no BasePath for these nodes", "BasePath=/var/spool/slurm/tmp in this line"
            )
            continue
        dirs = line.value("Dirs") or conf.value("Dirs", _DEFAULT_DIRS)
        old = not at_least(candidate.release, _DIRS_SINCE)
        for directory in (_DEFAULT_DIRS if old else dirs).split(","):
            if not _refused(pair.value, directory, old):
                continue
            # 22.05 looks at this in lines that begin with BasePath only.
            severity: Severity = "error" if old and line.key.lower() != "basepath" else "fatal"
            where = "is in" if old else "is, or holds,"
            message = f"BasePath={pair.value} {where} {directory}, which is private to each job"
            yield Problem(pair, message, "a path outside of it", severity)
            break


@rule("container-base-path-missing", "error")
def container_base_path_missing(candidate: Candidate) -> Iterator[Problem]:
    conf = candidate.conf("job_container.conf")
    if conf and not conf.partial and not conf.all("BasePath") and not conf.all("NodeName"):
        message = "there is no BasePath: no job gets a /tmp of its own"
        yield Problem(conf, message, "BasePath=/var/spool/slurm/tmp")


@rule("container-node-unknown", "warning")
def container_node_unknown(candidate: Candidate) -> Iterator[Problem]:
    slurm, conf = candidate.slurm, candidate.conf("job_container.conf")
    if not slurm or not conf or slurm.partial or not slurm.nodes:
        return
    for line in conf.all("NodeName"):
        unknown = [name for name in node_names(line.pairs[0].value) if name not in slurm.node_of]
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            yield Problem(
                line, f"slurm.conf has no node {unknown[0]}{more}", "correct the name, or remove it"
            )


@rule("namespace-yaml-syntax", "fatal")
def namespace_yaml_syntax(candidate: Candidate) -> Iterator[Problem]:
    yaml = _yaml(candidate)
    if yaml and yaml.error:
        yield Problem(At(yaml.path, yaml.error[0]), f"is no YAML: {yaml.error[1]}", "see namespace.yaml(5)")
    elif yaml and yaml.root and yaml.root.kind != "map":
        yield Problem(yaml.root, "holds no mapping", "defaults: or node_confs: at its beginning")


@rule("namespace-yaml-key", "error")
def namespace_yaml_key(candidate: Candidate) -> Iterator[Problem]:
    yaml = _yaml(candidate)
    options = _OPTIONS | ({"dir_confs"} if at_least(candidate.release, _DIR_CONFS_SINCE) else frozenset())
    for value, known in _mappings(yaml, options):
        for key, below in value.value.items() if isinstance(value.value, Mapping) else ():
            if key not in known:
                message = f"there is no key {key} here; it is passed over"
                yield Problem(below, message, f"there are {', '.join(sorted(known))}")


@rule("namespace-yaml-paths", "fatal")
def namespace_yaml_paths(candidate: Candidate) -> Iterator[Problem]:
    yaml = _yaml(candidate)
    root = yaml.root if yaml else None
    defaults = root.get("defaults") if root else None
    for options in _options(root):
        base = options.get("base_path") or (defaults.get("base_path") if defaults else None)
        confs = options.get("dir_confs") or (defaults.get("dir_confs") if defaults else None)
        dirs = options.get("dirs") or (defaults.get("dirs") if defaults else None)
        given = [conf.get("path") for conf in confs.items] if confs else []
        paths = [path.text for path in given if path]
        paths = paths or (dirs.text if dirs else _DEFAULT_DIRS).split(",")
        for path in paths:
            if base and base.text and (path == base.text or path.startswith(f"{base.text.rstrip('/')}/")):
                message = f"base_path {base.text} is, or holds, {path}, which is private to each job"
                yield Problem(base, message, "a path outside of it")
        twice = next((path for path in paths if paths.count(path) > 1), None) if len(paths) < 1000 else None
        if twice:
            yield Problem(confs or dirs or options, f"{twice} stands twice", "each path once")


def _type(candidate: Candidate) -> tuple[Pair | None, str]:
    """What sets the plugin, and its name: tmpfs, linux, or "" for none."""
    slurm = candidate.slurm
    if not slurm:
        return None, ""
    pair = slurm.get("NamespaceType") if at_least(candidate.release, _NAMESPACES) else None
    pair = pair or slurm.get("JobContainerType")
    return pair, (pair.value if pair else "").rpartition("/")[2].lower()


def _refused(base: str, directory: str, old: bool) -> bool:
    """Whether slurmd refuses a BasePath for a private directory: it compares the beginnings of the texts;
    22.05 those of the two that it makes private.
    """
    if base.lower().startswith("none"):
        return False
    if old:
        return base == directory or base.startswith(f"{directory}/")
    return directory.startswith(base)


def _yaml(candidate: Candidate) -> YamlFile | None:
    return candidate.yamls.get("namespace.yaml") if at_least(candidate.release, _NAMESPACES) else None


def _options(root: Value | None) -> list[Value]:
    """The options of all nodes, and those of each list of nodes."""
    if root is None:
        return []
    nodes = root.get("node_confs")
    found = [root.get("defaults"), *(one.get("options") for one in (nodes.items if nodes else ()))]
    return list({id(one): one for one in found if one}.values())


def _mappings(yaml: YamlFile | None, options: frozenset[str]) -> Iterator[tuple[Value, frozenset[str]]]:
    root = yaml.root if yaml else None
    if root is None:
        return
    yield root, frozenset({"defaults", "node_confs"})
    nodes = root.get("node_confs")
    for one in {id(one): one for one in (nodes.items if nodes else ())}.values():
        yield one, frozenset({"nodes", "options"})
    for one in _options(root):
        yield one, options
        confs = one.get("dir_confs")
        for conf in confs.items if confs else ():
            yield conf, _DIR_CONFS
