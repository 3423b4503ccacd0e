"""Every rule is told by its page, and finds what the page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpctools.conf.finding import SEVERITIES
from hpctools.conf.rules import rules
from tests.conf.pages import Example, examples, pages

EXAMPLES = [example for page in pages() for example in examples(page)]


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    assert {page.stem for page in pages()} == set(rules())


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_a_page_says_what_a_reader_needs(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n\n**{rules()[page.stem].severity}**")
    assert re.search(r"^Source: \S", text, re.MULTILINE), "where the rule comes from"
    headings = [example.heading.split()[0] for example in examples(page)]
    assert set(headings) == {"Wrong", "Right"}


@pytest.mark.parametrize("example", [one for one in EXAMPLES if one.is_wrong], ids=str)
def test_what_a_page_calls_wrong_is_found(example: Example, tmp_path: Path) -> None:
    found = [one for one in example.findings(tmp_path) if one.rule == example.rule]
    assert found, [str(one) for one in example.findings(tmp_path)]
    assert all(one.severity in SEVERITIES and one.message and Path(one.file).exists() for one in found)
    for one in found:
        if Path(one.file).is_file():
            assert 1 <= one.line <= len(Path(one.file).read_text().splitlines() or [""])


@pytest.mark.parametrize("example", [one for one in EXAMPLES if not one.is_wrong], ids=str)
def test_what_a_page_calls_right_is_right(example: Example, tmp_path: Path) -> None:
    found = example.findings(tmp_path)
    assert not [str(one) for one in found if one.rule == example.rule or one.severity == "fatal"]
