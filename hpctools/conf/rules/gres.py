"""Each line of gres.conf by itself, and the names in it that slurm.conf must know.

slurmd reads gres.conf where slurm.conf sets GresTypes; slurmctld does so for nodes with State=CLOUD.
"""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import Problem, Severity
from hpctools.conf.gres import (
    SHARED,
    detection,
    detections,
    environment_flags,
    file_pair,
    node_gres,
    node_names,
    parse_count,
    unread_lists,
    wanted,
)
from hpctools.conf.host_lists import HINT
from hpctools.conf.rules import rule
from hpctools.slurm.conf_text import Line, Pair
from hpctools.slurm.releases import at_least

# gres_flags_parse looks for these in the value.
_FLAGS = {
    "CountOnly": "22.05",
    "nvidia_gpu_env": "22.05",
    "amd_gpu_env": "22.05",
    "intel_gpu_env": "22.05",
    "opencl_env": "22.05",
    "no_gpu_env": "22.05",
    "one_sharing": "22.05",
    "all_sharing": "22.05",
    "explicit": "23.02",
    "env_uuid": "26.05",
}
# Until the release before slurmctld stops at AutoDetect for a cloud node.
_CLOUD_IS_LOGGED = "23.11"
# The largest Count that is tracked device by device (MAX_GRES_BITMAP).
_MOST_FILES = 1024


@rule("gres-name-unknown", "error")
def gres_name_unknown(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or not slurm.get("GresTypes"):
        return
    for line in _records(candidate):
        pair = line.get("Name")
        if pair and pair.value.lower() not in slurm.gres_types:
            message = f"{pair.value} is not in GresTypes of slurm.conf: this line is ignored"
            yield Problem(pair, message, f"add {pair.value} to GresTypes, or correct the name")


@rule("gres-without-name", "error")
def gres_without_name(candidate: Candidate) -> Iterator[Problem]:
    for line in _records(candidate):
        if not line.get("Name") and not line.get("AutoDetect"):
            yield Problem(line, "has no Name: this line is ignored", "add Name=gpu, or what else it is for")


@rule("gres-node-list", "error")
def gres_node_list(candidate: Candidate) -> Iterator[Problem]:
    for line in unread_lists(candidate):
        pair = line.pairs[0]
        message = f"{pair.key}={pair.value[:80]} is no list of nodes: this line holds for none"
        yield Problem(line, message, HINT)


@rule("gres-node-unknown", "warning")
def gres_node_unknown(candidate: Candidate) -> Iterator[Problem]:
    slurm, gres = candidate.slurm, candidate.conf("gres.conf")
    if not slurm or not gres or slurm.partial or not slurm.nodes:
        return
    for line in gres.all("NodeName"):
        unknown = [name for name in node_names(line.pairs[0].value) if name not in slurm.node_of]
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            yield Problem(
                line, f"slurm.conf has no node {unknown[0]}{more}", "correct the name, or remove it"
            )


@rule("gres-autodetect", "error")
def gres_autodetect(candidate: Candidate) -> Iterator[Problem]:
    gres = candidate.conf("gres.conf")
    for line in gres.lines if gres else ():
        pair = line.get("AutoDetect")
        if pair and detection(pair.value, candidate.release) is None:
            known = ", ".join([*detections(candidate.release), "off"])
            message = (
                f"AutoDetect={pair.value} is nothing that {candidate.release} knows: nothing is detected"
            )
            yield Problem(pair, message, f"one of {known}")


@rule("gres-autodetect-inline", "error")
def gres_autodetect_inline(candidate: Candidate) -> Iterator[Problem]:
    gres = candidate.conf("gres.conf")
    for line in gres.all("Name") if gres else ():
        pair = line.get("AutoDetect")
        if pair:
            message = "AutoDetect has no effect in a line that begins with Name"
            yield Problem(pair, message, "put NodeName before Name, or AutoDetect into a line of its own")


@rule("gres-autodetect-twice", "fatal")
def gres_autodetect_twice(candidate: Candidate) -> Iterator[Problem]:
    gres = candidate.conf("gres.conf")
    first: dict[str, Pair] = {}
    for line in gres.all("NodeName") if gres else ():
        pair = line.get("AutoDetect")
        if not pair:
            continue
        for name in node_names(line.pairs[0].value):
            before = first.setdefault(name, pair)
            if detection(before.value, candidate.release) not in (
                None,
                detection(pair.value, candidate.release),
            ):
                message = (
                    f"AutoDetect of {name} is {before.value} in line {before.line}, and {pair.value} here"
                )
                yield Problem(pair, message, "one AutoDetect for each node")
                break


@rule("gres-autodetect-cloud", "error")
def gres_autodetect_cloud(candidate: Candidate) -> Iterator[Problem]:
    """slurmctld reads gres.conf for cloud nodes; until 23.02 it stops at an AutoDetect for one."""
    slurm, gres = candidate.slurm, candidate.conf("gres.conf")
    if not slurm or not gres or not slurm.gres_types:
        return
    clouds = [record for record in slurm.nodes if record.value("State").upper() == "CLOUD"]
    if not clouds:
        return
    own = {
        name: pair
        for line in gres.all("NodeName")
        if (pair := line.get("AutoDetect"))
        for name in node_names(line.pairs[0].value)
    }
    severity: Severity = "error" if at_least(candidate.release, _CLOUD_IS_LOGGED) else "fatal"
    for name in (name for record in clouds for name in record.names):
        pair = own.get(name) or gres.get("AutoDetect")
        if pair and detection(pair.value, candidate.release) not in (None, "off"):
            message = f"AutoDetect={pair.value} holds for {name}, a cloud node: its GRES are not loaded"
            hint = f"NodeName={name} AutoDetect=off Name=gpu File=/dev/nvidia[0-7], with what it has"
            yield Problem(pair, message, hint, severity)
            return


@rule("gres-files-exclusive", "fatal")
def gres_files_exclusive(candidate: Candidate) -> Iterator[Problem]:
    for line in _records(candidate):
        pair = line.get("MultipleFiles")
        if pair and (line.get("File") or line.get("Files")):
            yield Problem(
                pair, "File and MultipleFiles exclude each other", "MultipleFiles is for MIG devices"
            )


@rule("gres-files-list", "fatal")
def gres_files_list(candidate: Candidate) -> Iterator[Problem]:
    for line in _records(candidate):
        pair = file_pair(line)
        files = node_names(pair.value) if pair else ()
        if pair and not files:
            yield Problem(pair, f"{pair.key}={pair.value} is no list of devices", "such as /dev/nvidia[0-7]")
        elif pair and pair.key.lower() == "multiplefiles" and len(files) < 2:
            yield Problem(pair, f"MultipleFiles={pair.value} is one device", "use File")


@rule("gres-count-invalid", "fatal")
def gres_count_invalid(candidate: Candidate) -> Iterator[Problem]:
    for line in _records(candidate):
        pair, name = line.get("Count"), line.value("Name") or ""
        if not pair or not line.get("Name"):
            continue
        count = parse_count(pair.value)
        files = file_pair(line)
        if count is None:
            yield Problem(pair, f"Count={pair.value} is no number", "such as 8 or 4k")
        elif files and name.lower() not in SHARED:
            devices = 1 if files.key.lower() == "multiplefiles" else len(node_names(files.value))
            if devices and devices != count:
                message = f"Count={pair.value}, but {files.key} names {devices} of them"
                yield Problem(pair, message, "remove Count")
            elif count > _MOST_FILES:
                yield Problem(pair, f"Count={pair.value} with File is above {_MOST_FILES}", severity="error")


@rule("gres-gpu-without-file", "error")
def gres_gpu_without_file(candidate: Candidate) -> Iterator[Problem]:
    """Alone, a line without a device means nothing to slurmd but where AutoDetect finds the device."""
    gres = candidate.conf("gres.conf")
    if not gres or gres.partial or not any(_records(candidate)):
        return
    said: set[int] = set()
    for node in node_gres(candidate):
        if node.detect not in (None, "off") or (
            node.record and "gpu" not in wanted(node.record.value("Gres"))
        ):
            continue
        for line in node.lines:
            if line.name == "gpu" and not line.has_file and line.order not in said:
                said.add(line.order)
                message = f"a GPU without File, and without AutoDetect for {node.shown}"
                hint = "File=/dev/nvidia[0-7], or AutoDetect"
                yield Problem(line.at, f"{message}, is ignored, and the node drained", hint)


@rule("gres-flags-unknown", "warning")
def gres_flags_unknown(candidate: Candidate) -> Iterator[Problem]:
    known = [name for name, since in _FLAGS.items() if at_least(candidate.release, since)]
    lowered = {name.lower() for name in known}
    for pair in _flags(candidate):
        words = [word.strip() for word in pair.value.split(",")]
        unknown = [word for word in words if word and word.lower() not in lowered]
        if unknown:
            message = f"Flags: {', '.join(unknown)} is none that {candidate.release} knows, and passed over"
            yield Problem(pair, message, f"of {', '.join(known)}")


@rule("gres-flags-exclusive", "fatal")
def gres_flags_exclusive(candidate: Candidate) -> Iterator[Problem]:
    for pair in _flags(candidate):
        given = environment_flags(pair.value)
        if "no_gpu_env" in given and len(given) > 1:
            other = next(word for word in given if word != "no_gpu_env")
            yield Problem(pair, f"no_gpu_env and {other} exclude each other", "keep one of them")


@rule("gres-links", "error")
def gres_links(candidate: Candidate) -> Iterator[Problem]:
    for line in _records(candidate):
        pair = line.get("Links") or line.get("Link")
        if not pair:
            continue
        words = pair.value.split(",")
        numbers = [int(word) for word in words if word.removeprefix("-").isdecimal() and len(word) < 10]
        if len(numbers) < len(words) or min(numbers, default=-3) < -2:
            message = f"Links={pair.value} is ignored: it is no list of numbers from -2"
            yield Problem(pair, message, "such as -1,16,16,16")
        elif numbers.count(-1) != 1:
            message = f"Links={pair.value} is ignored: -1 stands in it {numbers.count(-1)} times"
            yield Problem(pair, message, "one -1, at the place of the device itself")


def _records(candidate: Candidate) -> Iterator[Line]:
    """The lines about resources, where slurmd reads gres.conf at all."""
    gres, slurm = candidate.conf("gres.conf"), candidate.slurm
    if gres and not (slurm and not slurm.partial and not slurm.gres_types):
        yield from gres.all("Name")
        yield from gres.all("NodeName")


def _flags(candidate: Candidate) -> Iterator[Pair]:
    for line in _records(candidate):
        pair = line.get("Flags")
        if pair:
            yield pair
