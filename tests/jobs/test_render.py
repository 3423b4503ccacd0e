"""A job's script: through the real bash, with whatever stands in its values."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpctools.errors import InvalidInput
from hpctools.jobs import render, resources, templates
from tests.jobs.jobs_of import ask, recorded

# Everything that an environment variable or a folder's name may hold: all but NUL.
ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


def script(
    folder: Path, values: Mapping[str, object] | None = None, run: str = "/runs/x", target: str = "train.py"
) -> str:
    asked = ask(folder, values, target=target)
    taken = resources.resolve(asked.spec, asked.site, recorded())
    return render.render(asked.spec, taken, asked.site, run)[0]


def bash(text: str, *words: str) -> str:
    done = subprocess.run(["bash", *words], input=text.encode(), capture_output=True, check=True)
    return done.stdout.decode()


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY_TEXT, min_size=1, max_size=20))
def test_any_text_is_one_word_of_bash(values: list[str]) -> None:
    text = "".join(f"printf '%s\\0' {render.quote(value)}\n" for value in values)
    assert bash(text).split("\0")[:-1] == values
    assert "\r" not in text
    assert "\n#SBATCH" not in text


@pytest.mark.parametrize("name", [one.name for one in templates.listing(()) if one.name != "base"])
@pytest.mark.parametrize("hostile", ["'\"$(touch x)`touch x`;#", "\n#SBATCH --hold\nexit 3\n", "é\\ %j\r\n"])
def test_a_script_with_hostile_values_is_one_that_bash_can_read(
    tmp_path: Path, name: str, hostile: str
) -> None:
    values = {"template": name, "env": {"A": hostile}, "python": "/opt/py" + hostile, "array": "1-2"}
    values["set"] = {"mpi": hostile, "nccl_tests": hostile}
    target = "train.py" if templates.find(name, ()).needs_target else ""
    text = script(tmp_path, values, "/runs/x" + re.sub(r"[\\\r\n]", "", hostile), target)
    bash(text, "-n")
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if number and not line.startswith("#SBATCH"))
    assert not any(line.startswith("#SBATCH") for line in lines[first:])


def test_exports_reach_the_job_as_they_were_given(tmp_path: Path) -> None:
    text = script(tmp_path, {"env": {"A": "a b\n'c' $(x)", "b_1": ""}})
    lines = [line for line in text.splitlines() if line.startswith("export ")]
    assert bash("\n".join([*lines, 'printf "%s|%s" "$A" "$b_1"'])) == "a b\n'c' $(x)|"


def test_the_setup_of_a_site_runs_without_bash_being_strict(tmp_path: Path) -> None:
    """Scripts of environment modules read variables that nobody set."""
    (tmp_path / "site.yaml").write_text("setup: |\n  module load cuda\n")
    text = script(tmp_path, {"site": "./site.yaml"})
    assert "\nset +u\nmodule load cuda\nset -u\n" in text


def test_ports_and_ranks_reach_the_launcher(tmp_path: Path) -> None:
    text = script(tmp_path, {"ranks_per_node": 3, "set": {"site.ports": "15000-15099"}})
    assert "--port-base=15000 --port-count=100" in text
    assert "--ranks-per-node=3" in text


def test_a_preflight_that_has_nothing_to_expect_looks_all_the_same(tmp_path: Path) -> None:
    text = script(tmp_path, {"preflight": True, "gpus_per_node": 0})
    assert text.count('preflight.py" node') == 1


def test_two_renderings_are_the_same_bytes(tmp_path: Path) -> None:
    values = {"env": {"A": "1", "B": "2"}, "sbatch_option": ["b", "a=1"]}
    assert script(tmp_path, values) == script(tmp_path, values)


def template(folder: Path, text: str) -> dict[str, object]:
    (folder / "mine.j2").write_text(text)
    return {"template": "mine.j2"}


def test_a_template_may_change_a_block_of_the_packaged_one(tmp_path: Path) -> None:
    text = (
        '{% extends "hpctools/torchrun.sbatch.j2" %}\n'
        "{% block comment %}{{ super() }}# {{ var.a.b }}\n{% endblock %}"
    )
    found = script(tmp_path, {**template(tmp_path, text), "set": {"a.b": "x; y"}})
    assert "torchrun, which starts the ranks, one for each GPU.\n# 'x; y'\n" in found


@pytest.mark.parametrize("prefix", ["", "hpctools/"])
def test_a_sites_template_takes_the_place_of_the_packaged_one(tmp_path: Path, prefix: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/torchrun.sbatch.j2").write_text(
        f'{{% extends "{prefix}torchrun.sbatch.j2" %}}'
        '{% block comment %}# ours {{ "$x" }}\n{% endblock %}'
    )
    (tmp_path / "site.yaml").write_text("templates: mine\n")
    found = script(tmp_path, {"site": "./site.yaml"})
    assert "# ours '$x'\n" in found
    assert "srun" in found


@pytest.mark.parametrize(
    "text",
    [
        "{{ a_b }}",
        "{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(run) }}",
        "{% set x %}<{{ run }}>{% endset %}{{ x }}",
        "{{ run ~ '/x y' }}",
        "{{ [run, 'b']|join(' ') }}",
    ],
)
def test_values_are_quoted_once_wherever_they_stand(tmp_path: Path, text: str) -> None:
    found = script(tmp_path, template(tmp_path, text.replace("a_b", "run")), "/r x")
    assert found in ("'/r x'", "['/r x']", "<'/r x'>", "'/r x/x y'", "'/r x b'")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ nope }}", "mine.j2: 'nope' is undefined (--set NAME=VALUE sets a variable: {{ var.NAME }})"),
        ("{{ var.nope }}", "variable nope is not set (--set nope=VALUE)"),
        ("\n{% if %}", "mine.j2:2: Expected an expression"),
        ("{{ 1 / 0 }}", "mine.j2: ZeroDivisionError: division by zero"),
        ("{% include 'hpctools/mine.j2' %}", "mine.j2: there is no template hpctools/mine.j2"),
        ('{% extends "nope.j2" %}', "mine.j2: there is no template nope.j2"),
    ],
)
def test_what_is_wrong_in_a_template_is_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        script(tmp_path, template(tmp_path, text))
    assert said in str(raised.value)


def test_a_template_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    assert "there is no file nope.j2" in str(ask(tmp_path, {"template": "nope.j2"}).problems[0])


def test_variables_that_no_template_reads_are_told(tmp_path: Path) -> None:
    changes = {"a.b": "1", "c": "2", "site.export": "ALL"}
    asked = ask(tmp_path, {**template(tmp_path, "{{ var.a.b }}"), "set": changes})
    taken = resources.resolve(asked.spec, asked.site, None)
    assert render.render(asked.spec, taken, asked.site, "/x") == ("1", ("c",))
