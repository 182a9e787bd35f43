"""What answers at a base URL: its kind and version, the key, the models, and who else can reach it."""

from __future__ import annotations

import enum
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import psutil
from packaging.version import InvalidVersion, Version

from genrm.errors import JudgeError
from genrm.offload.servers import Control
from genrm.settings import Settings
from genrm.workbench.doctor.findings import Finding, failed, ok, skipped, warning

LEAST_ROOM = 1024
"""Tokens that the prompt needs at least: instructions, a problem and a solution."""
_REACH_SECONDS = 2.0
_REFUSED = (401, 403)


class Kind(str, enum.Enum):
    """What a server is."""

    VLLM = "vLLM"
    SGLANG = "SGLang"
    ROUTER = "SGLang router"
    OTHER = "OpenAI-compatible server"


# What each GENRM_SERVER_BACKEND can talk to.
_FITTING = {
    "vllm": {Kind.VLLM},
    "sglang": {Kind.SGLANG, Kind.ROUTER},
    "openai": set(Kind),
}
_BACKENDS = {Kind.VLLM: "vllm", Kind.SGLANG: "sglang", Kind.ROUTER: "sglang", Kind.OTHER: "openai"}


@dataclass
class Served:
    """What is known of the server at a base URL.

    Attributes:
        url: the base URL.
        kind: what it is.
        version: as it says it; None where it does not.
        info: what SGLang says at /server_info.
        refuses: it does not say what it is, as it does not take the key.
    """

    url: str
    kind: Kind = Kind.OTHER
    version: Version | None = None
    info: dict[str, Any] = field(default_factory=dict)
    refuses: bool = False

    def __str__(self) -> str:
        return f"{self.kind.value} {self.version}" if self.version else self.kind.value


def json_object(response: httpx.Response) -> dict[str, Any]:
    """An answer's body, where it is a JSON object and the status 200; else nothing."""
    try:
        data = response.json()
    except ValueError:
        return {}
    return data if response.status_code == 200 and isinstance(data, dict) else {}


async def identify(control: Control) -> Served:
    """What the server is. Raises JudgeError where it does not answer."""
    response = await control.call("GET", "/version")
    version = json_object(response).get("version")
    if isinstance(version, str):
        return Served(control.url, Kind.VLLM, _version(version))
    info = json_object(await control.call("GET", "/server_info"))
    if "version" in info:
        return Served(control.url, Kind.SGLANG, _version(str(info["version"])), info)
    if "workers" in json_object(await control.call("GET", "/workers")):
        return Served(control.url, Kind.ROUTER)
    return Served(control.url, refuses=response.status_code in _REFUSED)


def unreachable(error: JudgeError) -> Finding:
    """What to tell about a server that does not answer at all."""
    return failed(f"no answer: {error}", "start the server, or set GENRM_BASE_URL to where it listens")


def check_backend(served: Served, settings: Settings) -> list[Finding]:
    """Whether the server is what GENRM_SERVER_BACKEND says."""
    backend = settings.server_backend
    if served.refuses:
        return [_wrong_key(settings)]
    if served.kind in _FITTING[backend]:
        return [ok(str(served))]
    what = f"it is an {served}" if served.kind is Kind.OTHER else f"it is {served}"
    what += f", and GENRM_SERVER_BACKEND is {backend}"
    if served.kind is Kind.OTHER:
        what = f"it does not say what it is, and GENRM_SERVER_BACKEND is {backend}"
    level = failed if settings.use_offload else warning
    return [level(what, f"GENRM_SERVER_BACKEND={_BACKENDS[served.kind]}")]


async def check_models(control: Control, served: Served, settings: Settings) -> list[Finding]:
    """Whether the key is taken, the model is there, and its context is long enough."""
    response = await control.call("GET", "/v1/models")
    if response.status_code in _REFUSED:
        return [_wrong_key(settings)]
    cards = json_object(response).get("data")
    models = {str(card.get("id")): card for card in cards if isinstance(card, dict)} if isinstance(cards, list) else {}
    if not models:
        return [
            warning(f"it does not say which models it serves (HTTP {response.status_code})", "is it a judge's server?")
        ]
    if settings.model_name not in models:
        what = f"{settings.model_name} is not served here; there are: {', '.join(models)}"
        fix = f"GENRM_MODEL_NAME={next(iter(models))}, or start it with --served-model-name {settings.model_name}"
        # SGLang answers under any name.
        return [warning(what, fix) if served.kind is Kind.SGLANG else failed(what, fix)]
    longest = models[settings.model_name].get("max_model_len")
    return [ok(f"it serves {settings.model_name}"), *_check_room(longest, settings.max_tokens)]


def _wrong_key(settings: Settings) -> Finding:
    given = settings.api_key.get_secret_value() not in ("", "EMPTY")
    what = "the server does not take GENRM_API_KEY" if given else "the server wants a key, and none is set"
    return failed(what, "GENRM_API_KEY=the key that the server was started with")


def _check_room(longest: Any, reply: int) -> list[Finding]:
    if not isinstance(longest, int):
        return []
    room = longest - reply
    what = f"max_model_len {longest:,} less GENRM_MAX_TOKENS {reply:,}"
    fix = f"GENRM_MAX_TOKENS={max(1, longest // 2)}, or a longer --max-model-len (--context-length)"
    if room <= 0:
        return [failed(f"{what} leaves nothing for the prompt", fix)]
    if room < LEAST_ROOM:
        return [warning(f"{what} leaves {room:,} tokens for the prompt: long solutions will be refused", fix)]
    return [ok(f"{what} leaves {room:,} tokens for the prompt")]


def own_addresses() -> list[str]:
    """This host's addresses in its networks (IPv4)."""
    found = [
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET
    ]
    return [address for address in found if not ipaddress.ip_address(address).is_loopback]


async def check_exposure(http: httpx.AsyncClient, served: Served, addresses: Sequence[str]) -> list[Finding]:
    """Whether others can reach what no key guards: /sleep, /collective_rpc and their like.

    Args:
        addresses: of this host, tried where the base URL is a loopback one: the server may listen on all of them.
    """
    path = "/is_sleeping" if served.kind is Kind.VLLM else "/server_info"
    parts = urlsplit(served.url)
    local = _is_loopback(parts.hostname or "")
    port = f":{parts.port}" if parts.port else ""
    urls = [f"{parts.scheme}://{address}{port}" for address in addresses[:8]] if local else [served.url]
    open_at: list[str] = []

    async def reach(url: str) -> None:
        try:
            if (await Control(url, http).call("GET", path, _REACH_SECONDS)).status_code == 200:
                open_at.append(url)
        except JudgeError:
            pass

    async with anyio.create_task_group() as tasks:
        for url in urls:
            tasks.start_soon(reach, url)
    if not open_at:
        if local and not urls:
            return [skipped("this host has no address that others could reach")]
        return [ok("its control endpoints are not open to the network")]
    return [
        warning(
            f"whoever reaches {open_at[0]} can put the judge to sleep or change its weights: no key guards that",
            "start it with --host 127.0.0.1" if local else "let only the hosts of this run reach the port (a firewall)",
        )
    ]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
