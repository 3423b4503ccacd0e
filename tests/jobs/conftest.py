"""The recorded answers of each release, for tests that ask for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs import replay


@pytest.fixture(autouse=True)
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves records of jobs that never were to those that look for real ones."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "records"))


@pytest.fixture(params=replay.RELEASES)
def release(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The release whose answers a test gets; it runs once with each."""
    monkeypatch.setattr(replay, "release", request.param)
    return str(request.param)
