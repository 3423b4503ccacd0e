"""slurm.conf's Gres and the lines of gres.conf that hold for a node: do they say the same?

What they stand for is merged as gres_g_node_config_load does: gres.conf works only within what
slurm.conf gives to the node.
"""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import Problem, Severity
from hpctools.conf.gres import (
    SHARED,
    GresLine,
    NodeGres,
    Wanted,
    environment_flags,
    file_pair,
    node_gres,
    unread_lists,
    wanted,
)
from hpctools.conf.rules import rule


@rule("gres-file-mixed", "fatal")
def gres_file_mixed(candidate: Candidate) -> Iterator[Problem]:
    for node, first, line in _against_first(candidate):
        if first.has_file != line.has_file:
            message = _differ(node, first, line, "File", first.has_file)
            yield Problem(line.at, message, "File in all lines of a name, or in none")


@rule("gres-type-mixed", "fatal")
def gres_type_mixed(candidate: Candidate) -> Iterator[Problem]:
    for node, first, line in _against_first(candidate):
        if bool(first.type) != bool(line.type):
            message = _differ(node, first, line, "Type", bool(first.type))
            yield Problem(line.at, message, "Type in all lines of a name, or in none")


@rule("gres-repeated", "fatal")
def gres_repeated(candidate: Candidate) -> Iterator[Problem]:
    for node, first, line in _against_first(candidate):
        if not (first.has_file or first.type or line.has_file or line.type):
            message = f"{line.name} of {node.shown} stands in line {first.at.line} already"
            yield Problem(line.at, message, "one line without File and Type for each name")


@rule("gres-device-twice", "fatal")
def gres_device_twice(candidate: Candidate) -> Iterator[Problem]:
    """slurmd stops for gpu and nic, whose plugins fail; others are merely counted twice."""
    for node in _nodes(candidate):
        seen: dict[tuple[str, str], GresLine] = {}
        types = wanted(node.record.value("Gres")) if node.record else None
        for line in node.lines:
            pair = file_pair(line.at)
            # Lines of types that slurm.conf does not give to the node are dropped before this is seen.
            if types is not None and not _is_wanted(line, types.get(line.name)):
                continue
            if pair and pair.key.lower() != "multiplefiles" and line.name not in SHARED:
                for device in line.files or ():
                    before = seen.setdefault((line.name, device), line)
                    if before is not line or (line.files or ()).count(device) > 1:
                        message = f"{device} of {node.shown} stands twice, first in line {before.at.line}"
                        severity: Severity = "fatal" if line.name in ("gpu", "nic") else "error"
                        yield Problem(pair, message, "each device in one line", severity)
                        break


@rule("gres-flags-mixed", "fatal")
def gres_flags_mixed(candidate: Candidate) -> Iterator[Problem]:
    """_parse_gres_config: the line before it of the same name counts; a GPU without Flags sets them all."""
    for node in _nodes(candidate):
        name, flags = "", frozenset[str]()
        for line in node.lines:
            pair = line.at.get("Flags")
            given = frozenset(environment_flags(pair.value)) if pair else frozenset[str]()
            if pair and given:
                if line.name == name and given != flags:
                    before = ", ".join(sorted(flags - {"all"})) or "none, which is all of them"
                    message = f"{line.name} of {node.shown}: the environment flags before this line: {before}"
                    yield Problem(pair, message, "the same ones in all lines of a name")
                name, flags = line.name, given
            elif line.name == "gpu" and line.name != name:
                name, flags = "gpu", frozenset({"all"})


@rule("gres-more-than-slurm", "warning")
def gres_more_than_slurm(candidate: Candidate) -> Iterator[Problem]:
    for node in _both(candidate):
        asked = wanted(node.record.value("Gres")) if node.record else {}
        for name, lines in _by_name(node.lines).items():
            if name in SHARED or name not in _gres_types(candidate):
                continue
            left = dict(asked[name].types) if name in asked else {}
            total = sum(left.values())
            for line in lines:
                count = line.count or 0
                # Untyped lines take from every type, typed ones from their own or from what is untyped.
                have = total if not line.type or "" in left else left.get(line.type, 0)
                if count > have:
                    there = f"its Gres has {have}" if name in asked else f"its Gres has no {name}"
                    message = f"{line.shown}: {count} for {node.shown}, but {there}: the rest is ignored"
                    yield Problem(line.at, message, "make Gres in slurm.conf and gres.conf agree")
                    break
                total -= count
                if line.type in left:
                    left[line.type] -= count


@rule("gres-less-than-slurm", "error")
def gres_less_than_slurm(candidate: Candidate) -> Iterator[Problem]:
    """Only GPUs: what gres.conf has not of other resources is counted without devices."""
    for node in _both(candidate):
        lines = [line for line in node.lines if line.name == "gpu" and line.has_file]
        if not node.record or not lines or node.detect not in (None, "off"):
            continue
        if any(line.count is None for line in lines):
            continue
        asked = wanted(node.record.value("Gres")).get("gpu")
        for type, count in asked.types.items() if asked else ():
            have = sum(line.count or 0 for line in lines if not type or line.type == type)
            if have < count:
                shown = f"gpu:{type}" if type else "gpu"
                known = ", ".join(sorted({line.shown for line in lines}))
                message = (
                    f"{shown}: {count} for {node.shown}, but gres.conf has {have} ({known}): it is drained"
                )
                hint = "make Gres here and gres.conf agree in name, type and number"
                yield Problem(node.record.where("Gres"), message, hint)
                break


@rule("gres-gpu-without-device", "error")
def gres_gpu_without_device(candidate: Candidate) -> Iterator[Problem]:
    # What a list that cannot be read was meant for is not known.
    if unread_lists(candidate) or (not candidate.conf("gres.conf") and not candidate.complete):
        return
    for node in _both(candidate):
        if not node.record or node.detect not in (None, "off"):
            continue
        asked = wanted(node.record.value("Gres")).get("gpu")
        lines = [line for line in node.lines if line.name == "gpu"]
        if asked and asked.count and not lines:
            message = f"gres.conf has no GPU for {node.shown}: one without File is ignored, the node drained"
            hint = "Name=gpu File=/dev/nvidia[0-7], or AutoDetect, in gres.conf"
            yield Problem(node.record.where("Gres"), message, hint)


@rule("gres-shared-count", "fatal")
def gres_shared_count(candidate: Candidate) -> Iterator[Problem]:
    """_merge_gres2 adds what gres.conf lacks as a record without File; _build_shared_list then wants that
    one alone.
    """
    if unread_lists(candidate) or (not candidate.conf("gres.conf") and not candidate.complete):
        return
    said: set[int] = set()
    for node in _both(candidate):
        for name, asked in wanted(node.record.value("Gres")).items() if node.record else ():
            lines = [line for line in node.lines if line.name == name]
            if name not in SHARED & _gres_types(candidate) or any(line.count is None for line in lines):
                continue
            if not node.record or _is_one(asked, lines):
                continue
            have = sum(line.count or 0 for line in lines)
            message = (
                f"{name}: {asked.count} for {node.shown} in slurm.conf, but {have} in gres.conf: "
                "no slurmd of these nodes starts"
            )
            hint = "the same number and type in both files"
            if not lines:
                yield Problem(node.record.where("Gres"), message, hint, "error")
            elif lines[0].order not in said:
                said.add(lines[0].order)
                yield Problem(lines[0].at, message, hint)


def _is_one(asked: Wanted, lines: list[GresLine]) -> bool:
    """Whether a shared resource is in the end one record without File, or some that all have it."""
    left, files = list(lines), []
    for type, count in asked.types.items():
        for line in [line for line in left if not type or line.type == type]:
            if count > 0:
                left.remove(line)
                files.append(line.has_file)
                count -= line.count or 0
        if count > 0:
            files.append(False)
    return all(files) or len(files) == 1


def _is_wanted(line: GresLine, asked: Wanted | None) -> bool:
    return asked is not None and ("" in asked.types or line.type in asked.types)


def _differ(node: NodeGres, first: GresLine, line: GresLine, key: str, first_has: bool) -> str:
    one, other = ("has", "has no") if first_has else ("has no", "has")
    return f"{line.name} of {node.shown}: line {first.at.line} {one} {key}, and this one {other} {key}"


def _gres_types(candidate: Candidate) -> frozenset[str]:
    return candidate.slurm.gres_types if candidate.slurm else frozenset()


def _nodes(candidate: Candidate) -> list[NodeGres]:
    """The nodes for which gres.conf has lines that slurmd takes."""
    gres, slurm = candidate.conf("gres.conf"), candidate.slurm
    if not gres or (slurm and not slurm.partial and not slurm.gres_types):
        return []
    return [node for node in node_gres(candidate) if node.lines]


def _both(candidate: Candidate) -> list[NodeGres]:
    """The nodes of slurm.conf with what gres.conf says of them, where both are known."""
    gres, slurm = candidate.conf("gres.conf"), candidate.slurm
    if not slurm or slurm.partial or not slurm.gres_types or (gres and gres.partial):
        return []
    return node_gres(candidate)


def _by_name(lines: tuple[GresLine, ...]) -> dict[str, list[GresLine]]:
    found: dict[str, list[GresLine]] = {}
    for line in lines:
        found.setdefault(line.name, []).append(line)
    return found


def _against_first(candidate: Candidate) -> Iterator[tuple[NodeGres, GresLine, GresLine]]:
    """Each line of a node with the first of its name; a pair of lines only once."""
    seen: set[tuple[int, int]] = set()
    for node in _nodes(candidate):
        for name, (first, *others) in _by_name(node.lines).items():
            if candidate.slurm and not candidate.slurm.partial and name not in candidate.slurm.gres_types:
                continue
            for line in others:
                if (first.order, line.order) not in seen:
                    seen.add((first.order, line.order))
                    yield node, first, line
