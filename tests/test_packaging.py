"""However hpctools is installed, all of it is there.

Nothing is fetched: the virtual environments get their libraries from the one that runs the tests,
and only those that setup.cfg declares.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Where hpctools/data/NAME points to.
DATA = {
    "job_templates": "job_templates",
    "rules": "docs/rules",
    "site_configs": "site_configs",
    "slurm_conf": "slurm_conf",
}
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", "runs", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"
)
# Prints each data file that the installed package finds, and the version.
LOOK = """
import hpctools, importlib.resources
def walk(folder, path):
    for each in folder.iterdir():
        if each.is_dir(): walk(each, path + each.name + "/")
        else: print(path + each.name)
print(hpctools.__file__, hpctools.__version__)
walk(importlib.resources.files("hpctools") / "data", "")
"""

pytestmark = pytest.mark.packaging


def run(*words: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def files(top: Path) -> set[str]:
    """Every file below top that belongs to the project, relative to top."""
    found = (path for path in top.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(top)) for path in found}


def data_files(checkout: Path) -> dict[str, str]:
    """What hpctools/data holds, and where each of it lies in the checkout."""
    return {
        f"{name}/{file}": f"{folder}/{file}"
        for name, folder in DATA.items()
        for file in files(checkout / folder)
    }


def code_files(checkout: Path) -> set[str]:
    """Everything in hpctools/ that is no link: modules and the files that lie between them."""
    return {f"hpctools/{file}" for file in files(checkout / "hpctools") if not file.startswith("data/")}


def requirements(name: str) -> Iterator[Distribution]:
    """A distribution that is installed here and all that it requires."""
    found = distribution(name)
    yield found
    for line in found.requires or ():
        if ";" not in line:
            yield from requirements(re.split(r"[\s<>=!~\[(]", line)[0])


def provide(name: str, site_packages: Path) -> None:
    """Copy an installed distribution and its requirements into another environment."""
    for each in requirements(name):
        for file in each.files or ():
            target = site_packages / file
            if ".." not in file.parts and file.suffix != ".pyc":
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), target)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout: building writes into it."""
    path = tmp_path_factory.mktemp("copy") / "checkout"
    shutil.copytree(ROOT, path, symlinks=True, ignore=NOT_COPIED)
    return path


@pytest.fixture(scope="module")
def built(checkout: Path) -> dict[str, Path]:
    """The sdist of the checkout, and the wheel made from that sdist."""
    backend = "import sys, setuptools.build_meta as b; print(getattr(b, 'build_' + sys.argv[1])(sys.argv[2]))"
    dist = checkout.parent / "dist"
    dist.mkdir()
    sdist = dist / run(sys.executable, "-c", backend, "sdist", dist, cwd=checkout).split()[-1]
    (dist / "unpacked").mkdir()
    run("tar", "-xf", sdist, "-C", dist / "unpacked")
    (unpacked,) = (dist / "unpacked").iterdir()
    wheel = dist / run(sys.executable, "-c", backend, "wheel", dist, cwd=unpacked).split()[-1]
    return {"sdist": sdist, "wheel": wheel}


@pytest.fixture(params=["wheel", "sdist", "editable"])
def environment(
    request: pytest.FixtureRequest, tmp_path: Path, checkout: Path, built: dict[str, Path]
) -> Path:
    """The bin folder of a new virtual environment with hpctools, installed one way or another."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    site_packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    for name in ("click", "jinja2", "PyYAML", "psutil", "setuptools"):
        provide(name, site_packages)
    what = ["--editable", checkout] if request.param == "editable" else [built[request.param]]
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, *what, cwd=tmp_path)
    run(sys.executable, "-m", "pip", "--python", python, "check", cwd=tmp_path)
    return python.parent


def test_an_installed_hpctools_finds_its_data_and_runs(
    environment: Path, checkout: Path, tmp_path: Path
) -> None:
    first, *found = run(environment / "python", "-c", LOOK, cwd=tmp_path).splitlines()
    assert str(ROOT) not in first.split()[0]
    assert {file for file in found if "__pycache__" not in file} == set(data_files(checkout))
    assert run(environment / "hpctools", "--version", cwd=tmp_path).split()[-1] == first.split()[-1]
    assert "sandbox" in run(environment / "hpctools", "--help", cwd=tmp_path)


def test_the_wheel_holds_every_file_of_the_package_and_real_data(
    checkout: Path, built: dict[str, Path]
) -> None:
    data = data_files(checkout)
    with zipfile.ZipFile(built["wheel"]) as wheel:
        inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert inside == code_files(checkout) | {f"hpctools/data/{name}" for name in data}
        for name, file in data.items():
            assert wheel.read(f"hpctools/data/{name}") == (checkout / file).read_bytes()


def test_the_sdist_holds_what_the_checkout_holds(checkout: Path, built: dict[str, Path]) -> None:
    with tarfile.open(built["sdist"]) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
        assert not [member.name for member in archive if member.issym() or member.islnk()]
    wanted = code_files(checkout) | set(data_files(checkout).values())
    for folder in ("docs", "examples", "scripts", "tests"):
        wanted |= {f"{folder}/{file}" for file in files(checkout / folder)}
    wanted |= {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml", "setup.cfg"}
    assert wanted - inside == set()


def test_data_links_lead_to_folders_of_the_checkout() -> None:
    for name, folder in DATA.items():
        link = ROOT / "hpctools" / "data" / name
        assert link.is_symlink()
        assert str(link.readlink()) == f"../../{folder}"
