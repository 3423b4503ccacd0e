"""What all tests share: one real Slurm cluster a test run, and what marks the tests that need it.

`pytest --slurm 26.05` runs the tests that need Slurm on that release: the cluster is started from
here, and pytest runs in the root folder of that release, on its Python.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from hpctools import process
from hpctools.errors import HpctoolsError
from hpctools.sandbox import cluster, programs, releases, roots
from hpctools.sandbox.daemons import Sandbox
from hpctools.sandbox.spec import Spec

# Examples may take as long as a busy machine needs, and are the same in every run.
# --hypothesis-profile=default looks for new ones.
settings.register_profile(
    "same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")

HERE = Path(__file__).parent
# The cluster of a test run in a root: the name of a sandbox that was started outside of it.
GIVEN = "HPCTOOLS_TEST_SANDBOX"
KEPT = ("HPCTOOLS_CORPUS", GIVEN, roots.INSIDE)
# KillWait: how long a cancelled job may take to end; the default of 30 s is for real ones.
# MinJobAge: how long ended jobs are known; many jobs take longer than the default of 5 minutes.
CONF = ("KillWait=15", "MinJobAge=3600")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slurm", metavar="R", help="run the tests that need Slurm on this release")
    how = "how their cluster tracks processes: linuxproc or cgroup"
    parser.addoption("--proctrack", metavar="HOW", default="linuxproc", help=how)


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """With --slurm of a release that is not the native one, run pytest in its root."""
    release = config.getoption("--slurm")
    rows = [row for row in releases.known() if row["release"] == release]
    if release is None or (rows and rows[0]["suite"] is None):
        return None

    def say(text: str) -> None:
        print(f"Slurm {release}: {text}", file=sys.stderr)

    try:
        root = roots.install(release, say)
        roots.pip(root, roots.requirements("test"))
    except HpctoolsError as error:
        print(f"left out: all tests on Slurm {release}: {error}", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    try:
        proctrack = config.getoption("--proctrack")
        return in_root(release, root, proctrack, list(config.invocation_params.args), say)
    except HpctoolsError as error:
        say(f"no cluster to test on: {error}")
        return 1


def in_root(
    release: str, root: roots.Root, proctrack: str, arguments: list[str], say: Callable[[str], None]
) -> int:
    """pytest with arguments on a cluster of release, in its root; returns its exit status."""
    name = f"t{secrets.token_hex(4)}"
    at = next(index for index, word in enumerate(arguments) if word.startswith("--slurm"))
    own = arguments[:at] + arguments[at + (1 if "=" in arguments[at] else 2) :]
    marked = (
        []
        if any(word.startswith("-m") for word in own)
        else ["-m", "needs_slurm and not native and not slow"]
    )
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state
        cluster.up(Spec(name=name, slurm=release, proctrack=proctrack, conf=CONF), say)
        try:
            env = cluster.load(name).command_env(os.environ)
            env |= {GIVEN: name, "HPCTOOLS_PYTHON": os.environ.get("HPCTOOLS_PYTHON") or sys.executable}
            words = [f"{root.venv}/bin/python", "-m", "pytest", "-p", "no:cacheprovider", *marked, *own]
            return process.foreground(cluster.load(name).view().words(words), env=env)
        finally:
            cluster.down(name, purge=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything under tests/slurm needs Slurm, and comes last: what is quick fails first."""
    for item in items:
        if item.path.is_relative_to(HERE / "slurm"):
            item.add_marker(pytest.mark.needs_slurm)
    items.sort(key=lambda item: item.path.is_relative_to(HERE / "slurm"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tests that were left out for want of something are named, with what is wanted."""
    reasons = {report.longrepr[2] for report in terminalreporter.stats.get("skipped", []) if report.longrepr}
    for reason in sorted(reasons):
        terminalreporter.write_line(f"left out: {reason.removeprefix('Skipped: ')}", yellow=True)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of other sites' real files, or the test is skipped."""
    folder = os.environ.get("HPCTOOLS_CORPUS")
    if not folder:
        pytest.skip("HPCTOOLS_CORPUS does not name a folder with other sites' files")
    return Path(folder)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own settings, records and clusters."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))
    for name in [name for name in os.environ if name.startswith(("HPCTOOLS_", "SLURM_", "SBATCH_"))]:
        if name not in KEPT:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Records and sandboxes of the tests live in a folder of their own."""
    kept = os.environ.get("XDG_STATE_HOME")
    folder = tmp_path_factory.getbasetemp() / "state"
    if GIVEN in os.environ and kept:
        folder = Path(kept)
    os.environ["XDG_STATE_HOME"] = str(folder)
    yield folder
    if kept is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = kept


@pytest.fixture(scope="session")
def slurm_programs() -> None:
    """Slurm, munge and MariaDB are installed; else the test is left out, in CI it fails."""
    absent = [] if GIVEN in os.environ else programs.missing(programs.needed(accounting=True))
    if absent:
        reason = f"Slurm is not installed here ({', '.join(absent)}): {' '.join(programs.install_command())}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="session")
def sandbox(pytestconfig: pytest.Config, slurm_programs: None, state_home: Path) -> Iterator[Sandbox]:
    """The cluster that all tests share: 4 nodes of 8 GPUs, with accounting."""
    if GIVEN in os.environ:
        yield cluster.load(os.environ[GIVEN])
        return
    name = f"t{secrets.token_hex(4)}"
    cluster.up(Spec(name=name, proctrack=pytestconfig.getoption("--proctrack"), conf=CONF), lambda text: None)
    try:
        yield cluster.load(name)
    finally:
        cluster.down(name, purge=True)


@pytest.fixture
def slurm_env(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """The environment of a user of the shared cluster; this process has it, too."""
    env = sandbox.command_env(os.environ)
    for name, value in env.items():
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)
    return env
