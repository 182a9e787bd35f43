"""Async functions for callers that can only block: an event loop in a thread of its own, one a process.

A loop for each call would open connections for each call, and with offload the judge would be put to sleep after it.
Nothing ends this loop but the process.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_lock = threading.Lock()


def run_blocking(function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """What an async function returns or raises. Any thread may call it, also one with a running event loop."""
    with _lock:
        loop = _loop_of(os.getpid())
    future = asyncio.run_coroutine_threadsafe(function(*args, **kwargs), loop)
    try:
        return future.result()
    finally:
        future.cancel()  # where the caller was interrupted; else it is done


@cache
def _loop_of(_process: int) -> asyncio.AbstractEventLoop:
    # By process: a fork has the loop, and not its thread.
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="genrm", daemon=True).start()
    return loop
