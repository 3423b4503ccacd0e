"""What is counted of jobs: AccountingStorageTRES, and the weights that name what it holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.conf.rules.amounts import TRACKED, gres, tracked
from hpctools.conf.rules.priority import is_multifactor
from hpctools.slurm.conf_text import Pair

# _init_tres in controller.c: these alone, and those that have a name of the site's own.
_PLAIN = frozenset({"cpu", "mem", "energy", "node", "billing", "vmem", "pages"})
_NAMED = ("bb/", "gres/", "license/", "fs/", "ic/")
# What strtod reads, and the units that may follow it (get_convert_unit_val).
_WEIGHT = re.compile(
    r"\s*[+-]?(?:inf(?:inity)?|nan|0x[0-9a-f.]+|[0-9]+\.?[0-9]*(?:e[+-]?[0-9]+)?|\.[0-9]+(?:e[+-]?[0-9]+)?)?",
    re.IGNORECASE,
)
_UNITS = "KMGTP"


@rule("unknown-tres", "fatal")
def unknown_tres(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("AccountingStorageTRES") if slurm else None
    if not slurm or not pair or "[" in pair.value:
        return
    for name in _own(slurm):
        if name not in _PLAIN and not name.startswith(_NAMED):
            message = f"{name} is no TRES; slurmctld stops at it"
            near = (
                f"gres/{name.removeprefix('gres:')}, "
                if name.startswith(("gpu", "gres:", "shard", "mps"))
                else ""
            )
            yield Problem(pair, message, f"{near}{', '.join(sorted(_PLAIN))}, or {'..., '.join(_NAMED)}...")


@rule("tres-without-slurmdbd", "fatal")
def tres_without_slurmdbd(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("AccountingStorageTRES") if slurm else None
    if not slurm or not pair or "[" in pair.value or slurm.partial or slurm.uses_slurmdbd:
        return
    # fs/disk... has a number of its own, all others get theirs from the database.
    names = [name for name in _own(slurm) if name.startswith(_NAMED) and not name.startswith("fs/disk")]
    if names:
        message = f"{', '.join(names)} can be tracked only with slurmdbd; without it slurmctld stops"
        yield Problem(
            pair, message, f"AccountingStorageType=accounting_storage/slurmdbd, or remove {pair.key}"
        )


@rule("tres-weight", "fatal")
def tres_weight(candidate: Candidate) -> Iterator[Problem]:
    """Weights of what slurmctld does not know end it, at the start and at a reconfigure."""
    slurm = candidate.slurm
    if not slurm:
        return
    pairs = [one.get("TRESWeights") for one in slurm.nodes]
    pairs += [one.get("TRESBillingWeights") for one in slurm.partitions]
    if is_multifactor(slurm, candidate.release):
        pairs.append(slurm.get("PriorityWeightTRES"))
    known = tracked(slurm)
    for pair in dict.fromkeys(pairs):
        if pair:
            yield from _wrong_weights(pair, known)


@rule("gpu-not-accounted", "error")
def gpu_not_accounted(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or not slurm.uses_slurmdbd or not slurm.uses_gpus:
        return
    known = tracked(slurm)
    if known is not None and not any(name.startswith("gres/gpu") for name in known):
        place = slurm.get("AccountingStorageTRES") or slurm.get("AccountingStorageType") or slurm
        types = [f"gres/gpu:{kind}" for kind in _gpu_types(slurm)] if len(_gpu_types(slurm)) > 1 else []
        message = "AccountingStorageTRES has no gres/gpu: GPUs are neither reported nor limited"
        hint = f"AccountingStorageTRES={','.join(['gres/gpu', *types])}; jobs before it stay uncounted"
        yield Problem(place, message, hint)


@rule("typed-tres-alone", "warning")
def typed_tres_alone(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("AccountingStorageTRES") if slurm else None
    known = tracked(slurm) if slurm else None
    if not slurm or not pair or known is None:
        return
    typed = [name for name in _own(slurm) if name.startswith("gres/") and ":" in name]
    for name in dict.fromkeys(one.partition(":")[0] for one in typed):
        if name not in known:
            example = next(one for one in typed if one.startswith(f"{name}:"))
            message = f"{example} is tracked without {name}: a job that names no type is counted wrongly"
            yield Problem(pair, message, f"add {name}")


@rule("gpu-type-not-accounted", "warning")
def gpu_type_not_accounted(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or not slurm.uses_slurmdbd:
        return
    known = tracked(slurm)
    types = _gpu_types(slurm)
    if known is None or "gres/gpu" not in known or len(types) < 2:
        return
    missing = [f"gres/gpu:{kind}" for kind in types if f"gres/gpu:{kind}" not in known]
    if missing:
        place = slurm.get("AccountingStorageTRES") or slurm
        message = (
            f"GPUs of {len(types)} types, but {', '.join(missing)} not tracked: no report or limit by type"
        )
        yield Problem(place, message, f"add {','.join(missing)} to AccountingStorageTRES")


@rule("tres-of-no-node", "warning")
def tres_of_no_node(candidate: Candidate) -> Iterator[Problem]:
    """A typed GRES that no node has. Where a node names no type its gres.conf may, so nothing is said."""
    slurm = candidate.slurm
    pair = slurm.get("AccountingStorageTRES") if slurm else None
    if not slurm or not pair or slurm.partial:
        return
    held = {(one.name.lower(), one.type.lower()) for kind in slurm.kinds for one in gres(kind[0])}
    for word in _own(slurm):
        name, _, kind = word.removeprefix("gres/").partition(":")
        types = {of for one, of in held if one == name}
        if word.startswith("gres/") and kind and types and "" not in types and kind not in types:
            message = f"{word} is tracked, but no node has it: they have {', '.join(sorted(types))}"
            yield Problem(pair, message, "spell the type as the nodes' Gres do")


def _own(slurm: Conf) -> list[str]:
    """The TRES that AccountingStorageTRES itself names, lower-cased, once each."""
    names = (word.strip("'").strip().lower() for word in slurm.words("AccountingStorageTRES"))
    return [name for name in dict.fromkeys(names) if name]


def _gpu_types(slurm: Conf) -> list[str]:
    """The types of the nodes' GPUs, lower-cased as TRES are."""
    types = {one.type.lower() for kind in slurm.kinds for one in gres(kind[0]) if one.name.lower() == "gpu"}
    return sorted(types - {""})


def _wrong_weights(pair: Pair, known: Iterable[str] | None) -> Iterator[Problem]:
    for word in filter(None, pair.value.split(",")):
        # As strtok does, = at the beginning is passed over.
        name, equals, weight = word.lstrip("=").partition("=")
        if not equals or not weight:
            yield Problem(pair, f"{word} in {pair.key} is no TRES=weight; slurmctld stops at it")
            continue
        number = _WEIGHT.match(weight)
        rest = weight[number.end() :] if number else weight
        if known is not None and name.lower() not in known:
            message = f"{pair.key} names {name}, which is not tracked; slurmctld stops at it"
            yield Problem(pair, message, _known_hint(name.strip().lower(), known))
        elif rest and rest[0].upper() not in _UNITS:
            yield Problem(pair, f"{weight} in {pair.key} is no number; slurmctld stops at it")


def _known_hint(name: str, known: Iterable[str]) -> str:
    plain = name.replace("gres:", "gres/", 1)
    if plain in known:
        return f"write it {plain}"
    if name in ("gpu", "gres/gpu") or plain.startswith(_NAMED):
        return f"add {plain if '/' in plain else f'gres/{plain}'} to AccountingStorageTRES"
    return f"one of {', '.join(sorted(TRACKED))}, or what AccountingStorageTRES names"
