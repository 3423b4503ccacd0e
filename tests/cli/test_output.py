"""What commands print."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpctools.cli import output
from hpctools.jobs.said import Said


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert output.lines([["1", "a"], ["22", "bbb"]], ["JOB", "N"], None) == ["JOB  N", "1    a", "22   bbb"]


def test_a_table_that_is_too_wide_shortens_the_columns_that_may_be() -> None:
    rows = [["123456", "x" * 60, "RUNNING", "n[1-4]"]]
    made = output.lines(rows, ["JOB", "NAME", "STATE", "WHERE"], 60, shrink=(1,))
    assert max(map(len, made)) == 60
    assert "RUNNING  n[1-4]" in made[1]
    assert "x…" in made[1]
    assert output.lines(rows, ["JOB", "NAME", "STATE", "WHERE"], None, shrink=(1,))[1].count("x") == 60


def test_wide_characters_keep_columns_aligned() -> None:
    made = output.lines([["日本", "1"], ["e\u0301", "2"], ["ab", "3"]], ["NAME", "N"], None)
    assert [line[-1] for line in made[1:]] == ["1", "2", "3"]
    assert {output.display_width(line) for line in made[1:]} == {7}


@settings(deadline=None)
@given(text=st.text(), width=st.integers(1, 20))
def test_shortened_text_is_never_wider_than_asked(text: str, width: int) -> None:
    assert output.display_width(output.shortened(text, width)) <= max(width, 1)


def test_a_job_s_name_cannot_forge_lines_of_a_table() -> None:
    made = output.lines([["1", "\x1b[2Jtrain\n2  done"]], ["JOB", "NAME"], None)
    assert made == ["JOB  NAME", r"1    \x1b[2Jtrain\n2  done"]


def test_json_is_one_document_that_any_parser_reads(capsys: pytest.CaptureFixture[str]) -> None:
    output.as_json(
        {"name": b"caf\xe9".decode("utf-8", "surrogateescape"), "lone": "\ud800", "t": ("é", None, 1)}
    )
    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text) == {"name": "caf\ufffd", "lone": "\ufffd", "t": ["é", None, 1]}


def test_sentences_are_broken_and_paths_are_not() -> None:
    path = "/scratch/" + "long name " * 20
    made = output.paragraphs([Said("state", "word " * 30), Said("log", path, sentence=False)], columns=60)
    assert all(len(line) <= 60 for line in made[:-1])
    assert len(made) > 3
    assert made[-1] == f"log    {path}".rstrip()


def test_where_there_is_no_terminal_there_are_no_colours_and_no_live_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.table([["1"]], ["JOB"], kinds=["bad"])
    output.live("waiting")
    output.remark("said\nin \x1b[1mtwo lines")
    out, err = capsys.readouterr()
    assert out == "JOB\n1\n"
    assert err == "hpctools: said\nhpctools: in \\x1b[1mtwo lines\n"
