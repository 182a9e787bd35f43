"""How SGLang sleeps and wakes (0.5.23): pause -> idle -> release -> resume -> continue.

Nothing in the server guards the order. It dies of a release while a request runs, of a resume of what is not released,
and with a memory saver of a second release (torch_memory_saver, csrc/core.cpp); and it does not say what is released.
So each step is first noted in the server itself, at the end of its `weight_version`, where it stays when the process
that took the step is killed, and goes with a server that is restarted. A step that was noted is taken for done: the
call goes out within a moment of the note, and the server finishes it whoever waits for it.
"""

from __future__ import annotations

import enum
from typing import Any

import httpx

from genrm.errors import JudgeError, JudgeOverloaded, JudgeUnreachable, OffloadError, OffloadRefused
from genrm.offload.servers import Control, Seen, until

NOT_SAVING = (
    "{url} was started without {flag}: {what}. Start SGLang with --enable-memory-saver --enable-weights-cpu-backup, or "
    "set GENRM_USE_OFFLOAD=0"
)
_SEPARATOR = "+genrm-"


class _Step(str, enum.Enum):
    """The last step that was begun, as it is noted."""

    NONE = ""
    RELEASE = "released"
    RESUME = "resumed"


class SglangServer:
    """One SGLang server, or one worker behind a router.

    Args:
        control: its endpoints.
        drain_seconds: how long it may take to become idle.
    """

    def __init__(self, control: Control, drain_seconds: float) -> None:
        self.url = control.url
        self._control = control
        self._drain_seconds = drain_seconds

    async def look(self) -> Seen:
        """As `Server.look`: paused is asleep, for so it is put to sleep."""
        try:
            response = await self._control.call("GET", "/ready")
        except JudgeError:
            return Seen.GONE
        if response.status_code == 404:
            raise OffloadRefused(f"{self.url} has no /ready: is it SGLang, of a version from 0.5.23 on?")
        return {200: Seen.AWAKE, 503: Seen.ASLEEP}.get(response.status_code, Seen.GONE)

    async def sleep(self) -> None:
        """As `Server.sleep`."""
        version, step = await self._examine()
        await self._post("/pause_generation", {"mode": "abort"})
        if step is _Step.RELEASE:
            return
        # It empties its cache only when nothing runs: the one sign of that which can be asked for.
        await until(self._is_idle, self._drain_seconds, "did not become idle", self.url)
        await self._note(version, _Step.RELEASE)
        await self._post("/release_memory_occupation", {})

    async def wake(self, finish_sleep: bool) -> None:  # noqa: ARG002 - what is under way is noted
        """As `Server.wake`. Waits for a server that is gone until it is cancelled."""
        await until(self._is_there, float("inf"), "", self.url)
        version, step = await self._examine()
        if step is _Step.RELEASE:
            # It may have been continued by a stranger, and what came then has killed it or waits.
            await self._post("/pause_generation", {"mode": "abort"})
            await self._note(version, _Step.RESUME)
            await self._post("/resume_memory_occupation", {})
        if step is not _Step.NONE:
            await self._note(version, _Step.NONE)
        if await self.look() is not Seen.AWAKE:
            await self._post("/continue_generation", {})
        if await self.look() is not Seen.AWAKE:
            # A check of its health that failed while it was paused keeps it unready until one succeeds.
            await self._control.call("GET", "/health", self._drain_seconds)
        await until(self._is_awake, self._drain_seconds, "was told to continue and did not", self.url)

    async def reload(self) -> None:
        """As `Server.reload`."""
        info = _object_in(await self._control.call("GET", "/model_info"))
        if "model_path" not in info:
            raise OffloadError(f"{self.url} does not say at /model_info where its weights are: they cannot be loaded")
        await self._post("/update_weights_from_disk", {"model_path": info["model_path"]}, 600.0)

    async def _examine(self) -> tuple[str, _Step]:
        """The version of its weights and the step that is noted. Raises OffloadRefused where it cannot sleep."""
        info = _object_in(await self._control.call("GET", "/server_info"))
        if not info:
            raise OffloadRefused(f"{self.url} does not say how it was started at /server_info: is it SGLang?")
        for key, what in (
            ("enable_memory_saver", "it would say that it sleeps and keep its memory"),
            ("enable_weights_cpu_backup", "its weights would be lost while it sleeps"),
        ):
            if not info.get(key):
                raise OffloadRefused(NOT_SAVING.format(url=self.url, flag="--" + key.replace("_", "-"), what=what))
        version, _, noted = str(info.get("weight_version", "default")).partition(_SEPARATOR)
        return version, _Step(noted)

    async def _note(self, version: str, step: _Step) -> None:
        noted = version + (_SEPARATOR + step.value if step.value else "")
        await self._post("/update_weight_version", {"new_version": noted, "abort_all_requests": False})

    async def _post(self, path: str, body: dict[str, Any], seconds: float = 60.0) -> None:
        response = await self._control.call("POST", path, seconds, json=body)
        if response.status_code == 401:
            raise OffloadRefused(f"{self.url}{path}: HTTP 401. GENRM_ADMIN_API_KEY must be SGLang's --admin-api-key")
        if response.status_code != 200:
            raise OffloadError(f"{self.url}{path}: HTTP {response.status_code} {response.text[:200]}")

    async def _is_there(self) -> bool:
        return await self.look() is not Seen.GONE

    async def _is_awake(self) -> bool:
        seen = await self.look()
        if seen is Seen.GONE:
            raise JudgeUnreachable(self.url, "it was to be awake, and is gone")
        return seen is Seen.AWAKE

    async def _is_idle(self) -> bool:
        return (await self._control.call("POST", "/flush_cache")).status_code == 200


async def workers_behind(control: Control) -> list[str]:
    """The URLs of the workers behind a router, or the URL itself where it is a server.

    Raises:
        JudgeError: it does not answer.
        OffloadError: it is a router that has no workers.
    """
    response = await control.call("GET", "/workers")
    if response.status_code == 404:
        return [control.url]
    try:
        workers = [str(worker["url"]) for worker in response.json()["workers"]]
    except (ValueError, KeyError, TypeError):
        return [control.url]
    if not workers:
        raise OffloadRefused(f"{control.url} is a router, and has no workers")
    return workers


def _object_in(response: httpx.Response) -> dict[str, Any]:
    """The JSON object in an answer; empty where there is none. Raises JudgeOverloaded for a 5xx, which may pass."""
    if response.status_code >= 500:
        raise JudgeOverloaded(str(response.url), f"HTTP {response.status_code}", status=response.status_code)
    try:
        data = response.json()
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
