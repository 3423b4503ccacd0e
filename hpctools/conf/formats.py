"""Findings as machines read them: JSON, SARIF 2.1.0, GitHub's annotations."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from hpctools import __version__
from hpctools.conf.finding import Finding, Severity

_SARIF: dict[Severity, str] = {"fatal": "error", "error": "error", "warning": "warning"}


def as_json(findings: Iterable[Finding]) -> list[dict[str, str | int]]:
    """An array of {file, line, severity, rule, message, hint}."""
    return [finding.as_json() for finding in findings]


def as_sarif(findings: Sequence[Finding]) -> dict[str, object]:
    """One run of SARIF 2.1.0, as code scanning services take it. Paths are as the user named them."""
    rules = sorted({finding.rule for finding in findings})
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "hpctools conf lint",
                        "version": __version__,
                        "rules": [{"id": rule} for rule in rules],
                    }
                },
                "results": [_result(finding, rules) for finding in findings],
            }
        ],
    }


def as_github(findings: Iterable[Finding]) -> list[str]:
    """Workflow commands that GitHub shows beside the lines of a change."""
    return [
        f"::{_SARIF[finding.severity]} file={_property(os.path.normpath(finding.file))},line={finding.line},"
        f"title={_property(f'{finding.severity}: {finding.rule}')}::{_data(_sentence(finding))}"
        for finding in findings
    ]


def _result(finding: Finding, rules: Sequence[str]) -> dict[str, object]:
    place = {
        "artifactLocation": {"uri": _uri(finding.file)},
        "region": {"startLine": finding.line},
    }
    return {
        "ruleId": finding.rule,
        "ruleIndex": rules.index(finding.rule),
        "level": _SARIF[finding.severity],
        "message": {"text": _sentence(finding)},
        "locations": [{"physicalLocation": place}],
        "properties": {"severity": finding.severity},
    }


def _uri(path: str) -> str:
    from urllib.parse import quote

    found = PurePath(os.path.normpath(path))
    encoded = str(found).encode("utf-8", "surrogateescape")
    return f"file://{quote(encoded)}" if found.is_absolute() else quote(encoded)


def _sentence(finding: Finding) -> str:
    return f"{finding.message} ({finding.hint})" if finding.hint else finding.message


def _data(text: str) -> str:
    # https://docs.github.com/actions: what a workflow command's text must not hold as it is.
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
