"""Submitting: the words, the answers, the directives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.errors import ParseError
from hpctools.slurm import sbatch
from tests.slurm_language.recordings import answer, each_release


def read_by_sbatch(line: str) -> list[str]:
    """The arguments that sbatch finds in a directive: src/sbatch/opt.c, get_argument, of 22.05,
    word by word. (Against the real one: tests/slurm/test_directives.py.)
    """
    assert line.startswith("#SBATCH")
    place = len("#SBATCH")
    arguments: list[str] = []
    while place < len(line):
        while place < len(line) and line[place] in " \t\n\v\f\r":
            place += 1
        argument, quote, escaped, found = "", "", False, False
        while place < len(line) and (quote or line[place] not in " \t\n\v\f\r") and line[place] not in "\n\0":
            character = line[place]
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
                place += 1
                continue
            elif quote:
                if character == quote:
                    quote = ""
                    place += 1
                    continue
            elif character in "\"'":
                quote = character
                place += 1
                continue
            elif character == "#":
                break
            argument, found, place = argument + character, True, place + 1
        assert not quote, "fatal: Unmatched quote"
        if not found:
            return arguments
        arguments.append(argument)
    return arguments


@given(st.text())
def test_a_value_reaches_sbatch_unchanged_or_is_refused_with_a_reason(value: str) -> None:
    problem = sbatch.directive_problem(value)
    if problem is None:
        assert read_by_sbatch(sbatch.directive("comment", value)) == [f"--comment={value}"]
    else:
        with pytest.raises(ParseError):
            sbatch.directive("comment", value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "#",
        "a #b",
        "'",
        '"',
        "'\"",
        "$(id)",
        "`id`",
        "; rm",
        "%j",
        "é☃😀",
        "a'b\"c#d e",
        "hetjob",
        ": x",
    ],
)
def test_hard_values_are_carried(value: str) -> None:
    assert read_by_sbatch(sbatch.directive("job-name", value)) == [f"--job-name={value}"]


@pytest.mark.parametrize(
    "value", ["a\nb", "a\rb", "a\0b", "a\tb", "a\x1bb", "a\x7fb", "a\x9bb", "a\\b", "a\udcff"]
)
def test_what_no_quoting_carries_is_a_problem(value: str) -> None:
    assert sbatch.directive_problem(value)


def test_plain_values_stay_readable() -> None:
    assert sbatch.directive("nodes", "4") == "#SBATCH --nodes=4"
    assert sbatch.directive("gres", "gpu:h200:8") == "#SBATCH --gres=gpu:h200:8"
    assert sbatch.directive("job-name", "two words") == '#SBATCH --job-name="two words"'
    assert sbatch.directive("exclusive", None) == "#SBATCH --exclusive"


@pytest.mark.parametrize("name", ["", "-N", "nodes=4 --wrap", "no des", "nodes\n", "Nodes"])
def test_what_is_no_options_name_is_refused(name: str) -> None:
    with pytest.raises(ParseError):
        sbatch.directive(name, "4")


def test_the_words_are_sbatchs_own() -> None:
    assert sbatch.command("/run/job.sbatch") == ["sbatch", "--parsable", "/run/job.sbatch"]
    assert sbatch.command("/run/job.sbatch", test_only=True) == ["sbatch", "--test-only", "/run/job.sbatch"]


@each_release
def test_the_answer_to_a_submission_is_the_jobs_id(release: str) -> None:
    assert sbatch.parse(answer(release, "sbatch-parsable")).job_id.isdigit()


def test_the_cluster_is_told_where_one_was_chosen() -> None:
    assert sbatch.parse("12;alpha\n") == sbatch.SubmitAnswer("12", "alpha")


def test_a_sites_own_lines_before_the_id_do_not_hide_it() -> None:
    assert sbatch.parse("Welcome to alpha!\n12\n").job_id == "12"


@pytest.mark.parametrize("text", ["", "\n", "Submitted batch job 12\n", "12 13\n", "12;\n"])
def test_an_answer_without_an_id_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        sbatch.parse(text)


@each_release
def test_a_possible_request_says_where_and_when(release: str) -> None:
    said = sbatch.parse_test_only(answer(release, "sbatch-test-only"))
    assert said.ok
    assert said.start
    assert said.start.isdigit()
    assert said.nodes
    assert said.partition
    assert said.message.startswith("Job ")


@each_release
def test_a_possible_heterogeneous_request_has_no_one_partition(release: str) -> None:
    said = sbatch.parse_test_only(answer(release, "sbatch-test-only-het"))
    assert (said.ok, said.partition) == (True, None)
    assert said.nodes


@each_release
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("nodes", "Node count specification invalid|More processors requested than permitted"),
        ("gpus", "Requested node configuration is not available"),
        ("partition", "invalid partition specified: nosuch\nInvalid partition name specified"),
        ("account", "Invalid account or account/partition combination specified"),
        ("time", "Requested time limit is invalid"),
        ("option", "unrecognized option '--nosuch'"),
    ],
)
def test_an_impossible_request_says_why_without_prefixes(release: str, name: str, part: str) -> None:
    said = sbatch.parse_test_only(answer(release, f"sbatch-test-only-{name}"))
    assert not said.ok
    assert any(said.message.startswith(one) for one in part.split("|"))


def test_the_start_is_read_as_25_05_and_later_print_it() -> None:
    # src/api/allocate.c of 25.05 has " a using", and the cluster's name in a federation.
    line = (
        "sbatch: Job 5 to start at 2026-11-21T15:29:24 on cluster alpha a using 16 processors on nodes n[1-2]"
    )
    said = sbatch.parse_test_only(f"{line} in partition main\nsbatch:   Preempts: 3,4\n")
    assert (said.start, said.nodes, said.partition) == ("2026-11-21T15:29:24", "n[1-2]", "main")
    assert said.preempts == ("3", "4")
    assert sbatch.parse_test_only(line.replace(" on cluster alpha", "")).nodes == "n[1-2]"
