"""What names an image."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.errors import Problem
from hpctools.images import references

DIGEST = "sha256:" + "0f" * 32


def parsed(text: str) -> tuple[str | None, list[Problem]]:
    problems: list[Problem] = []
    found = references.parse(text, "--image", problems)
    return (found.kind if found else None), problems


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("x.sif", "file"),
        ("images/x", "file"),
        ("/shared/images/pytorch 25.sif", "file"),
        ("-x.sif", "file"),
        ("x.sqsh", "file"),
        ("docker://alpine", "docker"),
        ("docker://registry.example.org/nvidia/pytorch:25.10-py3", "docker"),
        (f"docker://registry.example.org:5000/team/x@{DIGEST}", "docker"),
        ("oras://registry.example.org/team/x:1", "oras"),
        ("pytorch", "name"),
        ("ngc-25.10", "name"),
    ],
)
def test_a_reference_is_one_of_four(text: str, kind: str) -> None:
    assert parsed(text) == (kind, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a file x.sif"),
        ("x\ny.sif", "a file x.sif"),
        (" x.sif", "a file x.sif"),
        ("docker:a/b", "(docker://a/b)"),
        ("dcoker://a/b", "(docker://a/b)"),
        ("library://a/b", "docker:// or oras://"),
        ("https://example.org/x.sif", "docker:// or oras://"),
        (
            "docker://registry.example.org#nvidia/pytorch:25.10",
            "(docker://registry.example.org/nvidia/pytorch:25.10)",
        ),
        ("docker://a/B", "(docker://a/b)"),
        ("docker://", "HOST/NAME:TAG"),
        ("docker://-a", "HOST/NAME:TAG"),
        ("docker://a/b --help", "HOST/NAME:TAG"),
        ("docker://me:secret@host/x", "HOST/NAME:TAG"),
        ("alpine:3", "docker://alpine:3"),
        ("--nv", "a file x.sif"),
    ],
)
def test_what_is_wrong_with_a_reference_is_said_with_what_may_be_meant(text: str, said: str) -> None:
    kind, problems = parsed(text)
    assert kind is None
    assert len(problems) == 1
    assert said in str(problems[0])


@given(st.text(max_size=40))
def test_what_is_taken_for_an_image_of_a_registry_is_one_plain_word(text: str) -> None:
    """No space, no control character, no option: it goes to a program as it is."""
    kind, problems = parsed(f"docker://{text}")
    assert (kind is None) == bool(problems)
    if kind:
        assert all("!" <= letter <= "~" for letter in text)
        assert not text.startswith("-")


def test_a_name_that_is_not_known_is_told_with_the_nearest() -> None:
    assert "did you mean pytorch?" in str(
        references.unknown("pytroch", {"pytorch": "", "jax": ""}, "--image")
    )
    assert "names: jax, pytorch" in str(references.unknown("qqq", ["pytorch", "jax"], "--image"))
    assert "docker://" in str(references.unknown("qqq", [], "--image"))
