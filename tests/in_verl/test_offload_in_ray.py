"""The judge sleeps between batches that verl scores in eight processes: one wake and one sleep a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from in_verl.judgements import sums, verdicts
from in_verl.reward_loops import RewardLoops, overrides
from mock_server import MockServer

BATCH = 32


@pytest.mark.parametrize("ledger", ["auto", "ray", "file"])
def test_one_wake_and_one_sleep_a_batch(
    loops: RewardLoops, mock_server_factory: Callable[..., MockServer], tmp_path: Path, ledger: str
) -> None:
    judge = mock_server_factory(gpu_semantics=True)
    httpx.post(f"{judge.base_url}/sleep").raise_for_status()
    settings = {
        "BASE_URL": judge.base_url,
        "USE_OFFLOAD": 1,
        "BATCH_SIZE": BATCH,
        "OFFLOAD_LEDGER": ledger,
        "OFFLOAD_DIR": tmp_path,
        "IDLE_LINGER": 600,
    }
    manager = loops.start("reward.num_workers=8", *overrides("package", settings))
    seen = len(judge.journal)
    for step in range(3):
        rows = sums(BATCH, start=100 * step)
        result = manager.compute_rm_score(loops.batch(rows))
        assert judge.engine.is_sleeping  # now training could take the GPU
        news = judge.journal[seen:]
        seen += len(news)
        told = Counter(exchange.path for exchange in news if exchange.path in ("/wake_up", "/sleep"))
        assert told == {"/wake_up": 1, "/sleep": 1}
        assert news[-1].path == "/sleep"
        assert all(exchange.state and not exchange.state.asleep for exchange in news if exchange.completion)
        assert result.non_tensor_batch["genrm_verdict"].tolist() == verdicts(judge.requests, rows)
        assert -1 not in result.non_tensor_batch["genrm_verdict"]
    # Processes that are connected to a cluster keep it there by themselves.
    assert bool(list(tmp_path.iterdir())) == (ledger == "file")
