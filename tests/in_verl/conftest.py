"""One Ray cluster for all, and eight processes that score. Where verl is not installed nothing is collected."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from in_verl.reward_loops import RewardLoops

TESTS = Path(__file__).parents[1]
WORKERS = 8

collect_ignore_glob = [] if find_spec("verl") and find_spec("ray") else ["test_*.py"]

if not collect_ignore_glob:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what verl and its libraries warn of is not ours
        import verl.experimental.reward_loop
        import verl.trainer.ppo.ray_trainer
        import verl.workers.reward_manager  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings of verl and Ray are no errors."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """A Ray cluster of this machine alone, whose processes find what this one finds; its address."""
    import ray

    path = os.pathsep.join([str(TESTS.parent), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    # Ray puts sockets there, whose names may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        context = ray.init(
            num_cpus=64,  # so many actors at once; they wait most of the time
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            object_store_memory=200_000_000,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
            runtime_env={"env_vars": {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}},
        )
        yield context.address_info["gcs_address"]
        ray.shutdown()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with all of it that the reward loop reads: its tokenizer."""
    from parity.tiny_model import byte_level_tokenizer

    folder = tmp_path_factory.mktemp("model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        byte_level_tokenizer().save_pretrained(folder)  # type: ignore[no-untyped-call]
    return folder


@pytest.fixture(scope="session")
def loops(cluster: str, model: Path) -> Iterator[RewardLoops]:
    """verl's reward loop with any configuration."""
    from in_verl.reward_loops import RewardLoops

    with RewardLoops(model, WORKERS) as shared:
        yield shared
