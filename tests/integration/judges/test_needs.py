"""What a machine may lack is said in one line that says what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from judges.launch import gpu_lacks, lacks
from judges.options import Options
from judges.programs import KINDS, needs


def _without_driver() -> None:
    raise OSError("NVML Shared Library Not Found")


@pytest.mark.parametrize("server", [kind.name for kind in KINDS.values() if kind.gpu])
def test_a_gpu(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "NvmlProbe", _without_driver)
    assert lacks(Options(server)) == (
        f"{server} needs an NVIDIA GPU, and none is seen here (NVML: NVML Shared Library Not Found); "
        "--server vllm-cpu, hf, mock and mock-sglang need none"
    )


def test_servers_on_cpu_need_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "NvmlProbe", _without_driver)
    assert not any(gpu_lacks(Options(kind.name)) for kind in KINDS.values() if not kind.gpu)


def test_an_engine() -> None:
    missing = needs.engine("no_such_engine", "pip install it")(Options("vllm"))
    assert missing == f"{sys.executable} has no no_such_engine: pip install it, or name another one by JUDGE_PYTHON"
    assert needs.engine("json", "")(Options("vllm")) is None


def test_a_model_in_a_folder(tmp_path: Path) -> None:
    assert needs.model(str(tmp_path), sys.executable) == f"the folder {tmp_path} holds no model (config.json)"
    (tmp_path / "config.json").touch()
    assert needs.model(str(tmp_path), sys.executable) is None


def test_a_model_that_the_hub_does_not_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In place of the Hub's client, which is the engine's.
    (tmp_path / "huggingface_hub.py").write_text("def hf_hub_download(*_): raise OSError('no such\\nmodel')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    missing = needs.model("nobody/nothing", sys.executable)
    assert (
        missing
        == "the model nobody/nothing cannot be had (model): --model or GENRM_MODEL names a folder or another one"
    )
