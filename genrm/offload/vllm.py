"""How vLLM sleeps and wakes, by its version (contract sections 2, 5 and 6; the endpoints are those of its dev mode)."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

import anyio
from packaging.version import InvalidVersion, Version

from genrm.errors import JudgeError, JudgeOverloaded, JudgeTimeout, JudgeUnreachable, OffloadError, OffloadRefused
from genrm.offload.servers import AGAIN_SECONDS, Control, Seen, until

logger = logging.getLogger(__name__)

ASLEEP_SECONDS = 30.0
"""From the answer to /sleep until it is seen asleep."""
NO_DEV_MODE = (
    "{url} has no /is_sleeping, so it cannot be put to sleep. Start vLLM with VLLM_SERVER_DEV_MODE=1 in its "
    "environment and --enable-sleep-mode, or set GENRM_USE_OFFLOAD=0"
)


@dataclass(frozen=True)
class Rules:
    """What a version can do.

    Attributes:
        sleep_drains: /sleep pauses, and waits for what is in flight with mode=wait (0.17).
        pause: the query by which /pause waits for what is in flight; "" where there is no /pause (0.12).
        wakes_in_parts: waking the weights alone leaves requests waiting (0.24).
    """

    sleep_drains: bool
    pause: str
    wakes_in_parts: bool

    @classmethod
    def of(cls, version: str) -> Rules:
        """The rules of a version as /version says it; one that cannot be read is taken for the newest."""
        try:
            release = Version(version).release
        except InvalidVersion:
            logger.warning("vLLM's version %r cannot be read; it is taken for the newest", version)
            release = (9999,)
        pause = "" if release < (0, 12) else "wait_for_inflight_requests=true" if release < (0, 16) else "mode=wait"
        return cls(sleep_drains=release >= (0, 17), pause=pause, wakes_in_parts=release >= (0, 24))


class VllmServer:
    """One vLLM server.

    Args:
        control: its endpoints.
        level: 1 keeps the weights in the host's memory; 2 drops them.
        reload_weights: whether /collective_rpc may load the weights again.
        drain_seconds: how long strangers' requests may take to finish before they are aborted.
    """

    def __init__(self, control: Control, level: int, reload_weights: bool, drain_seconds: float) -> None:
        self.url = control.url
        self._control = control
        self._level = level
        self._reloads = reload_weights
        self._drain_seconds = drain_seconds

    async def look(self) -> Seen:
        """As `Server.look`."""
        try:
            asleep = await self._flag("is_sleeping")
            if asleep is None:
                raise OffloadRefused(NO_DEV_MODE.format(url=self.url))
            # From 0.17 on the first says this, too.
            return Seen.ASLEEP if asleep or await self._flag("is_paused") else Seen.AWAKE
        except JudgeError:
            return Seen.GONE

    async def sleep(self) -> None:
        """As `Server.sleep`. One that sleeps is not woken for it: training may have the memory."""
        rules = await self._rules()
        await self.look()  # refuses one that cannot sleep, before it is told anything
        if rules.sleep_drains:
            await self._drained_sleep()
        else:
            if rules.pause:
                await self._drained_pause(rules.pause)
            await until(self._is_idle, self._drain_seconds, "requests of others did not finish", self.url)
            await self._post(f"/sleep?level={self._level}")
        await until(lambda: self._is(Seen.ASLEEP), ASLEEP_SECONDS, "was told to sleep and did not", self.url)

    async def wake(self, finish_sleep: bool) -> None:
        """As `Server.wake`. Waits for a server that is gone, and for memory that is taken, until it is cancelled."""
        await until(self._is_there, float("inf"), "", self.url)
        rules = await self._rules()
        if finish_sleep:
            await self.sleep()
        if await self.look() is Seen.ASLEEP:
            if self._level == 2 and self._reloads and rules.wakes_in_parts:
                # Nobody gets an answer before the weights are there.
                await self._wake_up("?tags=weights")
                await self.reload()
                await self._wake_up("")
            else:
                await self._wake_up("")
                if self._level == 2 and self._reloads:
                    await self.reload()
            if rules.pause and not rules.sleep_drains:
                await self._post("/resume")
        await until(lambda: self._is(Seen.AWAKE), ASLEEP_SECONDS, "was told to wake up and did not", self.url)

    async def reload(self) -> None:
        """Load the weights again from where they came."""
        response = await self._control.call("POST", "/collective_rpc", 600.0, json={"method": "reload_weights"})
        if response.status_code != 200:
            raise OffloadError(f"{self.url}: reload_weights failed: HTTP {response.status_code} {response.text[:200]}")

    # --- steps ---

    async def _drained_sleep(self) -> None:
        path = f"/sleep?level={self._level}&mode="
        try:
            await self._post(path + "wait", self._drain_seconds)
        except JudgeTimeout:
            # Ours are done, so these are strangers'; ending them lets the first call go on, too.
            logger.warning("%s: requests of others did not finish in %g s; aborted", self.url, self._drain_seconds)
            await self._post(path + "abort", self._drain_seconds)

    async def _drained_pause(self, query: str) -> None:
        try:
            await self._post("/pause?" + query, self._drain_seconds)
        except JudgeTimeout:
            logger.warning("%s: requests of others did not finish in %g s; aborted", self.url, self._drain_seconds)
            await self._post("/resume")  # what is paused cannot be paused in another way
            await self._post("/pause")  # without a query it aborts

    async def _wake_up(self, query: str) -> None:
        """Wake up; again where that fails, as it does while training still has the memory."""
        said = ""
        while (response := await self._control.call("POST", "/wake_up" + query)).status_code != 200:
            if response.text != said:
                said = response.text
                logger.warning("%s did not wake up: HTTP %d %s", self.url, response.status_code, said[:200])
            await anyio.sleep(AGAIN_SECONDS)

    async def _post(self, path: str, seconds: float = 60.0) -> None:
        response = await self._control.call("POST", path, seconds)
        if response.status_code != 200:
            raise OffloadError(f"{self.url}{path}: HTTP {response.status_code} {response.text[:200]}")

    async def _rules(self) -> Rules:
        response = await self._control.call("GET", "/version")
        if response.status_code >= 500:
            raise JudgeOverloaded(f"{self.url}/version", f"HTTP {response.status_code}", status=response.status_code)
        try:
            return Rules.of(str(response.json()["version"]))
        except (ValueError, KeyError, TypeError):
            raise OffloadRefused(f"{self.url} does not say its version at /version: is it vLLM?") from None

    async def _is_there(self) -> bool:
        return await self.look() is not Seen.GONE

    async def _is(self, wanted: Seen) -> bool:
        seen = await self.look()
        if seen is Seen.GONE:  # and if it comes back, it will not be what it was told to be
            raise JudgeUnreachable(self.url, f"it was to be {wanted.value}, and is gone")
        return seen is wanted

    async def _is_idle(self) -> bool:
        page = (await self._control.call("GET", "/metrics")).text  # an error's page has no counts
        counts = re.findall(r"^vllm:num_requests_running(?:\{[^}]*\})? ([0-9.e+]+)", page, re.MULTILINE)
        return bool(counts) and all(float(count) == 0 for count in counts)

    async def _flag(self, name: str) -> bool | None:
        """What GET /is_sleeping or /is_paused says; None where there is none."""
        response = await self._control.call("GET", f"/{name}")
        if response.status_code == 404:
            return None
        try:
            return bool(response.json()[name])
        except (ValueError, KeyError, TypeError):
            # A 500 of a dying server, a proxy's page.
            raise JudgeTimeout(f"{self.url}/{name}", f"HTTP {response.status_code} that says nothing") from None
