"""SGLang's own launcher of router and workers, which also ends when one of them does: by itself it would not notice.

    python -m judges.supervised_sglang ...      instead of python -m sglang_router.launch_server ...

The router gets a process of its own, as it would keep this one, with all its threads, from looking at anything else.
sglang-router 0.3.2. Run by the server's own Python.
"""

from __future__ import annotations

import sys
from multiprocessing import Process
from multiprocessing.connection import wait
from typing import Any

_END_SECONDS = 10.0


def main() -> None:
    """Launch, with the same arguments."""
    from sglang_router import launch_server

    start, route, workers = launch_server.launch_server_process, launch_server.launch_router, []

    def start_worker(*arguments: Any) -> Any:
        workers.append(start(*arguments))
        return workers[-1]

    def run_router(arguments: Any) -> None:
        router = Process(target=route, args=[arguments])
        router.start()
        names = {process.sentinel: f"{name} {process.pid}" for name, process in _named(router, workers)}
        ended = [names[sentinel] for sentinel in wait(names) if isinstance(sentinel, int)]
        print(f"{', '.join(ended)} has ended, and so does all of it", file=sys.stderr, flush=True)
        router.terminate()
        launch_server.cleanup_processes(workers)
        router.join(_END_SECONDS)
        router.kill()
        sys.exit(1)

    launch_server.launch_server_process, launch_server.launch_router = start_worker, run_router
    launch_server.main()


def _named(router: Process, workers: list[Any]) -> list[tuple[str, Any]]:
    return [("the router", router), *((f"worker {number}", worker) for number, worker in enumerate(workers))]


if __name__ == "__main__":
    main()
