"""Records of submissions for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hpctools.jobs import clusters, record
from hpctools.jobs.record import Record

# When the jobs of the recording were submitted.
SUBMITTED_S = 1795273170


def made(
    folder: Path,
    job_id: str | None = "37",
    *,
    state: str = "submitted",
    created_s: int = SUBMITTED_S,
    **more: object,
) -> Record:
    """A record whose run folder is under folder; saved."""
    run = folder / f"train-20261121T143000Z-{created_s % 0xFFFFFF:06x}"
    run.mkdir(parents=True, exist_ok=True)
    made = Record(
        token=str(run / "slurm.out"),
        run=str(run),
        name="train",
        target="train.py",
        state=state,
        created_s=created_s,
        job_id=job_id,
        submitted_s=created_s if job_id else None,
        slurm_conf=clusters.conf(),
    )
    made = replace(made, **more)  # type: ignore[arg-type]
    record.save(made)
    return made
