"""Jobs in images: what a site and a user say of them, and the words that come of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpctools.errors import InvalidInput, ParseError
from hpctools.jobs import contained, containers, local, render, resources, run_files
from hpctools.jobs.containers import Bind
from hpctools.jobs.request import Request
from tests.hostile import PROGRAM, folder_name, texts
from tests.jobs.jobs_of import ask, recorded

GOLDEN = Path(__file__).parent / "golden"
# Takes the place of Apptainer: notes its words and environment, and runs the interpreter that was
# meant to be the image's.
APPTAINER = """\
#!{python}
import json, os, sys
words = sys.argv[1:]
at = words.index("-I")
with open(os.environ["HF_SEEN"], "w") as file:
    json.dump([words[:at], dict(os.environ)], file)
os.chdir(words[words.index("--pwd") + 1])
os.execv({python!r}, [{python!r}, *words[at:]])
"""


def image(folder: Path, name: str = "x.sif") -> Path:
    """A file that begins as a squashfs does."""
    path = folder / name
    path.write_bytes(b"hsqs" + bytes(100))
    return path


def in_image(folder: Path, site: str = "", **values: Any) -> Request:
    """A request for a job in an image of folder, at a site that says this of its containers."""
    (folder / "site.yaml").write_text(f"containers:\n{site}" if site else "")
    image(folder)
    return ask(folder, {"image": "x.sif", "site": "./site.yaml", **values})


def words(asked: Request, run: str = "/runs/x") -> list[str]:
    taken = resources.resolve(asked.spec, asked.site, recorded())
    return contained.words(asked.spec, asked.site.containers, taken.gpus, run)


def test_a_site_says_how_its_images_are_run(tmp_path: Path) -> None:
    text = """\
  runtime: singularity
  images: {torch: x.sif, ngc: docker://registry.example.org/nvidia/pytorch:25.10-py3}
  binds: [/scratch, "/opt/amazon:/opt/amazon:ro"]
  gpu: rocm
  options: [--no-privs]
  cache: /shared/images
"""
    asked = in_image(tmp_path, text, image="torch")
    assert asked.problems == ()
    assert asked.site.containers.binds == (
        Bind("/scratch", "/scratch"),
        Bind("/opt/amazon", "/opt/amazon", True),
    )
    assert asked.site.containers.cache == "/shared/images"
    assert words(asked) == [
        *("singularity", "--quiet", "exec", "--rocm", "--no-privs"),
        *("--bind", str(tmp_path), "--bind", "/runs/x", "--bind", "/scratch"),
        *("--bind", "/opt/amazon:/opt/amazon:ro", "--pwd", str(tmp_path), str(tmp_path / "x.sif"), "python3"),
    ]


def test_what_is_wrong_of_containers_is_said_with_its_line(tmp_path: Path) -> None:
    text = (
        "  runtim: pyxis\n  runtime: docker\n  gpu: [nv]\n  binds: [scratch]\n  options: {a: b}\n  cache: x\n"
    )
    path = tmp_path / "site.yaml"
    assert [str(one) for one in in_image(tmp_path, text).problems] == [
        f"{path}:2: there is no key of containers 'runtim' (did you mean runtime?)",
        f"{path}:3: containers: runtime: not one of apptainer, singularity, pyxis, none: 'docker' "
        "(apptainer, singularity, pyxis, none)",
        f"{path}:4: containers: gpu: is not what is expected (nv, rocm or none)",
        f"{path}:5: containers: binds: not a bind (/data, /data:/mnt or /data:/mnt:ro, absolute): 'scratch' "
        "([/scratch, /opt/amazon:/opt/amazon:ro])",
        f"{path}:6: containers: options: is not what is expected ([--no-privs])",
        f"{path}:7: containers: cache: not an absolute path: 'x' (/shared/images)",
    ]


def test_a_list_elsewhere_in_a_site_is_still_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("defaults:\n  nodes: [1]\n")
    (problem,) = ask(tmp_path, {"site": "./site.yaml"}).problems
    assert str(problem) == f"{tmp_path}/site.yaml:2: is a list; text is expected"


def test_set_changes_how_images_are_run(tmp_path: Path) -> None:
    changes = ["site.containers.options=--userns --no-privs", "site.containers.binds=/a, /b:/c"]
    asked = in_image(tmp_path, set=[*changes, "site.containers.gpu=none"])
    assert words(asked)[:6] == ["apptainer", "--quiet", "exec", "--no-eval", "--userns", "--no-privs"]
    assert asked.site.containers.binds == (Bind("/a", "/a"), Bind("/b", "/c"))
    (problem,) = ask(tmp_path, {"set": ["site.containers.bind=/a"]}).problems
    expected = "--set site.containers.bind: there is no key of containers 'bind' (did you mean binds?)"
    assert str(problem) == expected


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"image": "y.sif"}, r"--image y.sif: .*/y.sif: there is no such file \(did you mean x.sif\?\)|"
         r"image=: .*/y.sif: there is no such file \(did you mean x.sif\?\)"),
        ({"bind": ["data"]}, r"bind=data: not a bind \(.*\): 'data'"),
        ({"set": ["site.containers.runtime=none"]}, r"image=: this site has no containers .*"),
        ({"set": ["site.containers.runtime=pyxis"]}, r"image=: x.sif: Pyxis does not run this .*"),
        ({"image": None, "bind": ["/data"]}, r"bind=/data: says what an image is to see, .*"),
    ],
)  # fmt: skip
def test_an_image_that_cannot_be_run_is_refused(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    (problem,) = in_image(tmp_path, **values).problems
    assert re.fullmatch(said, str(problem)), problem


def test_the_interpreter_is_the_images(tmp_path: Path) -> None:
    environ = {"HOME": "/h", "VIRTUAL_ENV": sys.prefix, "HPCTOOLS_IMAGE": str(image(tmp_path))}
    asked = ask(tmp_path, environ=environ)
    assert asked.spec.argv == ("python3", "train.py")
    assert ask(tmp_path, {"python": "/opt/py"}, environ=environ).spec.argv == ("/opt/py", "train.py")


def test_a_folder_that_is_seen_anyhow_is_bound_once(tmp_path: Path) -> None:
    site = "  binds: [/scratch, /scratch/x, /scratch/y:/scratch/y:ro, /a:/b]\n"
    asked = in_image(tmp_path, site, bind=["/c:/b", "/scratch/x/=z"])
    shown = contained.binds(asked.spec, asked.site.containers, str(tmp_path / "runs/r"))
    assert shown == (
        Bind(str(tmp_path), str(tmp_path)),
        Bind("/scratch", "/scratch"),
        Bind("/scratch/y", "/scratch/y", True),
        Bind("/c", "/b"),
    )


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20), st.booleans())
def test_no_path_is_taken_for_more_than_a_path(text: str, read_only: bool) -> None:
    """As Apptainer reads them: --bind parts at commas and colons, --mount is a line of CSV."""
    import csv

    path = f"/{text}"
    option, value = contained.mount(Bind(path, path, read_only))
    if option == "--bind":
        assert value in (path, f"{path}:{path}:ro")
        assert not set(text) & set(',:"\\\n')
    else:
        (fields,) = csv.reader([value], strict=True) if "\n" not in value and "\r" not in value else (None,)
        expected = ["type=bind", f"source={path}", f"destination={path}", *["ro"] * read_only]
        assert fields in (None, expected)


@pytest.mark.parametrize(
    ("given_", "meant"),
    [
        ("docker://ubuntu:22.04", "ubuntu:22.04"),
        ("docker://library/ubuntu", "library/ubuntu"),
        (
            "docker://registry.example.org/nvidia/pytorch:25.10-py3",
            "registry.example.org#nvidia/pytorch:25.10-py3",
        ),
        ("docker://localhost:5000/a/b@sha256:12", "localhost:5000#a/b@sha256:12"),
    ],
)
def test_enroot_parts_the_host_by_a_hash(given_: str, meant: str) -> None:
    assert contained.enroot(given_) == meant


@pytest.mark.parametrize("text", ["", "data", "/a:b", "/a:/b:/c", "/a:/b:rx", "/a:/b:ro:x"])
def test_what_is_no_bind(text: str) -> None:
    with pytest.raises(ParseError):
        containers.bind(text)


def script(asked: Request, run: str = "/runs/x") -> str:
    taken = resources.resolve(asked.spec, asked.site, recorded())
    return render.render(asked.spec, taken, asked.site, run)[0]


@pytest.mark.parametrize("runtime", ["apptainer", "singularity", "pyxis"])
def test_a_script_reads_as_it_did(tmp_path: Path, runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden files of what begins with the choice of Python; Pyxis has not run here."""
    site = (
        f"  runtime: {runtime}\n  images: {{ngc: docker://registry.example.org/nvidia/pytorch:25.10-py3}}\n"
    )
    site += '  binds: [/scratch, "/opt/amazon:/opt/amazon:ro"]\n'
    monkeypatch.setattr(sys, "executable", "/opt/hpctools/bin/python")
    values = {"image": "ngc"} if runtime == "pyxis" else {}
    asked = in_image(tmp_path, site, nodes=2, env={"A": "b c"}, gpus_per_node=8, preflight=True, **values)
    assert asked.problems == ()
    text = script(asked).replace(str(tmp_path), "/home/ada")
    text = re.sub("sha256 [0-9a-f]{64}", "sha256 DIGEST", text[text.index("# Outside of the image") :])
    assert text == (GOLDEN / f"{runtime}.txt").read_text()


def test_a_preflight_outside_of_the_image_does_not_look_for_its_programs(tmp_path: Path) -> None:
    """/opt/conda/bin/python of an image is on no node, and each would be called bad."""
    asked = in_image(tmp_path, "  runtime: pyxis\n", image="docker://ubuntu", preflight=True)
    assert " --outside\n" in script(asked)
    assert "--outside" not in script(in_image(tmp_path, preflight=True))


def test_pyxis_is_not_given_a_path_that_it_would_tear(tmp_path: Path) -> None:
    folder = tmp_path / "a,b"
    folder.mkdir()
    asked = in_image(folder, "  runtime: pyxis\n", image="docker://ubuntu")
    (problem,) = contained.problems(asked.spec, asked.site.containers, f"{folder}/runs/x")
    assert "Pyxis cannot mount" in problem.message


@pytest.mark.parametrize("runtime", ["apptainer", "pyxis"])
def test_mpirun_is_not_given_srun_s_options_of_pyxis(tmp_path: Path, runtime: str) -> None:
    reference = "docker://registry.example.org/x:1" if runtime == "pyxis" else "x.sif"
    asked = in_image(
        tmp_path, f"  runtime: {runtime}\n", image=reference, launcher="mpirun", set="mpi=mpirun"
    )
    text = script(asked, str(tmp_path))
    lines = text[text.index("# The ranks run in") : text.index("# A shell that dies")]
    lines += text[text.index("_mpi=") : text.index("if [[ $_mpi != mpirun ]]")]
    before = "_run=/runs/x; _python=python3; scontrol() { :; }; mpirun() { :; }; type() { :; }\n"
    before += "_end() { exit; }\n"
    done = subprocess.run(["bash", "-u", "-c", f"{before}{lines}\necho on"], capture_output=True, text=True)
    refused = "Pyxis gives images to srun, not to mpirun" in done.stderr
    assert (done.stdout, refused) == (("", True) if runtime == "pyxis" else ("on\n", False)), done.stderr


def test_a_job_without_an_image_is_told_nothing_of_containers(tmp_path: Path) -> None:
    text = script(ask(tmp_path))
    assert "_container" not in text
    assert '"$_python" -I -S "$_run/launch.py" node' in text


# --- through the real bash, with an Apptainer that only notes what it is told ---------------------

COUNT = 15
EVERY = texts(5, 8 * COUNT)
# What the name of no image may hold.
_UNPRINTED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u202e\udc80]")
SRUN = '#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nexec "$@"\n'


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for PATH with an srun, scontrol and apptainer that are none."""
    folder = tmp_path / "bin"
    folder.mkdir()
    made = {"srun": SRUN, "apptainer": APPTAINER.format(python=sys.executable)}
    made["scontrol"] = "#!/bin/bash\necho 'ProctrackType           = proctrack/cgroup'\n"
    for name, text in made.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def run(job: str, folder: Path, programs: Path, **environ: str) -> subprocess.CompletedProcess[bytes]:
    text = Path(job, run_files.SCRIPT).read_bytes()
    env = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": "/", "SLURM_JOB_ID": "1"}
    env |= {"SLURM_JOB_NUM_NODES": "1", "SLURMD_NODENAME": "n7", **environ}
    return subprocess.run(["bash"], input=text, env=env, cwd=folder, capture_output=True, check=False)


def test_hostile_images_binds_and_variables_arrive_and_none_is_executed(
    tmp_path: Path, programs: Path
) -> None:
    for number in range(COUNT):
        target, first, second, data, *args = EVERY[8 * number : 8 * number + 8]
        folder = tmp_path / "jobs" / str(number)
        folder.mkdir(parents=True)
        name = f"{folder_name(target)}.py"
        (folder / name).write_text(PROGRAM)
        sif = image(folder, f"{_UNPRINTED.sub('', folder_name(first))}.sif")
        source = folder / folder_name(data).replace(":", "")
        source.mkdir(exist_ok=True)
        variables = {"A": first, "b_1": second}
        values = {"launcher": "none", "name": "x", "env": variables, "image": f"./{sif.name}"}
        asked = ask(folder, {**values, "bind": [str(source)]}, *args, target=name)
        assert asked.problems == ()
        taken = resources.resolve(asked.spec, asked.site, recorded())
        job = run_files.make(asked, taken, lambda text: None)
        host = {"PYTHONPATH": "/host", "CONDA_PREFIX": "/c"}
        done = run(job, folder, programs, HF_SEEN=str(folder / "words.json"), **host)
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert json.loads(Path(job, "seen.json").read_text()) == [args, variables, str(folder)]
        told, environ = json.loads((folder / "words.json").read_text())
        expected = contained.words(asked.spec, asked.site.containers, taken.gpus, job)
        assert ["apptainer", *told] == expected
        assert {name: environ[f"APPTAINERENV_{name}"] for name in variables} == variables
        assert "CONDA_PREFIX" not in environ
        assert "PYTHONPATH" not in environ
        assert environ["APPTAINER_NO_EVAL"] == environ["PYTHONNOUSERSITE"] == "1"
    assert not list(tmp_path.rglob("executed"))


def test_a_node_without_the_image_is_named(tmp_path: Path, programs: Path) -> None:
    asked = in_image(tmp_path, launcher="none")
    taken = resources.resolve(asked.spec, asked.site, recorded())
    job = run_files.make(asked, taken, lambda text: None)
    (tmp_path / "x.sif").unlink()
    done = run(job, tmp_path, programs)
    said = f"the image {tmp_path}/x.sif cannot be read: No such file or directory"
    assert f"hpctools: n7: {said}\n" in done.stderr.decode()
    assert f"hpctools: the container on n7 (hostname {os.uname().nodename}) failed first: status 126" in (
        done.stdout.decode()
    )
    assert done.returncode == 126
    (programs / "apptainer").unlink()
    done = run(job, tmp_path, programs, SLURM_RESTART_COUNT="1")
    assert "hpctools: n7: there is no apptainer in PATH; a site's" in done.stderr.decode()
    assert done.returncode == 127


def test_a_job_in_an_image_runs_here_too(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.py").write_text(PROGRAM)
    asked = ask(tmp_path, {"image": str(image(tmp_path)), "launcher": "none"}, "a b", target="p.py")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    record, status = local.run(asked, environ={**os.environ, "HF_SEEN": str(tmp_path / "words.json")})
    assert status == 0
    assert json.loads(Path(record.run, "seen.json").read_text())[0] == ["a b"]
    assert record.image is not None
    assert record.image["runtime"] == "apptainer"
    with pytest.raises(InvalidInput, match="Pyxis needs Slurm"):
        local.run(in_image(tmp_path, "  runtime: pyxis\n", image="docker://ubuntu"))
