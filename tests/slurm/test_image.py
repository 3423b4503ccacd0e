"""Jobs in an image, under the real Apptainer, as an ordinary user: environment, binds, statuses, signals."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import hpctools
from hpctools import files
from hpctools.sandbox import places, roots
from hpctools.sandbox.daemons import Sandbox
from tests.slurm.preempted import field, losses, result, slurm, start_now, until
from tests.slurm.test_training import EXAMPLE, torch_python

__all__ = ["torch_python"]  # a fixture
USER = "ada"
STEPS = 30
PACKAGE = Path(hpctools.__file__).parent
# Debian's suite whose Python is that of the quick build of torch.
DEFINITION = """\
Bootstrap: debootstrap
OSVersion: bookworm
MirrorURL: {mirror}
Include: python3

%environment
    export FROM_IMAGE=image BOTH=image
"""
# Leaves what it sees in the run folder; as rank 1 it ends as it is told to.
PROBE = """
import json, os, signal, sys
def read_only(path):
    try:
        open(os.path.join(path, "new"), "w").close()
    except OSError:
        return True
    return False
name = os.path.join(os.environ["HPCTOOLS_RUN"], "seen-" + os.environ["SLURM_PROCID"])
seen = {"argv": sys.argv[1:], "cwd": os.getcwd(), "uid": os.getuid(), "env": dict(os.environ)}
seen["data"] = [open("/data/file").read(), read_only("/data")]
seen["version"] = sys.version_info[:2]
with open(name, "w") as file:
    json.dump(seen, file)
if os.environ["SLURM_PROCID"] == "1":
    if sys.argv[1] == "7":
        sys.exit(7)
    os.kill(os.getpid(), signal.SIGKILL)
import time
time.sleep(300)
"""
HOSTILE = "$(touch executed)`touch executed`\n'\"\\ é;#"
Submit = Callable[..., hpctools.Job]


@pytest.fixture(scope="module")
def apptainer() -> None:
    if shutil.which("apptainer") is None:
        pytest.skip("there is no Apptainer here; the root of Slurm 26.05 has it: --slurm 26.05")


def as_user(words: list[str], folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run words as an ordinary user of the sandbox, in folder."""
    who = pwd.getpwnam(USER)
    env = {**os.environ, "HOME": who.pw_dir, "USER": USER, "LOGNAME": USER, **environ}
    become = ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--init-groups", "--"]
    return subprocess.run([*become, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def desk(sandbox: Sandbox, apptainer: None) -> Iterator[Path]:
    """A folder of an ordinary user's, with an hpctools that he may read and run."""
    if os.geteuid() or not sandbox.private_users:
        pytest.skip("becoming another user needs root")
    folder = places.shared_home() / f"desk-{secrets.token_hex(4)}"
    folder.mkdir()
    shutil.copytree(PACKAGE, folder / "lib" / "hpctools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("click", "jinja2", "markupsafe", "yaml"):
        shutil.copytree(Path(str(import_module(name).__file__)).parent, folder / "lib" / name)
    shutil.chown(folder, USER, USER)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def image(desk: Path) -> Path:
    """A small image with Python; built once on a machine, which takes a minute."""
    # debootstrap within Apptainer has no default of its own: where this Debian is from, that one is, too.
    mirror = re.findall(r"^deb (?:\[.*?\] )?(\S+)", Path("/etc/apt/sources.list").read_text(), re.MULTILINE)
    text = DEFINITION.format(mirror=mirror[0])
    kept = roots.home() / "images" / f"small-{hashlib.sha256(text.encode()).hexdigest()[:12]}.sif"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with files.locked(kept.with_suffix(".lock")):
        if not kept.exists():
            definition, made = kept.with_suffix(".def"), kept.with_suffix(".new")
            definition.write_text(text)
            words = ["apptainer", "build", "--force", str(made), str(definition)]
            done = subprocess.run(words, capture_output=True, text=True, timeout=900)
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr
            made.rename(kept)
    shutil.copy(kept, desk / "image.sif")  # the folder above may be another user's own
    (desk / "image.sif").chmod(0o644)
    return desk / "image.sif"


@pytest.fixture
def submit(
    desk: Path, image: Path, slurm_env: Mapping[str, str], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> Submit:
    """Submits as the ordinary user, from his folder, and returns his job."""
    monkeypatch.setenv("XDG_STATE_HOME", str(desk / "state"))  # his records of what he has submitted
    subprocess.run(
        ["sacctmgr", "-i", "add", "user", USER, "account=research", f"cluster={sandbox.spec.name}"],
        capture_output=True,
        check=False,
    )  # fails where the user is known

    def asked(*words: str) -> hpctools.Job:
        state = {"PYTHONPATH": str(desk / "lib")}
        command = ["/usr/bin/python3", "-m", "hpctools", "submit", *words[:1], "--json", "--time=5"]
        done = as_user([*command, f"--image={image}", *words[1:]], desk, **state)
        assert done.returncode == 0, done.stderr
        return hpctools.job(json.loads(done.stdout)["run"])

    return asked


def run_of(job: hpctools.Job) -> Path:
    assert job.run is not None
    return job.run


def test_the_image_sees_what_it_should_and_ends_as_its_ranks_do(
    submit: Submit, desk: Path, image: Path
) -> None:
    (desk / "data").mkdir(exist_ok=True)
    (desk / "data/file").write_text("read")
    (desk / "probe.py").write_text(PROBE)
    usual = ["--nodes=2", "--gpus-per-node=2", "--launcher=none", f"--bind={desk}/data:/data:ro"]
    given = {"HOSTILE": HOSTILE, "BOTH": "mine", "LD_LIBRARY_PATH": "/mine", "PYTHONPATH": "/x"}
    usual += [f"--env={name}={value}" for name, value in given.items()]
    left = submit("probe.py", *usual, "--", "7", HOSTILE)
    killed = submit("probe.py", *usual, "--", "kill")
    assert left.wait() == 7, left.logs()
    assert killed.wait() == 137, killed.logs()
    for rank in (0, 1):
        seen = json.loads((run_of(left) / f"seen-{rank}").read_text())
        env = seen["env"]
        assert (seen["argv"], seen["cwd"]) == (["7", HOSTILE], str(desk))
        assert seen["uid"] == pwd.getpwnam(USER).pw_uid
        assert (seen["data"], seen["version"]) == (["read", True], [3, 11])
        assert (env["HOSTILE"], env["BOTH"], env["FROM_IMAGE"]) == (HOSTILE, "mine", "image")
        assert env["LD_LIBRARY_PATH"].split(":")[0] == "/mine"
        assert env["PYTHONPATH"] == f"/x:{run_of(left)}/python"
        assert (env["SLURM_PROCID"], env["SLURMD_NODENAME"]) == (str(rank), f"n{rank + 1}")
        assert env["CUDA_VISIBLE_DEVICES"] == "0,1"
        assert env["PYTHONNOUSERSITE"] == "1"
        assert "PYTHONPYCACHEPREFIX" not in env  # of the host's Python, as the test's own environment has it
    record = json.loads((run_of(left) / "job.json").read_text())["image"]
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    assert (record["runtime"], record["path"], record["sha256"]) == ("apptainer", str(image), digest)
    failure = left.result()
    assert failure is not None
    assert failure.first_failure is not None
    assert (failure.first_failure.rank, failure.first_failure.host) == (1, "n2")
    assert not list(desk.rglob("executed"))
    until(lambda: not processes_of(left, killed), left)


def processes_of(*jobs: hpctools.Job) -> list[str]:
    """The processes of this machine that have the id of one of these jobs in their environment."""
    marks = [f"\0SLURM_JOB_ID={job.job_id}\0".encode() for job in jobs]
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            environ = b"\0" + Path("/proc", pid, "environ").read_bytes() + b"\0"
        except OSError:
            continue
        if b"SLURMD_NODENAME=" in environ and any(mark in environ for mark in marks):
            found.append(pid)
    return found


def test_a_node_that_lacks_the_image_is_named(submit: Submit, desk: Path, image: Path) -> None:
    """It goes between submission and start."""
    (desk / "gone.py").write_text("print()\n")
    copy = desk / "gone.sif"
    shutil.copy(image, copy)
    job = submit("gone.py", f"--image={copy}", "--nodes=2", "--gpus-per-node=1", "--sbatch-option=hold")
    copy.unlink()
    slurm("scontrol", "release", str(job.job_id))
    assert job.wait() == 126, job.logs()
    said = f"hpctools: n[12]: the image {copy} cannot be read: No such file or directory"
    assert re.search(said, job.logs())
    assert re.search(r"hpctools: the container on n[12] .*failed first: status 126", job.logs())


@pytest.mark.slow
def test_the_example_is_preempted_in_an_image_and_goes_on(
    submit: Submit, torch_python: str, desk: Path, slurm_env: Mapping[str, str]
) -> None:
    """Four nodes; what it learns is what it learns outside of the image."""
    asked = "import sys, torch; print(*sys.version_info[:2], torch.__file__)"
    said = subprocess.run([torch_python, "-c", asked], capture_output=True, text=True, check=True).stdout
    major, minor, found = said.strip().split(" ", 2)
    packages = str(Path(found).parents[1])
    if (major, minor) != ("3", "11") or as_user(["ls", packages], desk).returncode:
        pytest.skip(f"the image has Python 3.11 and an ordinary user; torch in {packages} is not for them")
    shutil.copy(EXAMPLE, desk / "train.py")
    usual = ["--nodes=4", "--gpus-per-node=1", f"--env=PYTHONPATH={packages}", f"--bind={packages}"]
    words = [f"--steps={STEPS}", "--log-every=1", "--save-every=1000"]
    job = submit("train.py", *usual, "--partition=scavenge", "--", *words, "--step-s=0.3", "--save-s=8")
    until(lambda: f"step 5/{STEPS}" in job.logs(), job, 240)
    options = ["--partition=urgent", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"]
    preemptor = slurm("sbatch", "--parsable", *options).strip()
    until(lambda: field(preemptor, "JobState") not in ("PENDING", "CONFIGURING"), job, 240)
    ended = result(job)
    assert (ended["state"], ended["status"], ended["next"]["verb"]) == ("checkpointed", 75, "requeue")
    marks = list((run_of(job) / "attempt-0").glob("checkpoint-*.json"))
    assert [json.loads(mark.read_text())["step"] for mark in marks] == [ended["checkpoint"]["step"]] * 4
    start_now(job)
    assert job.wait() == 0, job.logs()
    assert f"resumed after step {ended['checkpoint']['step']} from" in job.logs()
    settings: dict[str, Any] = {"nodes": 4, "gpus_per_node": 1, "time": "5", "python": torch_python}
    outside = hpctools.submit(str(EXAMPLE), *words, **settings, runs_dir=str(desk / "outside"))
    assert outside.wait() == 0, outside.logs()
    assert losses(job) == losses(outside)
    assert sorted(losses(job)) == list(range(1, STEPS + 1))
    until(lambda: not processes_of(job), job)
