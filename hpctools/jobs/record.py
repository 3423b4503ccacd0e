"""What is remembered of each submission, and how its job is found again.

    $XDG_STATE_HOME/hpctools/jobs/NAME-20261121T143000Z-a1b2c3.json     one file a submission, 0600

A record is written before sbatch runs and again when its answer is there. So a submission that was
cut off in between is known, and resolve asks Slurm what became of it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from hpctools import files
from hpctools.errors import HpctoolsError
from hpctools.process import Run

STATES = ("submitting", "submitted", "refused", "unknown", "local")
# munge's default time to live: slurmctld refuses a request that lay in its socket for longer, so
# after that time a job that is not there will not come any more (munged(8), --max-ttl).
REQUEST_LIVES_S = 300
QUERY_TIMEOUT_S = 60.0
_FOLDER = re.compile(r"/([A-Za-z0-9._-]+-\d{8}T\d{6}Z-[0-9a-f]{6})/")
_STAMP = re.compile(r"-(\d{8}T\d{6}Z-[0-9a-f]{6})\.json$")


@dataclass(frozen=True)
class Record:
    """One submission.

    token: the job's StdOut as it was given to Slurm, absolute, with Slurm's patterns (%A_%a in
    arrays, %% for a percent sign). run: the run folder. state: one of STATES; "submitting" and
    "unknown" may have a job, see resolve; "refused" never will have one. cluster: ClusterName.
    Times are seconds since 1970. nodes and gpus_per_node: what was asked for. image: what the ranks run
    in, with its runtime, file and digest.
    """

    token: str
    run: str
    name: str
    target: str
    state: str
    created_s: int
    cluster: str | None = None
    job_id: str | None = None
    submitted_s: int | None = None
    slurm_conf: str | None = None
    nodes: int = 1
    gpus_per_node: int = 0
    array: str | None = None
    image: Mapping[str, str | None] | None = field(default=None, hash=False)

    @property
    def settled(self) -> bool:
        """Whether it is known if there is a job."""
        return self.state not in ("submitting", "unknown")

    def log(self, task: str | None = None) -> Path:
        """The file that the job writes its output to; task is the id of one task of an array."""
        known = {"j": self.job_id, "A": self.job_id, "a": task, "x": self.name, "u": user_name(), "%": "%"}

        def value(match: re.Match[str]) -> str:
            width, letter = match.groups()
            found = known.get(letter)
            return match[0] if found is None else found.zfill(min(int(width or 0), 10))

        return Path(re.sub(r"%(\d*)([jAaxu%])", value, self.token))


def folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the records are."""
    state = environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(state) / "hpctools" / "jobs"


def save(record: Record, where: Path | None = None) -> Path:
    """Write a record whole, over an earlier one of the same run, and return its file."""
    import json

    where = where or folder()
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = where / f"{Path(record.run).name}.json"
    files.write(path, json.dumps(asdict(record), indent=1) + "\n", mode=0o600)
    return path


def load_all(where: Path | None = None, say: Callable[[str], None] = lambda _: None) -> list[Record]:
    """All records, newest first. A file that cannot be read is left out, and said."""
    return [record for path in _files(where or folder()) if (record := _load(path, say))]


def find(job_id: str, cluster: str | None = None, where: Path | None = None) -> Record | None:
    """The newest record of a job: of any cluster, or of the one named."""
    number = job_id.partition("_")[0]
    for path in _files(where or folder()):
        record = _load(path)
        if record and record.job_id == number and cluster in (None, record.cluster):
            return record
    return None


def of_folder(*told: str) -> Record | None:
    """The record whose run folder is named in a path or a command line of Slurm's: that of a successor,
    which has an id of its own."""
    for name in _FOLDER.findall("\n".join(told)):
        record = _load(folder() / f"{name}.json")
        if record is not None and any(f"{record.run}/" in text for text in told):
            return record
    return None


def resolve(record: Record, run: Run, where: Path | None = None) -> Record:
    """A record about which Slurm was asked again, saved when that told something.

    A settled one comes back as it is. Raises SlurmUnavailable when slurmctld does not answer.
    """
    if record.settled:
        return record
    job_id = search(record, run)
    if job_id:
        found = replace(record, state="submitted", job_id=job_id, submitted_s=record.created_s)
    elif time.time() > record.created_s + REQUEST_LIVES_S:
        found = replace(record, state="refused")
    else:
        return record
    save(found, where)
    return found


def search(record: Record, run: Run) -> str | None:
    """The id of the job of a submission, by its run folder; None when Slurm knows none.

    slurmctld first (it forgets jobs MinJobAge after their end), then accounting, if there is any.
    Raises SlurmUnavailable or CommandError when slurmctld does not answer.
    """
    from hpctools.slurm import squeue

    mark = f"/{Path(record.run).name}/"
    environ = query_environment()
    words = [*squeue.command(me=True), "--states=all"]
    text = run(words, env={**environ, **squeue.ENV}, timeout_s=QUERY_TIMEOUT_S).check()
    for job in squeue.parse(text):
        if mark in job.stdout or (job.stdout == record.token and _runs(job.job_id, mark, run, environ)):
            return job.array_job_id or job.job_id
    return _search_accounting(record, run, environ, mark)


def _runs(job_id: str, mark: str, run: Run, environ: Mapping[str, str]) -> bool:
    """Whether a job's script lies in the run folder: its log may be elsewhere (--output)."""
    from hpctools.slurm import scontrol, squeue

    done = run(scontrol.job_command(job_id), env={**environ, **squeue.ENV}, timeout_s=QUERY_TIMEOUT_S)
    return done.status == 0 and mark in scontrol.parse_job(done.stdout).get("Command", "")


def _search_accounting(record: Record, run: Run, environ: Mapping[str, str], mark: str) -> str | None:
    from hpctools.slurm import sacct

    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created_s - 60))
    words = sacct.command(user=user_name(), start=since)
    try:
        text = run(words, env={**environ, **sacct.ENV}, timeout_s=QUERY_TIMEOUT_S).check()
    except HpctoolsError:
        # Many clusters have no accounting; slurmctld has answered, and that is what counts.
        return None
    for job in sacct.parse(text):
        if mark in job.submit_line:
            return job.array_job_id or job.job_id
    return None


def query_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for Slurm's query commands: without a user's defaults that hide or reshape."""
    hidden = ("SQUEUE_", "SINFO_", "SACCT_", "SLURM_TIME_FORMAT")
    return {name: value for name, value in environ.items() if not name.startswith(hidden)}


def user_name() -> str:
    """Who we are to Slurm."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _files(where: Path) -> list[Path]:
    """The records' files, newest first: their names tell when they were made."""
    try:
        found = [(match[1], entry) for entry in os.scandir(where) if (match := _STAMP.search(entry.name))]
        # Of two made in one second, the one that was written last.
        newest_first = sorted(found, key=lambda one: (one[0], one[1].stat().st_mtime_ns), reverse=True)
    except OSError:
        return []
    return [where / entry.name for _, entry in newest_first]


def _load(path: Path, say: Callable[[str], None] = lambda _: None) -> Record | None:
    import json

    known = {field.name for field in fields(Record)}
    try:
        with open(path, "rb") as file:
            value = json.load(file)
        # Fields that a newer hpctools added are left out, those that it dropped would be missed.
        return Record(**{name: item for name, item in value.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        say(f"{path}: not a record of a submission ({error}); left out")
        return None
