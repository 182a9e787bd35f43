"""The simulated GPU by itself: who fits beside whom, and what becomes of the weights."""

from __future__ import annotations

import pytest

from mock_server.engine.gpu import OutOfMemory, SimulatedGpu


@pytest.fixture
def gpu() -> SimulatedGpu:
    """80 GiB, of which a server takes 72."""
    return SimulatedGpu.of_vllm(80, 0.9, 15)


def test_numbers(gpu: SimulatedGpu) -> None:
    gpu.claim({"trainer": 5})
    assert gpu.as_json() == {
        "total": 80,
        "free": 3,
        "used": 72,
        "runtime": 1.2,
        "weights": 15,
        "kv_cache": 55.8,
        "claims": {"trainer": 5},
        "weights_lost": False,
    }


def test_a_claim_that_does_not_fit_changes_nothing(gpu: SimulatedGpu) -> None:
    gpu.claim({"trainer": 8})
    with pytest.raises(OutOfMemory) as refused:
        gpu.claim({"trainer": 60, "evaluator": 1})
    assert str(refused.value) == (
        "CUDA out of memory. Tried to allocate 53.00 GiB. GPU 0 has a total capacity of 80.00 GiB of which 0.00 GiB is "
        "free."
    )
    assert gpu.claims == {"trainer": 8}
    gpu.claim({"evaluator": 3})  # takes the other's place
    assert gpu.claims == {"evaluator": 3}


def test_parts_are_taken_together_or_not_at_all(gpu: SimulatedGpu) -> None:
    gpu.unmap(["weights", "kv_cache"])
    gpu.claim({"trainer": 60})
    with pytest.raises(OutOfMemory):
        gpu.map(["weights", "kv_cache"])
    assert gpu.mapped == set()
    gpu.map(["weights"])
    assert gpu.free == pytest.approx(3.8)


def test_weights_without_a_copy_are_lost_until_they_are_loaded(gpu: SimulatedGpu) -> None:
    gpu.unmap(["kv_cache"], keep_weights=False)
    assert not gpu.weights_lost
    gpu.unmap(["weights"], keep_weights=False)
    gpu.map(["weights"])
    gpu.unmap(["weights"])  # the copy is one of garbage
    gpu.map(["weights"])
    assert gpu.as_json()["weights_lost"]
    gpu.load_weights()
    assert not gpu.as_json()["weights_lost"]


def test_a_dead_server_holds_nothing_and_may_find_no_room(gpu: SimulatedGpu) -> None:
    gpu.stop()
    assert (gpu.used, gpu.as_json()["kv_cache"]) == (0, 0)
    gpu.claim({"trainer": 70})
    with pytest.raises(OutOfMemory):
        gpu.start()
    gpu.claim({})
    gpu.start()
    assert gpu.used == 72


def test_parts_of_any_name() -> None:
    gpu = SimulatedGpu(24, {"weights": 3, "kv_cache": 10, "cuda_graph": 1}, runtime=2)
    gpu.unmap(["cuda_graph"])
    assert gpu.used == 15


@pytest.mark.parametrize(
    ("total", "utilization", "weights"), [(80, 0.2, 15), (80, 0.9, 0), (80, 1.1, 15)], ids=["no cache", "none", "more"]
)
def test_a_server_that_does_not_fit_is_refused(total: float, utilization: float, weights: float) -> None:
    with pytest.raises(ValueError, match="a GPU of 80 GiB cannot hold"):
        SimulatedGpu.of_vllm(total, utilization, weights)
