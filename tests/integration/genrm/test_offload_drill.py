"""The drill of `nox -s chaos` in short: workers and the server are killed, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.drill import Drill, Plan
from chaos.verdict import faults_of


@pytest.mark.parametrize("profile", ["vllm-0.32.0", "vllm-0.16.0"])
async def test_nothing_is_lost_and_the_judge_sleeps_in_the_end(profile: str, tmp_path: Path) -> None:
    plan = Plan(profile, processes=3, batches=3, batch_size=16, worker_killed=0.7, server_killed=0.7, part_woken=1.0)
    report = await Drill(plan, tmp_path).run()
    assert faults_of(report) == []
    assert report.workers_killed
    assert report.servers_killed
    assert len(report.outcomes) == plan.batches * plan.batch_size
