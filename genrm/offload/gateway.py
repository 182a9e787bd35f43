"""From the settings to a judge whose memory is looked after: its servers, its canaries, its ledger."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from pydantic import SecretStr

from genrm.client import ChatClient
from genrm.endpoints import Endpoints
from genrm.errors import JudgeGarbage
from genrm.offload.canary import Canaries, Canary, load_canaries
from genrm.offload.lease import Offload
from genrm.offload.ledger import Policy
from genrm.offload.memory import MemoryWatch, open_probe
from genrm.offload.servers import Control, Server, Servers
from genrm.offload.sglang import SglangServer, workers_behind
from genrm.offload.stores import open_store
from genrm.offload.vllm import VllmServer
from genrm.prompts import Message
from genrm.settings import Settings
from genrm.transport import MendedTransport
from genrm.verdicts import Reader, parse_verdict

_MARGIN_SECONDS = 60.0
"""Beyond a sample's deadline: then its lease, of a process that is silent, is taken for lost."""


class HttpGateway:
    """The way to the servers that the settings name. Bound to the event loop that it is used in.

    Args:
        settings: of the judge.
        render: a canary -> the judge's prompt.
        read: a reply -> its verdict.
    """

    def __init__(self, settings: Settings, render: Callable[[Canary], list[Message]], read: Reader) -> None:
        self._settings = settings
        self._render = render
        self._read = read
        self._canaries = load_canaries(settings.canary)
        self._http = httpx.AsyncClient(transport=MendedTransport())

    async def servers(self) -> Servers:
        """As `genrm.offload.lease.Gateway.servers`."""
        settings = self._settings
        urls = list(settings.base_url)
        if settings.server_backend == "sglang":
            urls = [worker for url in urls for worker in await workers_behind(self._control(url))]
            return Servers([SglangServer(self._control(url), settings.drain_timeout) for url in urls], self._check)
        made = (settings.sleep_level, settings.reload_weights, settings.drain_timeout)
        return Servers([VllmServer(self._control(url), *made) for url in urls], self._check)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _control(self, url: str) -> Control:
        return Control(url, self._http, _said(self._settings.api_key), _said(self._settings.admin_api_key))

    async def _check(self, server: Server) -> None:
        client = ChatClient(self._settings, self._http, Endpoints([server.url]))
        canaries = Canaries(server.url, self._canaries, client, self._render, self._read)
        try:
            await canaries.check()
        except JudgeGarbage:
            if not self._settings.reload_weights:
                raise
            await server.reload()
            await canaries.check()


def _said(key: SecretStr) -> str:
    return "" if key.get_secret_value() == "EMPTY" else key.get_secret_value()


def open_offload(
    settings: Settings, render: Callable[[Canary], list[Message]], read: Reader = parse_verdict
) -> Offload:
    """The offload of the judge that the settings name, for the running event loop.

    Raises:
        SettingsError: the canaries cannot be read.
    """
    linger = settings.idle_linger
    if linger is None:
        # Where the end of a batch is known, a pause within it must not pass for one.
        linger = 60.0 if settings.batch_size else 5.0
    policy = Policy(linger, settings.batch_size, settings.sample_timeout + settings.wake_timeout + _MARGIN_SECONDS)
    return Offload(
        open_store(settings.offload_ledger, settings.base_url, settings.offload_dir, policy),
        HttpGateway(settings, render, read),
        MemoryWatch(open_probe(settings.base_url)),
        linger=linger,
        wake_seconds=settings.wake_timeout,
        sleep_seconds=settings.sleep_timeout,
    )
