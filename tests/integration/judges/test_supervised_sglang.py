"""SGLang's launcher as the judge's program: the real one of sglang-router, with stand-ins for SGLang's servers."""

from __future__ import annotations

import io
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from rich.console import Console

import genrm
from fake_nvml import Card, FakeNvml
from judges.host import StartError
from judges.launch import launched
from judges.options import Options

pytestmark = pytest.mark.skipif(find_spec("sglang_router") is None, reason="sglang-router is not installed")

# What sglang_router.launch_server takes from SGLang.
_STAND_INS = {
    "server_args.py": """
class ServerArgs:
    grpc_mode, tp_size = False, 1

    @staticmethod
    def add_cli_args(parser):
        for name in ("--model-path", "--served-model-name", "--host", "--mem-fraction-static"):
            parser.add_argument(name)
        parser.add_argument("--port", type=int)
        parser.add_argument("--dp-size", type=int)
        for name in ("--enable-memory-saver", "--enable-weights-cpu-backup"):
            parser.add_argument(name, action="store_true")

    @classmethod
    def from_cli_args(cls, given):
        made = cls()
        made.__dict__.update(vars(given))
        return made
""",
    "utils.py": """
import socket

def is_port_available(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0
""",
    # A worker is a mock, but for those that are to die.
    "entrypoints/http_server.py": """
import os
from mock_server.cli import app

def launch_server(given):
    if os.environ["SGLANG_DP_RANK"] in os.environ["RANKS_THAT_DIE"]:
        raise MemoryError("no room for the weights")
    app(["--host", given.host, "--port", str(given.port), "--profile", "sglang-0.5.23"])
""",
}


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    """Two workers on two GPUs that are none."""
    for name, code in _STAND_INS.items():
        path = tmp_path / "sglang" / "srt" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(genrm.__file__).parents[1])]))
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(Card("GPU-a"), Card("GPU-b")))
    return Options("sglang", work=tmp_path, dp_size=2, start_timeout=300)


def test_it_comes_up_with_all_its_workers_and_ends(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKS_THAT_DIE", "none")
    shown = io.StringIO()
    with launched(options, Console(file=shown)) as judge:
        workers = judge.workers()
        assert [httpx.get(f"{url}/health").status_code for url in workers] == [200, 200]
    assert "sglang ended" in shown.getvalue()
    assert "no process of it is left" in shown.getvalue()


def test_a_worker_that_dies_ends_it(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKS_THAT_DIE", "1")
    says = r"(?s)sglang ended with exit code 1; .*worker 1 \d+ has ended, and so does all of it"
    with pytest.raises(StartError, match=says), launched(options, Console(file=io.StringIO())) as judge:
        raise AssertionError(judge.log.read_text())
    [log] = options.work.glob("sglang-*.log")
    assert "no room for the weights" in log.read_text()
