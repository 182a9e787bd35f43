"""The offload's drill against the judge that was launched: workers are killed, and a trainer needs the memory."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from chaos.drill import Drill, Plan
from chaos.verdict import faults_of
from judges import cases, memory
from judges.fleet import LaunchedFleet
from judges.launch import Judge


@pytest.mark.usefixtures("can_sleep")
async def test_nothing_is_lost_and_a_trainer_finds_its_memory(
    judge: Judge, settings: dict[str, Any], tmp_path: Path
) -> None:
    known = cases.for_judge(judge)
    exact = cases.required(judge) == 1.0

    def samples(batch: int, size: int) -> list[dict[str, Any]]:
        return [
            {
                "id": f"{batch}-{index}",
                "problem": case.problem,
                "solution": case.solution,
                "answer": "",
                "verdict": int(case.label) if exact else None,  # a real model may err
            }
            for index, case in enumerate(islice(cycle(known), size))
        ]

    chances = {"worker_killed": 0.5, "server_killed": 0.0, "part_woken": 0.0}
    plan = Plan(judge.kind.name, seed=1, processes=3, batches=5, batch_size=16, samples=samples, **chances)
    report = await Drill(plan, tmp_path, fleet=LaunchedFleet(judge, memory.of(judge), settings)).run()
    assert faults_of(report) == []
    assert len(report.outcomes) == plan.batches * plan.batch_size
    assert report.workers_killed
    assert report.undisturbed  # batches after which the judge had to be asleep at once
