"""The recorded answers of each release, for tests that ask for them."""

from __future__ import annotations

import pytest

from tests.jobs import replay


@pytest.fixture(params=replay.RELEASES)
def release(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The release whose answers a test gets; it runs once with each."""
    monkeypatch.setattr(replay, "release", request.param)
    return str(request.param)
