"""Generic resources in slurm.conf: GresTypes, and Gres of the NodeName lines."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, Record
from hpctools.conf.finding import Problem, Severity
from hpctools.conf.gres import SHARED, wanted
from hpctools.conf.rules import rule
from hpctools.errors import ParseError
from hpctools.slurm import tres
from hpctools.slurm.releases import at_least

_CONS_TRES_IS_DEFAULT = "23.11"


@rule("gres-types-missing", "error")
def gres_types_missing(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or (slurm.partial and not slurm.get("GresTypes")):
        return
    # gres_name_filter compares exactly.
    types = frozenset(slurm.words("GresTypes"))
    for text, record in _by_gres(candidate).items():
        names = (word.partition(":")[0].partition("(")[0].strip() for word in _words(text))
        missing = [name for name in dict.fromkeys(names) if name and name not in types]
        if missing:
            message = f"Gres={text}: {', '.join(missing)} is not in GresTypes, so the nodes do not have it"
            yield Problem(record.where("Gres"), message, f"GresTypes={','.join([*sorted(types), *missing])}")


@rule("gres-syntax", "error")
def gres_syntax(candidate: Candidate) -> Iterator[Problem]:
    for text, record in _by_gres(candidate).items():
        try:
            tres.parse_gres(text)
        except ParseError:
            yield Problem(record.where("Gres"), f"Gres={text} is no list of resources", "name[:type]:count")


@rule("gres-partly-typed", "error")
def gres_partly_typed(candidate: Candidate) -> Iterator[Problem]:
    """slurmd of the node stops (_foreach_slurm_conf); slurmctld only where the node is a cloud node."""
    clouds = {
        record.value("Gres") for record in _records(candidate) if record.value("State").upper() == "CLOUD"
    }
    for text, record in _by_gres(candidate).items():
        for name, asked in wanted(text).items():
            if len(asked.types) > 1 and asked.types.get(""):
                effect = "slurmctld stops" if text in clouds else "no slurmd of these nodes starts"
                message = f"Gres={text}: some {name} have a type, others not: {effect}"
                severity: Severity = "fatal" if text in clouds else "error"
                yield Problem(
                    record.where("Gres"), message, "a type for all of a name, or for none", severity
                )


@rule("gres-shared-without-gpu", "fatal")
def gres_shared_without_gpu(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("GresTypes") if slurm else None
    words = slurm.words("GresTypes") if slurm else []
    shared = [word for word in words if word in SHARED]
    if pair and shared and "gpu" not in words:
        yield Problem(pair, f"GresTypes has {shared[0]}, but not gpu", f"GresTypes=gpu,{','.join(words)}")


@rule("gres-shared-select", "fatal")
def gres_shared_select(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("GresTypes") if slurm else None
    if not slurm or not pair:
        return
    shared = [word for word in slurm.words("GresTypes") if word in SHARED]
    default = "select/cons_tres" if at_least(candidate.release, _CONS_TRES_IS_DEFAULT) else "select/linear"
    chosen = slurm.value("SelectType", "" if slurm.partial else default)
    if shared and chosen.lower().removeprefix("select/") in ("linear", "cons_res"):
        message = f"GresTypes has {shared[0]}, which needs select/cons_tres, not {chosen}"
        yield Problem(slurm.get("SelectType") or pair, message, "SelectType=select/cons_tres")


@rule("gres-shared-on-node", "error")
def gres_shared_on_node(candidate: Candidate) -> Iterator[Problem]:
    for text, record in _by_gres(candidate).items():
        asked = wanted(text)
        shared = [name for name in asked if name in SHARED and asked[name].count]
        if shared and "gpu" not in asked:
            message = f"Gres={text}: {shared[0]} shares GPUs, of which these nodes have none"
            yield Problem(record.where("Gres"), message, "add gpu to Gres, or remove it")
        elif len(shared) > 1:
            message = f"Gres={text}: {' and '.join(shared)} cannot share the same GPUs"
            yield Problem(record.where("Gres"), message, "one of them on each node", "warning")


def _records(candidate: Candidate) -> tuple[Record, ...]:
    return candidate.slurm.nodes if candidate.slurm else ()


def _by_gres(candidate: Candidate) -> dict[str, Record]:
    """The first NodeName line for each text of Gres."""
    found: dict[str, Record] = {}
    for record in _records(candidate):
        pair = record.get("Gres")
        if pair and pair.value not in tres.NOTHING:
            found.setdefault(pair.value, record)
    return found


def _words(text: str) -> list[str]:
    """The words between commas; those in parentheses, as of (S:0,1), are none."""
    words, depth = [""], 0
    for sign in text:
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and depth <= 0:
            words.append("")
        else:
            words[-1] += sign
    return words
