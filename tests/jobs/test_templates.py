"""Templates of job scripts: found, listed, begun, and what all of them render."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from hpctools.cli.templates import templates as command
from hpctools.errors import InvalidInput
from hpctools.jobs import render, request, resources, run_files, template_example, templates
from hpctools.jobs.request import Request
from tests.jobs.jobs_of import ask, recorded

ROOT = Path(__file__).parents[2]
NAMES = [one.name for one in templates.listing(())]
JOBS = [name for name in NAMES if name != "base"]
DOCS = (ROOT / "docs" / "templates.md").read_text()

SITE = """\
setup: |
  module load cuda
fabric: {kind: infiniband, hcas: 'mlx5_0,mlx5_1', interfaces: =ib0}
"""
# Each with or without: the parts of a script that may be there or not.
CHOICES: tuple[Mapping[str, object], ...] = (
    {"site": "./site.yaml"},
    {"preflight": True},
    {"env": {"A": "it's", "b_1": "a b"}, "ranks_per_node": 2},
    {"gpus_per_node": 0, "cpus_per_task": 3, "nodes": 3},
)


def script(folder: Path, name: str, values: Mapping[str, object]) -> str:
    given = {"template": name, **({"array": "0-9"} if name == "array" else {}), **values}
    own = name in templates.PROGRAMS
    asked = bare(folder, given) if own else ask(folder, given)
    asked.check()
    taken = resources.resolve(asked.spec, asked.site, recorded())
    return render.render(asked.spec, taken, asked.site, "/runs/x")[0]


def bare(folder: Path, values: Mapping[str, object]) -> Request:
    return request.gather("", (), values, environ={"HOME": str(folder)}, cwd=str(folder))


@pytest.mark.parametrize("name", JOBS)
def test_every_script_is_one_that_bash_and_shellcheck_find_no_fault_with(tmp_path: Path, name: str) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    options = {"torchrun": "--max-restarts 0", "accelerate": "--use_fsdp", "mpirun": "--tag-output"}
    launcher = templates.find(name, ()).launcher
    paths = []
    for chosen in itertools.product((False, True), repeat=len(CHOICES)):
        values: dict[str, object] = {}
        for one in itertools.compress(CHOICES, chosen):
            values |= one
        if launcher in options and chosen[0]:
            values["set"] = {f"{launcher}.options": options[launcher]}
        path = tmp_path / f"{''.join(str(int(one)) for one in chosen)}.sh"
        path.write_text(script(tmp_path, name, values))
        subprocess.run(["bash", "-n", path], check=True)
        paths.append(path)
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed here")
    # Every second option is in a half of these: both ends and two between are enough, and quick.
    few = [paths[0], paths[5], paths[10], paths[-1]]
    done = subprocess.run(["shellcheck", *few], capture_output=True, text=True)
    assert done.stdout == ""


@pytest.mark.parametrize("name", JOBS)
def test_a_script_has_no_stray_empty_lines_and_no_jinja(tmp_path: Path, name: str) -> None:
    text = script(tmp_path, name, {"nodes": 2})
    assert "\n\n\n" not in text
    assert not re.search(r"\{[{%#]|[%#]\}| \n", text)


def test_the_launcher_is_that_of_the_template_which_was_named(tmp_path: Path) -> None:
    (tmp_path / "mine.j2").write_text('{% extends "hpctools/plain.sbatch.j2" %}')
    (tmp_path / "other.j2").write_text('{% extends "mine.j2" %}')
    (tmp_path / "own.j2").write_text("{#- Ours. like: mpirun -#}\n#!/bin/bash\n{{ directives }}\n")
    expected = {"mine.j2": "none", "other.j2": "none", "own.j2": "mpirun", "accelerate": "accelerate"}
    for template, launcher in expected.items():
        found = ask(tmp_path, {"template": template}).settings.values["launcher"]
        assert found.value == launcher
        assert found.origin.startswith("template ")
    (tmp_path / "none.j2").write_text("#!/bin/bash\n")
    assert ask(tmp_path, {"template": "none.j2"}).spec.launcher == "torchrun"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"template": "mpi"}, "template=: there is no template 'mpi' (did you mean mpirun?)"),
        ({"template": "mpirun", "launcher": "none"}, "is none, but the template mpirun is one of mpirun"),
        ({"template": "array"}, "array needs the tasks' numbers (--array 0-9)"),
        ({"template": "preflight"}, "TARGET: the template preflight runs no train.py (leave it out)"),
        ({"template": "./nope"}, "there is no file ./nope"),
    ],
)
def test_what_is_wrong_with_a_choice_is_told(tmp_path: Path, values: Mapping[str, object], said: str) -> None:
    assert [said in str(one) for one in ask(tmp_path, values).problems] == [True]


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ('{% extends "hpctools/base.sbatch.j2" %}', False),
        ('{% extends "base.sbatch.j2" %}{# {% block launch %}true{% endblock %} #}', False),
        ('{% extends "base.sbatch.j2" %}{% block launch %}\n{%- endblock %}', False),
        (templates.copied("base"), False),
        ('{% extends "base.sbatch.j2" %}{%- block launch -%}\nsrun true\n{% endblock %}', True),
        ('{% extends "hpctools/plain.sbatch.j2" %}', True),
        ("#!/bin/bash\nsrun true\n", True),
    ],
)
def test_a_job_that_would_start_no_ranks_is_refused(tmp_path: Path, text: str, runs: bool) -> None:
    (tmp_path / "mine.j2").write_text(text)
    problems = [str(one) for one in ask(tmp_path, {"template": "mine.j2"}).problems]
    assert runs == (problems == [])
    for problem in problems:
        assert problem.startswith("template=: mine.j2 starts no ranks: ")
        assert '{% extends "hpctools/torchrun.sbatch.j2" %}' in problem


def test_the_frame_itself_is_no_template_of_a_job(tmp_path: Path) -> None:
    (problem,) = ask(tmp_path, {"template": "base"}).problems
    assert "base starts no ranks" in str(problem)
    assert "_end()" in template_example.script(templates.find("base", ()), None, {"HOME": str(tmp_path)})


PLAIN = '{% extends "hpctools/plain.sbatch.j2" %}\n'


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        (PLAIN + "{% block launhc %}x{% endblock %}", ["launhc"]),
        (PLAIN + "{% if var.x is defined %}\n{% block begn %}{% endblock %}{% endif %}", ["begn"]),
        (PLAIN + "{% block setup %}{% block mine %}{% endblock %}{% endblock %}", []),
        ('{% extends "middle.j2" %}\n{% block mine %}y{% endblock %}', []),
        ('{% extends "middle.j2" %}\n{% block yours %}y{% endblock %}', ["yours"]),
        ("{% block any %}{% endblock %}\n", []),
        (templates.copied("plain"), []),
    ],
)
def test_a_block_that_nothing_above_has_is_refused(tmp_path: Path, text: str, lost: list[str]) -> None:
    inner = "{% block setup %}{% block mine %}{% endblock %}{% endblock %}\n"
    (tmp_path / "middle.j2").write_text(PLAIN + inner)
    (tmp_path / "mine.j2").write_text(text)
    try:
        script(tmp_path, "mine.j2", {})
        found = []
    except InvalidInput as error:
        found = [str(one) for one in error.problems]
    assert [re.sub(r".*no block '(\w+)'.*", r"\1", one) for one in found] == lost
    if lost == ["launhc"]:
        at = f"{tmp_path}/mine.j2:2: there is no block 'launhc' of hpctools/plain.sbatch.j2"
        assert found == [f"{at} (did you mean launch?)"]


def test_a_lost_block_in_a_template_that_takes_the_place_of_ours_is_told(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    text = '{% extends "base.sbatch.j2" %}{% block ende %}{% endblock %}'
    (tmp_path / "t/base.sbatch.j2").write_text(text)
    (tmp_path / "site.yaml").write_text("templates: t\n")
    (tmp_path / "mine.j2").write_text(PLAIN)
    with pytest.raises(InvalidInput, match=r"t/base\.sbatch\.j2:1: there is no block 'ende' of base"):
        script(tmp_path, "mine.j2", {"site": "./site.yaml"})


@pytest.mark.parametrize("values", [{"launcher": "none"}, {"template": "plain"}, {"template": "array"}])
def test_a_frame_of_the_sites_is_that_of_every_template(tmp_path: Path, values: Mapping[str, object]) -> None:
    (tmp_path / "t").mkdir()
    text = '{% extends "hpctools/base.sbatch.j2" %}{% block setup %}# the site was here\n{% endblock %}'
    (tmp_path / "t/base.sbatch.j2").write_text(text)
    (tmp_path / "site.yaml").write_text("templates: t\n")
    asked = ask(tmp_path, {"site": "./site.yaml", "array": "0-9", **values})
    taken = resources.resolve(asked.spec, asked.site, recorded())
    assert "# the site was here\n" in render.render(asked.spec, taken, asked.site, "/runs/x")[0]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("var.data", "variable data is not set (--set data=VALUE)"),
        ("var.data | upper", "variable data is not set (--set data=VALUE)"),
        ("var.a.c", "variable a.c is not set (--set a.c=VALUE)"),
        ("data", "'data' is undefined (--set NAME=VALUE sets a variable: {{ var.NAME }})"),
    ],
)
def test_a_variable_that_is_not_set_is_told_with_what_sets_it(tmp_path: Path, word: str, said: str) -> None:
    (tmp_path / "mine.j2").write_text(PLAIN + "{% block setup %}{{ " + word + " }}{% endblock %}")
    with pytest.raises(InvalidInput) as raised:
        script(tmp_path, "mine.j2", {"set": {"a.b": "1"}})
    assert str(raised.value) == f"{tmp_path}/mine.j2: {said}"


def test_without_a_target_only_some_templates_have_something_to_run(tmp_path: Path) -> None:
    assert "TARGET: is missing" in str(bare(tmp_path, {"template": "plain"}).problems[0])
    (problem,) = request.gather(
        "", ("x", "-y"), {"template": "preflight"}, environ={}, cwd=str(tmp_path)
    ).problems
    said = "ARGS: the template preflight runs nothing that could take x -y (leave them out)"
    assert str(problem) == said
    asked = bare(tmp_path, {"template": "preflight"})
    assert (asked.problems, asked.spec.name, asked.settings.value("preflight")) == ((), "preflight", True)


def test_the_program_of_a_template_lies_in_the_run_folder_and_is_what_runs(tmp_path: Path) -> None:
    asked = request.gather(
        "", ("--max", "1M"), {"template": "nccl-test", "python": "/opt/py"}, environ={}, cwd=str(tmp_path)
    )
    taken = resources.resolve(asked.spec, asked.site, recorded())
    run = run_files.make(asked, taken, lambda text: None)
    argv = json.loads(Path(run, "argv.json").read_text())
    assert argv == ["/opt/py", f"{run}/nccl_test.py", "--max", "1M"]
    assert Path(argv[1]).is_file()


def test_a_template_of_yours_comes_before_the_sites_and_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, sites = tmp_path / "config/hpctools/templates", tmp_path / "site/templates"
    for folder, names in ((mine, ["array"]), (sites, ["array", "torchrun", "fold"])):
        folder.mkdir(parents=True)
        for name in names:
            text = f'{{#- {folder.parent.name} has this. -#}}{{% extends "hpctools/plain.sbatch.j2" %}}'
            (folder / f"{name}.sbatch.j2").write_text(text)
    (tmp_path / "site/site.yaml").write_text("templates: templates\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    done = CliRunner().invoke(command, ["list", "--json", "--site", str(tmp_path / "site/site.yaml")])
    found = {one["name"]: (one["origin"], one["launcher"], one["about"]) for one in json.loads(done.output)}
    assert found["array"] == ("yours", "none", "hpctools has this")
    assert found["fold"] == found["torchrun"] == ("site", "none", "site has this")
    assert found["mpirun"][0] == "packaged"
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    values = {"template": "array", "array": "1-2"}
    assert ask(tmp_path, values, environ=environ).settings.text("template") == str(mine / "array.sbatch.j2")


@pytest.mark.parametrize("name", NAMES)
def test_every_template_says_in_a_line_what_it_is_for(name: str) -> None:
    about = templates.find(name, ()).about
    assert 10 < len(about) < 110
    assert f"| {name} |" in DOCS


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("copy", [False, True])
def test_a_template_that_was_begun_changes_nothing(tmp_path: Path, name: str, copy: bool) -> None:
    before = templates.find(name, ())
    made = templates.begin(name, tmp_path / "mine.sbatch.j2", copy=copy)
    words = {"launcher": before.launcher, **({"array": "1"} if name == "array" else {})}
    after = script(tmp_path, name, {"template": str(made), **words})
    assert after.replace("=mine\n", f"={name}\n") == script(tmp_path, name, words)
    assert templates.describe(made, ()).launcher == before.launcher


@pytest.mark.parametrize("name", JOBS)
def test_every_block_that_was_begun_can_be_overridden(tmp_path: Path, name: str) -> None:
    """With the marks of its comments away, each example stands in the script and what was there, too."""
    text = templates.starter(name)
    opened = re.sub(r"^\{# .*$|^#\}$", "", text, flags=re.MULTILINE)
    (tmp_path / "mine.j2").write_text(opened)
    launcher = templates.find(name, ()).launcher
    values = {"array": "1", "preflight": True, "env": {"A": "1"}, "launcher": launcher}
    found = script(tmp_path, name, {**values, "template": "mine.j2"})
    subprocess.run(["bash", "-n"], input=found.encode(), check=True)
    missing = [example for _, example in templates.BLOCKS.values() if f"{example}\n" not in found]
    assert missing == []
    whole = script(tmp_path, name, values)
    assert [line for line in whole.splitlines() if line not in found and "job-name" not in line] == []


def test_the_blocks_are_those_of_the_frame() -> None:
    assert templates.blocks("base") == tuple(templates.BLOCKS)
    assert [one for one in templates.BLOCKS if f"| {one} |" not in DOCS] == []


def test_the_variables_of_the_docs_are_those_that_templates_have(tmp_path: Path) -> None:
    asked = ask(tmp_path)
    taken = resources.resolve(asked.spec, asked.site, recorded())
    found = {
        *render._values(asked.spec, taken, asked.site, "/x"),
        "launcher_options",
        "launcher_words",
        "var",
    }
    assert {name for name in found if f"`{name}`" not in DOCS} == set()


def test_the_example_of_the_docs_does_what_they_say(tmp_path: Path) -> None:
    (example,) = re.findall(r"```jinja\n(.*?)```", DOCS, re.DOTALL)
    (tmp_path / "mine.sbatch.j2").write_text(example)
    found = script(tmp_path, "plain", {"template": "mine.sbatch.j2", "set": {"data": "/data/a b"}})
    subprocess.run(["bash", "-n"], input=found.encode(), check=True)
    copied = found.index("rsync --archive '/data/a b'/ ")
    assert found.index("_end() {") < copied < found.index("node --launcher=torchrun")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = templates.begin("plain", tmp_path / "mine.j2")
    for wrong, said in ((path, "is there already"), (tmp_path / "no/mine.j2", "there is no folder")):
        with pytest.raises(InvalidInput) as raised:
            templates.begin("plain", wrong)
        assert said in str(raised.value)
    with pytest.raises(InvalidInput, match="did you mean torchrun"):
        templates.begin("torchrum", tmp_path / "x")


@pytest.mark.parametrize("name", JOBS)
def test_what_is_shown_rendered_is_a_script(name: str) -> None:
    text = template_example.script(templates.find(name, ()), None, {})
    subprocess.run(["bash", "-n"], input=text.encode(), check=True)
    assert "#SBATCH --nodes=2\n" in text


def test_a_job_that_cannot_start_its_ranks_leaves_its_result_and_no_secrets(tmp_path: Path) -> None:
    """By the real bash and restart.py; there is no mpirun."""
    values = {"template": "mpirun", "python": sys.executable, "set": {"mpi": "mpirun"}, "secret": ["KEY"]}
    asked = ask(tmp_path, values, environ={"HOME": str(tmp_path), "KEY": "x"})
    taken = resources.resolve(asked.spec, asked.site, recorded())
    job = Path(run_files.make(asked, taken, lambda text: None))
    environ = {"PATH": str(tmp_path), "SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "1"}
    bash = shutil.which("bash") or ""
    done = subprocess.run(
        [bash, job / run_files.SCRIPT], env=environ, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, "there is no mpirun on" in done.stderr) == (1, True), done
    assert json.loads((job / "attempt-0/result.json").read_text())["state"] == "failed"
    assert not (job / "secrets.json").exists()


def test_the_options_of_a_launcher_are_words_and_no_shell(tmp_path: Path) -> None:
    found = script(tmp_path, "torchrun", {"set": {"torchrun.options": "--a 'b c' $(touch x) ;"}})
    (line,) = (line for line in found.splitlines() if " --options=" in line)
    (word,) = (word for word in shlex.split(line) if word.startswith("--options="))
    assert shlex.split(word.removeprefix("--options=")) == ["--a", "b c", "$(touch", "x)", ";"]
    found = script(tmp_path, "mpirun", {"set": {"mpirun.options": "--a 'b c' $(touch x) : ;"}})
    assert """ --a 'b c' '$(touch' 'x)' : ';' \\\n""" in found
    with pytest.raises(InvalidInput, match=r"--set torchrun.options: cannot be split into words"):
        script(tmp_path, "torchrun", {"set": {"torchrun.options": "'"}})
