"""Submission while slurmctld is stopped, killed or away: never twice, never lost, and said."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hpctools import process
from hpctools.errors import HpctoolsError, NotFound
from hpctools.jobs import record, request, submission
from hpctools.process import Completed
from hpctools.sandbox import cluster, faults, processes
from hpctools.sandbox.daemons import Sandbox
from hpctools.sandbox.spec import Spec


@pytest.fixture(scope="module")
def own(slurm_programs: None, state_home: Path) -> Iterator[Sandbox]:
    """A small cluster of these tests' own, since they break it. Its commands give up after 3 s."""
    name = f"f{secrets.token_hex(4)}"
    cluster.up(Spec(name=name, nodes=1, accounting=False, conf=("MessageTimeout=3",)), lambda text: None)
    try:
        yield cluster.load(name)
    finally:
        cluster.down(name, purge=True)


class Trouble:
    """Runs programs; just before sbatch, slurmctld is hit, and it is healed when may_heal is set: by the
    test, or a second later, or when sbatch has given up."""

    def __init__(self, sandbox: Sandbox, *, freeze: bool = True, heal: str = "") -> None:
        self.name, self.freeze, self.when = sandbox.spec.name, freeze, heal
        self.port = sandbox.ports["slurmctld"]
        self.submissions = 0
        self.may_heal = threading.Event()
        self.thread: threading.Thread | None = None

    def __call__(self, argv: Sequence[str], **options: Any) -> Completed:
        if argv[0] != "sbatch":
            return process.run(argv, **options)
        self.submissions += 1
        if self.thread is None:
            faults.fail(self.name, parts=["ctld"], freeze=self.freeze)
            self.thread = threading.Thread(target=self.heal)
            self.thread.start()
        done = process.run(argv, **options)
        if self.when == "given up":
            self.may_heal.set()
        return done

    def heal(self) -> None:
        self.may_heal.wait(1 if self.when == "soon" else 120)
        faults.heal(self.name, lambda text: None)


@pytest.fixture
def env(own: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """The environment of a user of that cluster, with a script."""
    (tmp_path / "train.py").write_text("")
    for name, value in own.command_env(os.environ).items():
        monkeypatch.setenv(name, value)
    return dict(os.environ)


def records(folder: Path) -> list[record.Record]:
    """The records of what was submitted from folder."""
    return [one for one in record.load_all() if Path(one.run).is_relative_to(folder)]


def jobs() -> list[str]:
    """The run folders of all jobs that slurmctld knows."""
    done = process.run(["squeue", "--states=all", "--noheader", "--Format", "STDOUT:500"])
    return [Path(line.strip()).parent.name for line in done.check().splitlines()]


def submit(folder: Path, run: Any, said: list[str], retry_s: int = 120) -> record.Record:
    values = {"retry_for": retry_s, "sbatch_option": ["hold"]}
    plan = submission.plan(request.gather("train.py", [], values, cwd=str(folder)), say=said.append)
    return submission.submit(plan, run, said.append)


@pytest.mark.parametrize("heal", ["soon", "given up"])
def test_a_frozen_slurmctld_gets_one_job_and_we_its_id(
    own: Sandbox, env: Mapping[str, str], tmp_path: Path, heal: str
) -> None:
    """The request lies in slurmctld's socket: it becomes a job although sbatch says that it timed out."""
    run, said = Trouble(own, heal=heal), list[str]()
    entry = submit(tmp_path, run, said)
    assert jobs().count(Path(entry.run).name) == 1
    assert records(tmp_path) == [entry]
    assert entry.state == "submitted"
    assert run.submissions == 1
    assert said or heal == "soon"
    process.run(["scancel", str(entry.job_id)])


def test_while_it_stays_frozen_it_cannot_be_told_and_later_it_is(
    own: Sandbox, env: Mapping[str, str], tmp_path: Path
) -> None:
    run = Trouble(own)
    with pytest.raises(HpctoolsError, match="do not submit it again"):
        submit(tmp_path, run, [], retry_s=1)
    (entry,) = records(tmp_path)
    assert entry.state == "unknown"
    assert run.thread
    run.may_heal.set()
    run.thread.join()
    found = record.resolve(entry, process.run)
    assert found.state == "submitted"
    assert jobs().count(Path(entry.run).name) == 1
    assert records(tmp_path) == [found]
    process.run(["scancel", str(found.job_id)])


def test_a_killed_slurmctld_gets_the_job_once_it_is_back(
    own: Sandbox, env: Mapping[str, str], tmp_path: Path
) -> None:
    entry = submit(tmp_path, Trouble(own, freeze=False, heal="soon"), [])
    assert jobs().count(Path(entry.run).name) == 1
    process.run(["scancel", str(entry.job_id)])


def test_a_request_that_dies_with_slurmctld_is_told_to_be_lost(
    own: Sandbox, env: Mapping[str, str], tmp_path: Path
) -> None:
    """Frozen, so that the request lies in its socket; then killed, so that nobody ever reads it."""

    class Lost(Trouble):
        def heal(self) -> None:
            assert processes.wait_until(self.has_request, 120)
            # Whoever healed it before has started another one than own remembers.
            os.kill(cluster.load(self.name).daemons["slurmctld"].pid, signal.SIGKILL)
            super().heal()

        def has_request(self) -> bool:
            """Whether bytes wait in a connection to slurmctld (proc(5), /proc/net/tcp)."""
            rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            ports = [row[4].split(":")[1] for row in rows if row[1].endswith(f":{self.port:04X}")]
            return any(int(waiting, 16) for waiting in ports)

    run = Lost(own, heal="soon")
    with pytest.raises(NotFound, match="it has no such job: nothing was submitted"):
        submit(tmp_path, run, [])
    assert run.submissions == 1
    assert records(tmp_path) == []
    assert not (tmp_path / "runs").exists()


def test_before_anything_is_sent_a_missing_slurmctld_is_waited_for_and_then_told(
    own: Sandbox, env: Mapping[str, str], tmp_path: Path
) -> None:
    faults.fail(own.spec.name, parts=["ctld"])
    said: list[str] = []
    try:
        with pytest.raises(NotFound, match=r"Slurm does not answer: .* Nothing was submitted\. .*sandbox up"):
            submit(tmp_path, process.run, said, retry_s=5)
    finally:
        faults.heal(own.spec.name, lambda text: None)
    assert "asking again for" in said[0]
    assert not (tmp_path / "runs").exists()
