"""A Docker engine's API, as far as a container is run, followed and removed. A container is a process of this machine.

The images are what `images` says: the Python that stands for the image's own. What was asked is in `created`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

_API = "1.44"
_STDOUT = b"\x01\0\0\0"
_POLL = 0.02


class FakeDocker:
    """The engine.

    Args:
        images: the Python of each, by name and tag.
        to_pull: those that come when they are pulled.
        hangs: starts of containers are not answered; they run all the same.
        broken: a pull ends with this error.
    """

    def __init__(
        self, images: Mapping[str, str], to_pull: Mapping[str, str] | None = None, hangs: bool = False, broken: str = ""
    ) -> None:
        self.created: dict[str, dict[str, Any]] = {}
        """The containers that are there, by their names, as they were asked for."""
        self.was_asked_for: list[dict[str, Any]] = []
        self._images = dict(images)
        self._to_pull = to_pull or {}
        self._hangs = hangs
        self._broken = broken
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, str] = {}

    @property
    def app(self) -> Starlette:
        """What it serves."""
        one = "/v{v}/containers/{name}"
        return Starlette(
            routes=[
                Route("/_ping", self.ping),
                Route("/version", self.version),
                Route("/v{v}/_ping", self.ping),
                Route("/v{v}/containers/create", self.create, methods=["POST"]),
                Route("/v{v}/containers/json", self.all),
                Route("/v{v}/images/create", self.pull, methods=["POST"]),
                Route("/v{v}/images/{name:path}/json", self.image),
                Route(f"{one}/json", self.inspect),
                Route(f"{one}/start", self.start, methods=["POST"]),
                Route(f"{one}/logs", self.logs),
                Route(f"{one}/stop", self.stop, methods=["POST"]),
                Route(one, self.remove, methods=["DELETE"]),
            ]
        )

    async def ping(self, _request: Request) -> Response:
        """It is there."""
        return Response("OK", headers={"API-Version": _API})

    async def version(self, _request: Request) -> Response:
        """Which API it speaks."""
        return JSONResponse({"ApiVersion": _API, "MinAPIVersion": "1.24"})

    async def create(self, request: Request) -> Response:
        """POST /containers/create."""
        wanted = await request.json()
        self.was_asked_for.append(wanted)
        if wanted["Image"] not in self._images:
            return _missing(f"No such image: {wanted['Image']}")
        name = request.query_params["name"]
        self.created[name] = wanted
        return JSONResponse({"Id": name, "Warnings": []}, 201)

    async def image(self, request: Request) -> Response:
        """GET /images/{name}/json."""
        name = request.path_params["name"]
        return JSONResponse({"Id": name}) if name in self._images else _missing(f"No such image: {name}")

    async def pull(self, request: Request) -> Response:
        """POST /images/create: two layers of a gigabyte each."""
        name = f"{request.query_params['fromImage']}:{request.query_params['tag']}"
        if name not in self._to_pull:
            return _missing(f"pull access denied for {request.query_params['fromImage']}")
        return StreamingResponse(self._pull(name))

    async def _pull(self, name: str) -> AsyncIterator[bytes]:
        for part in (0.25, 1.0):
            for layer in ("a", "b"):
                detail = {"current": part * 1e9, "total": 1e9}
                yield json.dumps({"status": "Downloading", "id": layer, "progressDetail": detail}).encode() + b"\r\n"
                await asyncio.sleep(_POLL)
        if self._broken:
            yield json.dumps({"errorDetail": {"message": self._broken}, "error": self._broken}).encode() + b"\r\n"
            return
        self._images[name] = self._to_pull[name]
        yield json.dumps({"status": f"Status: Downloaded newer image for {name}"}).encode() + b"\r\n"

    async def all(self, _request: Request) -> Response:
        """GET /containers/json."""
        return JSONResponse([{"Id": name} for name in self.created])

    async def inspect(self, request: Request) -> Response:
        """GET /containers/{name}/json."""
        name = request.path_params["name"]
        if name not in self.created:
            return _missing(f"No such container: {name}")
        process = self._running.get(name)
        code = process.poll() if process else None
        state = {"Status": "created" if not process else "running" if code is None else "exited", "ExitCode": code}
        return JSONResponse({"Id": name, "Name": f"/{name}", "State": state, "Config": {"Tty": False}})

    async def start(self, request: Request) -> Response:
        """POST /containers/{name}/start."""
        name = request.path_params["name"]
        wanted = self.created[name]
        variables = dict(entry.split("=", 1) for entry in wanted["Env"])
        self._logs[name] = tempfile.NamedTemporaryFile(delete=False).name  # noqa: SIM115 - read while it grows
        with open(self._logs[name], "wb") as log:
            self._running[name] = subprocess.Popen(
                [self._images[wanted["Image"]], *wanted["Cmd"]],
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if self._hangs:
            while name in self.created and not await request.is_disconnected():
                await asyncio.sleep(_POLL)
        return Response(status_code=204)

    @property
    def running(self) -> list[str]:
        """The containers whose process lives."""
        return [name for name, process in self._running.items() if process.poll() is None]

    async def logs(self, request: Request) -> Response:
        """GET /containers/{name}/logs, followed to the end of the container."""
        return StreamingResponse(self._follow(request.path_params["name"]))

    async def _follow(self, name: str) -> AsyncIterator[bytes]:
        with open(self._logs[name], "rb") as log:
            ended = False
            while not ended:
                ended = self._running[name].poll() is not None
                if new := log.read():
                    yield _STDOUT + len(new).to_bytes(4, "big") + new
                await asyncio.sleep(_POLL)

    async def stop(self, request: Request) -> Response:
        """POST /containers/{name}/stop."""
        process = self._running[request.path_params["name"]]
        process.terminate()
        await asyncio.to_thread(process.wait)
        return Response(status_code=204)

    async def remove(self, request: Request) -> Response:
        """DELETE /containers/{name}."""
        name = request.path_params["name"]
        if name not in self.created:
            return _missing(f"No such container: {name}")
        del self.created[name]
        if process := self._running.get(name):
            process.kill()
            process.wait()
            os.unlink(self._logs[name])
        return Response(status_code=204)


def _missing(message: str) -> Response:
    return JSONResponse({"message": message}, 404)
