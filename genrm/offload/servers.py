"""How a judge's server sleeps and wakes: what every kind of server can do, and several servers as one."""

from __future__ import annotations

import enum
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import anyio
import httpx

from genrm.errors import JudgeError, JudgeTimeout, JudgeUnreachable, OffloadError

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
"""How often a server is asked whether it has come to where it should be."""
AGAIN_SECONDS = 1.0
"""Before what failed, and may pass, is tried again."""
CALL_SECONDS = 30.0
"""For a call that has nothing to wait for."""


class Seen(str, enum.Enum):
    """What a server was seen to be."""

    AWAKE = "awake"
    ASLEEP = "asleep"
    """Or partly, or paused: it does not answer requests."""
    GONE = "gone"
    """It refuses connections or is not ready: dead, or starting."""


class Server(Protocol):
    """One server's memory. All of it raises OffloadError for a server that cannot do as told."""

    url: str

    async def look(self) -> Seen:
        """What it is now."""

    async def sleep(self) -> None:
        """Let what is in flight finish, then sleep; returns when it was seen asleep. Raises JudgeError, too."""

    async def wake(self, finish_sleep: bool) -> None:
        """Wake up, all of it; returns when it was seen awake. Raises JudgeError, too.

        Args:
            finish_sleep: somebody died over putting it to sleep: that may still be under way, and is finished first.
        """

    async def reload(self) -> None:
        """Load the weights again from where they came. Raises JudgeError, too."""


class Control:
    """Calls to one server's control endpoints.

    Args:
        url: of the server.
        http: sends them.
        key: of every call; "" for none.
        admin_key: of POSTs, in the place of `key`: SGLang refuses it where one only looks.
    """

    def __init__(self, url: str, http: httpx.AsyncClient, key: str = "", admin_key: str = "") -> None:
        self.url = url
        self._http = http
        self._keys = {"GET": key, "POST": admin_key or key}

    def at(self, url: str) -> Control:
        """Calls to another server, with the same keys."""
        return Control(url, self._http, self._keys["GET"], self._keys["POST"])

    async def call(self, method: str, path: str, seconds: float = CALL_SECONDS, json: object = None) -> httpx.Response:
        """Make a call.

        Raises:
            JudgeUnreachable, JudgeTimeout: there is no answer.
        """
        url = self.url + path
        headers = {"authorization": f"Bearer {self._keys[method]}"} if self._keys[method] else None
        try:
            with anyio.fail_after(seconds):
                return await self._http.request(method, url, json=json, headers=headers, timeout=None)
        except (TimeoutError, httpx.TimeoutException):
            raise JudgeTimeout(url, f"no answer within {seconds:g} s") from None
        except httpx.HTTPError as error:
            raise JudgeUnreachable(url, f"{type(error).__name__}: {error}") from None


async def until(condition: Callable[[], Awaitable[bool]], seconds: float, what: str, url: str) -> None:
    """Wait for a condition.

    Raises:
        OffloadError: it did not come to hold; `what` says what did not happen.
    """
    try:
        with anyio.fail_after(seconds):
            while not await condition():  # noqa: ASYNC110 - another process's state, no event of ours
                await anyio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise OffloadError(f"{url}: {what} within {seconds:g} s") from None


class Servers:
    """Several servers as one: asleep when all are, awake when all are.

    Args:
        servers: each with its own URL.
        check: raises if an awake server answers garbage.
    """

    def __init__(self, servers: Sequence[Server], check: Callable[[Server], Awaitable[None]]) -> None:
        self._servers = servers
        self._check = check

    async def look(self, to_sleep: bool = False) -> Seen:
        """What one of them is seen to be that should not, else what all are.

        Args:
            to_sleep: whether they should be asleep, so that the first of AWAKE, GONE, ASLEEP is told; else they should
                be awake, and it is the first of GONE, ASLEEP, AWAKE.
        """
        seen = (await self.look_at_each()).values()
        order = (Seen.AWAKE, Seen.GONE, Seen.ASLEEP) if to_sleep else (Seen.GONE, Seen.ASLEEP, Seen.AWAKE)
        return next(state for state in order if state in seen)

    async def look_at_each(self) -> dict[str, Seen]:
        """What each is now, by its URL."""
        return {server.url: await server.look() for server in self._servers}

    async def sleep(self) -> None:
        """As `Server.sleep`. The first error is raised when all are done."""
        await self._each(lambda server: server.sleep())

    async def wake(self, finish_sleep: bool = False) -> None:
        """As `Server.wake`, and each is asked whether it still knows what it knew. Raises JudgeGarbage, too.

        Of JudgeErrors only those are raised that do not pass.
        """
        await self._each(lambda server: self._wake(server, finish_sleep))

    async def _wake(self, server: Server, finish_sleep: bool) -> None:
        """Wake one. It may die, restart or be busy meanwhile: what may pass is tried again until this is cancelled."""
        said = ""
        while True:
            try:
                await server.wake(finish_sleep)
                finish_sleep = False
                return await self._check(server)
            except JudgeError as error:
                if not error.retryable:
                    raise
                if str(error) != said:
                    said = str(error)
                    logger.warning("while the judge was woken: %s", error)
            await anyio.sleep(AGAIN_SECONDS)

    async def _each(self, act: Callable[[Server], Awaitable[None]]) -> None:
        errors: list[Exception] = []

        async def safely(server: Server) -> None:
            try:
                await act(server)
            except (JudgeError, OffloadError) as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            for server in self._servers:
                tasks.start_soon(safely, server)
        if errors:
            raise errors[0]
