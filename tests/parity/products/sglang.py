"""SGLang on CPU: its wheel, with stubs in place of the kernels (see sglang_cpu/sitecustomize.py)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parity.cases import ADMIN_KEY, API_KEY, CONTEXT, MODEL, Request
from parity.products.product import FOLDER, Ask, Flavour, Product

_SAID = "What it says does not matter, and it goes on saying it until somebody makes an end of it. " * 20
"""To strangers: in ASCII, as the real server's model."""
_JSON = {"Content-Type": "application/json"}


def _command(python: str, model: Path, port: int) -> list[str]:
    command = [python, "-m", "sglang.launch_server", "--model-path", str(model), "--served-model-name", MODEL]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--context-length", str(CONTEXT)]
    command += ["--device", "cpu", "--attention-backend", "torch_native", "--sampling-backend", "pytorch"]
    command += ["--disable-overlap-schedule", "--disable-cuda-graph"]
    # A model with random weights would write white space until max_tokens.
    command += ["--constrained-json-disable-any-whitespace"]
    return [*command, "--mem-fraction-static", "0.1", "--max-total-tokens", "20000"]


def _is_idle(ask: Ask, headers: Mapping[str, str]) -> bool:
    """It flushes its cache only when it works on nothing. So each case also begins with an empty one."""
    return ask(Request("POST", "/flush_cache", headers=headers)).status == 200


def _state(ask: Ask) -> dict[str, Any]:
    return {"ready": ask(Request("GET", "/ready")).status}


SGLANG = Product(
    name="sglang",
    title="SGLang",
    version="0.5.23",
    flavours={
        "plain": Flavour(),
        "metrics": Flavour(arguments=("--enable-metrics", "--enable-cache-report"), mock={"enable_cache_report": True}),
        "apikey": Flavour(
            arguments=("--api-key", API_KEY),
            mock={"api_key": API_KEY},
            headers={"Authorization": f"Bearer {API_KEY}"},
        ),
        "adminkey": Flavour(
            arguments=("--admin-api-key", ADMIN_KEY),
            mock={"admin_api_key": ADMIN_KEY},
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
        ),
        "bothkeys": Flavour(
            arguments=("--api-key", API_KEY, "--admin-api-key", ADMIN_KEY),
            mock={"api_key": API_KEY, "admin_api_key": ADMIN_KEY},
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
        ),
        "mortal": Flavour(dies=True),
    },
    short="plain",
    mock={
        "profile": "sglang-0.5.23",
        "scenario": {"repeatable": False, "unrecognised": _SAID},
        "health_seconds": 0.05,
    },
    command=_command,
    environment={
        "PYTHONPATH": str(FOLDER / "sglang_cpu"),
        "SGLANG_USE_CPU_ENGINE": "1",
        "OMP_NUM_THREADS": "1",
        # Seconds after which /health gives up on a paused server; 20 if nothing is said.
        "SGLANG_HEALTH_CHECK_TIMEOUT": "3",
    },
    own_variables="SGLANG_",
    model=("--layers", "4", "--printable"),
    # Others measure time, or count these very requests.
    metrics="sglang:(num_.*|prompt_tokens_total|generation_tokens_total|cached_tokens_total)",
    running="sglang:num_running_reqs",
    wake=(
        Request("POST", "/abort_request", b'{"abort_all": true}', _JSON),
        Request("POST", "/continue_generation", b"{}", _JSON),
    ),
    is_idle=_is_idle,
    state=_state,
)
