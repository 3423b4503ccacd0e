"""Whole configurations, compared with the files that people have read."""

from __future__ import annotations

import pytest

from hpctools.conf.rendering import render
from tests.conf.render.clusters import GOLDEN, clusters, golden

CASES = [(name, release) for name, (_, _, releases) in clusters().items() for release in releases]


@pytest.mark.parametrize(("name", "release"), CASES)
def test_the_files_are_the_golden_ones(name: str, release: str) -> None:
    inventory, policy, _ = clusters()[name]
    folder = GOLDEN / name / release
    expected = {path.name: path.read_text() for path in folder.iterdir()}
    assert golden(render(inventory, policy, release)) == expected


def test_no_golden_file_is_of_nothing() -> None:
    found = {(path.parent.name, path.name) for path in GOLDEN.glob("*/*")}
    assert found == set(CASES)
