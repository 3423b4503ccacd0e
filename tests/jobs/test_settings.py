"""Settings from everywhere, merged, each with where it comes from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpctools.errors import InvalidInput, Problem
from hpctools.jobs import record, request, settings
from hpctools.jobs.options import OPTIONS
from hpctools.jobs.settings import COMMAND_LINE
from tests.jobs.jobs_of import ask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a script, which is also HOME."""
    (tmp_path / "train.py").write_text("")
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_nearest_place_wins_and_is_named(folder: Path) -> None:
    """Command line, variable, hpctools.yaml, config.yaml, SBATCH_*, site, default: in this order."""
    beside = write(folder / "hpctools.yaml", "nodes: 3\nqos: beside\ntime: 30\n")
    config = write(folder / ".config/hpctools/config.yaml", "qos: config\naccount: config\n")
    site = write(folder / "site.yaml", "defaults:\n  account: s\n  partition: s\n  mem: 1G\n  comment: s\n")
    environ = {
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / ".config"),
        "HPCTOOLS_NODES": "2",
        "HPCTOOLS_TIME": "10",
        "HPCTOOLS_SITE": str(site),
        "SBATCH_PARTITION": "user",
    }
    settings = ask(folder, {"time": "5"}, environ=environ).settings
    found = {name: (one.value, one.origin) for name, one in settings.values.items()}
    assert found["time"] == ("00:05:00", "argument")
    assert found["nodes"] == (2, "$HPCTOOLS_NODES")
    assert found["qos"] == ("beside", f"{beside}:2")
    assert found["account"] == ("config", f"{config}:2")
    assert found["partition"] == ("user", "$SBATCH_PARTITION")
    assert found["mem"] == ("1G", f"{site}:4")
    assert found["launcher"] == ("torchrun", "default")


def test_maps_are_merged_entry_by_entry(folder: Path) -> None:
    write(folder / "hpctools.yaml", "env:\n  A: file\n  B: file\nset: {port: {base: 1}}\n")
    asked = ask(folder, {"env": {"A": "given"}, "set": ["x.y=2"]})
    assert asked.settings.entries("env") == {"A": "given", "B": "file"}
    assert asked.settings.entries("set") == {"port.base": "1", "x.y": "2"}


def test_yaml_values_are_the_text_that_was_written(folder: Path) -> None:
    """YAML 1.1 would make 90 of 1:30, False of no, 8 of 010 and 1.1 of 1.10."""
    write(folder / "hpctools.yaml", "time: 1:30\nname: 010\nenv: {A: no, B: 1.10, C: '', D: 0x1f}\n")
    asked = ask(folder)
    assert asked.settings.value("time") == "00:01:30"
    assert asked.spec.name == "010"
    assert asked.spec.exports == (("A", "no"), ("B", "1.10"), ("C", ""), ("D", "0x1f"))


def test_a_map_may_be_a_list_of_words_as_on_the_command_line(folder: Path) -> None:
    text = "secret: [TOKEN]\nenv:\n- A\n- B=x=y\n- C=\nbind: [/a, '/b:/c:ro']\nset: [p.q=1]\n"
    write(folder / "hpctools.yaml", text + "sbatch-option: [hold]\nimage: docker://a\n")
    asked = ask(folder, {"env": ["B=mine"]}, environ={"TOKEN": "t", "A": "here"})
    assert [one for one in asked.problems if "image" not in one.where] == []
    assert dict(asked.spec.exports) == {"A": "here", "B": "mine", "C": ""}
    assert asked.spec.secrets == (("TOKEN", "t"),)
    assert asked.settings.entries("bind") == {"/a": None, "/b:/c:ro": None}
    assert asked.settings.entries("set") == {"p.q": "1"}
    assert asked.settings.entries("sbatch-option") == {"hold": None}


def test_the_defaults_of_a_site_may_have_such_lists_too(folder: Path) -> None:
    site = write(folder / "site.yaml", "defaults:\n  env: [A=1]\n  sbatch-option: [hold]\n")
    asked = ask(folder, {"site": str(site)})
    assert (asked.problems, asked.spec.exports) == ((), (("A", "1"),))


def test_what_is_wrong_in_such_a_list_is_told_with_its_line(folder: Path) -> None:
    path = write(folder / "hpctools.yaml", "env:\n- A=1\n- 1B\n- [x]\n- A=2\nqos: [a]\nset: {a: [b]}\n")
    text = [str(problem) for problem in ask(folder).problems]
    assert text == [
        f"{path}:4: is no text, NAME or NAME=VALUE",
        f"{path}:5: A stands here again; the first is in line 2",
        f"{path}:6: is a list; text is expected",
        f"{path}:7: is a list; text is expected",
        f"{path}:3: env.1B: not a name of a variable: '1B'",
    ]


def test_a_variable_without_a_value_is_inherited(folder: Path) -> None:
    write(folder / "hpctools.yaml", "env: {TOKEN: }\n")
    asked = ask(folder, {"env": ["OTHER"]}, environ={"TOKEN": "a b", "OTHER": "$x"})
    assert dict(asked.spec.exports) == {"TOKEN": "a b", "OTHER": "$x"}


def test_a_variable_that_is_not_set_here_cannot_be_inherited(folder: Path) -> None:
    (problem,) = ask(folder, {"env": ["NOPE"]}).problems
    assert "env=NOPE" in str(problem)
    assert "not set here" in str(problem)


def test_all_problems_of_all_places_come_at_once_with_file_and_line(folder: Path) -> None:
    path = write(
        folder / "hpctools.yaml",
        "nods: 3\ntime: 2h\npartition: [a, b]\nenv: text\nqos: {a: b}\nmem: 1G\nmem: 2G\nnodes: 0\n",
    )
    environ = {"HOME": str(folder), "HPCTOOLS_GPUS_PER_NODE": "many", "HPCTOOLS_PARTITON": "x"}
    values = {"array": "x", "env": ["1A=1", "UID=2"], "sbatch_option": ["wrap=x"]}
    asked = request.gather("nope.py", (), values, environ=environ, cwd=str(folder), origin=COMMAND_LINE)
    text = [str(problem) for problem in asked.problems]
    for expected in (
        f"{path}:1: there is no setting 'nods' (did you mean nodes?)",
        f"{path}:2: time: not a duration: '2h' (30 is minutes; 1:30:00; 2-12:00:00)",
        f"{path}:3: is a list; text is expected",
        f"{path}:4: env is not a map (env: {{A: 1}})",
        f"{path}:5: qos is a map; text is expected",
        f"{path}:7: mem stands here again; the first is in line 6",
        f"{path}:8: nodes: not a whole number from 1 on: '0'",
        "$HPCTOOLS_GPUS_PER_NODE: not a number of GPUs: 'many' (4, h200:4, or 0 for none)",
        "$HPCTOOLS_PARTITON: is no variable of hpctools (did you mean HPCTOOLS_PARTITION?)",
        "--array: not a list of task ids: 'x' (0-9, 1,3,7 or 0-99%10)",
        "--env 1A: not a name of a variable: '1A'",
        "--env UID: not a variable that can be set (bash keeps it for itself): 'UID'",
        "--sbatch-option wrap: is not for you to set (use --command)",
        "TARGET: there is no nope.py (--command runs a program found by PATH)",
    ):
        assert expected in text
    assert len(text) == 14
    with pytest.raises(InvalidInput) as raised:
        asked.check()
    assert len(str(raised.value).splitlines()) == 14


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodes: [", "is not YAML: "),
        ("a: b: c", ":1: is not YAML: "),
        ("- a\n- b\n", ":1: is a list"),
        ("just text", ":1: is no map of settings"),
        ("? [a]\n: b\n", ":1: a key is not text"),
        ("a: &x\n  b: *x\n", "is nested too deeply"),
        ("!!python/object/apply:os.system ['touch x']", ":1: is a list"),
    ],
)
def test_files_that_are_no_settings_are_refused_with_their_line(folder: Path, text: str, said: str) -> None:
    path = write(folder / "hpctools.yaml", text)
    problems = [str(problem) for problem in ask(folder).problems]
    assert any(problem.startswith(str(path)) and said in problem for problem in problems), problems


def test_a_file_that_is_no_utf_8_is_refused(folder: Path) -> None:
    (folder / "hpctools.yaml").write_bytes(b"name: \xff\n")
    assert "is not UTF-8 text (byte 6)" in str(ask(folder).problems[0])


def test_an_unreadable_file_is_refused(folder: Path) -> None:
    (folder / "hpctools.yaml").mkdir()
    assert "cannot be read: Is a directory" in str(ask(folder).problems[0])


def test_a_command_has_the_settings_of_the_folder_that_it_is_run_from(folder: Path) -> None:
    write(folder / "hpctools.yaml", "nodes: 3\n")
    asked = request.gather("/bin/sh", (), {"command": True}, environ={"HOME": str(folder)}, cwd=str(folder))
    assert asked.spec.nodes == 3


@pytest.mark.parametrize("name", ["env", "bind", "secret", "set", "sbatch-option"])
def test_the_variable_of_a_map_is_told_since_there_is_none(folder: Path, name: str) -> None:
    variable = f"HPCTOOLS_{name.upper().replace('-', '_')}"
    (problem,) = ask(folder, environ={"HOME": str(folder), variable: "X"}).problems
    assert str(problem).startswith(f"${variable}: is not read: --{name} is repeatable and has no variable (")


def test_variables_of_ours_that_are_no_settings_are_no_mistakes(folder: Path) -> None:
    """Those of a job, of hpctools itself and of its tests."""
    names = "RUN ATTEMPT ATTEMPTS NODES_FILE RANKS DEBUG SANDBOX SLURM CORPUS TEST_SANDBOX COMPLETE".split()
    environ = {"HOME": str(folder), **{f"HPCTOOLS_{name}": "x" for name in names}}
    assert ask(folder, environ=environ).problems == ()


def test_an_empty_file_says_nothing(folder: Path) -> None:
    write(folder / "hpctools.yaml", "# nothing\n")
    assert ask(folder).problems == ()


def test_dashes_and_underscores_in_keys_are_the_same(folder: Path) -> None:
    write(folder / "hpctools.yaml", "gpus-per-node: 2\n")
    assert ask(folder).spec.gpus == 2


def test_a_stronger_type_of_gpu_wins_over_a_weaker_one(folder: Path) -> None:
    write(folder / "hpctools.yaml", "gpu_type: a100\n")
    assert ask(folder, {"gpus_per_node": "h200:4"}).spec.gpu_type == "h200"
    assert ask(folder, {"gpus_per_node": "4"}).spec.gpu_type == "a100"
    both = ask(folder, {"gpus_per_node": "h200:4", "gpu_type": "a100"})
    assert "is a100, but --gpus-per-node says h200" in str(both.problems[0])


def test_within_a_job_its_own_sbatch_variables_count_for_nothing(folder: Path) -> None:
    environ = {"HOME": str(folder), "SLURM_JOB_ID": "1", "SBATCH_PARTITION": "of_the_job"}
    assert ask(folder, environ=environ).settings.value("partition") is None


def test_another_cluster_by_variable_is_refused(folder: Path) -> None:
    (problem,) = ask(folder, environ={"SLURM_CLUSTERS": "b"}).problems
    assert problem.where == "$SLURM_CLUSTERS"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_setting_has_help_that_ends_like_a_sentence(option: object) -> None:
    help_text = str(getattr(option, "help", ""))
    assert help_text.endswith((".", ". "))
    assert help_text[0].isupper() or help_text.startswith(("torchrun", "A"))


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_default_is_a_value_that_its_reader_gives(option: object) -> None:
    default, read = getattr(option, "default", None), getattr(option, "read", str)
    if default is not None:
        assert read(str(default)) == default


def test_a_settings_file_that_is_none_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    problems: list[Problem] = []
    assert settings.file(tmp_path / "fifo.yaml", problems) == {}
    assert settings.file(tmp_path / "loop.yaml", problems) == {}
    assert [problem.message for problem in problems] == [
        "is no regular file",
        "cannot be read: Too many levels of symbolic links",
    ]


def test_the_folder_of_runs_may_be_named_by_variables(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "ada")
    monkeypatch.delenv("NOBODY", raising=False)
    assert ask(folder, {"runs_dir": "/scratch/$USER/runs"}).spec.runs_dir == "/scratch/ada/runs"
    assert ask(folder, {"runs_dir": "/a$USER/$(id)"}).spec.runs_dir == "/a$USER/$(id)"
    monkeypatch.delenv("USER")
    assert ask(folder, {"runs_dir": "/s/$USER"}).spec.runs_dir == f"/s/{record.user_name()}"
    (problem,) = ask(folder, {"runs_dir": "/scratch/$NOBODY"}).problems
    assert "there is no variable NOBODY" in str(problem)
