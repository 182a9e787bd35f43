"""Where no engine can be had, it is said why."""

from __future__ import annotations

import pytest

pytest.importorskip("docker", reason="the Docker SDK is not installed; nox -s docker brings it")

from in_docker.engine import NoEngine, engine


@pytest.fixture(autouse=True)
def _nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


def test_only_root_can_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(NoEngine, match="no Docker engine answers"), engine():
        pass


def test_one_that_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda *_args, **_more: "/bin/false")
    with pytest.raises(NoEngine, match="does not serve"), engine():
        pass
