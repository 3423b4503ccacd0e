"""A ground to rewrite on, and candidates from texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from hpctools.conf import load
from hpctools.conf.candidate import Candidate
from hpctools.conf.verify.ground import Ground

GROUND = Ground(
    release="24.11",
    host="here",
    address="127.0.0.1",
    user="me",
    group="us",
    ports={"slurmctld": 16000, "slurmdbd": 16001},
    etc="/sandbox/etc",
    run="/sandbox/run",
    state="/sandbox/state",
    spool="/sandbox/spool",
    log="/sandbox/log",
    devices="/sandbox",
    munge_socket="/sandbox/munge.socket",
)


def started(**ports: int) -> Ground:
    return replace(GROUND, started=MappingProxyType(ports))


def candidate(folder: Path, release: str = "24.11", **texts: str) -> Candidate:
    """The files of texts (slurm_conf="...") in folder, read."""
    for name, text in texts.items():
        path = folder / name.replace("_yaml", ".yaml").replace("_conf", ".conf")
        path.write_text(text)
    (found,) = load.candidates([str(folder)], release)
    return found
