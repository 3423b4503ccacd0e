"""`hpctools conf`: what it prints, and with what it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hpctools.cli import cli
from hpctools.errors import InvalidInput

GOOD = "ClusterName=alpha\nSlurmctldHost=head\nNodeName=n1 CPUs=4\nPartitionName=main Nodes=ALL Default=YES\n"
BAD = GOOD + "SlurmctldTimout=3\n"
SLURM = ("--slurm", "24.11")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "slurm.conf"
    path.write_text(BAD)
    return path


def conf(*words: str) -> Result:
    """The result of a command; what main() would turn into messages is raised."""
    result = CliRunner().invoke(cli, ["conf", *words], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result


def test_a_problem_is_one_line_that_an_editor_can_follow(file: Path) -> None:
    result = conf("lint", str(file), *SLURM)
    (line,) = [line for line in result.stdout.splitlines() if "unknown-key" in line]
    assert line.startswith(f"{file}:5: fatal [unknown-key] no release of Slurm has a key SlurmctldTimout")
    assert line.endswith("(did you mean SlurmctldTimeout?)")
    assert result.return_value == 1
    assert "1 fatal" in result.stderr


def test_only_what_is_fatal_fails(file: Path) -> None:
    file.write_text(GOOD + "TaskPlugin=task/affinity\nTaskPlugin=task/affinity\n")
    result = conf("lint", str(file), *SLURM)
    assert "error [repeated-key]" in result.stdout
    assert result.return_value == 0


def test_json_is_what_the_contract_says(file: Path) -> None:
    result = conf("lint", "--json", str(file), *SLURM)
    found = json.loads(result.stdout)
    assert {frozenset(one) for one in found} == {
        frozenset({"file", "line", "severity", "rule", "message", "hint"})
    }
    assert [(one["line"], one["rule"]) for one in found if one["severity"] == "fatal"] == [(5, "unknown-key")]


def test_sarif_names_rule_and_place(file: Path) -> None:
    (run,) = json.loads(conf("lint", "--sarif", str(file), *SLURM).stdout)["runs"]
    (found,) = [one for one in run["results"] if one["ruleId"] == "unknown-key"]
    place = found["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 5}
    assert place["artifactLocation"]["uri"] == f"file://{file}"
    assert run["tool"]["driver"]["rules"][found["ruleIndex"]] == {"id": "unknown-key"}


def test_an_annotation_cannot_be_forged_by_a_value(file: Path) -> None:
    file.write_text(GOOD + 'Bad="100%::error,x"\n')
    lines = conf("lint", "--github", str(file), *SLURM).stdout.splitlines()
    assert all(line.startswith(("::error file=", "::warning file=")) for line in lines)
    assert all(line.count("title=") == 1 and "100%:" not in line for line in lines)


def test_a_terminal_is_not_moved_by_a_file(file: Path) -> None:
    file.write_text(GOOD + "\x1b[2J=1\n")
    assert "\x1b" not in conf("lint", str(file), *SLURM).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("lint", "nowhere", *SLURM), "nowhere: cannot be read: No such file"),
        (("lint", ".", "--slurm", "27.11"), "27.11 is no release.*known are 22.05"),
        (("lint", "--out", "new", ".", *SLURM), "--out: needs --fix"),
        (("lint", "--json", "--sarif", ".", *SLURM), "--sarif: stands beside --json"),
        (("upgrade", ".", "--to", "22.05", "--from", "26.05"), "22.05 is older than 26.05"),
        (("format", "/dev/zero"), "no regular file"),
        (("rules", "unknwn-key"), "did you mean unknown-key"),
    ],
)
def test_a_mistake_is_told(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        conf(*words)


def test_mending_says_what_it_did_and_judges_what_is_left(file: Path) -> None:
    file.write_text(GOOD + "SlurmctldTimeout=120 SlurmdTimeout=300\n")
    result = conf("lint", "--fix", str(file), *SLURM)
    assert result.return_value == 0
    assert "mended" in result.stderr
    assert "what it was is" in result.stderr
    assert file.read_text() == GOOD + "SlurmctldTimeout=120\nSlurmdTimeout=300\n"


def test_an_upgrade_is_written_beside(file: Path, tmp_path: Path) -> None:
    file.write_text(GOOD + "SlurmctldPlugstack=nonstop\n")
    words = ("upgrade", str(file), "--from", "22.05", "--to", "23.02", "--out", str(tmp_path / "new"))
    result = conf(*words, "--json")
    found = json.loads(result.stdout)
    assert found["steps"] == ["23.02"]
    assert [(one["rule"], one["mended"]) for one in found["problems"]] == [("removed-key", True)]
    assert (tmp_path / "new" / "slurm.conf").read_text() == GOOD
    assert result.return_value == 0


@pytest.mark.parametrize("data", [b"A=1 # \xff\r\n", b"", b"- a: [1,\n"])
def test_format_prints_the_same_bytes(data: bytes, tmp_path: Path) -> None:
    for name in ("slurm.conf", "topology.yaml"):
        (tmp_path / name).write_bytes(data)
        assert conf("format", str(tmp_path / name)).stdout_bytes == data


def test_a_page_is_printed() -> None:
    assert conf("rules", "unknown-key").stdout.startswith("# unknown-key\n\n**fatal**")
    assert "unknown-key" in conf("rules").stdout


def test_a_comment_makes_another_hash(file: Path, tmp_path: Path) -> None:
    (tmp_path / "nodes.conf").write_text("NodeName=n2\n")
    file.write_text(GOOD + "Include nodes.conf\n")
    other = tmp_path / "other.conf"
    other.write_text(file.read_text() + "#\n")
    assert conf("hash", str(file)).return_value == 0
    result = conf("hash", str(file), str(other))
    assert result.return_value == 3
    (one, two) = (line.split()[0] for line in result.stdout.splitlines())
    assert one != two
    assert len(one) == 10
    (tmp_path / "nodes.conf").unlink()
    with pytest.raises(InvalidInput, match="nodes.conf: cannot be read"):
        conf("hash", str(file))


def test_an_upgrade_that_something_fatal_stops_says_so(file: Path, tmp_path: Path) -> None:
    """Without --out nothing is mended; and what already stops the old release stops the new one."""
    file.write_text(GOOD + "SlurmctldPlugstack=nonstop\n")
    words = ("upgrade", str(file), "--from", "22.05", "--to", "23.02")
    result = conf(*words)
    assert result.return_value == 1
    assert "[mended]" not in result.stdout
    file.write_text(BAD)
    result = conf(*words, "--out", str(tmp_path / "new"))
    assert "SlurmctldTimout" in result.stdout
    assert result.return_value == 1
