"""`verify`: one candidate, from its files to what real daemons make of them."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import replace

from hpctools import process
from hpctools.conf import load
from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import in_order
from hpctools.conf.verify import checks, rewrite, stages, throwaway
from hpctools.conf.verify.ground import Ground
from hpctools.conf.verify.stages import Found, Say
from hpctools.conf.verify.throwaway import Throwaway
from hpctools.conf.verify.value import KINDS, Replacement, Verification
from hpctools.errors import InvalidInput, NotFound, Problem
from hpctools.sandbox import programs
from hpctools.slurm import releases


def verify(
    path: str | os.PathLike[str],
    release: str | None = None,
    *,
    controller_only: bool = False,
    say: Say = lambda text: None,
) -> Verification:
    """Boot the candidate in the folder path with the daemons of release (24.11; default: installed here).

    Real slurmctld first, alone; then, unless controller_only, with one real slurmd for each kind of
    node and a job in each partition. Nothing of it stays. say is told the progress. Raises
    InvalidInput for a folder without slurm.conf, or a release that is not to be had; NotFound for
    programs that are missing.
    """
    folder = os.fspath(path)
    major = release or _installed()
    candidate = _candidate(folder, major)
    slurm = candidate.confs["slurm.conf"]
    found = Found()
    with throwaway.throwaway(release, accounting=slurm.uses_slurmdbd) as cluster:
        ground = _ground(cluster, major)
        with found.timed("database"):
            stages.stand(cluster, candidate, ground, found)
        partitions = stages.boot_alone(cluster, candidate, ground, found)
        if partitions is not None:
            say(f"slurmctld {cluster.sandbox.release} is up, with {len(partitions)} partitions")
            if controller_only:
                found.not_verified.append("nodes, GRES and jobs: only the controller was booted")
            else:
                stages.boot_with_nodes(cluster, candidate, ground, partitions, found, say)
    found.told["left"] = rewrite.siblings(folder, candidate)
    every = dict.fromkeys(one for some in found.told.values() for one in some)
    told = sorted((_named(one, cluster) for one in every), key=lambda one: (one.file, one.line))
    kinds = {one.kind for one in told}
    return Verification(
        folder,
        cluster.sandbox.release,
        partitions is not None,
        tuple(in_order(found.problems)),
        tuple(told),
        (*found.not_verified, *(sentence for kind, sentence in KINDS.items() if kind in kinds)),
        tuple(found.nodes),
        tuple(checks.partition_checks(slurm, partitions)) if partitions is not None else (),
        tuple(found.canaries),
        found.timings,
    )


def _named(one: Replacement, cluster: Throwaway) -> Replacement:
    """one with a name for the folders that are gone by now."""
    new = one.new
    for folder in (cluster.places.shared, cluster.places.data):
        new = new.replace(str(folder), "SANDBOX")
    return replace(one, new=new)


def _installed() -> str:
    if programs.missing(["slurmctld"]):
        raise NotFound("no Slurm is installed here: name a release, --slurm 24.11 or 26.05, or install one")
    return programs.release(process.run).rpartition(".")[0]


def _candidate(folder: str, release: str) -> Candidate:
    if release not in releases.RELEASES:
        hint = ", ".join(releases.RELEASES)
        raise InvalidInput(
            [Problem("--slurm", f"{release!r} is no release of Slurm that is known here", hint)]
        )
    if not os.path.isdir(folder):
        raise InvalidInput([Problem(folder, "is not a folder", "name the one that holds slurm.conf")])
    (candidate,) = load.candidates([folder], release)
    if "slurm.conf" not in candidate.confs:
        raise InvalidInput([Problem(folder, "holds no slurm.conf")])
    return rewrite.with_plugins(candidate, folder)


def _ground(cluster: Throwaway, release: str) -> Ground:
    here, sandbox = cluster.places, cluster.sandbox
    user = pwd.getpwuid(os.geteuid())
    try:
        group = grp.getgrgid(user.pw_gid).gr_name
    except KeyError:
        group = str(user.pw_gid)
    return Ground(
        release,
        throwaway.host(),
        sandbox.address,
        user.pw_name,
        group,
        dict(sandbox.ports),
        etc=str(here.etc),
        run=str(here.data / "run"),
        state=str(here.data / "slurmctld"),
        spool=str(here.shared / "spool"),
        log=str(here.log),
        devices=str(here.shared),
        munge_socket=str(here.munge_socket),
    )
