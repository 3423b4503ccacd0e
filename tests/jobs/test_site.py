"""A site's file: where it is found, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctools.errors import Problem
from hpctools.jobs import site
from hpctools.jobs.site import PACKAGED
from tests.jobs.jobs_of import ask


def load(folder: Path, text: str) -> tuple[site.Site, list[str]]:
    path = folder / "site.yaml"
    path.write_text(text)
    problems: list[Problem] = []
    return site.load(path, problems), [str(problem) for problem in problems]


def test_a_site_says_only_what_differs(tmp_path: Path) -> None:
    found, problems = load(
        tmp_path, "export: NONE\nports: 15000-15999\nwhole_nodes: no\nvariables: {a: {b: 1}, c: }\n"
    )
    assert problems == []
    assert (found.export, found.ports) == ("NONE", (15000, 15999))
    assert (found.whole_nodes, found.ask_memory) == (False, True)
    assert dict(found.variables) == {"a.b": "1", "c": ""}


def test_templates_stand_beside_the_file(tmp_path: Path) -> None:
    found, _ = load(tmp_path, "templates: mine\n")
    assert found.templates == tmp_path / "mine"


def test_what_is_wrong_in_a_site_is_said_with_its_line(tmp_path: Path) -> None:
    _, problems = load(
        tmp_path,
        "exprt: NONE\nexport: SOME\nports: 1-2\nsetup: {a: b}\ndefaults:\n  nods: 3\n  time: soon\n",
    )
    path = tmp_path / "site.yaml"
    assert problems == [
        f"{path}:1: there is no key of a site 'exprt' (did you mean export?)",
        f"{path}:2: export: not one of LISTED, ALL, NONE: 'SOME' (LISTED, ALL or NONE)",
        f"{path}:3: ports: not a range of ports from 1024 to 65535: '1-2' (20000-29999)",
        f"{path}:4: setup is a map; text is expected",
        f"{path}:6: there is no setting 'nods' (did you mean nodes?)",
    ]


def test_a_bad_default_of_the_site_is_a_problem_of_the_job(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("defaults: {time: soon}\n")
    (problem,) = ask(tmp_path, {"site": "./site.yaml"}).problems
    assert str(problem).startswith(f"{tmp_path}/site.yaml:1: time: not a duration: 'soon'")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sandbx", "--site: there is no packaged site 'sandbx' (did you mean sandbox?)"),
        ("./nope.yaml", "--site: there is no site file "),
        ("nope.yml", "--site: there is no site file "),
    ],
)
def test_a_site_that_is_not_there_is_a_problem(tmp_path: Path, name: str, said: str) -> None:
    problems: list[Problem] = []
    assert site.find(name, str(tmp_path), problems) is None
    assert str(problems[0]).startswith(said)


def test_a_path_beats_a_packaged_name(tmp_path: Path) -> None:
    (tmp_path / "sandbox.yaml").write_text("")
    assert site.find("./sandbox.yaml", str(tmp_path), []) == tmp_path / "sandbox.yaml"
    assert site.find("sandbox", str(tmp_path), []) == PACKAGED / "sandbox.yaml"


@pytest.mark.parametrize("path", sorted(PACKAGED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_packaged_site_can_be_used(path: Path, tmp_path: Path) -> None:
    assert ask(tmp_path, {"site": path.stem}).problems == ()


def test_the_example_shows_every_key() -> None:
    text = (PACKAGED / "example.yaml").read_text()
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    for key in (*site.KEYS, "defaults", "fabric", "containers", "variables"):
        assert any(line.startswith(f"{key}:") for line in lines), key


def test_set_changes_the_site_and_its_variables(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("variables: {scratch: /scratch}\n")
    values = {"site": "./site.yaml", "set": ["site.export=NONE", "scratch=/tmp", "new.one=1"]}
    asked = ask(tmp_path, values)
    assert asked.site.export == "NONE"
    assert dict(asked.site.variables) == {"scratch": "/tmp", "new.one": "1"}
    (problem,) = ask(tmp_path, {"set": ["site.exprt=NONE"]}).problems
    assert str(problem) == "--set site.exprt: there is no key of a site 'exprt' (did you mean export?)"
