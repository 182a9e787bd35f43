"""The command `genrm-mock`, also `python -m mock_server`: a GenRM judge on your machine, with no GPU."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from mock_server.serving.http_server import HttpServer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_HELP = """Serve a mock of a generative reward model (vLLM's or SGLang's API, answers by script).

\b
Examples:
  genrm-mock
  genrm-mock --port 8000 --served-model-name my-judge
  genrm-mock --scenario my.yaml --seed 7
  VLLM_SERVER_DEV_MODE=1 genrm-mock --tokens-per-second 200
  VLLM_SERVER_DEV_MODE=1 genrm-mock --profile vllm-0.16.0
  VLLM_SERVER_DEV_MODE=1 genrm-mock --gpu-semantics --gpu-memory 141 --weights-memory 15
  genrm-mock --profile sglang-0.5.23 --enable-memory-saver
  genrm-mock validate my.yaml
  genrm-mock record --upstream http://gpu1:30000 --cassette run.json
  genrm-mock replay run.json
  curl http://127.0.0.1:30000/v1/models

The flags are named like vLLM's and SGLang's. VLLM_SERVER_DEV_MODE=1 turns on vLLM's /sleep, /wake_up, /is_sleeping,
/pause, /resume, /is_paused and /abort_requests.
"""

# By variables, too: in a container there is one address that others reach, and its health check must know the port.
_HOST = typer.Option(
    envvar="MOCK_SERVER_HOST",
    show_envvar=True,
    help="Address to listen on. Keep it local: an API key does not guard all of it.",
)
_PORT = typer.Option(
    envvar="MOCK_SERVER_PORT",
    show_envvar=True,
    min=0,
    max=65535,
    help="Port to listen on; 0 takes a free one.",
)


@app.callback(help=_HELP, invoke_without_command=True)
def serve(
    context: typer.Context,
    host: Annotated[str, _HOST] = "127.0.0.1",
    port: Annotated[int, _PORT] = 30000,
    served_model_name: Annotated[str, typer.Option(help="Name of the model.")] = "genrm-demo",
    max_model_len: Annotated[
        int,
        typer.Option(
            "--max-model-len", "--context-length", min=1, help="Tokens of prompt and answer; 1 byte = 1 token."
        ),
    ] = 32768,
    api_key: Annotated[
        str | None, typer.Option(help="Key that requests must bring: on vLLM those to /v1, on SGLang nearly all.")
    ] = None,
    admin_api_key: Annotated[
        str | None, typer.Option(help="SGLang: the key for memory, pauses, aborts and caches, instead of the other.")
    ] = None,
    enable_memory_saver: Annotated[
        bool, typer.Option("--enable-memory-saver", help="SGLang: releasing memory frees it.")
    ] = False,
    enable_weights_cpu_backup: Annotated[
        bool, typer.Option("--enable-weights-cpu-backup", help="SGLang: released weights are kept.")
    ] = False,
    enable_cache_report: Annotated[
        bool, typer.Option("--enable-cache-report", help="SGLang: usage says how much of a prompt was in the cache.")
    ] = False,
    enable_sleep_mode: Annotated[  # noqa: ARG001 - accepted so that launch commands carry over
        bool,
        typer.Option(
            "--enable-sleep-mode",
            help="Accepted and without effect: on the real server it only decides whether /sleep frees GPU memory. "
            "The endpoints depend on VLLM_SERVER_DEV_MODE alone.",
        ),
    ] = False,
    enable_request_id_headers: Annotated[
        bool, typer.Option("--enable-request-id-headers", help="Add X-Request-Id to every answer.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another seed gives other draws for every request.")] = 0,
    scenario: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="The script to answer by; without it the bundled one.")
    ] = None,
    profile: Annotated[
        str,
        typer.Option(
            metavar="VERSION",
            help="The server to be: vllm-0.33.0, vllm-0.28.0, vllm-0.23.0, vllm-0.16.0, vllm-0.10.0, sglang-0.5.23.",
        ),
    ] = "vllm-0.32.0",
    gpu_semantics: Annotated[
        bool,
        typer.Option(
            "--gpu-semantics",
            help="Behave as with a GPU: computing on sleeping memory kills the engine, a sleep at level 2 (SGLang: a "
            "release without a backup) loses the weights, and memory runs out.",
        ),
    ] = False,
    gpu_memory: Annotated[float, typer.Option(metavar="GIB", help="Size of the simulated GPU.")] = 80.0,
    gpu_memory_utilization: Annotated[
        float,
        typer.Option(
            "--gpu-memory-utilization",
            "--mem-fraction-static",
            min=0,
            max=1,
            help="Share of it that the server takes; of SGLang, its weights and KV cache.",
        ),
    ] = 0.9,
    weights_memory: Annotated[
        float, typer.Option(metavar="GIB", help="Size of the weights; the rest of that share is KV cache.")
    ] = 15.0,
    tokens_per_second: Annotated[
        float | None, typer.Option(min=0.001, help="Speed of each generation; without it answers come at once.")
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Append each request and its answer, a JSON line each.")
    ] = None,
    control: Annotated[
        bool, typer.Option("--control/--no-control", help="The control API under /_mock: state, journal, faults.")
    ] = True,
) -> None:
    """Check everything, bind the port, then serve until a signal comes."""
    if context.invoked_subcommand:
        return
    # Imported here so that --help and shell completion are instant.
    from mock_server.config import ServerConfig
    from mock_server.scenario.files import ScenarioError
    from mock_server.server import Mock
    from mock_server.serving.http_server import MortalServer

    dev_mode = os.environ.get("VLLM_SERVER_DEV_MODE", "0") == "1"
    config = ServerConfig(
        scenario=scenario,
        seed=seed,
        tokens_per_second=tokens_per_second,
        served_model_name=served_model_name,
        max_model_len=max_model_len,
        api_key=api_key,
        admin_api_key=admin_api_key,
        enable_memory_saver=enable_memory_saver,
        enable_weights_cpu_backup=enable_weights_cpu_backup,
        memory_saver_cuda_graph=os.environ.get("SGLANG_MEMORY_SAVER_CUDA_GRAPH", "").lower() in ("1", "true"),
        enable_cache_report=enable_cache_report,
        dev_mode=dev_mode,
        request_id_headers=enable_request_id_headers,
        journal_file=journal,
        control=control,
        profile=profile,
        gpu_semantics=gpu_semantics,
        gpu_memory=gpu_memory,
        gpu_memory_utilization=gpu_memory_utilization,
        weights_memory=weights_memory,
    )
    try:
        mock = Mock(config)
    except OSError as error:
        _fail(f"cannot write the journal: {error}", code=1)
    except ScenarioError as error:
        _fail(f"wrong scenario:\n{error}", code=2)
    except ValueError as error:
        _fail(str(error), code=2)
    _run(
        MortalServer(mock),
        *(host, port),
        f"model {served_model_name}  scenario {scenario or 'default'}  seed {seed}",
        f"dev mode {'on: /sleep, /wake_up, ...' if dev_mode else 'off (VLLM_SERVER_DEV_MODE=1)'}",
    )


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.yaml...", help="Scenarios to look through.")],
) -> None:
    """Look a scenario through: mistakes, and rules and faults that can never match. Exits with 1 if there are any."""
    from mock_server.lint import findings

    found = [finding for path in files for finding in findings(path)]
    for finding in found:
        typer.echo(finding)
    if found:
        raise typer.Exit(1)
    typer.echo(f"genrm-mock: nothing to say against {', '.join(map(str, files))}")


@app.command()
def record(
    upstream: Annotated[str, typer.Option(metavar="URL", help="The real server, such as http://gpu1:30000.")],
    cassette: Annotated[Path, typer.Option(metavar="FILE.json", help="Where the answers go; added to if it is there.")],
    host: Annotated[str, _HOST] = "127.0.0.1",
    port: Annotated[int, _PORT] = 30000,
) -> None:
    """Stand before a real server, pass everything on, and record what it answers. Keys are not recorded."""
    from mock_server.cassettes.apps import recording_app
    from mock_server.cassettes.cassette import CassetteError
    from mock_server.serving.http_server import HttpServer

    try:
        app = recording_app(upstream, cassette)
    except CassetteError as error:
        _fail(str(error), code=2)
    _run(HttpServer(app), host, port, f"records {upstream} to {cassette}")


@app.command()
def replay(
    cassette: Annotated[Path, typer.Argument(metavar="FILE.json", help="What was recorded.")],
    host: Annotated[str, _HOST] = "127.0.0.1",
    port: Annotated[int, _PORT] = 30000,
) -> None:
    """Answer with what was recorded. A request that was not gets 404 and the nearest one that was."""
    from mock_server.cassettes.apps import replay_app
    from mock_server.cassettes.cassette import Cassette, CassetteError
    from mock_server.serving.http_server import HttpServer

    try:
        recorded = Cassette.load(cassette)
    except CassetteError as error:
        _fail(str(error), code=2)
    _run(HttpServer(replay_app(recorded)), host, port, f"replays {len(recorded.answers)} requests of {cassette}")


def _run(server: HttpServer, host: str, port: int, what: str, *more: str) -> None:
    """Bind, say so, and serve until a signal comes."""
    from mock_server.serving.http_server import bind

    try:
        listener = bind(host, port)
    except (OSError, UnicodeError) as error:
        _fail(f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}", code=1)
    for signum in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises the signal again once it has shut down; then this ends the process with code 0.
        signal.signal(signum, lambda *_: sys.exit(0))
    lines = (f"http://{host}:{listener.getsockname()[1]}  {what}", *more)
    typer.echo("\n".join(f"genrm-mock: {line}" for line in lines))
    sys.stdout.flush()
    server.run([listener])


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"genrm-mock: {message}", err=True)
    raise typer.Exit(code)
