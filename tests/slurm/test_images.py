"""Images for real: Apptainer pulls from a registry on loopback, builds, runs and looks into them.

As the superuser of the root folder that has Apptainer, and as the sandbox's two ordinary users.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import hpctools as package
from hpctools.cli import main
from hpctools.errors import HpctoolsError
from hpctools.images import build, check, environment, listing, pull, resolve, store
from tests.images.registry import Registry, serving

pytestmark = pytest.mark.skipif(
    shutil.which("apptainer") is None, reason="Apptainer is not installed here (the root of 26.05 has it)"
)
DEFINITION = Path(__file__).parent.parent / "images" / "python.def"
TINY = """\
Bootstrap: scratch

%setup
    mkdir -p "$APPTAINER_ROOTFS/etc"
    echo {text} >"$APPTAINER_ROOTFS/etc/text"
"""
GROUP = 64799
PULL = """
import sys
from pathlib import Path
from hpctools import images
say = lambda text: print(text, file=sys.stderr, flush=True)
print(images.pull(sys.argv[1], Path(sys.argv[2]), say=say).path)
"""


@dataclass(frozen=True)
class Person:
    """A user of the sandbox, with hpctools in a folder that all may read."""

    name: str
    home: Path
    lib: Path
    python: str

    def start(self, *words: str, group: int | None = None) -> subprocess.Popen[str]:
        groups = "--clear-groups" if group is None else f"--groups={group}"
        become = ["setpriv", f"--reuid={self.name}", f"--regid={self.name}", groups]
        env = {
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home),
            "TMPDIR": str(self.home),  # what a killed Apptainer leaves goes with it
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self.lib),
            "LANG": "C.UTF-8",
            "APPTAINER_NOHTTPS": "1",
        }
        return subprocess.Popen(
            [*become, *words],
            env=env,
            cwd="/",
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(words, process.returncode, out, err)


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """A folder that all users may reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def people(shared: Path) -> Sequence[Person]:
    """ada and lin; hpctools is copied, since root's checkout may not be readable for others."""
    if os.geteuid() != 0:
        pytest.skip("only root becomes ada and lin")
    lib, here = shared / "lib" / "hpctools", Path(package.__file__).parent
    shutil.copytree(here / "images", lib / "images")
    for name in ("__init__.py", "errors.py", "files.py", "process.py"):
        shutil.copy(here / name, lib / name)
    for path in (lib.parent, lib):
        path.chmod(0o755)
    found = []
    for name in ("ada", "lin"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            pytest.skip("no sandbox, no ada")
        home = shared / name
        home.mkdir()
        os.chown(home, user.pw_uid, user.pw_gid)
        found.append(Person(name, home, lib.parent, os.path.realpath(sys.executable)))
    if found[0].run(found[0].python, "-c", "import hpctools.images").returncode:
        pytest.skip("no Python here that an ordinary user may run")
    return found


@pytest.fixture(scope="module")
def image(shared: Path) -> Path:
    """An image with a python3; uncompressed, so that it is unpacked at once where FUSE is missing."""
    path = shared / "python.sif"
    words = ["apptainer", "build", "--mksquashfs-args", "-noI -noD -noF", str(path), str(DEFINITION)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    path.chmod(0o644)
    return path


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setenv("APPTAINER_NOHTTPS", "1")
    with serving() as found:
        yield found


@pytest.fixture
def cache(tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return Path(tempfile.mkdtemp(dir=shared, prefix="cache-"))


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[[str], bytes]:
    """The bytes of an image with a text."""

    def make(text: str) -> bytes:
        definition = tmp_path / f"{text}.def"
        definition.write_text(TINY.format(text=text))
        return build(definition, tmp_path / f"{text}.sif", force=True).read_bytes()

    return make


def files_of(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if not path.name.startswith(".lock"))


def test_an_image_is_fetched_once_and_recorded(
    registry: Registry, cache: Path, tiny: Callable[[str], bytes]
) -> None:
    data = tiny("one")
    reference = registry.add_sif("team/x", "1", data)
    said: list[str] = []
    first = pull(reference, cache, name="mine", say=said.append)
    assert first.path.read_bytes() == data
    asked = len(registry.asked)
    assert pull(reference, cache, say=said.append) == first
    assert len(registry.asked) == asked
    assert "there already" in said[-1]
    assert (
        resolve("mine", None, cache).sha256 == resolve(reference, None, cache).sha256 == first.record.sha256
    )
    assert (first.record.user, first.record.tool.split()[0]) == (store.user_name(os.geteuid()), "apptainer")
    # The tag moves.
    moved = tiny("two")
    registry.add_sif("team/x", "1", moved)
    assert pull(reference, cache) == first
    second = pull(reference, cache, force=True, say=said.append)
    assert second.path.read_bytes() == moved
    assert first.path.read_bytes() == data
    assert resolve(reference, None, cache).path == second.path


def test_an_image_of_docker_becomes_one_of_apptainer(registry: Registry, cache: Path) -> None:
    reference = registry.add_docker("team/d", "1", {"etc/text": b"of a layer"}, ["NCCL_DEBUG=INFO"])
    entry = pull(reference, cache)
    inspected = subprocess.run(
        ["apptainer", "inspect", "--environment", str(entry.path)], capture_output=True, text=True, check=True
    )
    assert "NCCL_DEBUG" in inspected.stdout
    assert listing({"site": reference}, cache)[0].sha256 == entry.record.sha256


def test_what_a_registry_refuses_is_told(registry: Registry, cache: Path) -> None:
    for reference in (f"docker://{registry.address}/team/none:1", f"oras://{registry.address}/team/none:1"):
        with pytest.raises(HpctoolsError, match="has no such image or tag"):
            pull(reference, cache)
    closed = "docker://127.0.0.1:1/team/x:1"  # no service of anybody's
    with pytest.raises(HpctoolsError, match="is not reached from this host"):
        pull(closed, cache)
    assert files_of(cache) == []


def test_a_disk_without_room_is_told(registry: Registry, shared: Path, tiny: Callable[[str], bytes]) -> None:
    small = shared / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)]).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        reference = registry.add_sif("team/x", "1", tiny("one") + bytes(1 << 20))
        with pytest.raises(HpctoolsError, match="no room in"):
            pull(reference, small)
        assert files_of(small) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_pull_that_is_killed_leaves_no_image(
    registry: Registry, cache: Path, tiny: Callable[[str], bytes], people: Sequence[Person]
) -> None:
    ada = people[0]
    os.chown(cache, pwd.getpwnam("ada").pw_uid, -1)
    reference = registry.add_sif("team/x", "1", tiny("one"), slow=True)
    killed = ada.start(ada.python, "-c", PULL, reference, str(cache))
    assert registry.begun.wait(120)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    (left,) = files_of(cache)
    assert left.startswith(store.PART)
    assert store.entries(cache) == []
    registry.go.set()
    done = ada.run(ada.python, "-c", PULL, reference, str(cache))
    assert done.returncode == 0, done.stderr
    assert files_of(cache) == [Path(done.stdout.strip()).parent.name]


def test_a_team_fetches_an_image_once(
    registry: Registry, cache: Path, tiny: Callable[[str], bytes], people: Sequence[Person]
) -> None:
    os.chown(cache, 0, GROUP)
    cache.chmod(0o2775)
    reference = registry.add_sif("team/x", "1", tiny("one"), slow=True)
    ada, lin = people
    first = ada.start(ada.python, "-c", PULL, reference, str(cache), group=GROUP)
    assert registry.begun.wait(120)
    second = lin.start(lin.python, "-c", PULL, reference, str(cache), group=GROUP)
    assert second.stderr is not None
    assert "waiting" in second.stderr.readline()
    registry.go.set()
    paths = []
    for process in (first, second):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        paths.append(Path(out.strip()))
    assert paths[0] == paths[1]
    assert [path for path in registry.asked if path in registry.slow] == [*registry.slow]
    assert files_of(cache) == [paths[0].parent.name]


def test_in_a_folder_for_all_each_has_an_image_of_his_own(
    registry: Registry, cache: Path, tiny: Callable[[str], bytes], people: Sequence[Person]
) -> None:
    cache.chmod(0o1777)
    reference = registry.add_sif("team/x", "1", tiny("one"), slow=True)
    started = [one.start(one.python, "-c", PULL, reference, str(cache)) for one in people]
    deadline = time.monotonic() + 120
    while sum(path in registry.slow for path in registry.asked) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    registry.go.set()
    owners = {}
    for one, process in zip(people, started, strict=True):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        path = Path(out.strip())
        owners[path] = (path.owner(), one.name)
    assert sorted(owners.values()) == [("ada", "ada"), ("lin", "lin")]


@pytest.mark.parametrize("user", ["root", "ada"])
def test_an_image_is_looked_into_by_whom_will_run_it(
    image: Path, tmp_path: Path, user: str, people: Sequence[Person]
) -> None:
    code = (
        f"import json; from hpctools import images; image = images.resolve({str(image)!r});"
        "lacks = images.check(image, 'infiniband', gpus=False);"
        "print(json.dumps([images.environment(image)['NCCL_IB_DISABLE'], [one.what for one in lacks]]))"
    )
    if user == "root":
        env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    else:
        done = people[0].run(people[0].python, "-c", code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["1", ["libibverbs.so.1"]]


def test_what_the_site_binds_counts_if_the_loader_finds_it(image: Path, cache: Path, shared: Path) -> None:
    """The libraries are real ones under other names: the loader does not mind."""
    real = next(path for path in Path("/usr/lib").glob("*-linux-gnu/libffi.so.*") if path.is_file())
    folder = shared / "rdma"
    (folder / "lib" / "libibverbs").mkdir(parents=True)
    shutil.copy(real, folder / "lib" / "libibverbs.so.1")
    shutil.copy(real, folder / "lib" / "libibverbs" / "libmlx5-rdmav34.so")
    found = resolve(str(image))
    (elsewhere,) = check(found, "infiniband", gpus=False, binds=[f"{folder}:/opt/rdma"])
    assert elsewhere.hint == "LD_LIBRARY_PATH=/opt/rdma/lib"
    binds = [
        f"{folder}/lib/libibverbs.so.1:/usr/lib/libibverbs.so.1:ro",
        f"{folder}/lib/libibverbs:/usr/lib/libibverbs",
    ]
    assert check(found, "infiniband", gpus=False, binds=binds) == ()
    assert check(found, "infiniband", gpus=False, binds=binds[:1])[0].what == "libibverbs/libmlx5-rdmav*.so"
    absent = check(found, "infiniband", gpus=False, binds=["/nowhere/rdma:/opt/rdma"])
    assert absent[-1].what == "/nowhere/rdma"


def test_an_image_without_python_runs_no_job(
    tmp_path: Path, cache: Path, tiny: Callable[[str], bytes]
) -> None:
    tiny("one")
    (found,) = check(resolve(str(tmp_path / "one.sif")), "", gpus=False)
    assert (found.what, found.severity) == ("python3", "fatal")


def test_an_image_is_looked_into_once(image: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = resolve(str(image))
    before = environment(found)
    monkeypatch.setenv("PATH", "/nowhere")
    assert environment(found) == before
    (note,) = check(found, "", gpus=False, binds=["/tmp"])
    assert (note.severity, "not looked into" in note.message) == ("note", True)


def test_lint_env_tells_what_an_image_sets(
    image: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(f"fabric: infiniband\ncontainers:\n  images: {{small: {image}}}\n")
    assert main(["lint-env", "--image", "small", "--site", str(site), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["variable"], found["rule"]) == ("NCCL_IB_DISABLE", "ib-disabled")
    assert found["origin"] == "the image small"


def test_a_build_by_an_ordinary_user_goes_to_the_cache_or_a_file(
    cache: Path, tmp_path: Path, people: Sequence[Person], shared: Path
) -> None:
    ada = people[0]
    definition = ada.home / "tiny.def"
    definition.write_text(TINY.format(text="built"))
    code = (
        "import sys; from pathlib import Path; from hpctools import images; d, o = map(Path, sys.argv[1:]);"
        "print(images.build(d, o)); print(images.build(d, name='own'))"
    )
    done = ada.run(ada.python, "-c", code, str(definition), str(ada.home / "out.sif"))
    assert done.returncode == 0, done.stderr
    out, cached = map(Path, done.stdout.split())
    assert out == ada.home / "out.sif"
    assert cached.owner() == "ada"
    assert json.loads((cached.parent / "record.json").read_text())["name"] == "own"
    again = ada.run(ada.python, "-c", code, str(definition), str(out))
    assert "--force" in again.stderr


def test_a_build_that_fails_or_is_killed_leaves_nothing(
    cache: Path, tmp_path: Path, people: Sequence[Person]
) -> None:
    ada = people[0]
    definition, mark = ada.home / "stuck.def", ada.home / "begun"
    os.mkfifo(mark)
    os.chown(mark, pwd.getpwnam("ada").pw_uid, -1)
    definition.write_text(f"Bootstrap: scratch\n\n%setup\n    echo begun >{mark}\n    exec sleep 600\n")
    code = (
        "import sys; from pathlib import Path; from hpctools import images;"
        "images.build(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    out = ada.home / "stuck.sif"
    killed = ada.start(ada.python, "-c", code, str(definition), str(out))
    with mark.open() as file:
        assert file.read() == "begun\n"
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not out.exists()
    definition.write_text("Bootstrap: scratch\n\n%setup\n    echo no such luck >&2\n    exit 3\n")
    failed = ada.run(ada.python, "-c", code, str(definition), str(out))
    assert "could not be built" in failed.stderr
    assert [path.name for path in ada.home.iterdir() if path.name.startswith(store.PART)] == []
    assert not out.exists()
